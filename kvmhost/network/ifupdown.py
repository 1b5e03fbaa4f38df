"""The network as ifupdown's /etc/network/interfaces, with what other packages add to it.

They are bridge-utils, vlan and, for a bond, ifenslave.

With Open vSwitch the stanzas only bring up and address what its own database defines and its
service has made before: openvswitch-switch's own integration would delete a bridge, with
the guests' ports, on every ifdown.

Sources: interfaces(5), bridge-utils-interfaces(5), vlan-interfaces(5), ifenslave's README.Debian
and the guide's "Configure in Ubuntu".
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address, ip_interface

from kvmhost.network.files import File
from kvmhost.network.interfaces import (
    MIIMON,
    NO_DEVICES,
    AddressWithPrefix,
    Devices,
    Interface,
    bottom_up,
    with_all_above,
)
from kvmhost.network.model import Labels, Network

INTERFACES = "/etc/network/interfaces"
PATHS = (INTERFACES, "/etc/network/interfaces.d/*")

_BEGIN = "# CloudStack network: begin (what stands here is overwritten)"
_END = "# CloudStack network: end"
_BLOCK = re.compile(rf"^{re.escape(_BEGIN)}\n(?:(?!# CloudStack network: ).*\n)*{_END}\n", re.M)
_LOOPBACK = "auto lo\niface lo inet loopback\n"
_LINE = re.compile(r"[ \t]*#.*\n?|(?:.*\\\n)*.*\n?")
_SELECTOR = re.compile(r"auto|allow-.*|no-auto-down|no-scripts")
_KEYWORD = re.compile(rf"{_SELECTOR.pattern}|iface|mapping|rename|source|source-directory")
_BOND_OPTION = re.compile(r"bond-.*")


@dataclass(frozen=True)
class Changes:
    """Interfaces for `ifdown` while the old files are in place, then for `ifup` with the new."""

    down: tuple[str, ...]
    up: tuple[str, ...]


@dataclass(frozen=True)
class _Stanza:
    """One iface stanza; options have "-" for "_" in their names, as ifupdown itself has it."""

    name: str
    method: tuple[str, ...]
    options: tuple[tuple[str, str], ...]


def render(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[File, ...]:
    """Render /etc/network/interfaces, and each other file that must let go of our interfaces.

    `existing` maps the paths on the host that match `PATHS` to their text. Of the uplink's
    present stanza, its MAC address goes over into ours, and what makes it a bond unless we do.
    """
    main = existing.get(INTERFACES, "")
    others = (
        File(path, kept)
        for path, text in existing.items()
        if path != INTERFACES and (kept := _without(text, network.claims)) != text
    )
    carried = _carried(existing.values(), network)
    return File(INTERFACES, merge(main, network, carried)), *others


def merge(existing: str, network: Network, uplink_options: Mapping[str, str] | None = None) -> str:
    """Put the stanzas of our interfaces into the text, and leave every other line as it is.

    Ours stand in a block at the end; what an earlier network had in that block goes with it.
    Merging again changes nothing. A text without any stanza gets the loopback interface too,
    as in the guide's listing.
    """
    # Options that were appended after the block belong to its last stanza, so they go with it.
    without_block = _BLOCK.sub(f"iface {network.uplink} inet manual\n", existing)
    kept = _terminated(_without(without_block, network.claims))
    if not any(words for _, words in _lines(kept)):
        kept += _LOOPBACK
    block = "\n".join(_rendered(network, uplink_options or {}))
    separator = "" if kept.endswith("\n\n") else "\n"
    return f"{kept}{separator}{_BEGIN}\n{block}{_END}\n"


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read what the files define, and what their stanzas imply.

    Implied are the VLAN interfaces that bridge-utils makes for `bridge_ports eth0.200`, and
    the NICs below. Raises ValueError where an address, tag or number is none.
    """
    found: dict[str, list[_Stanza]] = {}
    for text in existing.values():
        for stanza in _stanzas(text):
            found.setdefault(stanza.name, []).append(stanza)
    interfaces = {name: _interface(name, stanzas) for name, stanzas in found.items()}
    queue = list(interfaces.values())
    for upper in queue:
        for name in upper.below:
            if name not in interfaces:
                # as bridge-utils does it for its ports, and the kernel for a bond's
                mtu = upper.mtu if upper.kind in ("bridge", "bond") else None
                interfaces[name] = replace(_link(name, {}), mtu=mtu)
                queue.append(interfaces[name])
    return tuple(interfaces.values())


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    """Say which interfaces have to be restarted on the way from one set of files to another.

    With each interface goes what is built on it, because it loses its routes or its ports.
    Down is from top to bottom; up is from bottom to top, and only what starts by itself.
    """
    old, new = _definitions(before), _definitions(after)
    lower, upper = parse(before), parse(after)
    differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    restarted = with_all_above(differing, (*lower, *upper))
    down = (name for name in reversed(bottom_up(lower)) if name in restarted & old.keys())
    up = (name for name in bottom_up(upper) if name in restarted and _starts(new.get(name)))
    return Changes(tuple(down), tuple(up))


