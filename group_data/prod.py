"""What all hosts of inventories/prod.py have in common."""

ssh_user = "root"

# who may reach libvirt, the agent and the consoles, beside the hosts of the same network
management_servers = ("10.0.0.5", "10.0.0.6")
