"""What the stanzas of /etc/network/interfaces mean, as interfaces.

Sources: interfaces(5) and ifupdown's definitions of its methods; bridge-utils-interfaces(5),
vlan-interfaces(5), ifenslave's README.Debian, and the scripts of ethtool and isc-dhcp-client.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, ip_address, ip_interface

from kvmhost.network.backends.ifupdown.commands import (
    WITHOUT_IPV6,
    RouteCommand,
    is_of_address,
    is_of_device,
    mtu_command,
    route_command,
)
from kvmhost.network.backends.ifupdown.files import Definitions, Stanza, normal, read
from kvmhost.network.interfaces import (
    NO_DEVICES,
    Address,
    AddressWithPrefix,
    Devices,
    Interface,
    Options,
    Route,
)

OF_IPV6 = "inet6"
"""As an option's key: the method of a stanza for IPv6. Before a key: it stands in that stanza."""

_UP = ("pre-up", "up", "post-up")
_DOWN = ("down", "pre-down", "post-down")
_LEASED = ("dhcp", "bootp")
_WITHOUT_MTU = (*_LEASED, "auto")
_WITHOUT_GATEWAY = (*_WITHOUT_MTU, "manual")
# The highest metrics of a default route that is no less than ours, which is written without one.
_METRICS = {4: 0, 6: 1024}
_BOND_OPTION = re.compile(r"bond-.*|slaves")
_HARDWARE = re.compile(
    rf"{_BOND_OPTION.pattern}|bridge-.*|ethernet-.*|hardware-.*|offload-.*|link-(speed|duplex)|"
    "driver-message-level|hwaddress|hw-mac-address|vlan-raw-device|description"
)
# What the model says of every interface, or Open vSwitch's database.
_SAID = re.compile(r"mtu|dns-(nameservers?|search|domain)|ovs-.*")
# What the model says of an interface of this kind.
_SAID_OF_KIND = {
    "bridge": ("bridge-ports", "bridge-stp", "bridge-fd", "bridge-maxwait"),
    "vlan": ("vlan-raw-device", "vlan-id"),
}
# What the model says of a stanza with this method, or goes with the lease.
_SAID_OF_METHOD = {
    ("inet", "static"): ("address", "netmask", "gateway", "metric"),
    ("inet", "dhcp"): ("hostname", "metric", "leasetime", "leasehours", "vendor", "client"),
    ("inet", "bootp"): ("bootfile", "server", "hwaddr"),
    ("inet6", "static"): (
        *("address", "netmask", "gateway", "metric"),
        *("accept-ra", "autoconf", "dad-attempts", "dad-interval"),
    ),
}
# The kernel's numbers for the modes of a bond (its bonding.rst).
_BOND_MODES = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast"),
    *("802.3ad", "balance-tlb", "balance-alb"),
)


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read what the files define, and what their stanzas imply; see `interfaces`.

    Raises ValueError where an address, tag or number is none, or a file is sourced that is not
    among those that are looked at.
    """
    return interfaces(read(existing), devices)


def interfaces(definitions: Definitions, devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Return what the stanzas define and imply.

    Implied are the VLAN interfaces that bridge-utils makes for `bridge_ports eth0.200`, and
    the NICs below. What the stanza of an alias says, such as eth0:1, is said of its interface.
    """
    stanzas: dict[str, list[Stanza]] = {}
    slaves: dict[str, list[Stanza]] = {}
    for stanza in definitions.stanzas:
        stanzas.setdefault(stanza.interface, []).append(stanza)
        for master in stanza.words.get("bond-master", ()):
            slaves.setdefault(master, []).append(stanza)
    found = {
        name: replace(
            _interface(name, of_it, slaves.get(name, ()), devices),
            starts=any(definitions.starts(stanza.name, devices) for stanza in of_it),
        )
        for name, of_it in stanzas.items()
    }
    queue = list(found.values())
    for upper in queue:
        for name in upper.below:
            if name not in found:
                # as bridge-utils does it for its ports, and the kernel for a bond's
                mtu = upper.mtu if upper.kind in ("bridge", "bond") else None
                found[name] = replace(_link(name, (), (), NO_DEVICES), mtu=mtu)
                queue.append(found[name])
    return tuple(found.values())


def _interface(
    name: str, stanzas: Sequence[Stanza], slaves: Sequence[Stanza], devices: Devices
) -> Interface:
    try:
        link = _link(name, stanzas, slaves, devices)
        return _configured(link, stanzas, slaves)
    except ValueError as error:
        raise ValueError(f"The stanza of {name} cannot be understood: {error}.") from error


