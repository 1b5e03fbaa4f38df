"""Ubuntu 24.04 and 26.04: how this distribution does things."""

distribution = "ubuntu"
releases = ("24.04", "26.04")
package_manager = "apt"
network_backend = "netplan"
firewall_backend = "ufw"

libvirt_packages = (
    "libvirt-clients",
    "libvirt-daemon-system",
    "qemu-system-x86",
    "qemu-utils",
    # cloudstack-setup-agent calls these
    "cpu-checker",
    "lsb-release",
    "sudo",
    "uuid-runtime",
)
# what libvirtd.service reads (CloudStack's guide, "On Ubuntu 22.04 or newer version")
libvirtd_arguments_file = "/etc/default/libvirtd"
libvirtd_arguments = {"LIBVIRTD_ARGS": '"--listen"'}
# virsh and the agent would look for the modular daemons (CloudStack's guide, "libvirt.conf")
libvirt_remote_mode = "legacy"
