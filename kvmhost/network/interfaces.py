"""Network interfaces as plain data: what the model means, what files define, what a host has."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from types import MappingProxyType
from typing import Literal

Address = IPv4Address | IPv6Address
AddressWithPrefix = IPv4Interface | IPv6Interface
Kind = Literal["ethernet", "bond", "vlan", "bridge"]
Options = tuple[tuple[str, str], ...]
"""Keys and values in a back end's own words; a key may be there several times."""
Devices = Mapping[str, str]
"""The name of the NIC that has a MAC address, which is in lower case."""
NO_DEVICES: Devices = MappingProxyType({})

MIIMON = 100
"""Milliseconds between two looks of a bond at its NICs' links (the kernel's bonding.rst)."""


@dataclass(frozen=True)
class Route:
    """A static route of the main table that is no default route; `metric` None: the back end's."""

    destination: IPv4Network | IPv6Network
    via: Address
    metric: int | None = None

    def __str__(self) -> str:
        metric = "" if self.metric is None else f" metric {self.metric}"
        return f"{self.destination} via {self.via}{metric}"


@dataclass(frozen=True)
class Vlan:
    """One VLAN of an uplink, by its 802.1Q tag, or its untagged frames, where that is None."""

    uplink: str
    tag: int | None

    @property
    def name(self) -> str:
        """The name of the interface on which these frames pass the uplink."""
        return self.uplink if self.tag is None else f"{self.uplink}.{self.tag}"


def reaches(address: AddressWithPrefix, gateway: Address) -> bool:
    """Whether a host with this address reaches a gateway without another one."""
    if isinstance(address, IPv4Interface):
        return isinstance(gateway, IPv4Address) and gateway in address.network
    return isinstance(gateway, IPv6Address) and (
        gateway.is_link_local or gateway in address.network
    )


@dataclass(frozen=True)
class Interface:
    """One interface and what sits on it; None and () mean that nothing is said about it.

    A VLAN interface has a `parent` and a `tag`; so has an Open vSwitch fake bridge, whose parent
    is the main bridge. The `ports` of a bond are its NICs, sorted, and `bond_mode` is the
    kernel's name for how it uses them; `bond_options` has more by the kernel's names, lacp_rate and
    xmit_hash_policy, and is only for what we render: what a definition says of them is in
    `hardware`. What is none of these is "ethernet". `forward_delay` is in seconds, `mtu` in bytes.

    `gateways` are the default gateways that would be preferred to ours, or no less than it: none
    of a table of its own, with a metric above ours, or that its back end is told not to use.
    `spare_gateways` are others of the main table, to which ours is preferred. `gateway_by_dhcp`
    says whether one that a lease brings would be preferred to ours, or no less than it. `starts`
    is whether the interface starts by itself, with the host or with its NIC.

    What the definition says besides is in `hardware`, `options` and `addressing`: `hardware` goes
    for the device, whoever has the address (a MAC address, offloads, what makes a bond of it),
    `options` may need the address and names its interface (a command), `addressing` moves with the
    address (a firewall's zone). `own` is a definition that we have written.
    """

    name: str
    kind: Kind
    parent: str | None = None
    tag: int | None = None
    ports: tuple[str, ...] = ()
    bond_mode: str | None = None
    bond_options: Options = ()
    stp: bool | None = None
    forward_delay: int | None = None
    mtu: int | None = None
    dhcp: bool = False
    addresses: tuple[AddressWithPrefix, ...] = ()
    gateways: tuple[Address, ...] = ()
    spare_gateways: tuple[Address, ...] = ()
    gateway_by_dhcp: bool = False
    routes: tuple[Route, ...] = ()
    dns_servers: tuple[Address, ...] = ()
    dns_search: tuple[str, ...] = ()
    hardware: Options = ()
    options: Options = ()
    addressing: Options = ()
    starts: bool = True
    own: bool = field(default=False, compare=False)

    @property
    def is_ovs_bridge(self) -> bool:
        """Whether Open vSwitch has this bridge: a native one always says something on STP."""
        return self.kind == "bridge" and self.stp is None

    @property
    def has_ipv6(self) -> bool:
        """Whether it has an IPv6 address that is written down; then none is taken from routers."""
        return any(address.version == 6 for address in self.addresses)

    @property
    def is_closed_to_ipv6(self) -> bool:
        """Whether routers are not listened to: a further address of IPv4, or none at all."""
        return not self.has_ipv6 and not self.gateways

    @property
    def below(self) -> tuple[str, ...]:
        """The names of the interfaces that this one is built on."""
        return self.ports if self.parent is None else (self.parent, *self.ports)


