"""The lab's container hosts of Debian 12: the same, but for the network, which is Docker's."""

cluster = "cluster_containers"

bridge_type = "native"
management_vlan = 100
bridges = {
    "cloudbr0": 200,  # public traffic
    "cloudbr1": 300,  # guest traffic
}
