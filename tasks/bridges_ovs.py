"""Configure Open vSwitch (guide, 'Configure the network using OpenVswitch')."""

from pyinfra.api import deploy

from kvmhost import inventory, templates
from kvmhost.network.model import Network
from kvmhost.operations import cloudinit, files, modules, network, packages, services
from kvmhost.settings import Platform
from tasks import bridges_native

OPENVSWITCH = {"apt": "openvswitch-switch", "dnf": "openvswitch", "yum": "openvswitch"}
"""The name of Open vSwitch's service, and as a rule of its package, by package manager."""
MODULES = "/etc/modprobe.d/cloudstack-openvswitch.conf"


def needed(network: Network, platform: Platform) -> tuple[str, ...]:
    """Name the packages of Open vSwitch, and those that the platform's back end needs."""
    openvswitch = platform.openvswitch_packages or (OPENVSWITCH[platform.package_manager],)
    return (*openvswitch, *bridges_native.needed(network, platform))


@deploy("Open vSwitch")
def bridges_ovs() -> None:
    """Have the fake bridges, with the management address on theirs, and no native bridge."""
    settings = inventory.settings()
    backend = settings.platform.network_backend
    if settings.network.bridge_type != "openvswitch" or backend == "unmanaged":
        return
    packages.installed(
        name="Install Open vSwitch",
        packages=needed(settings.network, settings.platform),
        platform=settings.platform,
    )
    services.enabled(
        name="Run Open vSwitch",
        service=OPENVSWITCH[settings.platform.package_manager],
        platform=settings.platform,
    )
    network.configured(
        name="Configure Open vSwitch and the management address",
        network=settings.network,
        backend=backend,
        timeout=settings.guard.network_confirm_timeout,
        with_guests=settings.guard.network_change_with_guests,
        renumber_added="address" in settings.preparation.waived_checks,
    )
    cloudinit.network_disabled(
        name="Have cloud-init leave the network alone",
    )
    files.content(
        name="Keep the native bridge module out",
        path=MODULES,
        text=templates.render(MODULES),
    )
    modules.unloaded(
        name="Unload the native bridge module",
        module="bridge",
        dependents=("br_netfilter",),
    )
