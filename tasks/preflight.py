"""Check every host, then give it its name (guide, 'Prepare the Operating System', steps 1 to 3)."""

from pyinfra.api import deploy

from kvmhost import gate, inventory
from kvmhost.operations import hostname, packages


@deploy("Preflight")
def preflight() -> None:
    """Stop the run unless every host can become a hypervisor; then name and update the host."""
    settings = inventory.settings()
    gate.pass_all()
    hostname.qualified(
        name="Set the fully qualified name",
        fqdn=settings.preparation.hostname,
        address=settings.network.address.ip,
    )
    if settings.preparation.apply_updates:
        packages.updated(
            name="Install the distribution's latest updates",
            platform=settings.platform,
        )
