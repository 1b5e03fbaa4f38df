"""Zones of firewalld: what they let through, and how firewall-cmd is told to change them."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import product
from xml.etree import ElementTree

from kvmhost.firewall import ANYWHERE, EVERYONE, SSH, IPAddress, Protocol, numbers, ranges

Services = Mapping[str, frozenset[str]]
"""What services open, by name: ports such as 5900-5903/tcp."""

_ELEMENT = re.compile(
    r'(?<!-)port port="(?P<port>[\d-]+)" protocol="(?P<protocol>\w+)"'
    r'|service name="(?P<service>[^"]+)"'
)
_SOURCE = re.compile(r' source (?P<negation>NOT )?(?:address="(?P<address>[^"]+)")?')
_ACCEPTS = re.compile(r" accept\b")
_ORDER = (
    "--add-rich-rule",
    "--remove-rich-rule",
    "--remove-service",
    "--remove-port",
    "--add-port",
)
"""Kinds of changes as they are to follow: firewalld joins a port that is added to its likes."""


@dataclass(frozen=True)
class Zone:
    """A zone as firewall-cmd(1) lists it, as far as it is told here."""

    target: str = "default"
    interfaces: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()
    rich_rules: frozenset[str] = frozenset()


Change = tuple[str, str]
"""An option of firewall-cmd and its value."""


def parse_zones(lines: Iterable[str]) -> dict[str, Zone]:
    """Return the zones that `firewall-cmd --list-all-zones` lists, by name."""
    said: dict[str, dict[str, list[str]]] = {}
    for line in lines:
        key, _, values = line.strip().partition(":")
        if re.match(r"\S", line):
            zone = said.setdefault(line.split()[0], {"rule": []})
        elif said and line.startswith("\t"):
            zone["rule"].append(line.strip())
        elif said:
            zone[key] = values.split()
    return {
        name: Zone(
            target=" ".join(zone.get("target", ["default"])),
            rich_rules=frozenset(zone["rule"]),
            **{
                key: frozenset(zone.get(key, ()))
                for key in ("interfaces", "sources", "services", "ports")
            },
        )
        for name, zone in said.items()
    }


def parse_service(xml: str) -> frozenset[str]:
    """Return the ports that a service opens (firewalld.service(5)); none of what is no XML."""
    try:
        ports = ElementTree.fromstring(xml).findall("port")
    except ElementTree.ParseError:
        return frozenset()
    return frozenset(f"{each.get('port')}/{each.get('protocol')}" for each in ports)


def in_order(changes: Iterable[Change]) -> Iterator[tuple[str, list[str]]]:
    """Yield the values of each kind of change, since firewall-cmd takes one kind at a time."""
    values: dict[str, set[str]] = {option: set() for option in _ORDER}
    for option, value in changes:
        values[option].add(value)
    yield from ((option, sorted(values[option])) for option in _ORDER if values[option])


def opening(
    zone: Zone, ports: Collection[str], sources: Collection[str], protocol: Protocol = "tcp"
) -> Iterator[Change]:
    """Yield what lets in some sources that are not let in so already.

    ports: numbers, or ranges such as 5900:6100. sources: networks, or `ANYWHERE`.
    """
    opened = frozenset[int]().union(*(_of(protocol, port) for port in zone.ports))
    for source, port in product(sources, ports):
        rule = _accepting(port, source, protocol)
        if source == ANYWHERE:
            if not numbers(port) <= opened:
                yield "--add-port", f"{port.replace(':', '-')}/{protocol}"
        elif rule not in zone.rich_rules:
            yield "--add-rich-rule", rule


def closing(zone: Zone, ports: Collection[int], services: Services) -> Iterator[Change]:
    """Yield what lets nobody in to some ports from anywhere, or from all but a few, TCP or UDP.

    What else is open stays open.
    """
    for port in zone.ports:
        if (rest := _without((port,), ports)) is not None:
            yield "--remove-port", port
            yield from (("--add-port", each) for each in rest)
    for service in zone.services:
        if (rest := _without(services.get(service, ()), ports)) is not None:
            yield "--remove-service", service
            yield from (("--add-port", each) for each in rest)
    for rule in zone.rich_rules:
        element = _ELEMENT.search(rule)
        if not element or not _ACCEPTS.search(rule) or not _is_from_anyone(rule):
            continue
        if (rest := _without(_opened(element, services), ports)) is not None:
            yield "--remove-rich-rule", rule
            for each in rest:
                port, _, protocol = each.partition("/")
                narrower = f'port port="{port}" protocol="{protocol}"'
                yield "--add-rich-rule", rule.replace(element[0], narrower)


def decides_on_ssh(zone: Zone, services: Services, who: IPAddress | None) -> bool:
    """Return whether a zone says of someone's way to SSH that it is open, or shut by a rule of SSH.

    who: None: anyone at all.
    """
    opened = zone.ports.union(*(services.get(service, ()) for service in zone.services))
    if zone.target == "ACCEPT" or any(numbers(SSH) <= _of("tcp", port) for port in opened):
        return True
    for rule in zone.rich_rules:
        element = _ELEMENT.search(rule)
        ports = _opened(element, services) if element else ()
        named = any(numbers(SSH) <= _of("tcp", port) for port in ports)
        if (named or (not element and _ACCEPTS.search(rule))) and _concerns(rule, who):
            return True
    return False


def zone_of(zones: Mapping[str, Zone], who: IPAddress | None, default: str) -> str:
    """Return the zone into which someone's address has been put, or the default."""
    for name, zone in zones.items():
        if who and any(_contains(source, who) for source in zone.sources):
            return name
    return default


