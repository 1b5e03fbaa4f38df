"""Open the ports that CloudStack needs (guide, 'Configuring the firewall')."""

from pyinfra.api import deploy

from kvmhost import inventory
from kvmhost.firewall import ANYWHERE, IPNetwork
from kvmhost.network.model import Network
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
    if settings.firewall.vxlan_port:
        ufw.allow(
            name="Open VXLAN's port",
            ports=(str(settings.firewall.vxlan_port),),
            sources=_vxlan_sources(settings),
            protocol="udp",
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
    if settings.firewall.vxlan_port:
        iptables.accept(
            name="Open VXLAN's port in iptables",
            ports=(str(settings.firewall.vxlan_port),),
            sources=_vxlan_sources(settings),
            protocol="udp",
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
    if settings.firewall.vxlan_port:
        firewalld.ports(
            name="Open VXLAN's port in firewalld",
            ports=(str(settings.firewall.vxlan_port),),
            sources=_vxlan_sources(settings),
            interface=_vxlan_interface(settings.network),
            protocol="udp",
        )


def _sources(settings: Settings) -> tuple[str, ...]:
    """Return who may connect: the hosts' own networks and the management servers."""
    return _with_further(
        settings, (*_networks(settings.network), *settings.firewall.management_servers)
    )


def _vxlan_sources(settings: Settings) -> tuple[str, ...]:
    """Return who may send VXLAN's packets: hosts, from the addresses that their tunnels have."""
    network = settings.network
    tunnels = network.addresses.get(_vxlan_interface(network))
    return _with_further(settings, (tunnels.network,) if tunnels else _networks(network))


def _vxlan_interface(network: Network) -> str:
    """Return the interface from which CloudStack has VXLAN start: the guest label's, if it can."""
    guest = network.labels.guest
    return guest if guest in network.addresses else network.management


def _networks(network: Network) -> tuple[IPNetwork, ...]:
    return tuple(address.network for address in (network.address, network.address6) if address)


def _with_further(settings: Settings, sources: tuple[IPNetwork, ...]) -> tuple[str, ...]:
    if settings.firewall.firewall_from_anywhere:
        return (ANYWHERE,)
    return tuple(dict.fromkeys(map(str, (*sources, *settings.firewall.firewall_sources))))


def _ssh_sources(settings: Settings) -> tuple[str, ...] | None:
    sources = settings.firewall.ssh_sources
    return None if sources is None else tuple(dict.fromkeys(map(str, sources)))


def _ipv6(settings: Settings) -> dict[str, str]:
    """Return what makes ufw mind IPv6: where it does not, it lets none of it in."""
    return {"IPV6": "yes"} if settings.network.address6 else {}
