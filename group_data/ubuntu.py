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
# libvirtd.service reads LIBVIRTD_ARGS; the guide's libvirtd_opts is ignored
libvirtd_arguments_file = "/etc/default/libvirtd"
libvirtd_arguments = {"LIBVIRTD_ARGS": '"--listen"'}
# the modular daemons' sockets are what clients look for first since libvirt 9
libvirt_remote_mode = "legacy"
