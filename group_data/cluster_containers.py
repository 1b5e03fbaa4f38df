"""The lab's container hosts: the same cluster, but for the network, which Docker has made."""

cluster = "cluster_containers"

bridge_type = "native"
management_vlan = 100
bridges = {
    "cloudbr0": 200,  # public traffic
    "cloudbr1": 300,  # guest traffic
}