def restart(files: Mapping[str, str], names: Set[str]) -> Changes:
    """Say in which order the named interfaces, and all that is built on them, are restarted."""
    definitions, interfaces = _definitions(files), parse(files)
    restarted = with_all_above(names, interfaces) & definitions.keys()
    order = [name for name in bottom_up(interfaces) if name in restarted]
    return Changes(
        tuple(reversed(order)), tuple(name for name in order if _starts(definitions[name]))
    )


def _lines(text: str) -> Iterator[tuple[str, list[str]]]:
    """Split into logical lines: the text of each, and its words; a comment has no words."""
    for match in _LINE.finditer(text):
        if line := match[0]:
            comment = line.lstrip().startswith("#")
            yield line, [] if comment else line.replace("\\\n", " ").split()


def _stanzas(text: str) -> Iterator[_Stanza]:
    """Read the iface stanzas."""
    stanza: _Stanza | None = None
    for _, words in _lines(text):
        if not words:
            continue
        keyword, *arguments = words
        if _KEYWORD.fullmatch(keyword):
            if stanza:
                yield stanza
            stanza = None
            if keyword == "iface" and arguments:
                stanza = _Stanza(arguments[0], tuple(arguments[1:]), ())
        elif stanza:
            option = (keyword.replace("_", "-"), " ".join(arguments))
            stanza = replace(stanza, options=(*stanza.options, option))
    if stanza:
        yield stanza


def _carried(texts: Iterable[str], network: Network) -> dict[str, str]:
    return {
        option: value
        for text in texts
        for stanza in _stanzas(text)
        if stanza.name == network.uplink
        for option, value in stanza.options
        if option == "hwaddress" or (network.bond is None and _BOND_OPTION.fullmatch(option))
    }


def _without(text: str, names: frozenset[str]) -> str:
    """Take the stanzas of the named interfaces out of the text; comments stay."""
    kept = []
    ours = False
    for line, words in _lines(text):
        keyword, arguments = (words[0], words[1:]) if words else ("", [])
        if _SELECTOR.fullmatch(keyword):
            ours = False
            rest = [name for name in arguments if name.partition("=")[0] not in names]
            if rest != arguments:
                line = f"{keyword} {' '.join(rest)}\n" if rest else ""
        elif _KEYWORD.fullmatch(keyword):
            ours = keyword in ("iface", "mapping") and not names.isdisjoint(arguments[:1])
        if not (ours and words):
            kept.append(line)
    return "".join(kept)


