"""The lab's machines of Debian 13: the guide's example, as for the others."""

cluster = "cluster_debian13"

bridge_type = "native"
management_vlan = 100
bridges = {
    "cloudbr0": 200,  # public traffic
    "cloudbr1": 300,  # guest traffic
}
