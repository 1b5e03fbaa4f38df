"""The network as NetworkManager's connection profiles, keyfiles, for version 1.40 and later.

With Open vSwitch the profiles only bring up and address what its own database defines.
NetworkManager's plugin for it knows ports with a tag but no fake bridges, and CloudStack's agent
takes for a label only what `ovs-vsctl list-br` names. Without that plugin (on EL a package of its
own, NetworkManager-ovs) the bridges are "generic" devices, which a profile may address; with it
they cannot be had, because it addresses only what it has made itself. NetworkManager leaves such
devices alone as long as they are down, if its configuration does not say that they are its own.

Sources: nm-settings-keyfile(5), NetworkManager.conf(5), nm-openvswitch(7) and nmcli(1).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from graphlib import TopologicalSorter
from ipaddress import ip_address, ip_interface
from pathlib import PurePosixPath
from uuid import NAMESPACE_URL, uuid5

from kvmhost.network import ifcfg
from kvmhost.network.files import File
from kvmhost.network.interfaces import (
    MIIMON,
    NO_DEVICES,
    Address,
    AddressWithPrefix,
    Devices,
    Interface,
    Kind,
    with_all_above,
)
from kvmhost.network.model import Network

DIRECTORY = "/etc/NetworkManager/system-connections"
CONFIGURATION = "/etc/NetworkManager/conf.d/cloudstack.conf"
# On EL 8 and 9 NetworkManager reads ifcfg files too.
PATHS = (f"{DIRECTORY}/*", CONFIGURATION, *ifcfg.PATHS)

_NAME, _PATH = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"

VALIDATE = f"""\
for file in new{DIRECTORY}/*; do
    [ -e "$file" ] || continue
    nmcli --offline connection modify connection.autoconnect yes <"$file" || {{
        echo "in $file" >&2
        exit 1
    }}
done
"""
"""Shell commands that accept the profiles below ./new: nmcli reads each as the daemon would."""
VALIDATE_OPENVSWITCH = f"""\
if busctl get-property {_NAME} {_PATH} {_NAME} Capabilities | cut -d " " -f 3- | grep -qw 2; then
    echo "NetworkManager has its plugin for Open vSwitch (NetworkManager-ovs), with which" \
        "fake bridges cannot have addresses: remove it" >&2
    exit 1
fi
"""
"""Shell commands that refuse a NetworkManager with NM_CAPABILITY_OVS (its D-Bus API)."""

_MODE = 0o600  # NetworkManager refuses a keyfile that others can read
_HEADER = "# CloudStack network (what stands here is overwritten)\n"
_OWN = f"{DIRECTORY}/cloudstack-"
# NetworkManager passes these over: backups, temporary files, certificates.
_IGNORED = re.compile(r".*(~|\.swpx?|\.pem|\.der|\.[A-Za-z0-9]{6})", re.I)
# The highest: a profile that fits the uplink among other devices must not win over ours.
_PRIORITY = "999"
# What an earlier profile of the uplink says here is ours to say.
_OURS = re.compile(
    r"connection|match|ipv[46]|proxy|generic|ifcfg|(bridge|bond|team|ovs)-port|ovs-.*"
)
_VIRTUAL = {"vlan", "bridge", "bond"}
_KINDS: dict[str, Kind] = {
    "bond": "bond",
    "vlan": "vlan",
    "bridge": "bridge",
    "ovs-bridge": "bridge",
}
_ALIASES = {"802-3-ethernet": "ethernet"}
_LIST = re.compile(r"[;, ]+")
_EVERYWHERE = ("0.0.0.0/0", "::/0")

_Section = Mapping[str, str]
_Profile = Mapping[str, _Section]


@dataclass(frozen=True)
class Changes:
    """Profiles as words for `nmcli connection`, such as ("uuid", "…"), each list in order.

    `down` is for the old files, of interfaces that end; `gone` names those of them that
    NetworkManager makes, and so should have deleted by then. `up` is for the new files.
    """

    down: tuple[tuple[str, str], ...]
    gone: tuple[str, ...]
    up: tuple[tuple[str, str], ...]


def render(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[File, ...]:
    """Render a profile for each of our interfaces, and what says which of them are generic.

    `existing` maps the paths on the host that match `PATHS` to their text. A present profile of
    an interface hands its UUID on to ours, because others may refer to it; that of a NIC also
    what makes it the device that it is, such as a MAC address or the options of a bond.

    Raises ValueError where NetworkManager cannot have the network as it is modelled.
    """
    profiles = _profiles(existing)
    upper = {
        port: interface
        for interface in network.interfaces
        if not interface.is_ovs_bridge
        for port in interface.ports
    }
    files = [
        File(
            _path(each.name),
            _HEADER + _text(_rendered(each, upper.get(each.name), _present(each, profiles))),
            _MODE,
        )
        for each in network.interfaces
    ]
    if generic := [each.name for each in network.interfaces if each.is_ovs_bridge]:
        matches = ",".join(f"interface-name:={name}" for name in generic)
        device = {"match-device": matches, "managed": "1"}
        files.append(File(CONFIGURATION, _HEADER + _text({"device-cloudstack": device})))
    return tuple(files)


def removed(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[str, ...]:
    """Name the files that have to go: others of our interfaces, and ours of an earlier network.

    A profile that fits the uplink among other devices stays, because ours wins over it.
    """
    own = {_path(name) for name in network.names}
    profiles = (
        path
        for path, profile in _profiles(existing).items()
        if path not in own and (path.startswith(_OWN) or _device(profile) in network.claims)
    )
    configuration = [CONFIGURATION] if network.ovs_bridge is None else []
    return *profiles, *(path for path in configuration if path in existing)


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read the interfaces that the keyfiles and ifcfg files define.

    A profile that names no device goes by its own name. Raises ValueError where an address or
    number is none.
    """
    profiles = [profile for path, profile in _profiles(existing).items() if _is_keyfile(path)]
    names = {_connection(profile).get("uuid", ""): _device(profile) for profile in profiles}
    ports: dict[str, list[str]] = {}
    for profile in profiles:
        if controller := _controller(profile):
            ports.setdefault(names.get(controller, controller), []).append(_device(profile))
    return (
        *(_interface(profile, names, ports) for profile in profiles),
        *ifcfg.parse(existing),
    )


def changes(
    before: Mapping[str, str], after: Mapping[str, str], also: Set[str] = frozenset()
) -> Changes:
    """Say which profiles are to be activated on the way from one set of files to another.

    `also` names interfaces that are to be set up anew although their profiles stay. With each
    interface goes what is built on it, and the ports of a bridge or bond go with it.
    """
    old, new = _definitions(before), _definitions(after)
    lower = parse(before)
    differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    ended = [name for name in reversed(_order(lower)) if _types(old, name) - _types(new, name)]
    return Changes(
        down=tuple(words for name in ended for words in _words(old[name])),
        gone=tuple(name for name in ended if _types(old, name) & _VIRTUAL),
        up=_activated(_restarted(differing | also, (*lower, *parse(after))), after),
    )


def _path(name: str) -> str:
    return f"{_OWN}{name}.nmconnection"


def _present(interface: Interface, profiles: Mapping[str, _Profile]) -> _Profile:
    """Find an interface's profile, ours if there are several."""
    found = {path: each for path, each in profiles.items() if _device(each) == interface.name}
    return found.get(_path(interface.name)) or next(iter(found.values()), {})


def _rendered(interface: Interface, upper: Interface | None, present: _Profile) -> _Profile:
    name = interface.name
    uuid = _connection(present).get("uuid") or str(uuid5(NAMESPACE_URL, f"file://{_path(name)}"))
    connection = {
        "id": f"cloudstack-{name}",
        "uuid": uuid,
        "type": interface.kind,
        "interface-name": name,
        "autoconnect-priority": _PRIORITY,
    }
    sections: dict[str, _Section] = {"connection": connection}
    if interface.kind == "ethernet":
        connection["type"] = _type(present)
        sections |= {key: section for key, section in present.items() if not _OURS.fullmatch(key)}
        sections["ethernet"] = _without_mtu(present)
    elif interface.kind == "bond":
        sections["ethernet"] = _without_mtu(present)
        sections["bond"] = {"mode": str(interface.bond_mode), "miimon": str(MIIMON)}
    elif interface.is_ovs_bridge:
        connection["type"] = "generic"
    elif interface.kind == "vlan":
        sections["vlan"] = {"id": str(interface.tag), "parent": str(interface.parent)}
    else:
        sections["bridge"] = _bridge(interface)
    if interface.mtu is not None and not interface.is_ovs_bridge:
        sections["ethernet"] = {**sections.get("ethernet", {}), "mtu": str(interface.mtu)}
    if upper is None:
        sections |= _addressing(interface)
    else:
        # The names before NetworkManager 1.46 hold for the later ones too.
        connection |= {"master": upper.name, "slave-type": upper.kind}
    return sections


def _without_mtu(present: _Profile) -> _Section:
    return {key: value for key, value in present.get("ethernet", {}).items() if key != "mtu"}


def _bridge(interface: Interface) -> _Section:
    delay = interface.forward_delay
    if delay is not None and delay < 2:
        raise ValueError(
            f"NetworkManager has no bridge with a forward delay of {delay} s, but of 2 s or more"
        )
    return {"stp": "true" if interface.stp else "false", "forward-delay": str(delay)}


def _addressing(interface: Interface) -> dict[str, _Section]:
    if not interface.addresses:
        return {"ipv4": {"method": "disabled"}, "ipv6": {"method": "disabled"}}
    sections: dict[str, dict[str, str]] = {
        "ipv4": {"method": "manual"},
        "ipv6": {"method": "manual" if interface.has_ipv6 else "auto"},
    }
    for address in interface.addresses:
        sections[f"ipv{address.version}"]["address1"] = str(address)
    for gateway in interface.gateways:
        sections[f"ipv{gateway.version}"]["gateway"] = str(gateway)
    for version in (4, 6):
        servers = [str(server) for server in interface.dns_servers if server.version == version]
        if servers:
            sections[f"ipv{version}"]["dns"] = ";".join(servers)
    if interface.dns_search:
        sections["ipv4"]["dns-search"] = ";".join(interface.dns_search)
    return {**sections}


def _text(profile: _Profile) -> str:
    return "\n".join(
        "".join((f"[{name}]\n", *(f"{key}={value}\n" for key, value in section.items())))
        for name, section in profile.items()
        if section
    )


def _is_keyfile(path: str) -> bool:
    return path.startswith(f"{DIRECTORY}/")


def _profiles(existing: Mapping[str, str]) -> dict[str, _Profile]:
    """Read the profiles that NetworkManager reads, as a keyfile would have them."""
    keyfiles = {
        path: _sections(path, text)
        for path, text in sorted(existing.items())
        if _is_keyfile(path) and not _IGNORED.fullmatch(path)
    }
    translated = {
        path: _translated(path, variables) for path, variables in ifcfg.files(existing).items()
    }
    return keyfiles | translated


def _sections(path: str, text: str) -> _Profile:
    sections: dict[str, dict[str, str]] = {"connection": {"id": PurePosixPath(path).name}}
    section: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(_ALIASES.get(line[1:-1], line[1:-1]), {})
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section[key.strip()] = value.strip()
    return sections


def _translated(path: str, variables: ifcfg.Variables) -> _Profile:
    """Say in a keyfile's terms what matters of an ifcfg file: whose profile it is, and its MAC."""
    connection = {
        "id": variables.get("NAME") or f"System {PurePosixPath(path).name.removeprefix('ifcfg-')}",
        "interface-name": ifcfg.device(path, variables),
        "type": variables.get("TYPE", "").lower(),
        "autoconnect": "true" if ifcfg.starts(variables) else "false",
    }
    if "UUID" in variables:
        connection["uuid"] = variables["UUID"]
    addresses = {"mac-address": "HWADDR", "cloned-mac-address": "MACADDR"}
    options = (option.partition("=") for option in variables.get("BONDING_OPTS", "").split())
    profile = {
        "connection": connection,
        "ethernet": {key: variables[name] for key, name in addresses.items() if name in variables},
        "bond": {key: value for key, _, value in options},
        "ifcfg": variables,
    }
    return {name: section for name, section in profile.items() if section}


def _definitions(existing: Mapping[str, str]) -> dict[str, tuple[_Profile, ...]]:
    found: dict[str, tuple[_Profile, ...]] = {}
    for profile in _profiles(existing).values():
        name = _device(profile)
        found[name] = (*found.get(name, ()), profile)
    return found


def _connection(profile: _Profile) -> _Section:
    return profile.get("connection", {})


def _type(profile: _Profile) -> str:
    type_ = _connection(profile).get("type", "ethernet")
    return _ALIASES.get(type_, type_) or "ethernet"


def _types(definitions: Mapping[str, tuple[_Profile, ...]], name: str) -> set[str]:
    return {_type(profile) for profile in definitions.get(name, ())}


def _device(profile: _Profile) -> str:
    connection = _connection(profile)
    return connection.get("interface-name") or connection["id"]


def _controller(profile: _Profile) -> str | None:
    connection = _connection(profile)
    return connection.get("controller") or connection.get("master")


def _words(profiles: Iterable[_Profile]) -> Iterator[tuple[str, str]]:
    for connection in map(_connection, profiles):
        yield ("uuid", connection["uuid"]) if "uuid" in connection else ("id", connection["id"])


def _order(interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Put each interface after its parent with its ports, and each port after its bridge or bond.

    A bond that has no port yet carries nothing for what stands on it.
    """
    interfaces = tuple(interfaces)
    ports = {interface.name: interface.ports for interface in interfaces}
    before: dict[str, list[str]] = {}
    for interface in interfaces:
        before.setdefault(interface.name, [])
        if interface.parent is not None:
            before[interface.name] += (interface.parent, *ports.get(interface.parent, ()))
        for port in interface.ports:
            before.setdefault(port, []).append(interface.name)
    return tuple(TopologicalSorter(before).static_order())


def _restarted(names: Set[str], interfaces: Iterable[Interface]) -> frozenset[str]:
    """Add what is built on the interfaces, and the ports that a bridge or bond lets go of."""
    interfaces = tuple(interfaces)
    found = with_all_above(names, interfaces)
    ports = {port for each in interfaces if each.name in found for port in each.ports}
    return found if ports <= found else _restarted(found | ports, interfaces)


def _activated(names: frozenset[str], existing: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    definitions = _definitions(existing)
    starting = {
        name: [each for each in profiles if _connection(each).get("autoconnect") != "false"]
        for name, profiles in definitions.items()
    }
    return tuple(
        words
        for name in _order(parse(existing))
        if name in names
        for words in _words(starting.get(name, ())[:1])
    )


def _interface(
    profile: _Profile, names: Mapping[str, str], ports: Mapping[str, Iterable[str]]
) -> Interface:
    name, type_ = _device(profile), _type(profile)
    vlan, bridge = profile.get("vlan", {}), profile.get("bridge", {})
    ipv4, ipv6 = profile.get("ipv4", {}), profile.get("ipv6", {})
    parent = vlan.get("parent")
    is_bridge = type_ == "bridge"
    return Interface(
        name=name,
        kind=_KINDS.get(type_, "ethernet"),
        parent=None if parent is None else names.get(parent, parent),
        tag=_number(vlan.get("id")),
        ports=tuple(sorted(ports.get(name, ()))),
        bond_mode=profile.get("bond", {}).get("mode"),
        stp=bridge.get("stp") not in ("false", "0", "no") if is_bridge else None,
        forward_delay=_number(bridge.get("forward-delay")),
        mtu=_number(profile.get("ethernet", {}).get("mtu")),
        dhcp=_has_dhcp(profile),
        addresses=tuple(address for ip in (ipv4, ipv6) for address, _ in _addresses(ip)),
        gateways=tuple(gateway for ip in (ipv4, ipv6) for gateway in _gateways(ip)),
        dns_servers=tuple(
            ip_address(server) for ip in (ipv4, ipv6) for server in _values(ip.get("dns", ""))
        ),
        dns_search=tuple(
            domain for ip in (ipv4, ipv6) for domain in _values(ip.get("dns-search", ""))
        ),
    )


def _has_dhcp(profile: _Profile) -> bool:
    ipv4, ipv6 = (profile.get(section, {}).get("method") for section in ("ipv4", "ipv6"))
    # A profile that says nothing has IPv4 by DHCP, unless it is a port's.
    return ipv4 == "auto" or ipv6 == "dhcp" or (ipv4 is None and _controller(profile) is None)


def _addresses(ip: _Section) -> Iterator[tuple[AddressWithPrefix, str | None]]:
    """Read "address1=10.0.0.2/24,10.0.0.1", and with ";" and an own field for the prefix."""
    for key, value in ip.items():
        if re.fullmatch(r"address(es)?\d*", key):
            address, *rest = _values(value)
            if "/" not in address and rest:
                address = f"{address}/{rest.pop(0)}"
            yield ip_interface(address), rest[0] if rest else None


def _gateways(ip: _Section) -> Iterator[Address]:
    routes = (_values(value) for key, value in ip.items() if re.fullmatch(r"routes?\d*", key))
    texts = (
        ip.get("gateway"),
        *(gateway for _, gateway in _addresses(ip)),
        *(
            next_hop[0]
            for destination, *next_hop in routes
            if destination in _EVERYWHERE
            if next_hop
        ),
    )
    yield from (ip_address(text) for text in texts if text)


def _values(text: str) -> list[str]:
    return [value for value in _LIST.split(text) if value]


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
