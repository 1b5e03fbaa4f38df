"""Ubuntu 22.04: like ubuntu.py, but its libvirt has no modular daemons to look for."""

distribution = "ubuntu"
releases = ("22.04",)
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
