"""Who may reach a port, and which ports those are, whatever firewall a host has."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

ANYWHERE = "any"
"""The source of a rule that lets everyone in."""
SSH = "22"
"""The port of SSH, whose rules are never taken out or changed."""

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Protocol = Literal["tcp", "udp"]

EVERYONE: dict[int, IPNetwork] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
"""All addresses there are, by the version of IP."""

ASK_WORKSTATION = (
    'pid=$$; while [ "$pid" -gt 1 ] && '
    "! tr '\\0' '\\n' 2>/dev/null </proc/$pid/environ | grep '^SSH_CONNECTION='; "
    "do pid=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$pid/status); done; true"
)
"""A shell command that prints from where the administrator has come, also below sudo."""


def workstation(output: Iterable[str]) -> IPAddress | None:
    """Return the administrator's address as the host sees it (ssh(1), ENVIRONMENT).

    output: what `ASK_WORKSTATION` prints. None: nobody has come by SSH, or through no network.
    """
    for line in output:
        if match := re.match(r"SSH_CONNECTION=(\S+) ", line):
            try:
                return ip_address(match[1])
            except ValueError:
                return None
    return None


def numbers(ports: str) -> frozenset[int]:
    """Return the ports of a list such as 80,5900:6100; a range may lack an end.

    Raises ValueError for what is no list of ports.
    """
    found: set[int] = set()
    for each in ports.split(","):
        first, colon, last = each.partition(":")
        if not colon:
            last = first
        lowest, highest = int(first or 0), int(last or 65535)
        if not 0 <= lowest <= highest <= 65535:
            raise ValueError(f"{each} is no range of ports")
        found.update(range(lowest, highest + 1))
    return frozenset(found)


def ranges(ports: Iterable[int]) -> tuple[str, ...]:
    """Return ports as few ranges, such as 80 and 5900:6100, in their order."""
    found: list[list[int]] = []
    for port in sorted(ports):
        if found and port == found[-1][1] + 1:
            found[-1][1] = port
        else:
            found.append([port, port])
    return tuple(str(first) if first == last else f"{first}:{last}" for first, last in found)


def closed(ports: Iterable[str]) -> frozenset[int]:
    """Return which of some ports nobody but their sources may reach: all but SSH's."""
    return frozenset[int]().union(*map(numbers, ports)) - numbers(SSH)
