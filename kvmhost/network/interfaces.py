"""Network interfaces as plain data: what the model means, what files define, what a host has."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Literal

Address = IPv4Address | IPv6Address
AddressWithPrefix = IPv4Interface | IPv6Interface
Kind = Literal["ethernet", "bond", "vlan", "bridge"]

MIIMON = 100
"""Milliseconds between two looks of a bond at its NICs' links (the kernel's bonding.rst)."""


@dataclass(frozen=True)
class Interface:
    """One interface and what sits on it; None and () mean that nothing is said about it.

    A VLAN interface has a `parent` and a `tag`; so has an Open vSwitch fake bridge, whose parent
    is the main bridge. The `ports` of a bond are its NICs, sorted, and `bond_mode` is the
    kernel's name for how it uses them. What is none of these is "ethernet". `forward_delay` is
    in seconds, `mtu` in bytes.
    """

    name: str
    kind: Kind
    parent: str | None = None
    tag: int | None = None
    ports: tuple[str, ...] = ()
    bond_mode: str | None = None
    stp: bool | None = None
    forward_delay: int | None = None
    mtu: int | None = None
    dhcp: bool = False
    addresses: tuple[AddressWithPrefix, ...] = ()
    gateways: tuple[Address, ...] = ()
    dns_servers: tuple[Address, ...] = ()
    dns_search: tuple[str, ...] = ()

    @property
    def is_ovs_bridge(self) -> bool:
        """Whether Open vSwitch has this bridge: a native one always says something on STP."""
        return self.kind == "bridge" and self.stp is None

    @property
    def has_ipv6(self) -> bool:
        """Whether it has an IPv6 address that is written down; then none is taken from routers."""
        return any(address.version == 6 for address in self.addresses)

    @property
    def below(self) -> tuple[str, ...]:
        """The names of the interfaces that this one is built on."""
        return self.ports if self.parent is None else (self.parent, *self.ports)


def bottom_up(interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Name the interfaces, and all that they are built on, each after what it is built on."""
    return tuple(TopologicalSorter({i.name: i.below for i in interfaces}).static_order())


def with_all_above(names: Iterable[str], interfaces: Iterable[Interface]) -> frozenset[str]:
    """Add to the names every interface that is built on one of them, however far above."""
    below = {interface.name: set(interface.below) for interface in interfaces}
    found = set(names)
    while above := {name for name, lower in below.items() if lower & found} - found:
        found |= above
    return frozenset(found)


def conflicts(ours: Iterable[Interface], found: Iterable[Interface]) -> tuple[str, ...]:
    """Say in one sentence each which found definitions cannot live beside ours.

    `found` may hold definitions of our own interfaces: those are going to be replaced, and are
    not looked at. A name in `found` may be a shell pattern.
    """
    mine = {interface.name: interface for interface in ours}
    foreign = [interface for interface in found if interface.name not in mine]
    return tuple(sentence for other in foreign for sentence in _clashes(mine, other))


def _clashes(ours: Mapping[str, Interface], other: Interface) -> Iterator[str]:
    for name, interface in ours.items():
        if fnmatchcase(name, other.name):
            yield f"The definition of {other.name} matches {name} too."
        if name in other.ports:
            yield f"{other.name} has {name} as a port."
        if interface.kind == other.kind == "vlan" and _vlan(interface) == _vlan(other):
            yield f"{other.name} is VLAN {other.tag} on {other.parent} already."
        if interface.kind == "bond" and other.parent in interface.ports:
            yield f"{other.name} is built on {other.parent}, which {name} takes."
        for address in {address.ip for address in interface.addresses}:
            if address in {found.ip for found in other.addresses}:
                yield f"{other.name} has our address {address}."
    for gateway in other.gateways:
        yield f"{other.name} has a default gateway of its own, {gateway}."


def _vlan(interface: Interface) -> tuple[str | None, int | None]:
    return interface.parent, interface.tag


def port_name(uplink: str, tag: int | None) -> str:
    """Name the interface on which one VLAN's frames, or the untagged ones, pass the uplink."""
    return uplink if tag is None else f"{uplink}.{tag}"
