"""Configure native bridges (guide, 'Configure the network bridges')."""

from pyinfra.api import deploy

from kvmhost import inventory
from kvmhost.network.model import Network
from kvmhost.operations import cloudinit, files, network, packages
from kvmhost.settings import Platform

_PACKAGES = {
    "ifupdown": ("bridge-utils", "ifupdown", "procps", "vlan"),
    "netplan": ("netplan.io",),
    "networkmanager": ("NetworkManager",),
}
_BOND_PACKAGES = {"ifupdown": ("ifenslave",)}
"""What a back end needs for a bond besides."""


def needed(network: Network, platform: Platform) -> tuple[str, ...]:
    """Name the packages that the platform's back end needs for the network."""
    backend = platform.network_backend
    packages = {**_PACKAGES, "ifcfg": platform.network_scripts_packages}
    bond = _BOND_PACKAGES.get(backend, ()) if network.bonds else ()
    return (*packages[backend], *bond)


@deploy("Native bridges")
def bridges_native() -> None:
    """Have the VLANs and bridges, and the management address where the settings put it."""
    settings = inventory.settings()
    backend = settings.platform.network_backend
    if settings.network.bridge_type != "native" or backend == "unmanaged":
        return
    packages.installed(
        name="Install what the network's back end needs",
        packages=needed(settings.network, settings.platform),
        platform=settings.platform,
    )
    files.absent(
        name="Let the native bridge module in again",
        path="/etc/modprobe.d/cloudstack-openvswitch.conf",
    )
    network.configured(
        name="Configure VLANs, bridges and the management address",
        network=settings.network,
        backend=backend,
        timeout=settings.guard.network_confirm_timeout,
        with_guests=settings.guard.network_change_with_guests,
        renumber_added="address" in settings.preparation.waived_checks,
    )
    cloudinit.network_disabled(
        name="Have cloud-init leave the network alone",
    )
