"""The network of a hypervisor, apart from the tool that configures it.

`build` turns the settings into a `Network`, whose `interfaces` are what every back end renders.
Sources: the guide's "Configure the network bridges" and "Configure the network using OpenVswitch".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)

from kvmhost.network.interfaces import (
    Address,
    AddressWithPrefix,
    Interface,
    Options,
    Route,
    Vlan,
    reaches,
)
from kvmhost.network.keys import Bond, BridgeType, NetworkKeys
from kvmhost.network.rules import problems
from kvmhost.problem import Problem


class InvalidNetworkError(ValueError):
    """The keys describe no network; `problems` holds every reason."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"{p.key} = {p.value!r}: {p.accepted}" for p in problems))
        self.problems = problems


@dataclass(frozen=True)
class Bridge:
    """A bridge for the traffic of one VLAN of an uplink, or for its untagged traffic."""

    name: str
    vlan: Vlan


@dataclass(frozen=True)
class Uplink:
    """What connects the host with a switch.

    `bond` is None where it is found as it is, be it a NIC or a bond of someone else's. `ovs_bridge`
    is the bridge of Open vSwitch that holds it, None where none does. `mtu` is in bytes.
    """

    name: str
    bond: Bond | None = None
    ovs_bridge: str | None = None
    mtu: int | None = None

    @property
    def nics(self) -> tuple[str, ...]:
        """The interfaces that have to be there beforehand, in the order of the alphabet."""
        return (self.name,) if self.bond is None else tuple(sorted(self.bond.nics))

    @property
    def lower(self) -> tuple[str, ...]:
        """The uplink, and the NICs that it is made of."""
        return tuple(dict.fromkeys((self.name, *self.nics)))


@dataclass(frozen=True)
class Labels:
    """CloudStack's traffic labels: the interface that carries each kind of traffic."""

    management: str
    public: str
    guest: str


