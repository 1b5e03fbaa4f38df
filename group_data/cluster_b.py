"""cluster_b: Open vSwitch, with a fake bridge a VLAN and the addresses on mgmt0."""

cluster = "cluster_b"

# a flat repository: one folder, no suites
cloudstack_repository = "https://packages.shapeblue.com/cloudstack/upstream/debian/4.22"
cloudstack_suites = ("/",)
cloudstack_key = "https://packages.shapeblue.com/release.asc"
# to be replaced: what sha256sum says of that key, once you have seen that it is CloudStack's
cloudstack_key_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

bridge_type = "openvswitch"
bridges = {
    "mgmt0": 100,
    "cloudbr0": 200,
    "cloudbr1": 300,
}
management_interface = "mgmt0"
gateway = "10.20.100.1"
dns_servers = ("10.20.0.53",)
dns_search = ("dc2.example.org",)
ntp_servers = ("10.20.0.123",)
time_service = "openntpd"

guest_cpu_mode = "host-model"
