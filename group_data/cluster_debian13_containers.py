"""The lab's container hosts of Debian 13; the network is Docker's."""

cluster = "cluster_debian13_containers"

bridge_type = "native"
management_vlan = 100
bridges = {
    "cloudbr0": 200,  # public traffic
    "cloudbr1": 300,  # guest traffic
}
