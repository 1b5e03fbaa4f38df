"""The lab's machines that stand in for EL 8: the guide's example, as for the others."""

cluster = "cluster_el8"

bridge_type = "native"
management_vlan = 100
bridges = {
    "cloudbr0": 200,  # public traffic
    "cloudbr1": 300,  # guest traffic
}
