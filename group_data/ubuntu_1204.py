"""Ubuntu 12.04: the guide as it was written, with openntpd, libvirt-bin and interfaces(5)."""

distribution = "ubuntu"
releases = ("12.04",)
package_manager = "apt"
service_manager = "sysvinit"
network_backend = "ifupdown"
firewall_backend = "ufw"

# guide, "Turn on NTP"
time_service = "openntpd"

libvirt_packages = (
    "libvirt-bin",
    "qemu-kvm",
    "qemu-utils",
    # cloudstack-setup-agent calls these
    "cpu-checker",
    "lsb-release",
    "sudo",
    "uuid-runtime",
)
# guide, "System Requirements for KVM Hypervisor Hosts"
libvirt_minimum = "0.9.4"
qemu_minimum = "1.0"
# guide, "Install and Configure libvirt"
libvirt_service = "libvirt-bin"
libvirtd_arguments_file = "/etc/default/libvirt-bin"
libvirtd_arguments = {"libvirtd_opts": '"-d -l"'}
# there is no systemd
libvirt_masked_units = ()

# this apt is 0.8.16: deb822 files came with 0.9.14.3~exp1, Signed-By with 1.1~exp9 and armoured
# keys with 1.4~beta1 (apt's changelog), so cloudstack_key has to be the URL of a binary keyring
cloudstack_repository_file = "/etc/apt/sources.list.d/cloudstack.list"
cloudstack_key_file = "/etc/apt/trusted.gpg.d/cloudstack.gpg"
# guide, "Configuring the firewall": libvirt listens without TLS only
firewall_ports = ("1798", "16509", "5900:6100", "49152:49216")
