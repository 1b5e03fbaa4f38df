"""cluster_c: native bridges as they are set up today, the addresses on a bridge."""

cluster = "cluster_c"

cloudstack_repository = "https://download.cloudstack.org/ubuntu"
cloudstack_suites = ("jammy",)
cloudstack_components = ("4.22",)
cloudstack_key = "https://download.cloudstack.org/release.asc"
# to be replaced: what sha256sum says of that key, once you have seen that it is CloudStack's
cloudstack_key_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

bridges = {
    "cloudbr0": 100,  # management and public traffic
    "cloudbr1": 300,  # guest traffic
}
management_interface = "cloudbr0"
gateway = "10.30.100.1"
dns_servers = ("10.30.0.53",)
# made by whoever installed the hosts; uplink_bond = ("eno1", "eno2") would make it here
uplink = "bond0"

guest_cpu_mode = "host-passthrough"
guest_cpu_features = ("vmx",)
agent_properties = {"host.reserved.mem.mb": 2048}