def _accepting(port: str, source: str, protocol: Protocol) -> str:
    origin = ""
    if source != ANYWHERE:
        network = ip_network(source)
        address = "" if network in EVERYONE.values() else f' source address="{source}"'
        origin = f' family="ipv{network.version}"{address}'
    return f'rule{origin} port port="{port.replace(":", "-")}" protocol="{protocol}" accept'


def _opened(element: re.Match[str], services: Services) -> Collection[str]:
    if element["service"]:
        return services.get(element["service"], ())
    return (f"{element['port']}/{element['protocol']}",)


def _without(opened: Collection[str], ports: Collection[int]) -> list[str] | None:
    """Return what is left of ports such as 5900-5903/tcp; None: all of them are."""
    rest: set[str] = set()
    for each in opened:
        numbered, _, protocol = each.partition("/")
        found = _numbers(numbered) if protocol in ("tcp", "udp") else frozenset[int]()
        if found.isdisjoint(ports):
            rest.add(each)
        else:
            left = ranges(found - set(ports))
            rest.update(f"{one.replace(':', '-')}/{protocol}" for one in left)
    return None if rest == set(opened) else sorted(rest)


def _of(protocol: Protocol, port: str) -> frozenset[int]:
    numbered, _, its_protocol = port.partition("/")
    return _numbers(numbered) if its_protocol == protocol else frozenset()


def _numbers(ports: str) -> frozenset[int]:
    try:
        return numbers(ports.replace("-", ":"))
    except ValueError:
        return frozenset()


def _is_from_anyone(rule: str) -> bool:
    """Whether a rule says of no source that it alone is meant."""
    source = _SOURCE.search(rule)
    if source is None or source["negation"]:
        return True
    try:
        return ip_network(source["address"] or "", strict=False) in EVERYONE.values()
    except ValueError:
        return False  # a MAC address, or the name of a set


def _concerns(rule: str, who: IPAddress | None) -> bool:
    source = _SOURCE.search(rule)
    if who is None or source is None or not source["address"]:
        return True
    return _contains(source["address"], who) != bool(source["negation"])


def _contains(source: str, who: IPAddress) -> bool:
    try:
        return who in ip_network(source, strict=False)
    except ValueError:
        return False  # a MAC address, or the name of a set
