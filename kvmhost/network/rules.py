"""What is wrong with the settings of a host's network.

Sources: what CloudStack's agent and Linux demand of names, tags, labels and addresses.
"""

import re
from collections.abc import Iterator
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from itertools import combinations

from kvmhost.network.interfaces import AddressWithPrefix, Vlan, reaches
from kvmhost.network.keys import NetworkKeys
from kvmhost.problem import Problem

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


def problems(keys: NetworkKeys) -> tuple[Problem, ...]:
    """Say everything that is wrong with the keys; nothing, if they describe a network."""
    rules = (
        _uplinks,
        _bonds,
        _kept,
        _mtus,
        _bridge_names,
        _tags,
        _places,
        _management_interface,
        _management_vlan,
        _address,
        _gateway,
        _address6,
        _gateway6,
        _addresses,
        _networks,
        _routes,
        _dns,
        _spanning_tree,
        _labels,
    )
    return tuple(problem for rule in rules for problem in rule(keys))


def _named_by(keys: NetworkKeys, uplink: str) -> tuple[str, object]:
    """Find the key that names an uplink, and its value."""
    if uplink == keys.uplink:
        return "uplink", uplink
    for name, vlan in keys.bridge_vlans.items():
        if vlan.uplink == uplink:
            return "bridges", {name: keys.bridges[name]}
    named = {"interfaces": keys.interfaces, "addresses": keys.addresses}
    return next(
        (key, name)
        for key, names in named.items()
        for name in names
        if keys.vlan_of(name).uplink == uplink
    )


def _uplinks(keys: NetworkKeys) -> Iterator[Problem]:
    for uplink in keys.uplinks:
        key, value = _named_by(keys, uplink)
        longest = _LINUX_NAME
        accepted = f"a name of at most {_LINUX_NAME} characters"
        if uplink not in (keys.uplink, *keys.bridged_uplinks):
            if not _PLAIN.fullmatch(uplink) or uplink in _TAKEN:
                yield Problem(key, value, "an interface such as eth1, or a VLAN, as in eth1.300")
        elif not _NIC.fullmatch(uplink):
            yield Problem(
                key,
                value,
                "a NIC whose name CloudStack's agent knows: it begins with eth, bond, team, vlan, "
                "vx, em, ens, eno, enp, enx, p<N>p<N>, dummy, vni or enc",
            )
        elif keys.bridge_type == "native":
            longest = _CLOUDSTACK_NIC
            accepted = (
                f"a name of at most {_CLOUDSTACK_NIC} characters, because CloudStack names the "
                f"bridge of a guest network br<nic>-<vlan> and Linux allows {_LINUX_NAME} "
                "(rename the NIC)"
            )
        if len(uplink) > longest:
            yield Problem(key, value, accepted)
    for vlan in keys.plain_vlans:
        if len(vlan.uplink) <= _LINUX_NAME < len(vlan.name):
            accepted = f"a VLAN whose interface has a name of at most {_LINUX_NAME} characters"
            yield Problem("interfaces", vlan.name, accepted)


def _bonds(keys: NetworkKeys) -> Iterator[Problem]:
    taken = {*keys.uplinks, "lo"}
    for name, bond in keys.bonds.items():
        if not _BOND.fullmatch(name):
            yield Problem("bonds", name, "bond and a number, such as bond0")
        if name not in keys.uplinks:
            yield Problem("bonds", name, "a bond that uplink, bridges or interfaces name")
        if not bond.nics:
            yield Problem("bonds", {name: bond.nics}, "the names of the NICs that it is made of")
        for nic in bond.nics:
            if not _PLAIN.fullmatch(nic) or len(nic) > _LINUX_NAME:
                accepted = f"a NIC's name: at most {_LINUX_NAME} letters, digits, - and _"
                yield Problem("bonds", nic, accepted)
            elif nic in taken:
                accepted = (
                    f"NICs that are in one bond only, and no uplinks: {', '.join(sorted(taken))}"
                )
                yield Problem("bonds", nic, accepted)
            taken.add(nic)
        if bond.mode != "802.3ad" and (bond.lacp_rate or bond.hash_policy):
            value = bond.lacp_rate or bond.hash_policy
            yield Problem(
                "bonds", {name: value}, "lacp_rate and hash_policy with mode 802.3ad only"
            )


