"""What the commands of /etc/network/interfaces do, as far as administrators write them alike.

Sources: ip-route(8), ip-link(8), net-tools' route(8), and what cloud-init and Debian's wiki write.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise
from posixpath import basename

from kvmhost.network.interfaces import Address

WITHOUT_IPV6 = (
    ("up", "sysctl -e -q -w net/ipv6/conf/$IFACE/disable_ipv6=1"),
    (
        "post-down",
        "sysctl -e -q -w net/ipv6/conf/$IFACE/disable_ipv6="
        "$(sysctl -n net.ipv6.conf.default.disable_ipv6)",
    ),
)
"""The options that keep an interface from IPv6: the kernel would give it a link-local address, and
others that routers announce. A bridge of Open vSwitch outlives ifdown(8).
"""

# What only keeps a failure, or what it says, from counting.
_TOLERANCE = re.compile(r"\s*(\|\|\s*(/bin/|/usr/bin/)?(true|:)|[12&]?>\s*/dev/null|2>&1|;)\s*$")
_OPERATOR = re.compile(r"[;&|<>`(){}\n]")
_DEFAULTS = {"4": ip_network("0.0.0.0/0"), "6": ip_network("::/0")}


@dataclass(frozen=True)
class RouteCommand:
    """Adds, or else deletes, a route of the main table; a default route has the prefix length 0."""

    adds: bool
    destination: IPv4Network | IPv6Network
    via: Address | None
    metric: int | None

    @property
    def is_default(self) -> bool:
        """Whether it is for every destination."""
        return self.destination.prefixlen == 0


def route_command(command: str, device: str) -> RouteCommand | None:
    """Read a command that does nothing but add or delete a route, if through a device then this.

    None is any other command, or a route that says more (a table, a source, a scope ...).
    """
    words = _words(command, device)
    try:
        match words:
            case ["ip", *rest]:
                return _ip_route(rest, device)
            case ["route", *rest]:
                return _route(rest, device)
    except (ValueError, StopIteration):
        pass
    return None


def mtu_command(command: str, device: str) -> int | None:
    """Return the MTU, in bytes, that a command gives the device and does nothing else."""
    match _words(command, device):
        case (
            ["ip", "link", "set", "dev", name, "mtu", mtu]
            | ["ip", "link", "set", name, "mtu", mtu]
            | ["ifconfig", name, "mtu", mtu]
        ) if name == device and mtu.isdigit():
            return int(mtu)
    return None


def is_of_device(command: str, device: str) -> bool:
    """Whether a command is of the device, whoever has its address: ethtool(8), ip-link(8)."""
    match _words(command, device):
        case ["ethtool", *rest]:
            return device in rest
        case ["ip", "link", "set", "dev", name, *_] | ["ip", "link", "set", name, *_]:
            return name == device
    return False


def is_of_address(command: str) -> bool:
    """Whether a command is a rule or a route that names no interface, or only as $IFACE."""
    match _words(command, "$IFACE"):
        case ["ip", "-4" | "-6", "rule" | "route", *rest] | ["ip", "rule" | "route", *rest]:
            named = (name for key, name in pairwise(rest) if key in ("dev", "iif", "oif"))
            return all(name == "$IFACE" for name in named)
    return False


def _words(command: str, device: str) -> list[str]:
    """Split one simple command, its program without a folder; nothing where it is more than that.

    Every stanza's commands know their interface as $IFACE.
    """
    while (bare := _TOLERANCE.sub("", command)) != command:
        command = bare
    command = re.sub(r"\$IFACE\b|\$\{IFACE\}", device, command)
    try:
        words = [] if _OPERATOR.search(command) else shlex.split(command)
    except ValueError:
        return []
    return [basename(words[0]), *words[1:]] if words else []


def _ip_route(words: list[str], device: str) -> RouteCommand | None:
    rest = iter(words)
    version = ""
    for word in rest:
        if word in ("-4", "-6"):
            version = word[1:]
            continue
        if not (word and "route".startswith(word)):
            return None
        break
    adds = _adds(next(rest), ("add", "append", "replace"), ("delete", "del"))
    destination = next(word for word in rest if word != "to")
    said = _pairs(rest, ("via", "dev", "metric", "table"))
    if said.get("dev", device) != device or said.pop("table", "main") != "main":
        return None
    return _command(adds, destination, version, said)


def _route(words: list[str], device: str) -> RouteCommand | None:
    rest = iter(words)
    version = "4"
    adds: bool | None = None
    length: str | None = None
    for word in rest:
        if word in ("-6", "--inet6") or (word == "-A" and next(rest) == "inet6"):
            version = "6"
        elif word in ("add", "del"):
            adds = word == "add"
        elif word in ("-net", "-host"):
            length = {"-net": "", "-host": "/32"}[word]
        else:
            break
    else:
        return None
    said = _pairs(rest, ("gw", "netmask", "metric", "dev"), last="dev")
    if adds is None or said.get("dev", device) != device:
        return None
    if "netmask" in said:
        length = f"/{said['netmask']}"
    if word != "default" and "/" not in word and not length:
        return None  # net-tools guesses how long the prefix is
    destination = word if "/" in word or word == "default" else word + (length or "")
    return _command(adds, destination, version, {**said, "via": said.get("gw", "")})


def _adds(verb: str, adding: tuple[str, ...], deleting: tuple[str, ...]) -> bool:
    """Read a verb, which may be abbreviated; raises ValueError if it is none of these."""
    if any(each.startswith(verb) for each in adding):
        return True
    if any(each.startswith(verb) for each in deleting):
        return False
    raise ValueError(verb)


def _pairs(words: Iterator[str], known: tuple[str, ...], last: str = "") -> dict[str, str]:
    """Read keys with their values; a single last word is the value of `last`, if that is given.

    Raises ValueError for any other key, and for one that is there twice.
    """
    said: dict[str, str] = {}
    for key in words:
        value = next(words, None)
        if value is None and last:
            key, value = last, key
        if key not in known or key in said or value is None:
            raise ValueError(key)
        said[key] = value
    return said


def _command(
    adds: bool, destination: str, version: str, said: dict[str, str]
) -> RouteCommand | None:
    via = ip_address(said["via"]) if said.get("via") else None
    if destination == "default":
        network = _DEFAULTS[str(via.version) if via else version or "4"]
    else:
        network = ip_network(destination)
    if via and via.version != network.version:
        return None
    metric = int(said["metric"]) if "metric" in said else None
    return RouteCommand(adds, network, via, metric)