def _terminated(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"


def _rendered(network: Network, carried: Mapping[str, str]) -> Iterator[str]:
    """Render the stanzas, none for what the others imply: ports and a plain uplink."""
    for interface in network.interfaces:
        options = _options(interface)
        implied = interface.kind == "vlan" and not interface.addresses
        if interface.name == network.uplink:
            options = {**carried, **options}
            implied = network.bridge_type == "native" and not options
        elif interface.kind == "ethernet":
            implied = True  # a bond's NIC
        if not implied:
            yield _stanza_text(interface, options, _comment(interface.name, network.labels))
        if interface.has_ipv6:
            yield _ipv6_stanza_text(interface)


def _options(interface: Interface) -> dict[str, str]:
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
    if interface.stp is not None:  # only native bridges say it
        options["bridge_ports"] = " ".join(interface.ports)
        options["bridge_fd"] = str(interface.forward_delay)
        options["bridge_stp"] = "on" if interface.stp else "off"
        options["bridge_maxwait"] = "1"
    if interface.mtu is not None:
        options["mtu"] = str(interface.mtu)
    return options


def _ipv6_options(interface: Interface) -> dict[str, str]:
    options: dict[str, str] = {}
    for address in interface.addresses:
        if address.version == 6:
            options["address"] = str(address)
    for gateway in interface.gateways:
        if gateway.version == 6:
            options["gateway"] = str(gateway)
    # ifup fails where duplicates cannot be looked for within 6 s, as on a bridge that listens.
    return {**options, "accept_ra": "0", "autoconf": "0", "dad-attempts": "0"}


def _stanza_text(interface: Interface, options: Mapping[str, str], comment: str) -> str:
    method = "static" if interface.addresses else "manual"
    return _lines_text(
        [comment, f"auto {interface.name}", f"iface {interface.name} inet {method}"], options
    )


def _ipv6_stanza_text(interface: Interface) -> str:
    return _lines_text([f"iface {interface.name} inet6 static"], _ipv6_options(interface))


def _lines_text(head: Iterable[str], options: Mapping[str, str]) -> str:
    lines = [*head, *(f"    {option} {value}" for option, value in options.items())]
    return "".join(f"{line}\n" for line in lines if line)


def _comment(name: str, labels: Labels) -> str:
    traffic = [kind for kind, label in asdict(labels).items() if label == name]
    return f"# {' and '.join(traffic).capitalize()} network" if traffic else ""


def _definitions(files: Mapping[str, str]) -> dict[str, tuple[list[str], list[_Stanza]]]:
    """Collect, for each interface that has a stanza, the words that select it and its stanzas."""
    found: dict[str, tuple[list[str], list[_Stanza]]] = {}
    for text in files.values():
        for stanza in _stanzas(text):
            found.setdefault(stanza.name, ([], []))[1].append(stanza)
    for text in files.values():
        for _, words in _lines(text):
            for name in words[1:]:
                if _SELECTOR.fullmatch(words[0]) and name in found:
                    found[name][0].append(words[0])
    return found


def _starts(definition: tuple[list[str], list[_Stanza]] | None) -> bool:
    selectors = definition[0] if definition else []
    return any(word == "auto" or word.startswith("allow-") for word in selectors)


def _interface(name: str, stanzas: list[_Stanza]) -> Interface:
    options = dict(option for stanza in stanzas for option in stanza.options)
    mtu = options.get("mtu")
    return replace(
        _link(name, options),
        mtu=None if mtu is None else int(mtu),
        dhcp=any("dhcp" in stanza.method for stanza in stanzas),
        addresses=tuple(address for stanza in stanzas for address in _addresses(stanza)),
        gateways=tuple(
            ip_address(value)
            for stanza in stanzas
            for option, value in stanza.options
            if option == "gateway"
        ),
        dns_servers=tuple(map(ip_address, _values(options, "dns-nameserver", "dns-nameservers"))),
        dns_search=tuple(_values(options, "dns-domain", "dns-search")),
    )


def _addresses(stanza: _Stanza) -> Iterator[AddressWithPrefix]:
    options = dict(stanza.options)
    if "static" in stanza.method and "address" in options:
        address, netmask = options["address"], options.get("netmask")
        yield ip_interface(address if netmask is None else f"{address.partition('/')[0]}/{netmask}")


def _values(options: Mapping[str, str], *names: str) -> list[str]:
    return [value for name in names for value in options.get(name, "").split()]


def _link(name: str, options: Mapping[str, str]) -> Interface:
    ports = tuple(port for port in options.get("bridge-ports", "").split() if port != "none")
    if "bridge-ports" in options:
        delay = options.get("bridge-fd")
        return Interface(
            name,
            "bridge",
            ports=ports,
            stp=options.get("bridge-stp") in ("on", "yes"),
            forward_delay=None if delay is None else round(float(delay)),
        )
    parent, dot, tag = name.rpartition(".")
    if dot and tag.isdigit():
        raw_device = options.get("vlan-raw-device", parent)
        return Interface(name, "vlan", parent=raw_device, tag=int(tag))
    if "vlan-raw-device" in options and name.removeprefix("vlan").isdigit():
        tag = name.removeprefix("vlan")
        return Interface(name, "vlan", parent=options["vlan-raw-device"], tag=int(tag))
    if any(map(_BOND_OPTION.fullmatch, options)) and "bond-master" not in options:
        nics = sorted(nic for nic in _values(options, "bond-slaves") if nic != "none")
        return Interface(name, "bond", ports=tuple(nics), bond_mode=options.get("bond-mode"))
    return Interface(name, "ethernet")
