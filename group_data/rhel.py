"""RHEL 8, 9 and 10 and their kin: how these distributions do things.

EL 8 may keep its network scripts with network_backend = "ifcfg".

Where CentOS's NFV SIG or Red Hat's Fast Datapath brings Open vSwitch, the cluster names the version
that is to be installed: openvswitch_packages = ("openvswitch3.4",), and for EL 8's network scripts
("openvswitch2.17", "network-scripts-openvswitch2.17").
"""

# ID in /etc/os-release: RHEL, CentOS Stream, Rocky Linux, AlmaLinux, Oracle Linux
distribution = ("rhel", "centos", "rocky", "almalinux", "ol")
# CloudStack's guide, "System Requirements for KVM Hypervisor Hosts": 8.X, 9.X, 10.X
releases = ("8", "9", "10")
package_manager = "dnf"
network_backend = "networkmanager"
# Open vSwitch's packages have their version in their names, and none is called or provides
# openvswitch (openvswitch3.4.spec); each has this file, and any that is installed will do
openvswitch_packages = ("/usr/bin/ovs-vsctl",)
# the distribution's own firewall; the guide's is "iptables", with the package iptables-services
firewall_backend = "firewalld"

# EL's chrony.spec installs chronyd.service and /etc/chrony.conf, the names of chrony's own sources
time_services = {"chrony": "chronyd", "ntp": "ntpd", "systemd-timesyncd": "systemd-timesyncd"}
time_files = {"chrony": "/etc/chrony.conf"}

# what cloudstack-agent requires of them (CloudStack's packaging/el8/cloud.spec), and sudo, with
# which cloudstack-setup-agent is called; uuidgen is in util-linux
libvirt_packages = ("libvirt", "qemu-kvm", "qemu-img", "sudo")
# libvirtd.service of every release reads it; libvirt's package no longer brings the file itself
# (CloudStack issue 10808)
libvirtd_arguments_file = "/etc/sysconfig/libvirtd"
libvirtd_arguments = {"LIBVIRTD_ARGS": '"--listen"'}
# virsh and the agent would look for the modular daemons (CloudStack's guide, "libvirt.conf")
libvirt_remote_mode = "legacy"
# there is no AppArmor
apparmor_profiles = ()

# libvirtd and the modular daemons end each other when one of them is started (libvirt's
# docs/daemons.rst); CloudStack masks virtqemud, virtnetworkd and virtstoraged (pull request 7114)
libvirt_masked_units = (
    "libvirtd.socket",
    "libvirtd-ro.socket",
    "libvirtd-admin.socket",
    "libvirtd-tls.socket",
    "libvirtd-tcp.socket",
    "virtproxyd-tls.socket",
    "virtproxyd-tcp.socket",
    *(
        f"virt{driver}d{kind}"
        for driver in (
            *("interface", "network", "nodedev", "nwfilter"),
            *("proxy", "qemu", "secret", "storage"),
        )
        for kind in (".socket", "-ro.socket", "-admin.socket", ".service")
    ),
)

cloudstack_suites = ()
cloudstack_repository_file = "/etc/yum.repos.d/cloudstack.repo"
cloudstack_key_file = "/etc/pki/rpm-gpg/RPM-GPG-KEY-cloudstack"
# dnf itself needs curl. CloudStack's guide, "Install and configure the Agent": epel-release. It is
# oracle-epel-release-el9 on Oracle Linux 9; on RHEL it has to be installed by its URL beforehand
cloudstack_requisites = ("ca-certificates", "epel-release")
