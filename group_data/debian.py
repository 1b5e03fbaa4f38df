"""Debian 12 and 13: how this distribution does things."""

distribution = "debian"
releases = ("12", "13")
package_manager = "apt"
network_backend = "ifupdown"
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
# what libvirtd.service reads; the guide's libvirtd_opts is ignored since Debian 12 (CloudStack
# issue 9802)
libvirtd_arguments_file = "/etc/default/libvirtd"
libvirtd_arguments = {"LIBVIRTD_ARGS": '"--listen"'}
# libvirt_remote_mode stays libvirt's own, "auto": clients turn to virtqemud only if they find its
# socket (libvirt's src/remote/remote_sockets.c), and Debian's libvirt is built for libvirtd and
# brings no virtqemud (its debian/rules and debian/libvirt-daemon-driver-qemu.install.in)
