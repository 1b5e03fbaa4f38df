"""What a host's present definitions say beside the model: taken over, or named and refused.

What belongs to a device stays with it: its MTU, its hardware's options. What belongs to an
address moves to the interface that gets it: static routes through its networks, and name servers
with the management address. What fits neither would be lost, so the change is refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface
from typing import TypeVar

from kvmhost.network.interfaces import Address, AddressWithPrefix, Interface, Route
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
            dns_servers=servers or (resolvers.servers if leased else ()),
            dns_search=search or (resolvers.search if leased else ()),
            routes=_collected(
                (network.interface_to(route.via), (route,))
                for each in replaced
                for route in each.routes
            ),
            addressing=_collected((_heir(network, each), each.addressing) for each in replaced),
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
    used = {
        (lower, tag)
        for uplink in network.uplinks
        for lower in uplink.lower
        for tag in network.tags(uplink)
    }
    return frozenset(
        each.name
        for each in found
        if each.kind == "vlan" and (each.parent, each.tag) in used
        if each.name not in (*network.claims, *network.kept)
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
    return not has_address or bool(successor.addresses)


def _heir(network: Network, replaced: Interface) -> str:
    """Name the interface that has the address in place of a definition's."""
    successor = _successor(network, replaced)
    return successor.name if successor and successor.addresses else network.management


def _losses(network: Network, replaced: Sequence[Interface]) -> Iterator[str]:
    for each in replaced:
        if each.name in network.kept:
            yield (
                f"{each.name} is one of kept_interfaces, but what defines it is an earlier "
                "network of ours, which goes: define it elsewhere first."
            )
        yield from _lost_routes(network, each)
        yield from _lost_options(network, each)
    yield from _lost_addresses(network, replaced)
    if network.is_kept:
        yield from _lost_beside_kept(network, replaced)


def _lost_beside_kept(network: Network, replaced: Sequence[Interface]) -> Iterator[str]:
    """Name what would go with the management address, if that were ours to define."""
    for each in replaced:
        said = [*map(str, each.dns_servers), *each.dns_search]
        if _heir(network, each) == network.management:
            said += [f"{key} {value}" for key, value in each.addressing]
        if said:
            yield (
                f"What {each.name} says would be lost, "
                f"because {network.management} is kept as it is: {'; '.join(said)}."
            )


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
    if replaced.own and (network.routes is not None or not replaced.gateways):
        return  # the settings say them, or have taken out the address that they went with
    for route in replaced.routes:
        if network.interface_to(route.via) is None:
            networks = " and ".join(
                str(address.network)
                for interface in network.interfaces
                for address in interface.addresses
            )
            yield (
                f"The route {route} of {replaced.name} would be lost, "
                f"because its gateway is not in {networks or 'a network of ours'}."
            )
        elif not _is_named(network, route):
            yield f"The route {route} of {replaced.name} would be lost: name it in routes."


def _is_named(network: Network, route: Route) -> bool:
    """Whether the settings have a route, or leave routes as they are."""
    said = (route.destination, route.via)
    routes = network.routes
    return routes is None or said in {(each.destination, each.via) for each in routes}


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
    """Name addresses besides those that ours take the place of; ours may change."""
    ours = {address.ip for each in network.interfaces for address in each.addresses}
    found = [
        (each.name, address)
        for each in replaced
        if not each.own
        for address in each.addresses
        if address.ip not in ours and not _is_succeeded(network, each, address)
    ]
    of_ipv4 = [address for _, address in found if address.version == 4]
    kept = _predecessor(network, replaced, of_ipv4)
    for name, address in found:
        if address.version == 6 and not address.is_link_local and network.address6 is None:
            yield (
                f"The address {address} of {name} would be lost: "
                "make it management_address6, or take it out."
            )
        elif address.version == 4 and address != kept:
            yield (
                f"The address {address} of {name} would be lost beside {network.address}: "
                "make it one of addresses, or take it out."
            )


def _is_succeeded(network: Network, replaced: Interface, address: AddressWithPrefix) -> bool:
    """Whether one of `addresses` is of the same interface and of the same family."""
    successor = _successor(network, replaced)
    ours = network.addresses.get(successor.name) if successor else None
    return ours is not None and ours.version == address.version


def _predecessor(
    network: Network, replaced: Iterable[Interface], addresses: Sequence[AddressWithPrefix]
) -> AddressWithPrefix | None:
    """Find the IPv4 address that ours takes the place of: it is alone, or has the gateway.

    `addresses` are those that are none of ours: if ours is there already, or is not ours to
    give, it takes no other's place.
    """
    there = {address.ip for each in replaced for address in each.addresses}
    if network.is_kept or network.address.ip in there:
        return None
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


def _collected(said: Iterable[tuple[str | None, tuple[_T, ...]]]) -> Mapping[str, tuple[_T, ...]]:
    """Put together what several definitions say of one interface."""
    found: dict[str, tuple[_T, ...]] = {}
    for name, more in said:
        if name is not None and more:
            found[name] = _unique((*found.get(name, ()), *more))
    return found
