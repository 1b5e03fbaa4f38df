"""cluster_d: EL 9 with NetworkManager and firewalld, the addresses on a bridge."""

cluster = "cluster_d"

# CloudStack's guide, "RPM package repository", has it without TLS and without a check of the
# signatures; on RHEL itself "rhel" may stand for "centos"
cloudstack_repository = "https://download.cloudstack.org/centos/$releasever/4.22/"
cloudstack_key = "https://download.cloudstack.org/RPM-GPG-KEY"
# to be replaced: what sha256sum says of that key, once you have seen that it is CloudStack's
cloudstack_key_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

bridges = {
    "cloudbr0": 100,  # management and public traffic
    "cloudbr1": 300,  # guest traffic
}
management_interface = "cloudbr0"
gateway = "10.40.100.1"
dns_servers = ("10.40.0.53",)
ntp_servers = ("10.40.0.123",)
uplink = "eno1"

guest_cpu_mode = "host-model"
