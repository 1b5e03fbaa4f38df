"""Open the ports that CloudStack needs (guide, 'Configuring the firewall')."""

from pyinfra.api import deploy

from kvmhost import inventory
from kvmhost.firewall import ANYWHERE, IPNetwork
from kvmhost.network.model import Network
from kvmhost.operations import firewalld, firewalls, iptables, packages, ufw
from kvmhost.settings import Settings


@deploy("Firewall")
def firewall() -> None:
    """Have the ports open to those who need them, and the firewall on where that is asked for."""
    settings = inventory.settings()
    match settings.platform.firewall_backend:
        case "ufw":
            _ufw(settings)
        case "iptables":
            _iptables(settings)
        case "firewalld":
            _firewalld(settings)
    if settings.firewall.firewall_enabled:
        firewalls.enabled(
            name="Have the firewall on, and the guests' packets let through",
            backend=settings.platform.firewall_backend,
            timeout=settings.guard.network_confirm_timeout,
            with_guests=settings.guard.network_change_with_guests,
        )


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
    if _is_to_be_installed(settings):
        packages.installed(
            name="Install iptables' services",
            packages=("iptables-services",),
            platform=settings.platform,
        )
    iptables.ssh(
        name="Open SSH in iptables, unless something is said of it already",
        sources=_ssh_sources(settings),
        while_off=_is_to_be_on(settings),
    )
    iptables.accept(
        name="Open CloudStack's ports in iptables",
        ports=settings.firewall.firewall_ports,
        sources=_sources(settings),
        while_off=_is_to_be_on(settings),
    )
    if settings.firewall.vxlan_port:
        iptables.accept(
            name="Open VXLAN's port in iptables",
            ports=(str(settings.firewall.vxlan_port),),
            sources=_vxlan_sources(settings),
            protocol="udp",
            while_off=_is_to_be_on(settings),
        )


def _firewalld(settings: Settings) -> None:
    if _is_to_be_installed(settings):
        packages.installed(
            name="Install firewalld",
            packages=("firewalld",),
            platform=settings.platform,
        )
    firewalld.ssh(
        name="Open SSH in firewalld, unless something is said of it already",
        sources=_ssh_sources(settings),
        interface=settings.network.management,
        while_off=_is_to_be_on(settings),
    )
    firewalld.ports(
        name="Open CloudStack's ports in firewalld",
        ports=settings.firewall.firewall_ports,
        sources=_sources(settings),
        interface=settings.network.management,
        while_off=_is_to_be_on(settings),
    )
    if settings.firewall.vxlan_port:
        firewalld.ports(
            name="Open VXLAN's port in firewalld",
            ports=(str(settings.firewall.vxlan_port),),
            sources=_vxlan_sources(settings),
            interface=_vxlan_interface(settings.network),
            protocol="udp",
            while_off=_is_to_be_on(settings),
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
    """Return what makes ufw mind IPv6: where it does not, it lets none of it in or through."""
    return {"IPV6": "yes"} if settings.network.address6 or _is_to_be_on(settings) else {}


def _is_to_be_on(settings: Settings) -> bool:
    return settings.firewall.firewall_enabled is True


def _is_to_be_installed(settings: Settings) -> bool:
    """Return whether a service that is to be on may be installed: by apt it would start at once."""
    return _is_to_be_on(settings) and settings.platform.package_manager != "apt"
