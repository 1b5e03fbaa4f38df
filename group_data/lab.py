"""What the lab's hosts have in common, and what it cannot have: no /dev/kvm, no CloudStack."""

# the lab's processor offers no vmx or svm to the hosts
require_hvm = False
# the workstation itself stands for the world outside
outbound_host = None
# an emulated processor takes its time to set up a network
network_confirm_timeout = 900

# the lab's stand-in for CloudStack's repository is on each host's own disk
cloudstack_repository = "file:///srv/cloudstack"
cloudstack_suites = ("bookworm",)
cloudstack_components = ("4.20",)
cloudstack_key = "file:///srv/cloudstack/release.asc"

guest_cpu_mode = "custom"
guest_cpu_model = "SandyBridge"
guest_cpu_features = ("aes",)
