"""The network of a hypervisor, apart from the tool that configures it.

`build` turns the settings into a `Network`, whose `interfaces` are what every back end renders.
Sources: the guide's "Configure the network bridges" and "Configure the network using OpenVswitch".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

from kvmhost.network.interfaces import Address, Interface, Options, Route, port_name
from kvmhost.network.keys import BondMode, BridgeType, NetworkKeys, problems
from kvmhost.problem import Problem


class InvalidNetworkError(ValueError):
    """The keys describe no network; `problems` holds every reason."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"{p.key} = {p.value!r}: {p.accepted}" for p in problems))
        self.problems = problems


@dataclass(frozen=True)
class Bridge:
    """A bridge for the traffic of one VLAN, or for untagged traffic where `tag` is None."""

    name: str
    tag: int | None


@dataclass(frozen=True)
class Bond:
    """How the uplink is made of NICs, named in the order of the alphabet."""

    nics: tuple[str, ...]
    mode: BondMode


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
    routes, the name servers and `addressing` are the management interface's; `mtus`, in bytes,
    `hardware` and `options` are by the names of our interfaces. See `kvmhost.network.takeover`.
    """

    interfaces: frozenset[str] = frozenset()
    routes: tuple[Route, ...] = ()
    dns_servers: tuple[Address, ...] = ()
    dns_search: tuple[str, ...] = ()
    addressing: Options = ()
    mtus: Mapping[str, int] = field(default_factory=dict)
    hardware: Mapping[str, Options] = field(default_factory=dict)
    options: Mapping[str, Options] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A valid network, made by `build`.

    `bond` is None where the uplink is found as it is, be it a NIC or a bond of someone else's.
    `management` names the interface with the address; `management_vlan` is its tag where it is
    a VLAN interface, and None where it is a bridge or the uplink. `mtu` is in bytes and goes for
    every layer, None leaves it as it is; `forward_delay` is in seconds. `ovs_bridge` is None with
    native bridges. `taken_over` is what the host's own definitions add.
    """

    uplink: str
    bond: Bond | None
    mtu: int | None
    bridges: tuple[Bridge, ...]
    management: str
    management_vlan: int | None
    address: IPv4Interface
    gateway: IPv4Address
    address6: IPv6Interface | None
    gateway6: IPv6Address | None
    dns_servers: tuple[Address, ...]
    dns_search: tuple[str, ...]
    stp: bool
    forward_delay: int
    ovs_bridge: str | None
    labels: Labels
    taken_over: TakenOver = TakenOver()

    @property
    def bridge_type(self) -> BridgeType:
        """The value of `network.bridge.type` in agent.properties."""
        return "native" if self.ovs_bridge is None else "openvswitch"

    @property
    def gateways(self) -> tuple[Address, ...]:
        """The default gateways, one an address family at most."""
        return (self.gateway,) if self.gateway6 is None else (self.gateway, self.gateway6)

    @property
    def nics(self) -> tuple[str, ...]:
        """The interfaces that have to be there beforehand."""
        return (self.uplink,) if self.bond is None else self.bond.nics

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """Every interface of this network, each after those that it is built on."""
        plain = (
            *(Interface(nic, "ethernet") for nic in self.nics),
            *self._bond_interface(),
            *self._management_vlan_interface(),
            *(self._native_bridges() if self.ovs_bridge is None else self._ovs_bridges()),
        )
        return tuple(self._configured(interface) for interface in plain)

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
        vlans = {port_name(name, tag) for name in self.lower for tag in self.tags}
        return self.names | vlans | self.taken_over.interfaces

    @property
    def tags(self) -> frozenset[int | None]:
        """The VLAN tags that are used here, None for untagged."""
        on_bridge = self.management in {bridge.name for bridge in self.bridges}
        own = () if on_bridge else (self.management_vlan,)
        return frozenset((*own, *(bridge.tag for bridge in self.bridges)))

    @property
    def lower(self) -> tuple[str, ...]:
        """The uplink, and the NICs that it is made of."""
        return (self.uplink, *self.nics)

    def _bond_interface(self) -> Iterator[Interface]:
        if self.bond is not None:
            yield Interface(self.uplink, "bond", ports=self.bond.nics, bond_mode=self.bond.mode)

    def _management_vlan_interface(self) -> Iterator[Interface]:
        if self.management_vlan is not None:
            yield self._vlan(self.management_vlan)

    def _vlan(self, tag: int) -> Interface:
        return Interface(port_name(self.uplink, tag), "vlan", parent=self.uplink, tag=tag)

    def _native_bridges(self) -> Iterator[Interface]:
        for bridge in self.bridges:
            if bridge.tag is not None:
                yield self._vlan(bridge.tag)
            yield Interface(
                bridge.name,
                "bridge",
                ports=(port_name(self.uplink, bridge.tag),),
                stp=self.stp,
                forward_delay=self.forward_delay,
            )

    def _ovs_bridges(self) -> Iterator[Interface]:
        assert self.ovs_bridge is not None
        yield Interface(self.ovs_bridge, "bridge", ports=(self.uplink,))
        for bridge in self.bridges:
            # ovs-vsctl(8): a fake bridge always has a tag, and 0 stands for untagged frames.
            yield Interface(bridge.name, "bridge", parent=self.ovs_bridge, tag=bridge.tag or 0)

    def _configured(self, interface: Interface) -> Interface:
        kept, name = self.taken_over, interface.name
        interface = replace(
            interface,
            mtu=kept.mtus.get(name) if self.mtu is None else self.mtu,
            hardware=kept.hardware.get(name, ()),
            options=kept.options.get(name, ()),
        )
        if name != self.management:
            return interface
        return replace(
            interface,
            addresses=(self.address,) if self.address6 is None else (self.address, self.address6),
            gateways=self.gateways,
            routes=kept.routes,
            addressing=kept.addressing,
            dns_servers=self.dns_servers or kept.dns_servers,
            dns_search=self.dns_search or kept.dns_search,
        )


def build(keys: NetworkKeys) -> Network:
    """Make the network that the keys describe.

    Raises InvalidNetworkError, with all problems at once, if they describe none.
    """
    if found := problems(keys):
        raise InvalidNetworkError(found)
    native = keys.bridge_type == "native"
    on_bridge = keys.management in keys.bridges
    return Network(
        uplink=keys.uplink,
        bond=Bond(tuple(sorted(keys.uplink_bond)), keys.bond_mode) if keys.uplink_bond else None,
        mtu=keys.mtu,
        bridges=tuple(Bridge(name, tag) for name, tag in keys.bridges.items()),
        management=keys.management,
        management_vlan=None if on_bridge else keys.management_vlan,
        address=IPv4Interface(keys.management_address),
        gateway=IPv4Address(keys.gateway),
        address6=None
        if keys.management_address6 is None
        else IPv6Interface(keys.management_address6),
        gateway6=None if keys.gateway6 is None else IPv6Address(keys.gateway6),
        dns_servers=tuple(map(ip_address, keys.dns_servers)),
        dns_search=tuple(keys.dns_search),
        stp=keys.bridge_stp,
        forward_delay=keys.bridge_forward_delay,
        ovs_bridge=None if native else keys.ovs_bridge,
        labels=Labels(keys.management, keys.public_label, keys.guest_label),
    )
