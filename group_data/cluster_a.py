"""cluster_a: native bridges, as in the guide's example, with its addresses on VLAN 100."""

cluster = "cluster_a"

cloudstack_repository = "https://download.cloudstack.org/ubuntu"
cloudstack_suites = ("noble",)
cloudstack_components = ("4.22",)
cloudstack_key = "https://download.cloudstack.org/release.asc"
# to be replaced: what sha256sum says of that key, once you have seen that it is CloudStack's
cloudstack_key_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

bridge_type = "native"
management_vlan = 100
bridges = {
    "cloudbr0": 200,  # public traffic
    "cloudbr1": 300,  # guest traffic
}
gateway = "10.10.100.1"
dns_servers = ("10.10.0.53", "10.10.1.53")
dns_search = ("dc1.example.org",)
ntp_servers = ("ntp1.dc1.example.org", "ntp2.dc1.example.org")

# hosts of more than one generation: guests see a CPU that all of them have
guest_cpu_mode = "custom"
guest_cpu_model = "SandyBridge"