def _configured(link: Interface, stanzas: Sequence[Stanza], slaves: Sequence[Stanza]) -> Interface:
    routes = tuple(_understood(link.name, stanzas))
    hardware, options, addressing = _beside(link, stanzas, routes)
    return replace(
        link,
        mtu=_mtu(link.name, stanzas),
        dhcp=any(stanza.method in _LEASED for stanza in stanzas),
        addresses=tuple(address for stanza in stanzas for address in _addresses(stanza)),
        gateways=tuple(_gateways(stanzas, routes)),
        spare_gateways=tuple(_spare_gateways(stanzas)),
        gateway_by_dhcp=any(map(_leases_gateway, stanzas)),
        routes=tuple(
            Route(each.destination, each.via, each.metric or None)
            for each in routes
            if each.via and not each.is_default
        ),
        dns_servers=tuple(map(ip_address, _values(stanzas, "dns-nameservers", "dns-nameserver"))),
        dns_search=tuple(_values(stanzas, "dns-search", "dns-domain")),
        hardware=(*hardware, *_bond_options_of(slaves, hardware)),
        options=options,
        addressing=addressing,
        own=all(stanza.own for stanza in stanzas),
    )


def _link(
    name: str, stanzas: Sequence[Stanza], slaves: Sequence[Stanza], devices: Devices
) -> Interface:
    """Read what kind of an interface it is, and what it is built on."""
    options = {normal(key): value for stanza in stanzas for key, value in stanza.options}
    if "bridge-ports" in options:
        delay = options.get("bridge-fd")
        return Interface(
            name,
            "bridge",
            ports=_names(stanzas, "bridge-ports"),
            stp=options.get("bridge-stp") in ("on", "yes"),
            forward_delay=None if delay is None else round(float(delay)),
        )
    if options.get("ovs-type") in ("OVSBridge", "OVSBond"):
        return Interface(name, "bridge", ports=_names(stanzas, "ovs-ports", "ovs-bonds"))
    parent, dot, tag = name.rpartition(".")
    if dot and tag.isdigit():
        raw_device = options.get("vlan-raw-device", parent)
        return Interface(name, "vlan", parent=raw_device, tag=int(tag))
    if "vlan-raw-device" in options and name.removeprefix("vlan").isdigit():
        tag = name.removeprefix("vlan")
        return Interface(name, "vlan", parent=options["vlan-raw-device"], tag=int(tag))
    if slaves or (any(map(_BOND_OPTION.fullmatch, options)) and "bond-master" not in options):
        nics = {stanza.interface for stanza in slaves}
        nics |= set(_names(stanzas, "bond-slaves", "slaves"))
        if "all" in nics:  # ifenslave takes it for every eth*
            nics |= {nic for nic in devices.values() if nic.startswith("eth")}
        mode = options.get("bond-mode", "")
        named = _BOND_MODES[int(mode)] if mode.isdigit() and int(mode) < 7 else mode or None
        return Interface(name, "bond", ports=tuple(sorted(nics - {"all"})), bond_mode=named)
    return Interface(name, "ethernet")


def _bond_options_of(slaves: Iterable[Stanza], own: Options) -> Options:
    """Return what the stanzas of its NICs say of a bond, unless its own says it too.

    ifenslave takes them for the bond's: whichever interface comes first sets it up.
    """
    found = {normal(key): (key, value) for key, value in own}
    for stanza in slaves:
        for key, value in stanza.options:
            if _is_of_bond(normal(key)):
                found.setdefault(normal(key), (key, value))
    return tuple(option for option in found.values() if option not in own)


def _is_of_bond(key: str) -> bool:
    return bool(_BOND_OPTION.fullmatch(key)) and key != "bond-master"


def _understood(name: str, stanzas: Iterable[Stanza]) -> Iterator[RouteCommand]:
    """Read the commands that add a route, or a default gateway that may be preferred to ours."""
    for stanza in stanzas:
        for key, value in stanza.options:
            command = route_command(value, name) if key in _UP else None
            if not (command and command.adds and command.via):
                continue
            if not command.is_default or _is_preferred(command.via, command.metric):
                yield command


def _is_preferred(gateway: Address, metric: int | None) -> bool:
    return metric is None or metric <= _METRICS[gateway.version]


def _gateways(stanzas: Iterable[Stanza], routes: Iterable[RouteCommand]) -> Iterator[Address]:
    for gateway, metric in _written_gateways(stanzas):
        if _is_preferred(gateway, metric):
            yield gateway
    for route in routes:
        if route.is_default and route.via:
            yield route.via


def _spare_gateways(stanzas: Iterable[Stanza]) -> Iterator[Address]:
    for gateway, metric in _written_gateways(stanzas):
        if not _is_preferred(gateway, metric):
            yield gateway


def _written_gateways(stanzas: Iterable[Stanza]) -> Iterator[tuple[Address, int | None]]:
    for stanza in stanzas:
        options = dict(stanza.options)
        if stanza.method not in _WITHOUT_GATEWAY and "gateway" in options:
            yield ip_address(options["gateway"]), _metric(options)


