"""An example to copy: four clusters, each of one distribution, as CloudStack asks.

A host is in one distribution group, which says how, and in one cluster group, which says what;
both have a file in group_data/. A release that differs has a group after its distribution's, since
a later group wins. What is particular to one host stands beside its name here.

    pyinfra inventories/prod.py deploy.py --dry --diff --limit cluster_a
"""

cluster_a = [
    ("kvm1.dc1.example.org", {"management_address": "10.10.100.11/24"}),
    ("kvm2.dc1.example.org", {"management_address": "10.10.100.12/24"}),
    # a newer mainboard: its NIC has another name
    ("kvm3.dc1.example.org", {"management_address": "10.10.100.13/24", "uplink": "enp1s0"}),
]

cluster_b = [
    ("kvm1.dc2.example.org", {"management_address": "10.20.100.11/24"}),
    ("kvm2.dc2.example.org", {"management_address": "10.20.100.12/24"}),
]

cluster_c = [
    (
        "kvm1.dc3.example.org",
        {"management_address": "10.30.100.11/24", "addresses": {"bond1.50": "10.30.50.11/24"}},
    ),
    (
        "kvm2.dc3.example.org",
        {"management_address": "10.30.100.12/24", "addresses": {"bond1.50": "10.30.50.12/24"}},
    ),
]

cluster_d = [
    ("kvm1.dc4.example.org", {"management_address": "10.40.100.11/24"}),
    ("kvm2.dc4.example.org", {"management_address": "10.40.100.12/24"}),
]

ubuntu = [name for name, _ in cluster_a + cluster_c]
debian = [name for name, _ in cluster_b]
ubuntu_2204 = [name for name, _ in cluster_c]
rhel = [name for name, _ in cluster_d]
