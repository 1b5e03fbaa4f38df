"""What a host's present definitions say beside the model: taken over, or named and refused.

What belongs to a device stays with it: its MTU, its hardware's options. What belongs to an
address moves to the interface that gets it: static routes through its networks, and name servers
with the management address. What fits neither would be lost, so the change is refused.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from kvmhost.network.interfaces import Address, AddressWithPrefix, Interface, Route, reaches
from kvmhost.network.model import Network, TakenOver

_T = TypeVar("_T")


@dataclass(frozen=True)
class Resolvers:
    """How the host resolves names at present: addresses of servers, and domains to search."""

    servers: tuple[Address, ...] = ()
    search: tuple[str, ...] = ()


def taken_over(
    network: Network,
    found: Iterable[Interface],
    resolvers: Resolvers,
    addressed: Collection[str] = frozenset(),
) -> Network:
    """Return the network with what the found definitions of its interfaces say besides.

    `addressed` names the interfaces that have an address at present, be it from a lease.

    Raises ValueError, in a sentence for the administrator each, for what would be lost.
    """
    definitions = tuple(found)
    others = _of_other_names(network, definitions)
    network = replace(network, taken_over=TakenOver(interfaces=others))
    replaced = tuple(each for each in definitions if each.own or each.name in network.claims)
    management = _predecessor(network, replaced)
    losses = (
        *_losses(network, replaced, management, addressed),
        *_contradictions(network, replaced),
    )
    if losses:
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
                (_interface_to(network, each, route, management), (route,))
                for each in replaced
                for route in each.routes
            ),
            addressing=_collected(
                (_heir(network, each, management), each.addressing) for each in replaced
            ),
            mtus={
                successor.name: each.mtu
                for each, successor in kept
                if each.mtu is not None and _is_as_wide(each, successor)
            },
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


def _is_as_wide(replaced: Interface, successor: Interface) -> bool:
    """Whether an MTU goes with the device: what is built on another one has that one's."""
    return successor.kind not in ("bridge", "vlan") or replaced.below == successor.below


def _heir(network: Network, replaced: Interface, management: str | None) -> str | None:
    """Name the interface that has an address in place of a definition's; None if none has.

    `management` names the one whose place the management interface takes.
    """
    successor = _successor(network, replaced)
    if successor and successor.addresses:
        return successor.name
    return network.management if replaced.name == management else None


def _interface_to(
    network: Network, replaced: Interface, route: Route, management: str | None
) -> str | None:
    """Name the interface for a route; a link-local gateway is that of one link only."""
    if route.via.is_link_local:
        heir = _heir(network, replaced, management)
        return heir if any(reaches(each, route.via) for each in _addresses(network, heir)) else None
    return network.interface_to(route.via)


def _addresses(network: Network, name: str | None) -> tuple[AddressWithPrefix, ...]:
    return next((each.addresses for each in network.interfaces if each.name == name), ())


def _predecessor(network: Network, replaced: Sequence[Interface]) -> str | None:
    """Name the interface whose place the management interface takes, if any had an address.

    It has our address already, or else the default gateway, or our name, or it is alone.
    """
    if network.is_kept:
        return None
    ours = {network.address.ip, *([] if network.address6 is None else [network.address6.ip])}
    others = {address.ip for address in network.addresses.values()}
    candidates = [
        each
        for each in replaced
        if each.dhcp or any(not address.is_link_local for address in each.addresses)
    ]
    signs: tuple[Callable[[Interface], bool], ...] = (
        lambda each: not ours.isdisjoint(address.ip for address in each.addresses),
        lambda each: bool(each.gateways or each.spare_gateways),
        lambda each: each.name == network.management,
        lambda each: each.gateway_by_dhcp,
        lambda each: each.dhcp or others.isdisjoint(address.ip for address in each.addresses),
    )
    found = (each.name for sign in signs for each in candidates if sign(each))
    return next(found, None)


def _losses(
    network: Network,
    replaced: Sequence[Interface],
    management: str | None,
    addressed: Collection[str],
) -> Iterator[str]:
    for each in replaced:
        yield from _lost_of_ours(network, each)
        yield from _lost_routes(network, each, management)
        yield from _lost_options(network, each, management)
        beside = [
            address
            for other in replaced
            if other.name == each.name and not other.own
            for address in other.addresses
        ]
        yield from _lost_addresses(network, each, management, addressed, beside)


