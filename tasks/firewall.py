"""Open the ports that CloudStack needs (guide, 'Configuring the firewall')."""

from pyinfra.api import deploy

from kvmhost import inventory
from kvmhost.firewall import ANYWHERE
from kvmhost.operations import firewalld, iptables, packages, ufw
from kvmhost.settings import Settings

SSH = ("22",)


@deploy("Firewall")
def firewall() -> None:
    """Have the ports open to those who need them; a firewall that is off stays off."""
    settings = inventory.settings()
    match settings.platform.firewall_backend:
        case "ufw":
            _ufw(settings)
        case "iptables":
            _iptables(settings)
        case "firewalld":
            _firewalld(settings)


def _ufw(settings: Settings) -> None:
    packages.installed(
        name="Install ufw",
        packages=("ufw",),
        platform=settings.platform,
    )
    ufw.allow(
        name="Open SSH to anyone, so that nobody is locked out", ports=SSH, sources=(ANYWHERE,)
    )
    ufw.allow(
        name="Open CloudStack's ports",
        ports=settings.firewall.firewall_ports,
        sources=_sources(settings),
    )
    ufw.forward_policy(name="Let the guests' packets through", policy="ACCEPT")


def _iptables(settings: Settings) -> None:
    iptables.ssh(name="Open SSH in iptables, unless something is said of it already", sources=None)
    iptables.accept(
        name="Open CloudStack's ports in iptables",
        ports=settings.firewall.firewall_ports,
        sources=_sources(settings),
    )


def _firewalld(settings: Settings) -> None:
    firewalld.ssh(
        name="Open SSH in firewalld, unless something is said of it already",
        sources=None,
        interface=settings.network.management,
    )
    firewalld.ports(
        name="Open CloudStack's ports in firewalld",
        ports=settings.firewall.firewall_ports,
        sources=_sources(settings),
        interface=settings.network.management,
    )


def _sources(settings: Settings) -> tuple[str, ...]:
    """Return who may connect: the hosts' own network and the management servers."""
    if settings.firewall.firewall_from_anywhere:
        return (ANYWHERE,)
    networks = (
        settings.network.address.network,
        *settings.firewall.management_servers,
        *settings.firewall.firewall_sources,
    )
    return tuple(dict.fromkeys(str(network) for network in networks))