def _leases_gateway(stanza: Stanza) -> bool:
    """Whether a lease's default gateway has no metric: dhclient-script gives it what it is told."""
    return (
        stanza.family == "inet" and stanza.method in _LEASED and not _metric(dict(stanza.options))
    )


def _metric(options: Mapping[str, str]) -> int | None:
    return int(options["metric"]) if "metric" in options else None


def _mtu(name: str, stanzas: Sequence[Stanza]) -> int | None:
    """Return the MTU, which the methods with a lease know nothing of; a command's comes last."""
    found = [
        int(value)
        for family in (OF_IPV6, "inet")
        for stanza in stanzas
        if stanza.family == family and stanza.method not in _WITHOUT_MTU
        for key, value in stanza.options
        if key == "mtu"
    ]
    commands = (
        mtu_command(value, name)
        for stanza in stanzas
        for key, value in stanza.options
        if key in _UP
    )
    found += [mtu for mtu in commands if mtu is not None]
    return found[-1] if found else None


def _addresses(stanza: Stanza) -> Iterator[AddressWithPrefix]:
    """Read a stanza's address; without a netmask it has that of its class, as in ifupdown."""
    options = dict(stanza.options)
    if stanza.method != "static" or "address" not in options:
        return
    address, _, prefix = options["address"].partition("/")
    ip = ip_address(address)
    default = _class_prefix(ip) if isinstance(ip, IPv4Address) else "128"
    yield ip_interface(f"{address}/{options.get('netmask') or prefix or default}")


def _class_prefix(address: IPv4Address) -> str:
    first = address.packed[0]
    return "8" if first < 128 else "16" if first < 192 else "24" if first < 224 else "32"


def _beside(
    link: Interface, stanzas: Iterable[Stanza], routes: Sequence[RouteCommand]
) -> tuple[Options, Options, Options]:
    """Return what the stanzas say that the model does not: of device, interface, and address.

    Of IPv6 without a written address, that it is automatic is what the kernel does by itself.
    """
    hardware: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    addressing: list[tuple[str, str]] = []
    for stanza in stanzas:
        of_ipv6 = stanza.family == OF_IPV6
        said = [each for each in stanza.options if not _is_said(link, stanza, *each, routes)]
        if of_ipv6 and (stanza.method == "dhcp" or (stanza.method == "manual" and said)):
            options.append((OF_IPV6, stanza.method))
        for key, value in said:
            written = f"{OF_IPV6} {key}" if of_ipv6 else key
            if _is_hardware(link.name, key, value):
                hardware.append((key, value))
            elif key in (*_UP, *_DOWN) and is_of_address(value):
                addressing.append((written, value))
            else:
                options.append((written, value))
    return tuple(hardware), tuple(options), tuple(addressing)


def _is_said(
    link: Interface, stanza: Stanza, key: str, value: str, routes: Sequence[RouteCommand]
) -> bool:
    """Whether an option is among what the model says, or needs no saying."""
    name = normal(key)
    if (key, value) in WITHOUT_IPV6:
        return True
    if key in (*_UP, *_DOWN):
        command = route_command(value, link.name)
        if command is None:
            return key in _UP and mtu_command(value, link.name) is not None
        if key in _UP:
            return command in routes
        return not command.adds and any(_deletes(command, route) for route in routes)
    if name in ("broadcast", "network"):
        return any(_follows(name, value, address) for address in _addresses(stanza))
    if _is_of_bond(name) and "bond-master" in stanza.words:
        return True  # of the bond
    said = _SAID_OF_KIND.get(link.kind, ()) + _SAID_OF_METHOD.get(
        (stanza.family, stanza.method), ()
    )
    return name in said or bool(_SAID.fullmatch(name))


def _deletes(command: RouteCommand, route: RouteCommand) -> bool:
    return command.destination == route.destination and command.via in (None, route.via)


def _follows(key: str, value: str, address: AddressWithPrefix) -> bool:
    """Whether a network's or a broadcast address is the one that the address has anyway."""
    if not isinstance(address, IPv4Interface):
        return False
    network = address.network
    follows = network.broadcast_address if key == "broadcast" else network.network_address
    return value in ("+", str(follows))


def _is_hardware(name: str, key: str, value: str) -> bool:
    if key in (*_UP, *_DOWN):
        return is_of_device(value, name)
    return bool(_HARDWARE.fullmatch(normal(key)))


def _values(stanzas: Iterable[Stanza], *keys: str) -> list[str]:
    """Return all words of these options, in this order of their keys, each word once."""
    return list(
        dict.fromkeys(
            word for key in keys for stanza in stanzas for word in stanza.words.get(key, ())
        )
    )


def _names(stanzas: Iterable[Stanza], *keys: str) -> tuple[str, ...]:
    return tuple(name for name in _values(stanzas, *keys) if name != "none")