def _kept(keys: NetworkKeys) -> Iterator[Problem]:
    taken = {*keys.bridges, *keys.uplinks, *keys.bond_nics, *_ovs_bridges(keys)}
    taken |= {vlan.name for vlan in keys.vlans}
    for name in keys.kept_interfaces:
        if len(name) > _LINUX_NAME or not re.fullmatch(r"[A-Za-z][\w.-]*", name):
            yield Problem("kept_interfaces", name, "an interface's name, such as eth0")
        elif name in taken:
            accepted = "an interface that nothing here is, or is built on"
            yield Problem("kept_interfaces", name, accepted)


def _mtus(keys: NetworkKeys) -> Iterator[Problem]:
    if keys.mtu is not None and keys.mtu not in _MTUS:
        yield Problem("mtu", keys.mtu, f"{_MTUS[0]} to {_MTUS[-1]} bytes, or None")
    places = {vlan.name: vlan for vlan in keys.vlans}
    for name, mtu in keys.mtus.items():
        if name not in (*places, *keys.uplinks):
            accepted = f"an uplink, or a VLAN of one: {', '.join((*keys.uplinks, *places))}"
            yield Problem("mtus", name, accepted)
        elif mtu not in _MTUS:
            yield Problem("mtus", {name: mtu}, f"{_MTUS[0]} to {_MTUS[-1]} bytes")
    for name, vlan in places.items():
        own, lower = keys.mtu_of(vlan), keys.mtu_of(Vlan(vlan.uplink, None))
        if own is not None and (lower is None or own > lower):
            accepted = f"at most the MTU of {vlan.uplink}, which is {lower or 'not given'}"
            yield Problem("mtus", {name: own}, accepted)


def _bridge_names(keys: NetworkKeys) -> Iterator[Problem]:
    taken = {*keys.uplinks, *keys.bond_nics, *(vlan.name for vlan in keys.plain_vlans)}
    for name in keys.bridges:
        yield from _bridge_name("bridges", name, keys)
        if name in taken | {keys.uplink}:
            yield Problem("bridges", name, f"another name than the interface {name}")
    for main in _ovs_bridges(keys):
        yield from _bridge_name("ovs_bridge", main, keys)
        if main in taken | {*keys.bridges, keys.uplink}:
            yield Problem("ovs_bridge", main, "a name that is no bridge's or NIC's yet")


def _ovs_bridges(keys: NetworkKeys) -> list[str]:
    if keys.bridge_type != "openvswitch":
        return []
    return [keys.ovs_bridge_of(uplink) for uplink in sorted(keys.bridged_uplinks)]


def _bridge_name(key: str, name: str, keys: NetworkKeys) -> Iterator[Problem]:
    if not _PLAIN.fullmatch(name) or len(name) > _LINUX_NAME:
        yield Problem(
            key,
            name,
            f"a bridge name of at most {_LINUX_NAME} letters, digits, - and _, "
            "beginning with a letter, and not vlan<N>",
        )
    of_guests = "|".join(map(re.escape, keys.uplinks))
    if name in _TAKEN or re.fullmatch(rf"br({of_guests})-\d+", name):
        accepted = (
            "a name other than those that CloudStack makes, cloud0 and "
            f"br{keys.uplink}-<vlan>, and those that the kernel keeps: all, default, lo"
        )
        yield Problem(key, name, accepted)


def _tags(keys: NetworkKeys) -> Iterator[Problem]:
    for name, vlan in keys.bridge_vlans.items():
        if vlan.tag is not None and vlan.tag not in _TAGS:
            yield Problem("bridges", {name: keys.bridges[name]}, _tag_accepted())
    for vlan in keys.plain_vlans:
        if vlan.tag is not None and vlan.tag not in _TAGS and vlan.name != keys.management:
            yield Problem("interfaces", vlan.name, _tag_accepted())


