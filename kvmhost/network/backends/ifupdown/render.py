"""Our network as stanzas, among those of others."""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import asdict

from kvmhost.network.backends.ifupdown.commands import WITHOUT_IPV6
from kvmhost.network.backends.ifupdown.files import (
    BEGIN,
    BLOCK,
    END,
    INTERFACES,
    lines,
    normal,
    read,
    without,
)
from kvmhost.network.backends.ifupdown.interfaces import OF_IPV6
from kvmhost.network.files import File
from kvmhost.network.interfaces import MIIMON, NO_DEVICES, Devices, Interface, Options
from kvmhost.network.model import Labels, Network

_OF_LACP = ("bond-lacp-rate", "bond-xmit-hash-policy")
_LOOPBACK = "auto lo\niface lo inet loopback\n"


def render(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[File, ...]:
    """Render /etc/network/interfaces, and each other file that must let go of our interfaces.

    `existing` maps the paths on the host that match `PATHS` to their text. Raises ValueError where
    something there would keep our stanzas from counting.
    """
    read(existing).refuse_other_names(network.claims, devices)
    _refuse_old_names(network)
    others = (
        File(path, kept)
        for path, text in existing.items()
        if path != INTERFACES and (kept := without(text, network.claims)) != text
    )
    return File(INTERFACES, merge(existing.get(INTERFACES, ""), network)), *others


def merge(existing: str, network: Network) -> str:
    """Put the stanzas of our interfaces into the text, and leave every other line as it is.

    Ours stand in a block at the end; what an earlier network had in that block goes with it.
    Merging again changes nothing. A text without any stanza gets the loopback interface too,
    as in the guide's listing.
    """
    # Options that were appended after the block belong to its last stanza, so they go with it.
    without_block = BLOCK.sub(f"iface {network.interfaces[0].name} inet manual\n", existing)
    kept = without(without_block, network.claims)
    if kept and not kept.endswith("\n"):
        kept += "\n"
    if not any(line.keyword for line in lines(kept)):
        kept += _LOOPBACK
    block = "\n".join(_rendered(network))
    separator = "" if kept.endswith("\n\n") else "\n"
    return f"{kept}{separator}{BEGIN}\n{block}{END}\n"


def _rendered(network: Network) -> Iterator[str]:
    """Render the stanzas, none for what the others imply: ports and a plain uplink."""
    upper = {port: each for each in network.interfaces for port in each.ports}
    uplinks = {uplink.name for uplink in network.uplinks}
    switched = {uplink.name for uplink in network.uplinks if uplink.ovs_bridge is not None}
    for interface in network.interfaces:
        options = _options(network, interface)
        of_ipv6 = _ipv6_options(interface)
        # bridge-utils gives its MTU to a bridge's ports, and the kernel a bond's to its NICs
        mtu = upper[interface.name].mtu if interface.name in upper else None
        if interface.name in switched:
            implied = False  # Open vSwitch sets no uplink up
        elif interface.name in uplinks:
            implied = not options
        else:
            is_below = interface.kind in ("ethernet", "vlan")
            implied = is_below and all(option == ("mtu", str(mtu)) for option in options)
        if of_ipv6 or not implied:
            comment = _comment(interface.name, network.labels)
            yield _stanza_text(interface, options, comment)
        if of_ipv6:
            yield _ipv6_stanza_text(interface, of_ipv6)


def _options(network: Network, interface: Interface) -> Options:
    """Return the options of the stanza for IPv4, or for none."""
    ours = tuple(_our_options(interface).items())
    said = {normal(key) for key, _ in ours}
    return (
        *_hardware(network, interface, said),
        *ours,
        *_route_options(interface, 4),
        *(WITHOUT_IPV6 if _is_closed(interface) else ()),
        *(
            (key, value)
            for key, value in _kept(interface)
            if not key.startswith(OF_IPV6) and normal(key) not in said
        ),
    )


def _is_closed(interface: Interface) -> bool:
    """Whether it has to be kept from IPv6; a port gets none anyway."""
    is_bridge = interface.kind == "bridge"
    return is_bridge and interface.is_closed_to_ipv6 and not _ipv6_options(interface)


def _hardware(network: Network, interface: Interface, said: Set[str]) -> Iterator[tuple[str, str]]:
    """Return what stays with the device, without what ours says in other words."""
    if "bond-slaves" in said:
        said = {*said, "slaves"}
    for key, value in interface.hardware:
        joins_our_bond = normal(key) == "bond-master" and value in network.bonds
        if normal(key) in said or joins_our_bond:
            continue
        if normal(key) in _OF_LACP and interface.bond_mode not in (None, "802.3ad"):
            continue
        yield key, value


def _our_options(interface: Interface) -> dict[str, str]:
    options: dict[str, str] = {}
    for address in interface.addresses:
        if address.version == 4:
            options["address"] = str(address.ip)
            options["netmask"] = str(address.netmask)
    for gateway in interface.gateways:
        if gateway.version == 4:
            options["gateway"] = str(gateway)
    if interface.dns_servers:
        options["dns-nameservers"] = " ".join(map(str, interface.dns_servers))
    if interface.dns_search:
        options["dns-search"] = " ".join(interface.dns_search)
    if interface.kind == "bond":
        options["bond-slaves"] = " ".join(interface.ports)
        options["bond-mode"] = str(interface.bond_mode)
        options["bond-miimon"] = str(MIIMON)
        options |= {f"bond-{key.replace('_', '-')}": value for key, value in interface.bond_options}
    if interface.stp is not None:  # only native bridges say it
        options["bridge_ports"] = " ".join(interface.ports)
        options["bridge_fd"] = str(interface.forward_delay)
        options["bridge_stp"] = "on" if interface.stp else "off"
        options["bridge_maxwait"] = "1"
    if interface.mtu is not None:
        options["mtu"] = str(interface.mtu)
    return options


def _ipv6_options(interface: Interface) -> Options:
    """Return the options of the stanza for IPv6, the first of which is its method; or none.

    A written address takes the place of what an earlier stanza had by other methods.
    """
    kept = tuple(
        (key.removeprefix(OF_IPV6).lstrip(), value)
        for key, value in _kept(interface)
        if key.startswith(OF_IPV6)
    )
    if not interface.has_ipv6:
        method = dict(kept).get("", "auto")
        return (("", method), *(option for option in kept if option[0])) if kept else ()
    ours: dict[str, str] = {}
    for address in interface.addresses:
        if address.version == 6:
            ours["address"] = str(address)
    for gateway in interface.gateways:
        if gateway.version == 6:
            ours["gateway"] = str(gateway)
    # ifup fails where duplicates cannot be looked for within 6 s, as on a bridge that listens.
    ours |= {"accept_ra": "0", "autoconf": "0", "dad-attempts": "0"}
    return (
        ("", "static"),
        *ours.items(),
        *_route_options(interface, 6),
        *(option for option in kept if option[0] and option[0] not in ours),
    )


def _kept(interface: Interface) -> Options:
    return (*interface.options, *interface.addressing)


def _route_options(interface: Interface, version: int) -> Iterator[tuple[str, str]]:
    for route in interface.routes:
        if route.via.version == version:
            metric = "" if route.metric is None else f" metric {route.metric}"
            device = f"dev {interface.name}"
            yield "up", f"ip route replace {route.destination} via {route.via} {device}{metric}"


def _stanza_text(interface: Interface, options: Options, comment: str) -> str:
    method = "static" if any(each.version == 4 for each in interface.addresses) else "manual"
    return _lines_text(
        [comment, f"auto {interface.name}", f"iface {interface.name} inet {method}"], options
    )


def _ipv6_stanza_text(interface: Interface, options: Options) -> str:
    (_, method), *rest = options
    return _lines_text([f"iface {interface.name} inet6 {method}"], rest)


def _lines_text(head: Iterable[str], options: Iterable[tuple[str, str]]) -> str:
    text = [*head, *(f"    {option} {value}" for option, value in options)]
    return "".join(f"{line}\n" for line in text if line)


def _comment(name: str, labels: Labels) -> str:
    traffic = [kind for kind, label in asdict(labels).items() if label == name]
    return f"# {' and '.join(traffic).capitalize()} network" if traffic else ""


def _refuse_old_names(network: Network) -> None:
    """Raise ValueError where a command names an interface that gets another name."""
    for interface in network.interfaces:
        for key, value in (*interface.hardware, *_kept(interface)):
            for name in sorted(network.taken_over.interfaces):
                if re.search(rf"(?<![\w.:-]){re.escape(name)}(?![\w.:-])", value):
                    raise ValueError(
                        f"{name} becomes {interface.name}, and would still be named in its line "
                        f"{key} {value}: write $IFACE there."
                    )
