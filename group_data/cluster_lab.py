"""The lab's machines of Debian 12: the guide's example, VLANs 100, 200 and 300 on eth0."""

cluster = "cluster_lab"

bridge_type = "native"
management_vlan = 100
bridges = {
    "cloudbr0": 200,  # public traffic
    "cloudbr1": 300,  # guest traffic
}
