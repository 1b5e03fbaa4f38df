"""Check every host, then give it its name (guide, 'Prepare the Operating System', steps 1 to 3)."""

from pyinfra.api import deploy

from kvmhost import gate, inventory
from kvmhost.operations import hostname, packages


@deploy("Preflight")
def preflight() -> None:
    """Stop the run unless every host can become a hypervisor; then name and update the host."""
    settings = inventory.settings()
    gate.pass_all()
    if settings.platform.package_manager != "apt" and settings.agent.cloudstack_gpgcheck:
        packages.acceptable_key(
            name="Check that rpm takes the key of CloudStack's packages",
            url=settings.agent.cloudstack_key,
            sha256=settings.agent.cloudstack_key_sha256,
            package="cloudstack-agent",
        )
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
