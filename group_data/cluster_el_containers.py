"""The lab's container hosts that stand in for EL; the network is Docker's."""

cluster = "cluster_el_containers"

bridge_type = "native"
management_vlan = 100
bridges = {
    "cloudbr0": 200,  # public traffic
    "cloudbr1": 300,  # guest traffic
}
