"""cluster_c: native bridges as they are set up today, on two bonds, with a storage network."""

cluster = "cluster_c"

cloudstack_repository = "https://download.cloudstack.org/ubuntu"
cloudstack_suites = ("jammy",)
cloudstack_components = ("4.22",)
cloudstack_key = "https://download.cloudstack.org/release.asc"
# to be replaced: what sha256sum says of that key, once you have seen that it is CloudStack's
cloudstack_key_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

bridges = {
    "cloudbr0": 100,  # management and public traffic
    "cloudbr1": "bond1",  # guest traffic, untagged: CloudStack puts its VLANs beside it
}
interfaces = ("bond1.50",)  # storage; each host has its address in the inventory
routes = {"10.30.60.0/24": "10.30.50.1"}
management_interface = "cloudbr0"
gateway = "10.30.100.1"
dns_servers = ("10.30.0.53",)
# made by whoever installed the hosts, and left as it is
uplink = "bond0"
bonds = {
    "bond1": {
        "nics": ("ens2f0", "ens2f1"),
        "mode": "802.3ad",
        "lacp_rate": "fast",
        "hash_policy": "layer3+4",
    }
}
mtus = {"bond1": 9000}

guest_cpu_mode = "host-passthrough"
guest_cpu_features = ("vmx",)
agent_properties = {"host.reserved.mem.mb": 2048}
