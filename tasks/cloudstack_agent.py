"""Install and configure the agent (guide, 'Install and configure the Agent')."""

from pyinfra import host
from pyinfra.api import deploy

from kvmhost import inventory, templates
from kvmhost.facts.cloudstack import AddedHost
from kvmhost.keyvalue import PROPERTIES
from kvmhost.operations import files, libvirt, packages, services
from kvmhost.settings import Agent, Settings

OVS_VIF_DRIVER = "com.cloud.hypervisor.kvm.resource.OvsVifDriver"


@deploy("CloudStack agent")
def cloudstack_agent() -> None:
    """Have the agent installed from CloudStack's repository, and its properties set."""
    settings = inventory.settings()
    added = host.get_fact(AddedHost)
    packages.installed(
        name="Install what CloudStack's repository needs",
        packages=settings.agent.cloudstack_requisites,
        platform=settings.platform,
    )
    packages.signing_key(
        name="Fetch the key that signs CloudStack's packages",
        url=settings.agent.cloudstack_key,
        path=settings.agent.cloudstack_key_file,
        repository=settings.agent.cloudstack_repository_file,
        sha256=settings.agent.cloudstack_key_sha256,
    )
    files.content(
        name="Name CloudStack's repository",
        path=settings.agent.cloudstack_repository_file,
        text=templates.render(settings.agent.cloudstack_repository_file, agent=settings.agent),
    )
    packages.installed(
        name="Install the agent",
        packages=("cloudstack-agent",),
        platform=settings.platform,
    )
    if settings.agent.guest_cpu_model:
        libvirt.guest_cpu(
            name="Check that this host runs the guests' CPU",
            model=settings.agent.guest_cpu_model,
            features=settings.agent.guest_cpu_features,
            judged=settings.preparation.require_hvm
            and "guest CPU" not in settings.preparation.waived_checks,
        )
    properties = files.keys(
        name="Set the agent's properties",
        path="/etc/cloudstack/agent/agent.properties",
        values=_properties(settings, added),
        style=PROPERTIES,
    )
    services.enabled(
        name="Enable the agent; CloudStack starts it when it adds the host",
        service="cloudstack-agent",
        platform=settings.platform,
        running=added,
        restart_after=(properties,),
        with_guests=settings.guard.restart_with_guests,
    )


def _properties(settings: Settings, added: bool) -> dict[str, str | None]:
    openvswitch = settings.network.bridge_type == "openvswitch"
    properties = {
        "network.bridge.type": settings.network.bridge_type,
        "libvirt.vif.driver": OVS_VIF_DRIVER if openvswitch else None,
        **_guest_cpu(settings.agent),
        **{key: str(value) for key, value in settings.agent.agent_properties.items()},
    }
    return properties if added else properties | _traffic_labels(settings)


def _guest_cpu(agent: Agent) -> dict[str, str | None]:
    """Return the guests' CPU (guide, 'Configure CPU model for KVM guest')."""
    if agent.guest_cpu_mode is None:
        return {}
    return {
        "guest.cpu.mode": agent.guest_cpu_mode,
        "guest.cpu.model": agent.guest_cpu_model,
        "guest.cpu.features": " ".join(agent.guest_cpu_features) or None,
    }


def _traffic_labels(settings: Settings) -> dict[str, str | None]:
    """Return the zone's traffic labels; CloudStack overwrites them when it adds the host."""
    return {
        "private.network.device": settings.network.labels.management,
        "public.network.device": settings.network.labels.public,
        "guest.network.device": settings.network.labels.guest,
    }
