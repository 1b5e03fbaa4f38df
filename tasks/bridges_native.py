"""Configure native bridges (guide, 'Configure the network bridges')."""

from pyinfra.api import deploy

from kvmhost import inventory
from kvmhost.operations import files, network, packages

PACKAGES = {
    "ifupdown": ("bridge-utils", "ifupdown", "vlan"),
    "netplan": ("netplan.io",),
    "networkmanager": ("NetworkManager",),
    "ifcfg": ("bridge-utils", "initscripts"),
}


@deploy("Native bridges")
def bridges_native() -> None:
    """Have the VLANs and bridges, and the management address where the settings put it."""
    settings = inventory.settings()
    backend = settings.platform.network_backend
    if settings.network.bridge_type != "native" or backend == "unmanaged":
        return
    packages.installed(
        name="Install what the network's back end needs",
        packages=PACKAGES[backend],
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
    )
