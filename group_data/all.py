"""Defaults of every host. What a key means, and what it takes, is said in kvmhost/settings.py."""

from kvmhost.ssh import transport_without_delay

ssh_paramiko_connect_kwargs = {"transport_factory": transport_without_delay}

# CloudStack's guide, "Install and Configure libvirt"; libvirt's docs/daemons.rst
libvirt_masked_units = (
    "libvirtd.socket",
    "libvirtd-ro.socket",
    "libvirtd-admin.socket",
    "libvirtd-tls.socket",
    "libvirtd-tcp.socket",
)
apparmor_profiles = ("usr.sbin.libvirtd", "usr.lib.libvirt.virt-aa-helper")