def bottom_up(interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Name the interfaces, and all that they are built on, each after what it is built on."""
    return tuple(TopologicalSorter(_below(interfaces)).static_order())


def _below(interfaces: Iterable[Interface]) -> dict[str, list[str]]:
    """Name what each interface is built on, by any of its definitions."""
    below: dict[str, list[str]] = {}
    for interface in interfaces:
        below.setdefault(interface.name, []).extend(interface.below)
    return below


def with_all_above(names: Iterable[str], interfaces: Iterable[Interface]) -> frozenset[str]:
    """Add to the names every interface that is built on one of them, however far above."""
    below = _below(interfaces)
    found = set(names)
    while above := {name for name, lower in below.items() if found.intersection(lower)} - found:
        found |= above
    return frozenset(found)


def all_below(names: Iterable[str], interfaces: Iterable[Interface]) -> frozenset[str]:
    """Add to the names every interface that one of them is built on, however far below."""
    below = _below(interfaces)
    found: set[str] = set()
    queue = set(names)
    while queue:
        found |= queue
        queue = {lower for name in queue for lower in below.get(name, ())} - found
    return frozenset(found)


def first(names: Iterable[str], order: Iterable[str], interfaces: Iterable[Interface]) -> list[str]:
    """Put the named interfaces, and what they are built on, first in an order; the rest stays."""
    soonest = all_below(names, interfaces)
    return sorted(order, key=lambda name: name not in soonest)


def conflicts(
    ours: Iterable[Interface], found: Iterable[Interface], gone: Set[str] = frozenset()
) -> tuple[str, ...]:
    """Say in one sentence each which found definitions cannot live beside ours.

    `found` may hold definitions of our own interfaces: those are going to be replaced, and are
    not looked at, nor is what does not start by itself. A name in `found` may be a shell pattern.
    `gone` names interfaces that will be no more.
    """
    mine = {interface.name: interface for interface in ours}
    foreign = [each for each in found if each.name not in mine and each.starts]
    return tuple(sentence for other in foreign for sentence in _clashes(mine, other, gone))


def _clashes(ours: Mapping[str, Interface], other: Interface, gone: Set[str]) -> Iterator[str]:
    for name, interface in ours.items():
        if fnmatchcase(name, other.name):
            yield f"The definition of {other.name} matches {name} too."
        if name in other.ports:
            yield f"{other.name} has {name} as a port."
        if interface.kind == "bond" and other.parent in interface.ports:
            yield f"{other.name} is built on {other.parent}, which {name} takes."
        for address in {address.ip for address in interface.addresses}:
            if address in {found.ip for found in other.addresses}:
                yield f"{other.name} has our address {address}."
    for lower in other.below:
        if lower in gone:
            yield f"{other.name} is built on {lower}, which goes."
    versions = {gateway.version for each in ours.values() for gateway in each.gateways}
    if not versions:
        return  # the host's default gateway is not ours to give
    for gateway in other.gateways:
        if gateway.version not in versions:
            continue
        yield (
            f"{other.name} has a default gateway of its own, {gateway}: "
            "give it a metric that is higher than ours, or a table of its own."
        )
    if other.gateway_by_dhcp:
        yield (
            f"{other.name} takes a default gateway by DHCP, which would be preferred to ours, or "
            "no less than it: give it a metric that is higher."
        )
