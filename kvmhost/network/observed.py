"""The network as a host's kernel has it, held against the model.

Sources: ip-address(8), ip-route(8) and ip-link(8), with JSON output, and the kernel's bonding.rst.
`ip -details address` has the links too, with tags and the parameters of bridges and bonds, and
the addresses of IPv4 and IPv6; Open vSwitch's own tags and ports are `kvmhost.network.ovs`'s to
tell.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from typing import Any

from kvmhost.network.interfaces import MIIMON, Address, Interface
from kvmhost.network.model import Network

ADDRESSES_COMMAND = "ip -json -details address"
ROUTES_COMMAND = "ip -json route"
ROUTES6_COMMAND = "ip -6 -json route"

# What guests bring to a bridge; None would be a NIC.
_GUEST_PORTS = ("tun", "veth")
_FAMILIES = ("inet", "inet6")
_CENTISECONDS = 100  # iproute2's unit for a bridge's delays

_Link = Mapping[str, Any]
_Links = Mapping[str, _Link]
_Routes = Iterable[Mapping[str, Any]]
_Words = tuple[str, ...]


@dataclass(frozen=True)
class _Difference:
    """A sentence, and the words after each `ip link` that mend it, if any do."""

    sentence: str
    changes: tuple[_Words, ...] = ()

    @property
    def deletes(self) -> bool:
        return any(words[0] == "delete" for words in self.changes)


def differences(
    network: Network, addresses: Iterable[_Link], routes: _Routes, routes6: _Routes = ()
) -> tuple[str, ...]:
    """Say in one sentence each where the host is not as the model has it; nothing if it is.

    `addresses`, `routes` and `routes6` are the parsed output of `ADDRESSES_COMMAND`,
    `ROUTES_COMMAND` and `ROUTES6_COMMAND`. A bridge's further ports count only if they are no
    guest's, and what IPv6 has besides counts only if it keeps ours from working.
    """
    of_links = (difference.sentence for difference in _of_links(network, addresses))
    return (*of_links, *_of_routes(network, routes, routes6))


def kept_differences(
    network: Network, addresses: Iterable[_Link], routes: _Routes, routes6: _Routes = ()
) -> tuple[str, ...]:
    """Say in one sentence each what the interfaces lack that are kept as they are."""
    links = {link["ifname"]: link for link in addresses if "ifname" in link}
    wanted = [Interface(name, "ethernet") for name in network.kept if name != network.management]
    wanted += [network.management_interface] if network.is_kept else []
    of_links = (
        difference.sentence
        for each in wanted
        for difference in (
            _of_link(each, links[each.name])
            if each.name in links
            else [_Difference(f"{each.name} is missing.")]
        )
    )
    of_routes = _of_gateways(network, routes, routes6) if network.is_kept else ()
    return tuple(
        f"{sentence} What is kept as it is (kept_interfaces) is for you to set up."
        for sentence in (*of_links, *of_routes)
    )


def mending(network: Network, addresses: Iterable[_Link]) -> tuple[_Words, ...]:
    """Say the words after `ip link`, in order, that mend what starting a back end leaves alone.

    Above all networkd: it takes a device that exists as it is. They keep a bridge, and with it
    the guests' ports, wherever they can. What is missing, and what they delete, is for the back
    end to make; networkd makes it only when it is restarted.
    """
    changes = [words for each in _of_links(network, addresses) for words in each.changes]
    deleted = {name for verb, name, *_ in changes if verb == "delete"}
    # The kernel deletes a VLAN interface together with what it is on.
    gone = deleted | {
        each.name for each in network.interfaces if each.kind == "vlan" and each.parent in deleted
    }
    downwards = (each.name for each in reversed(network.interfaces))
    return (
        *(("delete", name) for name in downwards if name in deleted),
        *(words for words in changes if words[0] == "set" and words[1] not in gone),
    )


def is_mended_by_links(
    network: Network, addresses: Iterable[_Link], routes: _Routes, routes6: _Routes = ()
) -> bool:
    """Whether `mending` says all that it takes, and nothing has to be made anew."""
    of_links = _of_links(network, addresses)
    mended = all(each.changes and not each.deletes for each in of_links)
    return mended and not any(_of_routes(network, routes, routes6))


def _of_links(network: Network, addresses: Iterable[_Link]) -> Iterator[_Difference]:
    links = {link["ifname"]: link for link in addresses if "ifname" in link}
    for wanted in network.interfaces:
        if link := links.get(wanted.name):
            yield from _of_link(wanted, link)
            yield from _of_device(wanted, link, links)
        else:
            yield _Difference(f"{wanted.name} is missing.")


def _of_link(wanted: Interface, link: _Link) -> Iterator[_Difference]:
    name, mtu = wanted.name, link["mtu"]
    if "UP" not in link["flags"]:
        yield _Difference(f"{name} is down.", (("set", name, "up"),))
    if wanted.mtu not in (None, mtu):
        change = ("set", name, "mtu", str(wanted.mtu))
        yield _Difference(f"{name} has MTU {mtu} instead of {wanted.mtu}.", (change,))
    present = [
        ip_interface(f"{entry['local']}/{entry['prefixlen']}")
        for entry in link["addr_info"]
        if entry.get("family") in _FAMILIES and not entry.get("dadfailed")
    ]
    for address in wanted.addresses:
        if address not in present:
            alike = (each for each in present if each.version == address.version)
            others = ", ".join(str(each) for each in alike if not each.is_link_local)
            but = f" but {others}" if others else ""
            yield _Difference(f"{name} does not have the address {address}{but}.")


def _of_device(wanted: Interface, link: _Link, links: _Links) -> Iterator[_Difference]:
    name = wanted.name
    kind, data = _kind(link)
    # Open vSwitch's devices come and go with its database alone.
    delete = () if kind == "openvswitch" else (("delete", name),)
    if wanted.is_ovs_bridge and kind == "bridge":
        yield _Difference(f"{name} is a native bridge, not Open vSwitch's.", delete)
    elif wanted.kind == "bridge" and not wanted.is_ovs_bridge and kind != "bridge":
        yield _Difference(f"{name} is no native bridge.", delete)
    elif kind == "bridge":
        yield from _of_bridge(wanted, data, links)
    elif wanted.kind == "bond" and (kind, data.get("mode")) != ("bond", wanted.bond_mode):
        found = f"a bond in mode {data['mode']}" if kind == "bond" else "no bond"
        yield _Difference(f"{name} is {found}, not one in mode {wanted.bond_mode}.", delete)
    elif wanted.kind == "bond":
        yield from _of_bond(wanted, data, links)
    elif wanted.kind == "vlan":
        found = f"VLAN {data['id']} on {link.get('link')}" if kind == "vlan" else "no VLAN"
        modelled = f"VLAN {wanted.tag} on {wanted.parent}"
        if found != modelled:
            yield _Difference(f"{name} is {found} instead of {modelled}.", delete)


def _of_bridge(wanted: Interface, data: Mapping[str, Any], links: _Links) -> Iterator[_Difference]:
    name = wanted.name
    if bool(data["stp_state"]) != wanted.stp:
        change = ("set", name, "type", "bridge", "stp_state", "1" if wanted.stp else "0")
        yield _Difference(f"{name} has STP {'off' if wanted.stp else 'on'}.", (change,))
    delay, found = (wanted.forward_delay or 0) * _CENTISECONDS, data["forward_delay"]
    if found != delay:
        yield _Difference(
            f"{name} has a forward delay of {found / _CENTISECONDS:g} s "
            f"instead of {wanted.forward_delay} s.",
            (("set", name, "type", "bridge", "forward_delay", str(delay)),),
        )
    yield from _of_ports(wanted, links)


def _of_bond(wanted: Interface, data: Mapping[str, Any], links: _Links) -> Iterator[_Difference]:
    name, found = wanted.name, data["miimon"]
    if found != MIIMON:
        sentence = f"{name} looks at its NICs' links every {found} ms instead of {MIIMON} ms."
        yield _Difference(sentence, (("set", name, "type", "bond", "miimon", str(MIIMON)),))
    for option, value in wanted.bond_options:
        is_said = data.get("ad_lacp_rate" if option == "lacp_rate" else option)
        if is_said != value:
            # the kernel takes another rate only while the bond is down, and so without its VLANs
            change = ("set", name, "type", "bond", option, value)
            changes = (("delete", name),) if option == "lacp_rate" else (change,)
            yield _Difference(f"{name} has {option} {is_said} instead of {value}.", changes)
    yield from _of_ports(wanted, links)


def _of_ports(wanted: Interface, links: _Links) -> Iterator[_Difference]:
    name = wanted.name
    ports = {port: link for port, link in links.items() if link.get("master") == name}
    for port in wanted.ports:
        if port not in ports:
            changes = _joining(wanted, port) if port in links else ()
            yield _Difference(f"{port} is no port of {name}.", changes)
    for port, link in ports.items():
        if port not in wanted.ports and _kind(link)[0] not in _GUEST_PORTS:
            change = ("set", port, "nomaster")
            yield _Difference(f"{port} is a port of {name} by mistake.", (change,))


def _joining(upper: Interface, port: str) -> tuple[_Words, ...]:
    join = ("set", port, "master", upper.name)
    # A bond takes only what is down, and sets it up itself.
    return (("set", port, "down"), join) if upper.kind == "bond" else (join,)


def _of_gateways(network: Network, routes: _Routes, routes6: _Routes) -> Iterator[str]:
    for gateway in network.gateways:
        found = routes if gateway.version == 4 else routes6
        yield from _of_route(gateway, network.management, found)


def _of_routes(network: Network, routes: _Routes, routes6: _Routes) -> Iterator[str]:
    if not network.is_kept:
        yield from _of_gateways(network, routes, routes6)
    present = {
        (ip_network(route["dst"]), route.get("gateway"))
        for route in (*routes, *routes6)
        if route.get("dst") != "default"
    }
    for static in (route for each in network.interfaces for route in each.routes):
        if (static.destination, str(static.via)) not in present:
            yield f"There is no route to {static.destination} via {static.via}."


def _of_route(gateway: Address, device: str, routes: _Routes) -> Iterator[str]:
    wanted = (str(gateway), device)
    defaults = [route for route in routes if route.get("dst") == "default"]
    if not defaults:
        yield f"There is no default route via {wanted[0]} on {wanted[1]}."
        return
    preferred = min(defaults, key=lambda route: int(route.get("metric", 0)))
    found = (preferred.get("gateway"), preferred.get("dev"))
    if found != wanted:
        yield f"The default route is via {found[0]} on {found[1]}, not {wanted[0]} on {wanted[1]}."


def _kind(link: _Link) -> tuple[str | None, Mapping[str, Any]]:
    """The link's kind (None for a NIC) and what is particular to that kind."""
    info = link.get("linkinfo", {})
    return info.get("info_kind"), info.get("info_data", {})