@dataclass(frozen=True)
class TakenOver:
    """What a host's definitions say beside the settings, and keep saying in ours.

    `interfaces` names those of other names whose place ours take, such as vlan100 on eth0. The
    name servers are the management interface's; `routes` and `addressing`, which go with an
    address, `mtus`, in bytes, `hardware` and `options` are by the names of our interfaces. See
    `kvmhost.network.takeover`.
    """

    interfaces: frozenset[str] = frozenset()
    dns_servers: tuple[Address, ...] = ()
    dns_search: tuple[str, ...] = ()
    routes: Mapping[str, tuple[Route, ...]] = field(default_factory=dict)
    addressing: Mapping[str, Options] = field(default_factory=dict)
    mtus: Mapping[str, int] = field(default_factory=dict)
    hardware: Mapping[str, Options] = field(default_factory=dict)
    options: Mapping[str, Options] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A valid network, made by `build`.

    `vlans` are the places without a bridge that have an address. `management` names the interface
    with the management address: a bridge, one of `vlans`, or one of `kept`, which somebody else
    defines. `addresses` are by the names of other interfaces. `routes` None are those that are
    there. `mtus` are in bytes, by `Vlan.name`, and None leaves them as they are; `forward_delay`
    is in seconds. `taken_over` is what the host's own definitions add.
    """

    bridge_type: BridgeType
    uplinks: tuple[Uplink, ...]
    vlans: tuple[Vlan, ...]
    bridges: tuple[Bridge, ...]
    kept: tuple[str, ...]
    management: str
    address: IPv4Interface
    gateway: IPv4Address
    address6: IPv6Interface | None
    gateway6: IPv6Address | None
    addresses: Mapping[str, AddressWithPrefix]
    routes: tuple[Route, ...] | None
    dns_servers: tuple[Address, ...]
    dns_search: tuple[str, ...]
    mtus: Mapping[str, int | None]
    stp: bool
    forward_delay: int
    labels: Labels
    taken_over: TakenOver = TakenOver()

    @property
    def is_kept(self) -> bool:
        """Whether the management address is somebody else's to define."""
        return self.management in self.kept

    @property
    def gateways(self) -> tuple[Address, ...]:
        """The default gateways, one an address family at most."""
        return (self.gateway,) if self.gateway6 is None else (self.gateway, self.gateway6)

    @property
    def bonds(self) -> tuple[str, ...]:
        """The names of the uplinks that are made here."""
        return tuple(uplink.name for uplink in self.uplinks if uplink.bond is not None)

    @property
    def nics(self) -> tuple[str, ...]:
        """The interfaces that have to be there beforehand."""
        return tuple(nic for uplink in self.uplinks for nic in uplink.nics)

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """Every interface of this network, each after those that it is built on."""
        plain = (
            *(Interface(n, "ethernet", mtu=up.mtu) for up in self.uplinks for n in up.nics),
            *self._bonds(),
            *(self._vlan(vlan) for vlan in self.vlans if vlan.tag is not None),
            *(self._native_bridges() if self.bridge_type == "native" else self._ovs_bridges()),
        )
        return tuple(self._configured(interface) for interface in plain)

    @cached_property
    def management_interface(self) -> Interface:
        """The interface with the management address, in `interfaces` unless it is kept."""
        kept = Interface(self.management, "ethernet", addresses=self._addresses_of(self.management))
        return next((each for each in self.interfaces if each.name == self.management), kept)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of `interfaces`."""
        return frozenset(interface.name for interface in self.interfaces)

    @cached_property
    def claims(self) -> frozenset[str]:
        """The names of `interfaces`, and of the VLAN interfaces that would compete with them.

        An installer may have put the management address on eth0.100, which has to go when a
        bridge takes VLAN 100 over, or a bond takes eth0.
        """
        vlans = (
            Vlan(lower, tag).name
            for uplink in self.uplinks
            for lower in uplink.lower
            for tag in self.tags(uplink)
        )
        return (self.names | {*vlans} | self.taken_over.interfaces).difference(self.kept)

    def tags(self, uplink: Uplink) -> frozenset[int | None]:
        """Return the VLAN tags that are used on an uplink, None for untagged."""
        used = (*self.vlans, *(bridge.vlan for bridge in self.bridges))
        return frozenset(vlan.tag for vlan in used if vlan.uplink == uplink.name)

    def _bonds(self) -> Iterator[Interface]:
        for uplink in self.uplinks:
            if bond := uplink.bond:
                options = {"lacp_rate": bond.lacp_rate, "xmit_hash_policy": bond.hash_policy}
                yield Interface(
                    uplink.name,
                    "bond",
                    ports=uplink.nics,
                    bond_mode=bond.mode,
                    bond_options=tuple((k, v) for k, v in options.items() if v is not None),
                    mtu=uplink.mtu,
                )

    def _vlan(self, vlan: Vlan) -> Interface:
        mtu = self.mtus.get(vlan.name)
        return Interface(vlan.name, "vlan", parent=vlan.uplink, tag=vlan.tag, mtu=mtu)

    def _native_bridges(self) -> Iterator[Interface]:
        for bridge in self.bridges:
            if bridge.vlan.tag is not None:
                yield self._vlan(bridge.vlan)
            yield Interface(
                bridge.name,
                "bridge",
                ports=(bridge.vlan.name,),
                stp=self.stp,
                forward_delay=self.forward_delay,
                mtu=self.mtus.get(bridge.vlan.name),
            )

    def _ovs_bridges(self) -> Iterator[Interface]:
        for uplink in self.uplinks:
            if uplink.ovs_bridge is None:
                continue
            yield Interface(uplink.ovs_bridge, "bridge", ports=(uplink.name,), mtu=uplink.mtu)
            for bridge in self.bridges:
                if bridge.vlan.uplink == uplink.name:
                    # ovs-vsctl(8): a fake bridge has a tag, and 0 stands for untagged frames.
                    yield Interface(
                        bridge.name,
                        "bridge",
                        parent=uplink.ovs_bridge,
                        tag=bridge.vlan.tag or 0,
                        mtu=self.mtus.get(bridge.vlan.name),
                    )

    def _configured(self, interface: Interface) -> Interface:
        kept, name = self.taken_over, interface.name
        interface = replace(
            interface,
            mtu=self._kept_mtu(name) if interface.mtu is None else interface.mtu,
            hardware=kept.hardware.get(name, ()),
            options=kept.options.get(name, ()),
            addressing=kept.addressing.get(name, ()),
            addresses=self._addresses_of(name),
            routes=self._routes_of(name),
        )
        if name != self.management:
            return interface
        return replace(
            interface,
            gateways=self.gateways,
            dns_servers=self.dns_servers or kept.dns_servers,
            dns_search=self.dns_search or kept.dns_search,
        )

    def _kept_mtu(self, name: str) -> int | None:
        """Return the MTU that an interface has kept; a bond and its NICs have the same."""
        kept = self.taken_over.mtus
        for uplink in self.uplinks:
            if uplink.bond is not None and name in uplink.lower:
                of_nics = (kept[nic] for nic in uplink.nics if nic in kept)
                return kept.get(uplink.name, max(of_nics, default=None))
        return kept.get(name)

    def _addresses_of(self, name: str) -> tuple[AddressWithPrefix, ...]:
        if name == self.management:
            return (self.address,) if self.address6 is None else (self.address, self.address6)
        return (self.addresses[name],) if name in self.addresses else ()

    def _routes_of(self, name: str) -> tuple[Route, ...]:
        if self.routes is None:
            return self.taken_over.routes.get(name, ())
        return tuple(route for route in self.routes if self.interface_to(route.via) == name)

    def interface_to(self, gateway: Address) -> str | None:
        """Name our interface that reaches a gateway; None if none does."""
        names = (*self.addresses, *(() if self.is_kept else (self.management,)))
        found = (
            name
            for name in sorted(names, key=lambda name: name != self.management)
            if any(reaches(address, gateway) for address in self._addresses_of(name))
        )
        return next(found, None)


def build(keys: NetworkKeys) -> Network:
    """Make the network that the keys describe.

    Raises InvalidNetworkError, with all problems at once, if they describe none.
    """
    if found := problems(keys):
        raise InvalidNetworkError(found)
    plain = keys.plain_vlans
    is_ovs = keys.bridge_type == "openvswitch"
    return Network(
        bridge_type=keys.bridge_type,
        uplinks=tuple(
            Uplink(
                name,
                bond=keys.bonds.get(name),
                ovs_bridge=keys.ovs_bridge_of(name)
                if is_ovs and name in keys.bridged_uplinks
                else None,
                mtu=keys.mtu_of(Vlan(name, None)),
            )
            for name in keys.uplinks
        ),
        vlans=plain,
        bridges=tuple(Bridge(name, vlan) for name, vlan in keys.bridge_vlans.items()),
        kept=tuple(keys.kept_interfaces),
        management=keys.management,
        address=IPv4Interface(keys.management_address),
        gateway=IPv4Address(keys.gateway),
        address6=None
        if keys.management_address6 is None
        else IPv6Interface(keys.management_address6),
        gateway6=None if keys.gateway6 is None else IPv6Address(keys.gateway6),
        addresses={name: ip_interface(text) for name, text in keys.addresses.items()},
        routes=None
        if keys.routes is None
        else tuple(Route(ip_network(to), ip_address(via)) for to, via in keys.routes.items()),
        dns_servers=tuple(map(ip_address, keys.dns_servers)),
        dns_search=tuple(keys.dns_search),
        mtus={vlan.name: keys.mtu_of(vlan) for vlan in keys.vlans},
        stp=keys.bridge_stp,
        forward_delay=keys.bridge_forward_delay,
        labels=Labels(keys.management, keys.public_label, keys.guest_label),
    )