def _lost_of_ours(network: Network, replaced: Interface) -> Iterator[str]:
    """Name what an earlier network of ours defines, and cannot leave to somebody else."""
    if replaced.name in network.kept:
        yield (
            f"{replaced.name} is one of kept_interfaces, but what defines it is an earlier "
            "network of ours, which goes: define it elsewhere first."
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


def _lost_routes(network: Network, replaced: Interface, management: str | None) -> Iterator[str]:
    if replaced.own and (network.routes is not None or not replaced.gateways):
        return  # the settings say them, or have taken out the address that they went with
    for route in replaced.routes:
        if _interface_to(network, replaced, route, management) is None:
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


def _lost_options(network: Network, replaced: Interface, management: str | None) -> Iterator[str]:
    successor = _successor(network, replaced)
    is_further = replaced.name != management and replaced.kind != "ethernet"
    if replaced.own and is_further and successor is None:
        return  # the settings have taken out what it all went with
    # what is no NIC ends, and its hardware's options with it
    lost = replaced.hardware if successor is None and replaced.kind == "ethernet" else ()
    if not (successor and _keeps_options(network, replaced, successor)):
        lost += replaced.options
    without_address = not (replaced.addresses or replaced.dhcp)  # else that would be lost too
    if without_address and _heir(network, replaced, management) is None and not replaced.own:
        lost += replaced.addressing
        lost += tuple(("name server", str(server)) for server in replaced.dns_servers)
        lost += tuple(("domain", domain) for domain in replaced.dns_search)
    if lost:
        said = "; ".join(f"{key} {value}" for key, value in lost)
        becomes = f"has no address as {successor.name}" if successor else "goes"
        yield f"{replaced.name} {becomes}, and what it says would be lost: {said}."


def _lost_addresses(
    network: Network,
    replaced: Interface,
    management: str | None,
    addressed: Collection[str],
    beside: Sequence[AddressWithPrefix],
) -> Iterator[str]:
    """Name addresses, leases and default gateways that ours do not take the place of."""
    if replaced.own:
        return
    name, heir = replaced.name, _heir(network, replaced, management)
    if heir != network.management:
        for gateway in (*replaced.gateways, *replaced.spare_gateways):
            yield f"The default gateway {gateway} of {name} would be lost: take it out."
    if heir is None and replaced.dhcp and name in addressed:
        yield f"The address that {name} has by DHCP would be lost: take its DHCP out first."
    ours = {address.ip for each in network.interfaces for address in each.addresses}
    for address in replaced.addresses:
        if address.ip in ours or address.is_link_local:
            continue
        if not _is_succeeded(network, replaced, heir, address, beside):
            place = "" if address.version == 6 else f" beside {network.address}"
            key = "management_address6" if address.version == 6 else "one of addresses"
            yield (
                f"The address {address} of {name} would be lost{place}: "
                f"make it {key}, or take it out."
            )


def _is_succeeded(
    network: Network,
    replaced: Interface,
    heir: str | None,
    address: AddressWithPrefix,
    beside: Sequence[AddressWithPrefix],
) -> bool:
    """Whether ours takes the place of an address: of several, it is the one with the gateway.

    `beside` are all addresses of the same interface.
    """
    found = [each for each in beside if each.version == address.version]
    ours = {each.ip for each in _addresses(network, heir) if each.version == address.version}
    if not ours or any(each.ip in ours for each in found):
        return False
    gateways = (*replaced.gateways, *replaced.spare_gateways)
    with_gateway = [each for each in found if any(reaches(each, gateway) for gateway in gateways)]
    return address == with_gateway[0] if with_gateway else len(found) == 1


def _unique(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))


def _collected(said: Iterable[tuple[str | None, tuple[_T, ...]]]) -> Mapping[str, tuple[_T, ...]]:
    """Put together what several definitions say of one interface."""
    found: dict[str, tuple[_T, ...]] = {}
    for name, more in said:
        if name is not None and more:
            found[name] = _unique((*found.get(name, ()), *more))
    return found
