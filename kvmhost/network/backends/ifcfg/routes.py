"""The files beside ifcfg files: route-eth0, route6-eth0, rule-eth0 and rule6-eth0.

ifup-routes hands their lines to ip-route(8) and ip-rule(8). An older form of routes, which it reads
too, has ADDRESS0=, NETMASK0= and GATEWAY0=.

Source: initscripts' sysconfig.txt and its ifup-routes.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from kvmhost.network.interfaces import Address, Interface, Options, Route

KINDS = ("route", "route6", "rule", "rule6")
_ROUTES = ("route", "route6")
_ROUTE = re.compile(
    r"(?P<to>\S+) via (?P<via>\S+)(?: dev (?P<dev>\S+))?(?: metric (?P<metric>\d+))?"
)
_ASSIGNMENT = re.compile(r"""\s*(ADDRESS|NETMASK|GATEWAY)(\d+)=["']?([^"'\s]*)["']?""")


@dataclass(frozen=True)
class Beside:
    """What the files beside an interface's own say; `lines` by the kind of their file."""

    routes: tuple[Route, ...] = ()
    gateways: tuple[Address, ...] = ()
    lines: Options = ()


def parse(texts: Iterable[tuple[str, str]]) -> Beside:
    """Read an interface's files, each by its kind. A default route with a metric is a line only.

    Raises ValueError where an address is none.
    """
    routes: list[Route] = []
    gateways: list[Address] = []
    lines: list[tuple[str, str]] = []
    for kind, text in texts:
        for line in _lines(text):
            match = _ROUTE.fullmatch(line) if kind in _ROUTES else None
            metric = int(match["metric"] or 0) if match else 0
            if match is None or (match["to"] == "default" and metric):
                lines.append((kind, line))
            elif match["to"] == "default":
                gateways.append(ip_address(match["via"]))
            else:
                destination = ip_network(match["to"], strict=False)
                routes.append(Route(destination, ip_address(match["via"]), metric or None))
    return Beside(tuple(routes), tuple(gateways), tuple(lines))


def render(interface: Interface) -> dict[str, str]:
    """Render an interface's files, each by its kind."""
    lines: dict[str, list[str]] = {}
    for route in interface.routes:
        kind = "route" if route.destination.version == 4 else "route6"
        lines.setdefault(kind, []).append(f"{route} dev {interface.name}")
    for kind, line in interface.options:
        if kind in KINDS:
            lines.setdefault(kind, []).append(line)
    return {kind: "".join(f"{line}\n" for line in found) for kind, found in lines.items()}


def _lines(text: str) -> Iterator[str]:
    if _ASSIGNMENT.search(text):
        yield from _of_assignments(text)
        return
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield " ".join(line.split())


def _of_assignments(text: str) -> Iterator[str]:
    values = {(key, int(number)): value for key, number, value in _ASSIGNMENT.findall(text)}
    number = 0
    while address := values.get(("ADDRESS", number)):
        netmask, via = (values.get((key, number)) for key in ("NETMASK", "GATEWAY"))
        network = ip_network(f"{address}/{netmask}" if netmask else address, strict=False)
        yield f"{_named(network)} via {via}" if via else _named(network)
        number += 1


def _named(network: IPv4Network | IPv6Network) -> str:
    return "default" if network.prefixlen == 0 else str(network)
