"""The settings of a host's network as an administrator writes them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

from kvmhost.network.interfaces import Vlan

BridgeType = Literal["native", "openvswitch"]
BondMode = Literal["active-backup", "802.3ad"]
LacpRate = Literal["slow", "fast"]
HashPolicy = Literal["layer2", "layer2+3", "layer3+4", "encap2+3", "encap3+4", "vlan+srcmac"]

_VLAN = re.compile(r"([^.]+)\.([1-9][0-9]*)")


@dataclass(frozen=True, kw_only=True)
class Bond:
    """How an uplink is made of NICs.

    `lacp_rate` and `hash_policy` (the kernel's xmit_hash_policy) go with 802.3ad; None leaves
    them as they are.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    nics: tuple[str, ...]
    mode: BondMode = "active-backup"
    lacp_rate: LacpRate | None = None
    hash_policy: HashPolicy | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkKeys:
    """The flat settings of one host's network.

    Addresses are text ("192.168.42.11/24"), `mtu` and `mtus` are in bytes and
    `bridge_forward_delay` in seconds. A bridge is on a VLAN of the uplink, by its 802.1Q tag, with
    None for untagged, or on what is named: a NIC or bond ("eth1"), or a VLAN of it ("eth1.300").
    So are `interfaces`, which have no bridge. What carries any of them is an uplink; `bonds` are
    the uplinks to be made of NICs, any other is there. `kept_interfaces` are there too, and stay
    as somebody else has defined them.

    `management_interface` None means the VLAN interface `<uplink>.<management_vlan>`, or the
    uplink where that tag is None too. `management_label` None means the management interface.
    `routes` are gateways by their destinations, None means those that are there.
    """

    management_address: str
    gateway: str
    bridges: Mapping[str, int | str | None]
    management_address6: str | None = None
    gateway6: str | None = None
    uplink: str = "eth0"
    bonds: Mapping[str, Bond] = field(default_factory=dict)
    interfaces: Sequence[str] = ()
    kept_interfaces: Sequence[str] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    routes: Mapping[str, str] | None = None
    mtu: int | None = None
    mtus: Mapping[str, int] = field(default_factory=dict)
    management_vlan: int | None = None
    management_interface: str | None = None
    dns_servers: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    bridge_stp: bool = False
    bridge_forward_delay: int = 5
    bridge_type: BridgeType = "native"
    ovs_bridge: str = "cloudbr"
    management_label: str | None = None
    public_label: str = "cloudbr0"
    guest_label: str = "cloudbr1"

    @property
    def management(self) -> str:
        """The interface that the management address sits on."""
        return self.management_interface or self.default_management

    @property
    def default_management(self) -> str:
        """Where the address sits unless `management_interface` says otherwise."""
        return Vlan(self.uplink, self.management_vlan).name

    @cached_property
    def bridge_vlans(self) -> Mapping[str, Vlan]:
        """What each bridge is on."""
        return {name: self.vlan_of(value) for name, value in self.bridges.items()}

    @cached_property
    def plain_vlans(self) -> tuple[Vlan, ...]:
        """What has no bridge: the management address's place comes first, if it is one of them."""
        bridged = {*self.bridges, *self.kept_interfaces}
        named = [*self.interfaces, *self.addresses]
        found = [self.vlan_of(name) for name in named if name not in bridged]
        if self.management not in bridged:
            found.insert(0, Vlan(self.uplink, self.management_vlan))
        return tuple(dict.fromkeys(found))

    @cached_property
    def vlans(self) -> tuple[Vlan, ...]:
        """All that something is on, with a bridge or without."""
        return (*self.plain_vlans, *self.bridge_vlans.values())

    @cached_property
    def bond_nics(self) -> frozenset[str]:
        """The NICs of all bonds."""
        return frozenset(nic for bond in self.bonds.values() for nic in bond.nics)

    @cached_property
    def uplinks(self) -> tuple[str, ...]:
        """The names of what carries VLANs or has an address, `uplink` first if it is one of them.

        An uplink that has bridges on VLANs may have an address of its own beside them.
        """
        used = [vlan.uplink for vlan in self.vlans]
        return tuple(dict.fromkeys(sorted(used, key=lambda name: name != self.uplink)))

    @cached_property
    def bridged_uplinks(self) -> frozenset[str]:
        """The names of the uplinks that have bridges."""
        return frozenset(vlan.uplink for vlan in self.bridge_vlans.values())

    def ovs_bridge_of(self, uplink: str) -> str:
        """Name the Open vSwitch bridge that holds an uplink."""
        return self.ovs_bridge if uplink == self.uplink else f"{self.ovs_bridge}-{uplink}"

    def mtu_of(self, vlan: Vlan) -> int | None:
        """Return the MTU of a VLAN or an uplink; None where nothing says it."""
        if (said := self.mtus.get(vlan.name, self.mtu)) is not None:
            return said
        return self.mtus.get(vlan.uplink)

    def vlan_of(self, value: int | str | None) -> Vlan:
        """Return what a tag stands for, or the name of an uplink or of a VLAN of one."""
        if not isinstance(value, str):
            return Vlan(self.uplink, value)
        match = _VLAN.fullmatch(value)
        return Vlan(match[1], int(match[2])) if match else Vlan(value, None)
