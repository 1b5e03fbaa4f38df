"""What all hosts of inventories/prod.py have in common."""

ssh_user = "root"
# each host's key is known beforehand: ssh-keyscan -H kvm1.dc1.example.org >>~/.ssh/known_hosts, and
# compared with what the host's console says of it: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
ssh_strict_host_key_checking = "yes"

# who may reach libvirt, the agent and the consoles, beside the hosts of the same network
management_servers = ("10.0.0.5", "10.0.0.6")
