"""What a host's present definitions say beside the model: taken over, or named and refused.

What belongs to a device stays with it: its MTU, its hardware's options. What belongs to the
address moves to the management interface with it: static routes through its networks, name
servers. What fits neither would be lost, so the change is refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import TypeVar

from kvmhost.network.interfaces import Address, AddressWithPrefix, Interface, Options
from kvmhost.network.model import Network, TakenOver

_T = TypeVar("_T")


@dataclass(frozen=True)
class Resolvers:
    """How the host resolves names at present: addresses of servers, and domains to search."""

    servers: tuple[Address, ...] = ()
    search: tuple[str, ...] = ()


def taken_over(network: Network, found: Iterable[Interface], resolvers: Resolvers) -> Network:
    """Return the network with what the found definitions of its interfaces say besides.

    Raises ValueError, in a sentence for the administrator each, for what would be lost.
    """
    definitions = tuple(found)
    others = _of_other_names(network, definitions)
    network = replace(network, taken_over=TakenOver(interfaces=others))
    replaced = tuple(each for each in definitions if each.own or each.name in network.claims)
    if losses := (*_losses(network, replaced), *_contradictions(network, replaced)):
        raise ValueError(" ".join(losses))
    succession = [(each, _successor(network, each)) for each in replaced]
    kept = [(each, successor) for each, successor in succession if successor is not None]
    servers = _unique(server for each in replaced for server in each.dns_servers)
    search = _unique(domain for each in replaced for domain in each.dns_search)
    leased = any(each.dhcp for each in replaced)
    return replace(
        network,
        taken_over=TakenOver(
            interfaces=others,
            routes=_unique(route for each in replaced for route in each.routes),
            dns_servers=servers or (resolvers.servers if leased else ()),
            dns_search=search or (resolvers.search if leased else ()),
            addressing=_unique(option for each in replaced for option in each.addressing),
            mtus={successor.name: each.mtu for each, successor in kept if each.mtu is not None},
            hardware=_collected((successor.name, each.hardware) for each, successor in kept),
            options=_collected(
                (successor.name, each.options)
                for each, successor in kept
                if _keeps_options(network, each, successor)
            ),
        ),
    )


def _of_other_names(network: Network, found: Iterable[Interface]) -> frozenset[str]:
    """Name the VLAN interfaces that are ours by what they are, such as vlan100 on eth0."""
    return frozenset(
        each.name
        for each in found
        if each.kind == "vlan" and each.parent in network.lower and each.tag in network.tags
        if each.name not in network.claims
    )


def _successor(network: Network, replaced: Interface) -> Interface | None:
    """Find which of our interfaces takes the place of a definition."""
    ours = {interface.name: interface for interface in network.interfaces}
    if replaced.name in ours:
        return ours[replaced.name]
    alike = (
        interface
        for interface in network.interfaces
        if replaced.kind == interface.kind == "vlan"
        if (replaced.parent, replaced.tag) == (interface.parent, interface.tag)
    )
    return next(alike, None)


def _keeps_options(network: Network, replaced: Interface, successor: Interface) -> bool:
    """Whether what may need an address still has it, or never had one."""
    has_address = bool(replaced.addresses) or replaced.dhcp
    return not has_address or successor.name == network.management


def _losses(network: Network, replaced: Sequence[Interface]) -> Iterator[str]:
    for each in replaced:
        yield from _lost_routes(network, each)
        yield from _lost_options(network, each)
    yield from _lost_addresses(network, replaced)


def _contradictions(network: Network, replaced: Sequence[Interface]) -> Iterator[str]:
    """Name what two definitions of one device say differently of it."""
    said: dict[tuple[str, str], dict[str, None]] = {}
    for each in replaced:
        if successor := _successor(network, each):
            for key, value in each.hardware:
                said.setdefault((successor.name, key), {})[value] = None
    for (name, key), values in said.items():
        if len(values) > 1:
            yield f"{name} has {key} {' and '.join(values)}: only one can be had."


def _lost_routes(network: Network, replaced: Interface) -> Iterator[str]:
    addresses: list[AddressWithPrefix] = [network.address]
    addresses += [] if network.address6 is None else [network.address6]
    for route in replaced.routes:
        if not any(_reaches(address, route.via) for address in addresses):
            networks = " and ".join(str(address.network) for address in addresses)
            yield (
                f"The route {route} of {replaced.name} would be lost, "
                f"because its gateway is not in {networks}."
            )


def _reaches(address: AddressWithPrefix, gateway: Address) -> bool:
    if isinstance(address, IPv4Interface):
        return isinstance(gateway, IPv4Address) and gateway in address.network
    return isinstance(gateway, IPv6Address) and (
        gateway.is_link_local or gateway in address.network
    )


def _lost_options(network: Network, replaced: Interface) -> Iterator[str]:
    successor = _successor(network, replaced)
    # what is no NIC ends, and its hardware's options with it
    lost = replaced.hardware if successor is None and replaced.kind == "ethernet" else ()
    if not (successor and _keeps_options(network, replaced, successor)):
        lost += replaced.options
    if lost:
        said = "; ".join(f"{key} {value}" for key, value in lost)
        becomes = f"has no address as {successor.name}" if successor else "goes"
        yield f"{replaced.name} {becomes}, and what it says would be lost: {said}."


def _lost_addresses(network: Network, replaced: Sequence[Interface]) -> Iterator[str]:
    """Name addresses besides the one that ours takes the place of; ours may change."""
    found = [
        (each.name, address) for each in replaced if not each.own for address in each.addresses
    ]
    of_ipv4 = [(name, address) for name, address in found if address.version == 4]
    kept = _predecessor(network, replaced, [address for _, address in of_ipv4])
    for name, address in found:
        if address.version == 6 and not address.is_link_local and network.address6 is None:
            yield (
                f"The address {address} of {name} would be lost: "
                "make it management_address6, or take it out."
            )
        elif address.version == 4 and address != kept and address.ip != network.address.ip:
            yield (
                f"The address {address} of {name} would be lost beside {network.address}: "
                "only one can be had."
            )


def _predecessor(
    network: Network, replaced: Iterable[Interface], addresses: Sequence[AddressWithPrefix]
) -> AddressWithPrefix | None:
    """Find the IPv4 address that ours takes the place of: it is alone, or has the gateway."""
    if network.address.ip in {address.ip for address in addresses}:
        return network.address
    if len(addresses) == 1:
        return addresses[0]
    gateways = [gateway for each in replaced for gateway in each.gateways]
    with_gateway = (
        address
        for address in addresses
        if isinstance(address, IPv4Interface)
        if any(gateway in address.network for gateway in gateways)
    )
    return next(with_gateway, None)


def _unique(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))


def _collected(options: Iterable[tuple[str, Options]]) -> Mapping[str, Options]:
    """Put together what several definitions of one interface say."""
    found: dict[str, Options] = {}
    for name, more in options:
        if more:
            found[name] = _unique((*found.get(name, ()), *more))
    return found
