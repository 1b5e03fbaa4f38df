"""The network as a netplan file, carried out by systemd-networkd.

Source: netplan(5), for netplan 0.104 and later. Files are read as netplan reads them: every
scalar as text (YAML 1.1 would make a number of a MAC address), later files adding to earlier.
libyaml's loaders and dumpers, because PyYAML's own take ten times as long.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import PurePosixPath
from typing import Any

import yaml

from kvmhost.network.files import File
from kvmhost.network.interfaces import (
    MIIMON,
    NO_DEVICES,
    Address,
    AddressWithPrefix,
    Devices,
    Interface,
    Kind,
    bottom_up,
)
from kvmhost.network.model import Network

OWN_FILE = "/etc/netplan/60-cloudstack.yaml"
PATHS = ("/etc/netplan/*.yaml",)

# Starts what netplan has generated for Open vSwitch. Its cleanup, which is slow, is left out: the
# database is on the way back what it was. One that fails must not keep networkd from its restart.
START_OPENVSWITCH = """\
for unit in /run/systemd/system/netplan-ovs-*.service; do
    case $unit in *-cleanup.service | *'*'*) continue ;; esac
    systemctl start "${unit##*/}" || true
done
"""

# netplan warns of files that others can read, because they may hold secrets.
_MODE = 0o600
_HEADER = "# CloudStack network (what stands here is overwritten)\n"
# What makes a device what it is, and is not ours to say.
_CARRIED = {
    "ethernet": ("match", "set-name", "macaddress", "wakeonlan", "interfaces", "parameters"),
    "bond": ("macaddress",),
}
_KINDS: dict[str, Kind] = {"bonds": "bond", "vlans": "vlan"}
_DEFAULT_ROUTES = ("default", "0.0.0.0/0", "::/0")

# Section ("ethernets", "vlans", …), then definition by its id.
_Sections = dict[str, dict[str, dict[str, Any]]]


def render(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[File, ...]:
    """Render our file, and each other file that must let go of our interfaces.

    `existing` maps the paths on the host that match `PATHS` to their text. Comments in another
    file are lost where a definition is taken out of it. Of a NIC's present definition, what says
    which device it is, or which bond, goes over into ours. Ours has its name for its id, because
    that is the name that netplan tells Open vSwitch: another definition that refers to an earlier
    id makes `netplan generate` fail.

    Raises ValueError, with the path, if a file is no YAML.
    """
    others = (
        File(path, kept, _MODE)
        for path, text in existing.items()
        if path != OWN_FILE and (kept := _without(path, text, network)) != text
    )
    document = {"network": {"version": 2, **_sections(network, _loaded(existing))}}
    text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
    return File(OWN_FILE, _HEADER + text, _MODE), *others


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read the interfaces that the files define together.

    A definition that matches several devices has a shell pattern for its name. Raises
    ValueError, with the path, if a file is no YAML, and where an address or number is none.
    """
    found = [
        (section, id_, definition)
        for section, definitions in _loaded(existing).items()
        for id_, definition in definitions.items()
    ]
    names = {id_: _device_name(id_, definition) for _, id_, definition in found}
    return tuple(_interface(section, id_, body, names) for section, id_, body in found)


