"""Install and configure libvirt (guide, 'Install and Configure libvirt')."""

from pyinfra import host
from pyinfra.api import deploy

from kvmhost import inventory
from kvmhost.facts.cloudstack import AddedHost
from kvmhost.keyvalue import ARGUMENTS, LIBVIRT
from kvmhost.operations import files, packages, services, sysctl, systemd
from kvmhost.operations import libvirt as hypervisor
from kvmhost.settings import Settings

LISTEN = {"listen_tls": "0", "listen_tcp": "1"}
"""How libvirtd listens until CloudStack adds the host and turns TLS on."""
LIBVIRTD = {
    "tls_port": '"16514"',
    "tcp_port": '"16509"',
    "auth_tcp": '"none"',
    "mdns_adv": "0",
}
NONLOCAL = "/etc/sysctl.d/zz-cloudstack-libvirt.conf"
"""The last file counts (sysctl.d(5)), and 99-… is a usual name of others."""


@deploy("Libvirt")
def libvirt() -> None:
    """Have libvirt and QEMU installed, new enough, and libvirtd listening for migrations.

    It listens on the management address alone, by which CloudStack has hosts migrate guests.
    """
    settings = inventory.settings()
    added = host.get_fact(AddedHost)
    packages.installed(
        name="Install libvirt and QEMU",
        packages=settings.libvirt.libvirt_packages,
        platform=settings.platform,
    )
    hypervisor.minimum_versions(
        name="Check the versions of libvirt and QEMU",
        libvirt=settings.libvirt.libvirt_minimum,
        qemu=settings.libvirt.qemu_minimum,
    )
    # else it would not start: at boot, and in the run that is about to change the address
    sysctl.parameter(
        name="Let libvirtd listen on an address before the host has it",
        parameter="net.ipv4.ip_nonlocal_bind",
        value="1",
        path=NONLOCAL,
    )
    daemon = files.keys(
        name="Have libvirtd listen for TCP connections",
        path="/etc/libvirt/libvirtd.conf",
        values=_libvirtd(settings, added),
        style=LIBVIRT,
    )
    arguments = files.keys(
        name="Start libvirtd with --listen",
        path=settings.libvirt.libvirtd_arguments_file,
        values=settings.libvirt.libvirtd_arguments,
        style=ARGUMENTS,
    )
    if settings.libvirt.libvirt_remote_mode:
        files.keys(
            name="Have clients use the monolithic libvirtd",
            path="/etc/libvirt/libvirt.conf",
            values={"remote_mode": f'"{settings.libvirt.libvirt_remote_mode}"'},
            style=LIBVIRT,
        )
    changes = [daemon, arguments]
    if settings.libvirt.libvirt_masked_units:
        changes += [
            systemd.mask(
                name="Mask the units that would listen or run in libvirtd's place",
                units=settings.libvirt.libvirt_masked_units,
                with_guests=settings.guard.restart_with_guests,
            )
        ]
    services.enabled(
        name="Run libvirtd",
        service=settings.libvirt.libvirt_service,
        platform=settings.platform,
        restart_after=tuple(changes),
        with_guests=settings.guard.restart_with_guests,
    )


def _libvirtd(settings: Settings, added: bool) -> dict[str, str]:
    """Return what libvirtd.conf has to say; where an added host listens is CloudStack's own.

    An added host gets another address only where a waiver says so.
    """
    address = {"listen_addr": f'"{settings.network.address.ip}"'}
    if not added:
        return LISTEN | address | LIBVIRTD
    return address | LIBVIRTD if "address" in settings.preparation.waived_checks else LIBVIRTD
