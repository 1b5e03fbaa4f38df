"""What a host's present definitions say beside the model: taken over, or named and refused.

What belongs to a device stays with it: its MTU, its hardware's options. What belongs to an
address moves to the interface that gets it: static routes through its networks, and name servers
with the management address. What fits neither would be lost, so the change is refused.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from kvmhost.network.interfaces import Address, Interface, Route
from kvmhost.network.model import Network, TakenOver
from kvmhost.network.succession import Succession

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
    succession = Succession(network, replaced)
    losses = (*_losses(succession, addressed), *_contradictions(succession))
    if losses:
        raise ValueError(" ".join(losses))
    successors = [(each, succession.successor(each)) for each in replaced]
    kept = [(each, successor) for each, successor in successors if successor is not None]
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
                (succession.interface_to(each, route), (route,))
                for each in replaced
                for route in each.routes
            ),
            addressing=_collected((succession.heir(each), each.addressing) for each in replaced),
            mtus={
                successor.name: each.mtu
                for each, successor in kept
                if each.mtu is not None and _is_as_wide(each, successor)
            },
            hardware=_collected((successor.name, each.hardware) for each, successor in kept),
            options=_collected(
                (successor.name, each.options)
                for each, successor in kept
                if succession.keeps_options(each, successor)
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


def _is_as_wide(replaced: Interface, successor: Interface) -> bool:
    """Whether an MTU goes with the device: what is built on another one has that one's."""
    return successor.kind not in ("bridge", "vlan") or replaced.below == successor.below


def _losses(succession: Succession, addressed: Collection[str]) -> Iterator[str]:
    for each in succession.replaced:
        if each.name in succession.network.kept:
            yield (
                f"{each.name} is one of kept_interfaces, but what defines it is an earlier "
                "network of ours, which goes: define it elsewhere first."
            )
        yield from _lost_routes(succession, each)
        yield from _lost_options(succession, each)
        if not each.own:
            yield from _lost_gateways(succession, each)
            yield from _lost_addresses(succession, each, addressed)


def _contradictions(succession: Succession) -> Iterator[str]:
    """Name what two definitions of one device say differently of it."""
    said: dict[tuple[str, str], dict[str, None]] = {}
    for each in succession.replaced:
        if successor := succession.successor(each):
            for key, value in each.hardware:
                said.setdefault((successor.name, key), {})[value] = None
    for (name, key), values in said.items():
        if len(values) > 1:
            yield f"{name} has {key} {' and '.join(values)}: only one can be had."


def _lost_routes(succession: Succession, replaced: Interface) -> Iterator[str]:
    network = succession.network
    if replaced.own and (network.routes is not None or not replaced.gateways):
        return  # the settings say them, or have taken out the address that they went with
    for route in replaced.routes:
        if succession.interface_to(replaced, route) is None:
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


def _lost_options(succession: Succession, replaced: Interface) -> Iterator[str]:
    successor = succession.successor(replaced)
    is_further = replaced.name != succession.management and replaced.kind != "ethernet"
    if replaced.own and is_further and successor is None:
        return  # the settings have taken out what it all went with
    # what is no NIC ends, and its hardware's options with it
    lost = replaced.hardware if successor is None and replaced.kind == "ethernet" else ()
    if not (successor and succession.keeps_options(replaced, successor)):
        lost += replaced.options
    has_address = replaced.addresses or replaced.dhcp  # which would be lost, too
    if not (has_address or replaced.own or succession.heir(replaced)):
        lost += replaced.addressing
        lost += tuple(("name server", str(server)) for server in replaced.dns_servers)
        lost += tuple(("domain", domain) for domain in replaced.dns_search)
    if lost:
        said = "; ".join(f"{key} {value}" for key, value in lost)
        becomes = f"has no address as {successor.name}" if successor else "goes"
        yield f"{replaced.name} {becomes}, and what it says would be lost: {said}."


def _lost_gateways(succession: Succession, replaced: Interface) -> Iterator[str]:
    if succession.heir(replaced) != succession.network.management:
        for gateway in (*replaced.gateways, *replaced.spare_gateways):
            yield f"The default gateway {gateway} of {replaced.name} would be lost: take it out."


def _lost_addresses(
    succession: Succession, replaced: Interface, addressed: Collection[str]
) -> Iterator[str]:
    """Name the addresses, and the lease in use, that ours do not take the place of."""
    network, name = succession.network, replaced.name
    if replaced.dhcp and name in addressed and succession.heir(replaced) is None:
        yield f"The address that {name} has by DHCP would be lost: take its DHCP out first."
    ours = {address.ip for each in network.interfaces for address in each.addresses}
    for address in replaced.addresses:
        if address.ip in ours or address.is_link_local:
            continue
        if not succession.is_succeeded(replaced, address):
            place = "" if address.version == 6 else f" beside {network.address}"
            key = "management_address6" if address.version == 6 else "one of addresses"
            yield (
                f"The address {address} of {name} would be lost{place}: "
                f"make it {key}, or take it out."
            )


def _unique(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))


def _collected(said: Iterable[tuple[str | None, tuple[_T, ...]]]) -> Mapping[str, tuple[_T, ...]]:
    """Put together what several definitions say of one interface."""
    found: dict[str, tuple[_T, ...]] = {}
    for name, more in said:
        if name is not None and more:
            found[name] = _unique((*found.get(name, ()), *more))
    return found