def _places(keys: NetworkKeys) -> Iterator[Problem]:
    """Name what has the same frames as another bridge, or as an interface without one."""
    vlans = list(keys.bridge_vlans.values())
    plain = {vlan for vlan in keys.plain_vlans if vlan.name != keys.management}
    for name, vlan in keys.bridge_vlans.items():
        if vlans.count(vlan) > 1:
            only_one = "a VLAN tag, because only one bridge can be untagged"
            accepted = only_one if vlan.tag is None else "a tag that no other bridge has"
            yield Problem("bridges", {name: keys.bridges[name]}, accepted)
        if vlan in plain:
            key = "interfaces" if vlan.name in keys.interfaces else "addresses"
            yield Problem(key, vlan.name, f"{name} instead, because that bridge is on it")
    if keys.bridge_type == "openvswitch":
        for vlan in plain:
            if vlan.uplink in keys.bridged_uplinks:
                accepted = f"a bridge in its place, because Open vSwitch has {vlan.uplink}"
                yield Problem("interfaces", vlan.name, accepted)


def _tag_accepted() -> str:
    return f"a VLAN tag from {_TAGS[0]} to {_TAGS[-1]}, or None for untagged"


def _management_interface(keys: NetworkKeys) -> Iterator[Problem]:
    bridges = ", ".join((*keys.bridges, *keys.kept_interfaces))
    if keys.management in (*keys.bridges, *keys.kept_interfaces):
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
    if keys.management in (*keys.bridges, *keys.kept_interfaces):
        on_bridge = keys.management in keys.bridges
        bridge_tag = keys.bridge_vlans[keys.management].tag if on_bridge else None
        if tag is not None and tag != bridge_tag:
            yield Problem(
                "management_vlan",
                tag,
                f"None or the tag of {keys.management}, {bridge_tag}, because the address is on it",
            )
    elif keys.bridge_type == "native" and keys.management == keys.default_management:
        place = Vlan(keys.uplink, tag)
        for name in (name for name, vlan in keys.bridge_vlans.items() if vlan == place):
            yield Problem(
                "management_vlan",
                tag,
                f"a tag that no bridge has ({name} has it), "
                f"or management_interface {name!r} to put the address on that bridge",
            )


def _address(keys: NetworkKeys) -> Iterator[Problem]:
    key, text = "management_address", keys.management_address
    address = _parsed_address(keys)
    if address is None:
        yield Problem(key, text, "an IPv4 address with its prefix, such as 192.168.42.11/24")
    elif unfit := _unfit(address):
        yield Problem(key, text, unfit)


def _unfit(address: AddressWithPrefix) -> str | None:
    """Say what an address should be that no host can have; None if one can."""
    ip, network = address.ip, address.network
    if isinstance(address, IPv4Interface):
        if not _is_host(address.ip, address):
            return f"a host's address in {network}, not its network or broadcast address"
        odd = ip.is_loopback or ip.is_multicast or ip.is_reserved or ip.packed[0] == 0
        if odd or ip.is_link_local:
            return "a unicast address that is not link-local, as CloudStack's agent demands"
        return None
    mapped = isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None
    if ip.is_link_local or ip.is_loopback or ip.is_multicast or ip.is_unspecified or mapped:
        return "a unicast address that is not link-local"
    # RFC 6164: with a /127 there is no anycast address of the routers.
    if network.prefixlen < 127 and ip == network.network_address:
        return f"a host's address in {network}, not that of all its routers"
    return None


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
    elif unfit := _unfit(address):
        yield Problem(key, text, unfit)


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
    address = _parsed(keys.management_address6 or "")
    return address if isinstance(address, IPv6Interface) else None


def _parsed_address(keys: NetworkKeys) -> IPv4Interface | None:
    address = _parsed(keys.management_address)
    return address if isinstance(address, IPv4Interface) else None


