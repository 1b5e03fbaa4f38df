"""CentOS and RHEL 6.3: the guide as it was written, with yum, ntp, ifcfg, iptables and service."""

distribution = ("rhel", "centos")
releases = ("6",)
package_manager = "yum"
service_manager = "sysvinit"
network_backend = "ifcfg"
network_scripts_packages = ("bridge-utils", "initscripts")
firewall_backend = "iptables"

# guide, "Turn on NTP"
time_service = "ntp"
time_services = {"ntp": "ntpd", "chrony": "chronyd"}
time_files = {"ntp": "/etc/ntp.conf"}

libvirt_packages = ("libvirt", "qemu-kvm", "qemu-img", "sudo")
# guide, "System Requirements for KVM Hypervisor Hosts", which also asks for QEMU 1.0 or higher:
# but the only qemu-kvm of this release is 0.12.1
libvirt_minimum = "0.9.4"
qemu_minimum = "0.12.1"
# guide, "Install and Configure libvirt"
libvirtd_arguments_file = "/etc/sysconfig/libvirtd"
libvirtd_arguments = {"LIBVIRTD_ARGS": '"--listen"'}
# there is neither systemd nor AppArmor
libvirt_masked_units = ()
apparmor_profiles = ()

cloudstack_suites = ()
cloudstack_repository_file = "/etc/yum.repos.d/cloudstack.repo"
cloudstack_key_file = "/etc/pki/rpm-gpg/RPM-GPG-KEY-cloudstack"
# this curl is too old to be kept from http: cloudstack_key_sha256 is needed
cloudstack_requisites = ("ca-certificates",)
# guide, "Configuring the firewall": libvirt listens without TLS only
firewall_ports = ("1798", "16509", "5900:6100", "49152:49216")
