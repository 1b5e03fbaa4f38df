"""The settings of a host's network as an administrator writes them, and what is wrong with them.

Source: what CloudStack's agent and Linux demand of names, tags, labels and addresses.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address
from typing import Literal

from kvmhost.network.interfaces import port_name
from kvmhost.problem import Problem

BridgeType = Literal["native", "openvswitch"]
BondMode = Literal["active-backup", "802.3ad"]

_LINUX_NAME = 15
_CLOUDSTACK_NIC = 8  # br<nic>-<vlan> has to fit into Linux's 15 characters
_TAGS = range(1, 4095)
_MTUS = range(1280, 9217)

# The NIC names that CloudStack's agent takes for a bridge's way out, "lo" apart.
_NIC = re.compile(
    r"(eth|bond|team|vlan|vx|em|ens|eno|enp|enx|p\d+p\d+|dummy|vni|enc)[A-Za-z0-9_-]*"
)
_TAKEN = ("all", "cloud0", "default", "lo")
# With a dot, or as "vlan" and a number, ifupdown takes any device for a VLAN interface.
_PLAIN = re.compile(r"(?!vlan\d)[A-Za-z][A-Za-z0-9_-]*")
# The names of bonds on which ifupdown's scripts, from Debian's package vlan, know a VLAN.
_BOND = re.compile(r"bond\d+")
_DOMAIN_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class NetworkKeys:
    """The flat settings of one host's network.

    Addresses are text ("192.168.42.11/24"), tags are 802.1Q VLAN ids with None for untagged,
    `mtu` is in bytes and `bridge_forward_delay` in seconds. `uplink_bond` names the NICs of
    which the uplink is made; none means that the uplink is there. `management_interface` None means
    the VLAN interface `<uplink>.<management_vlan>`, or the uplink where that tag is None too.
    `management_label` None means the management interface.
    """

    management_address: str
    gateway: str
    bridges: Mapping[str, int | None]
    management_address6: str | None = None
    gateway6: str | None = None
    uplink: str = "eth0"
    uplink_bond: Sequence[str] = ()
    bond_mode: BondMode = "active-backup"
    mtu: int | None = None
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
        return port_name(self.uplink, self.management_vlan)


def problems(keys: NetworkKeys) -> tuple[Problem, ...]:
    """Say everything that is wrong with the keys; nothing, if they describe a network."""
    rules = (
        _uplink,
        _bond,
        _mtu,
        _bridge_names,
        _bridge_tags,
        _management_interface,
        _management_vlan,
        _address,
        _gateway,
        _address6,
        _gateway6,
        _dns,
        _spanning_tree,
        _labels,
    )
    return tuple(problem for rule in rules for problem in rule(keys))


def _uplink(keys: NetworkKeys) -> Iterator[Problem]:
    if not _NIC.fullmatch(keys.uplink):
        yield Problem(
            "uplink",
            keys.uplink,
            "a NIC whose name CloudStack's agent knows: it begins with eth, bond, team, vlan, vx, "
            "em, ens, eno, enp, enx, p<N>p<N>, dummy, vni or enc",
        )
    if keys.bridge_type == "native" and len(keys.uplink) > _CLOUDSTACK_NIC:
        yield Problem(
            "uplink",
            keys.uplink,
            f"a name of at most {_CLOUDSTACK_NIC} characters, because CloudStack names the bridge "
            f"of a guest network br<nic>-<vlan> and Linux allows {_LINUX_NAME} (rename the NIC)",
        )
    elif len(keys.uplink) > _LINUX_NAME:
        yield Problem("uplink", keys.uplink, f"a name of at most {_LINUX_NAME} characters")


def _bond(keys: NetworkKeys) -> Iterator[Problem]:
    if keys.uplink_bond and not _BOND.fullmatch(keys.uplink):
        yield Problem(
            "uplink", keys.uplink, "bond and a number, such as bond0, because uplink_bond makes it"
        )
    taken = {keys.uplink, "lo"}
    for nic in keys.uplink_bond:
        if not _PLAIN.fullmatch(nic) or len(nic) > _LINUX_NAME:
            accepted = f"a NIC's name: at most {_LINUX_NAME} letters, digits, - and _"
            yield Problem("uplink_bond", nic, accepted)
        elif nic in taken:
            yield Problem("uplink_bond", nic, f"NICs that differ from each other and {keys.uplink}")
        taken.add(nic)


def _mtu(keys: NetworkKeys) -> Iterator[Problem]:
    if keys.mtu is not None and keys.mtu not in _MTUS:
        yield Problem("mtu", keys.mtu, f"{_MTUS[0]} to {_MTUS[-1]} bytes, or None")


def _bridge_names(keys: NetworkKeys) -> Iterator[Problem]:
    for name in keys.bridges:
        yield from _bridge_name("bridges", name, keys.uplink)
        if name in (keys.uplink, *keys.uplink_bond, keys.default_management):
            yield Problem("bridges", name, f"another name than the interface {name}")
    if keys.bridge_type == "openvswitch":
        yield from _bridge_name("ovs_bridge", keys.ovs_bridge, keys.uplink)
        if keys.ovs_bridge in (keys.uplink, *keys.uplink_bond, *keys.bridges):
            yield Problem("ovs_bridge", keys.ovs_bridge, "a name that is no bridge's or NIC's yet")


def _bridge_name(key: str, name: str, uplink: str) -> Iterator[Problem]:
    if not _PLAIN.fullmatch(name) or len(name) > _LINUX_NAME:
        yield Problem(
            key,
            name,
            f"a bridge name of at most {_LINUX_NAME} letters, digits, - and _, "
            "beginning with a letter, and not vlan<N>",
        )
    if name in _TAKEN or re.fullmatch(rf"br{re.escape(uplink)}-\d+", name):
        accepted = (
            "a name other than those that CloudStack makes, cloud0 and "
            f"br{uplink}-<vlan>, and those that the kernel keeps: all, default, lo"
        )
        yield Problem(key, name, accepted)


def _bridge_tags(keys: NetworkKeys) -> Iterator[Problem]:
    uses = Counter(keys.bridges.values())
    for name, tag in keys.bridges.items():
        if tag is not None and tag not in _TAGS:
            yield Problem("bridges", {name: tag}, _tag_accepted())
        if uses[tag] > 1:
            only_one = "a VLAN tag, because only one bridge can be untagged"
            accepted = only_one if tag is None else "a tag that no other bridge has"
            yield Problem("bridges", {name: tag}, accepted)


def _tag_accepted() -> str:
    return f"a VLAN tag from {_TAGS[0]} to {_TAGS[-1]}, or None for untagged"


def _management_interface(keys: NetworkKeys) -> Iterator[Problem]:
    bridges = ", ".join(keys.bridges)
    if keys.management in keys.bridges:
        return
    if keys.bridge_type == "openvswitch":
        yield Problem(
            "management_interface",
            keys.management_interface,
            f"one of the bridges ({bridges}), because Open vSwitch has the uplink",
        )
    elif keys.management != keys.default_management:
        yield Problem(
            "management_interface",
            keys.management_interface,
            f"one of the bridges ({bridges}), or None for {keys.default_management}",
        )


def _management_vlan(keys: NetworkKeys) -> Iterator[Problem]:
    tag = keys.management_vlan
    if tag is not None and tag not in _TAGS:
        yield Problem("management_vlan", tag, _tag_accepted())
    if keys.management in keys.bridges:
        bridge_tag = keys.bridges[keys.management]
        if tag is not None and tag != bridge_tag:
            yield Problem(
                "management_vlan",
                tag,
                f"None or the tag of {keys.management}, {bridge_tag}, because the address is on it",
            )
    elif keys.bridge_type == "native" and keys.management == keys.default_management:
        for name in (name for name, bridge_tag in keys.bridges.items() if bridge_tag == tag):
            yield Problem(
                "management_vlan",
                tag,
                f"a tag that no bridge has ({name} has it), "
                f"or management_interface {name!r} to put the address on that bridge",
            )


def _address(keys: NetworkKeys) -> Iterator[Problem]:
    address = _parsed_address(keys)
    if address is None:
        yield Problem(
            "management_address",
            keys.management_address,
            "an IPv4 address with its prefix, such as 192.168.42.11/24",
        )
        return
    if not _is_host(address.ip, address):
        accepted = f"a host's address in {address.network}, not its network or broadcast address"
        yield Problem("management_address", keys.management_address, accepted)
    ip = address.ip
    if ip.is_link_local or ip.is_loopback or ip.is_multicast or ip.is_reserved or ip.packed[0] == 0:
        yield Problem(
            "management_address",
            keys.management_address,
            "a unicast address that is not link-local, as CloudStack's agent demands",
        )


def _gateway(keys: NetworkKeys) -> Iterator[Problem]:
    address = _parsed_address(keys)
    try:
        gateway = IPv4Address(keys.gateway)
    except ValueError:
        yield Problem("gateway", keys.gateway, "an IPv4 address, such as 192.168.42.1")
        return
    if address and (gateway == address.ip or not _is_host(gateway, address)):
        yield Problem(
            "gateway",
            keys.gateway,
            f"a host's address in {address.network} other than this host's own, {address.ip}",
        )


def _address6(keys: NetworkKeys) -> Iterator[Problem]:
    key, text = "management_address6", keys.management_address6
    if text is None:
        return
    address = _parsed_address6(keys)
    if address is None:
        accepted = "an IPv6 address with its prefix, such as 2001:db8::11/64, or None"
        yield Problem(key, text, accepted)
        return
    ip, network = address.ip, address.network
    if (
        ip.is_link_local
        or ip.is_loopback
        or ip.is_multicast
        or ip.is_unspecified
        or ip.ipv4_mapped is not None
    ):
        yield Problem(key, text, "a unicast address that is not link-local")
    # RFC 6164: with a /127 there is no anycast address of the routers.
    elif network.prefixlen < 127 and ip == network.network_address:
        yield Problem(key, text, f"a host's address in {network}, not that of all its routers")


def _gateway6(keys: NetworkKeys) -> Iterator[Problem]:
    address = _parsed_address6(keys)
    if keys.gateway6 is None:
        return
    if keys.management_address6 is None:
        yield Problem("gateway6", keys.gateway6, "None without management_address6")
        return
    try:
        gateway = IPv6Address(keys.gateway6)
    except ValueError:
        gateway = None
    if gateway is None or gateway.scope_id is not None:
        accepted = "an IPv6 address, such as 2001:db8::1, or fe80::1 without %<interface>"
        yield Problem("gateway6", keys.gateway6, accepted)
    elif address and not _is_gateway6(gateway, address):
        yield Problem(
            "gateway6",
            keys.gateway6,
            f"a link-local address, or one in {address.network} "
            f"other than this host's own, {address.ip}",
        )


def _is_gateway6(gateway: IPv6Address, own: IPv6Interface) -> bool:
    return gateway.is_link_local or (gateway in own.network and gateway != own.ip)


def _parsed_address6(keys: NetworkKeys) -> IPv6Interface | None:
    text = keys.management_address6 or ""
    try:
        return IPv6Interface(text) if "/" in text and "%" not in text else None
    except ValueError:
        return None


def _parsed_address(keys: NetworkKeys) -> IPv4Interface | None:
    try:
        return IPv4Interface(keys.management_address) if "/" in keys.management_address else None
    except ValueError:
        return None


def _is_host(ip: IPv4Address, subnet: IPv4Interface) -> bool:
    network = subnet.network
    if ip not in network:
        return False
    # RFC 3021: a /31 has neither network nor broadcast address.
    return network.prefixlen >= 31 or ip not in (network.network_address, network.broadcast_address)


def _dns(keys: NetworkKeys) -> Iterator[Problem]:
    for server in keys.dns_servers:
        try:
            is_address = getattr(ip_address(server), "scope_id", None) is None
        except ValueError:
            is_address = False
        if not is_address:
            yield Problem("dns_servers", server, "an IP address, such as 8.8.8.8")
    for domain in keys.dns_search:
        labels = domain.split(".")
        if len(domain) > 253 or not all(map(_DOMAIN_LABEL.fullmatch, labels)):
            yield Problem("dns_search", domain, "a domain name, such as lab.example.org")


def _spanning_tree(keys: NetworkKeys) -> Iterator[Problem]:
    if keys.bridge_stp and keys.bridge_type == "openvswitch":
        yield Problem("bridge_stp", True, "False with openvswitch, whose fake bridges have no STP")
    # The kernel's limits (net/bridge): 2 to 30 s with STP; without it the delay may be 0.
    delays = range(2 if keys.bridge_stp else 0, 31)
    if keys.bridge_forward_delay not in delays:
        accepted = f"{delays[0]} to {delays[-1]} seconds with bridge_stp {keys.bridge_stp}"
        yield Problem("bridge_forward_delay", keys.bridge_forward_delay, accepted)


def _labels(keys: NetworkKeys) -> Iterator[Problem]:
    if keys.management_label not in (None, keys.management):
        yield Problem(
            "management_label",
            keys.management_label,
            f"None or {keys.management}, because the label's interface needs the IPv4 address",
        )
    for key, label in (("public_label", keys.public_label), ("guest_label", keys.guest_label)):
        if label not in keys.bridges:
            yield Problem(key, label, f"one of the bridges: {', '.join(keys.bridges)}")