def outdated(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Name what is no NIC and has to be deleted on the way between files, upper ones first.

    It is what the files after leave out or build otherwise, and the VLAN interfaces on that,
    which the kernel deletes with it: networkd neither deletes a device nor changes one that
    exists, and makes a deleted one only when it is restarted. Open vSwitch's bridges are not
    among them: netplan itself looks after those.
    """
    old, new = parse(before), {interface.name: _made_of(interface) for interface in parse(after)}
    changed = {
        interface.name
        for interface in old
        if interface.kind != "ethernet" and not interface.is_ovs_bridge
        if new.get(interface.name) != _made_of(interface)
    }
    changed |= {each.name for each in old if each.kind == "vlan" and each.parent in changed}
    return tuple(name for name in reversed(bottom_up(old)) if name in changed)


def _made_of(interface: Interface) -> Interface:
    """Only what networkd does not change on a device that exists."""
    return replace(
        interface, mtu=None, dhcp=False, addresses=(), gateways=(), dns_servers=(), dns_search=()
    )


def _sections(network: Network, found: _Sections) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {
        section: {} for section in ("ethernets", "bonds", "vlans", "bridges")
    }
    for interface in network.interfaces:
        section, carried = _present(interface, found)
        sections[section][interface.name] = {**carried, **_definition(interface)}
    return {section: definitions for section, definitions in sections.items() if definitions}


def _present(interface: Interface, found: _Sections) -> tuple[str, dict[str, object]]:
    """Find the section of an interface, and what to carry over from its present definition."""
    if interface.kind in ("vlan", "bridge"):
        return "bridges" if interface.tag is None else "vlans", {}
    present, definition = next(
        (
            (section, definition)
            for section in ("ethernets", "bonds")
            for id_, definition in found.get(section, {}).items()
            if _device_name(id_, definition) == interface.name
        ),
        ("ethernets", {}),
    )
    carried = {key: definition[key] for key in _CARRIED[interface.kind] if key in definition}
    return "bonds" if interface.kind == "bond" else present, carried


def _definition(interface: Interface) -> dict[str, object]:
    # The renderer stands in each definition, so that it goes for no one else's.
    definition: dict[str, object] = (
        {"openvswitch": {}} if interface.is_ovs_bridge else {"renderer": "networkd"}
    )
    if interface.parent is not None:
        definition |= {"id": interface.tag, "link": interface.parent}
    if interface.ports:
        definition["interfaces"] = list(interface.ports)
    if interface.stp is not None:
        delay = interface.forward_delay
        definition["parameters"] = {"stp": interface.stp, "forward-delay": delay}
    if interface.kind == "bond":
        mode = interface.bond_mode
        definition["parameters"] = {"mode": mode, "mii-monitor-interval": MIIMON}
    if interface.mtu is not None:
        definition["mtu"] = interface.mtu
    definition |= {"dhcp4": False, "dhcp6": False}
    if interface.addresses:
        return definition | _addressing(interface)
    # A port or bridge without address must not get one from what a guest announces, either.
    return definition | {"accept-ra": False, "link-local": []}


def _addressing(interface: Interface) -> dict[str, object]:
    addressing: dict[str, object] = {
        "addresses": [str(address) for address in interface.addresses],
        "routes": [{"to": "default", "via": str(gateway)} for gateway in interface.gateways],
    }
    nameservers = {
        "addresses": [str(server) for server in interface.dns_servers],
        "search": list(interface.dns_search),
    }
    if given := {key: values for key, values in nameservers.items() if values}:
        addressing["nameservers"] = given
    return addressing | ({"accept-ra": False} if interface.has_ipv6 else {})


def _without(path: str, text: str, network: Network) -> str:
    """Take the definitions of our interfaces out of a file's text."""
    ours = {
        (section, id_)
        for section, definitions in _read(path, text).items()
        for id_, definition in definitions.items()
        if _device_name(id_, definition) in network.claims
    }
    if not ours:
        return text
    # Nodes keep the quotes, and BaseLoader and BaseDumper add no tags of their own.
    document = yaml.compose(text, yaml.CBaseLoader)
    assert isinstance(document, yaml.MappingNode)
    body = {key.value: node for key, node in document.value}["network"]
    for key, section in body.value:
        if isinstance(section, yaml.MappingNode):
            section.value = [
                (id_, node) for id_, node in section.value if (key.value, id_.value) not in ours
            ]
    body.value = [(key, node) for key, node in body.value if node.value != []]
    return str(yaml.serialize(document, Dumper=yaml.CBaseDumper))


def _loaded(existing: Mapping[str, str]) -> _Sections:
    """Merge the files' definitions in netplan's order, which is that of the file names."""
    sections: _Sections = {}
    for path in sorted(existing, key=lambda path: PurePosixPath(path).name):
        _merge(sections, _read(path, existing[path]))
    return sections


def _read(path: str, text: str) -> _Sections:
    try:
        document = yaml.load(text, yaml.CBaseLoader)  # a loader of text only
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    network = document.get("network") if isinstance(document, dict) else None
    return {
        section: {id_: body if isinstance(body, dict) else {} for id_, body in definitions.items()}
        for section, definitions in (network or {}).items()
        if isinstance(definitions, dict) and section != "openvswitch"
    }


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        present = into.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            present.extend(value)
        else:
            into[key] = value


def _device_name(id_: str, definition: Mapping[str, Any]) -> str:
    """Name the device that a definition is for; a shell pattern where it may be several."""
    match = definition.get("match")
    if "set-name" in definition:
        return str(definition["set-name"])
    if match is None or "macaddress" in match:
        return id_
    return str(match.get("name", "*"))


def _interface(
    section: str, id_: str, definition: Mapping[str, Any], names: Mapping[str, str]
) -> Interface:
    parameters = definition.get("parameters") or {}
    nameservers = definition.get("nameservers") or {}
    link = definition.get("link")
    is_ovs = "openvswitch" in definition
    has_stp = section == "bridges" and not is_ovs
    return Interface(
        name=names[id_],
        kind=_kind(section, is_ovs),
        parent=None if link is None else names.get(link, link),
        tag=_number(definition.get("id")),
        ports=tuple(sorted(names.get(port, port) for port in definition.get("interfaces") or ())),
        bond_mode=parameters.get("mode"),
        stp=_true(parameters.get("stp", "true")) if has_stp else None,
        forward_delay=_number(parameters.get("forward-delay")),
        mtu=_number(definition.get("mtu")),
        dhcp=any(_true(definition.get(key, "false")) for key in ("dhcp4", "dhcp6")),
        addresses=tuple(_addresses(definition)),
        gateways=tuple(_gateways(definition)),
        dns_servers=tuple(map(ip_address, nameservers.get("addresses") or ())),
        dns_search=tuple(nameservers.get("search") or ()),
    )


def _kind(section: str, is_ovs: bool) -> Kind:
    if section == "bridges" or (section == "vlans" and is_ovs):  # Open vSwitch's fake bridge
        return "bridge"
    return _KINDS.get(section, "ethernet")


def _addresses(definition: Mapping[str, Any]) -> Iterator[AddressWithPrefix]:
    for entry in definition.get("addresses") or ():
        # An address with options (label, lifetime) is a mapping of one key.
        yield from map(ip_interface, entry if isinstance(entry, dict) else [entry])


def _gateways(definition: Mapping[str, Any]) -> Iterator[Address]:
    for route in definition.get("routes") or ():
        if route.get("to") in _DEFAULT_ROUTES and "via" in route:
            yield ip_address(route["via"])
    for key in ("gateway4", "gateway6"):
        if key in definition:
            yield ip_address(definition[key])


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _true(text: str) -> bool:
    return text.lower() in ("true", "on", "yes", "y")