def _is_host(ip: IPv4Address, subnet: IPv4Interface) -> bool:
    network = subnet.network
    if ip not in network:
        return False
    # RFC 3021: a /31 has neither network nor broadcast address.
    return network.prefixlen >= 31 or ip not in (network.network_address, network.broadcast_address)


def _addresses(keys: NetworkKeys) -> Iterator[Problem]:
    known = {*keys.bridges, *keys.interfaces, *keys.uplinks}
    for name, text in keys.addresses.items():
        if name == keys.management:
            accepted = f"another interface than {name}, which has the management address"
            yield Problem("addresses", {name: text}, accepted)
        elif name not in known or name in keys.kept_interfaces:
            accepted = f"an interface or a bridge of this network: {', '.join(sorted(known))}"
            yield Problem("addresses", {name: text}, accepted)
        elif (address := _parsed(text)) is None:
            accepted = "an address with its prefix, such as 10.50.0.11/24"
            yield Problem("addresses", {name: text}, accepted)
        elif unfit := _unfit(address):
            yield Problem("addresses", {name: text}, unfit)
    for name in keys.interfaces:
        if name in keys.bridges:
            yield Problem("interfaces", name, "what is no bridge")
        elif name not in (*keys.addresses, keys.management):
            yield Problem("addresses", dict(keys.addresses), f"an address for {name}, too")


def _networks(keys: NetworkKeys) -> Iterator[Problem]:
    """Name addresses of one network on two interfaces, of which the kernel would use either."""
    of_management = [_parsed_address(keys), _parsed_address6(keys)]
    named = [(keys.management, address) for address in of_management if address is not None]
    others = ((name, _parsed(text)) for name, text in keys.addresses.items())
    named += [(name, address) for name, address in others if address is not None]
    for (one, first), (other, second) in combinations(named, 2):
        if first.version == second.version and first.network.overlaps(second.network):
            accepted = f"an address outside {first.network}, which {one} is in"
            yield Problem("addresses", {other: str(second)}, accepted)


def _routes(keys: NetworkKeys) -> Iterator[Problem]:
    texts = (keys.management_address, keys.management_address6 or "", *keys.addresses.values())
    if keys.management in keys.kept_interfaces:
        texts = tuple(keys.addresses.values())
    own = [address for address in map(_parsed, texts) if address is not None]
    seen: set[IPv4Network | IPv6Network] = set()
    for destination, via in (keys.routes or {}).items():
        try:
            network, gateway = ip_network(destination), ip_address(via)
        except ValueError:
            accepted = "a network and its gateway, such as 10.60.0.0/16 and 10.50.0.1"
            yield Problem("routes", {destination: via}, accepted)
            continue
        if network.prefixlen == 0:
            yield Problem("routes", {destination: via}, "gateway or gateway6 for a default route")
        elif network in seen or gateway.is_link_local:
            accepted = "one gateway for each network, which is not link-local"
            yield Problem("routes", {destination: via}, accepted)
        elif network.version != gateway.version or not any(reaches(a, gateway) for a in own):
            networks = ", ".join(str(address.network) for address in own)
            accepted = f"a gateway in a network of this host: {networks or 'none'}"
            yield Problem("routes", {destination: via}, accepted)
        elif gateway in {address.ip for address in own}:
            yield Problem("routes", {destination: via}, "another gateway than this host itself")
        seen.add(network)


def _parsed(text: str) -> AddressWithPrefix | None:
    """Read an address with its prefix; None if it is none."""
    try:
        return ip_interface(text) if "/" in text and "%" not in text else None
    except ValueError:
        return None


def _dns(keys: NetworkKeys) -> Iterator[Problem]:
    if keys.management in keys.kept_interfaces and (keys.dns_servers or keys.dns_search):
        accepted = f"none, because {keys.management} is kept as it is, its name servers too"
        yield Problem("dns_servers", list(keys.dns_servers or keys.dns_search), accepted)
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
    bridges = (*keys.bridges, *keys.kept_interfaces)
    for key, label in (("public_label", keys.public_label), ("guest_label", keys.guest_label)):
        if label not in bridges:
            yield Problem(key, label, f"one of the bridges: {', '.join(bridges)}")
