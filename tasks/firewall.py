"""Open the ports that CloudStack needs (guide, 'Configuring the firewall')."""

from pyinfra.api import deploy

from kvmhost import inventory
from kvmhost.firewall import ANYWHERE
from kvmhost.operations import firewalld, iptables, packages, ufw
from kvmhost.settings import Settings


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
    ufw.defaults(
        name="Let the guests' packets through",
        values={"DEFAULT_FORWARD_POLICY": '"ACCEPT"'} | _ipv6(settings),
    )
    ufw.ssh(name="Open SSH, unless something is said of it already", sources=_ssh_sources(settings))
    ufw.allow(
        name="Open CloudStack's ports",
        ports=settings.firewall.firewall_ports,
        sources=_sources(settings),
    )


def _iptables(settings: Settings) -> None:
    iptables.ssh(
        name="Open SSH in iptables, unless something is said of it already",
        sources=_ssh_sources(settings),
    )
    iptables.accept(
        name="Open CloudStack's ports in iptables",
        ports=settings.firewall.firewall_ports,
        sources=_sources(settings),
    )


def _firewalld(settings: Settings) -> None:
    firewalld.ssh(
        name="Open SSH in firewalld, unless something is said of it already",
        sources=_ssh_sources(settings),
        interface=settings.network.management,
    )
    firewalld.ports(
        name="Open CloudStack's ports in firewalld",
        ports=settings.firewall.firewall_ports,
        sources=_sources(settings),
        interface=settings.network.management,
    )


def _sources(settings: Settings) -> tuple[str, ...]:
    """Return who may connect: the hosts' own networks and the management servers."""
    if settings.firewall.firewall_from_anywhere:
        return (ANYWHERE,)
    addresses = (settings.network.address, settings.network.address6)
    networks = (
        *(address.network for address in addresses if address),
        *settings.firewall.management_servers,
        *settings.firewall.firewall_sources,
    )
    return tuple(dict.fromkeys(str(network) for network in networks))


def _ssh_sources(settings: Settings) -> tuple[str, ...] | None:
    sources = settings.firewall.ssh_sources
    return None if sources is None else tuple(dict.fromkeys(map(str, sources)))


def _ipv6(settings: Settings) -> dict[str, str]:
    """Return what makes ufw mind IPv6: where it does not, it lets none of it in."""
    return {"IPV6": "yes"} if settings.network.address6 else {}
