"""The network as a netplan file, carried out by systemd-networkd.

Source: netplan(5), for netplan 0.104 and later. Files are read as netplan reads them: every
scalar as text (YAML 1.1 would make a number of a MAC address), later files adding to earlier.
libyaml's loaders and dumpers, because PyYAML's own take ten times as long.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import PurePosixPath
from shlex import join
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
    Route,
    bottom_up,
)
from kvmhost.network.model import Network

OWN_FILE = "/etc/netplan/60-cloudstack.yaml"
PATHS = ("/etc/netplan/*.yaml",)

GENERATE = "netplan generate\nsystemctl daemon-reload\n"
# Has udev, and with it NetworkManager, see whose each device is, and what links are set to: the
# action is that of netplan 1.1, which renames nothing. A container may not trigger anything.
SEE_DEVICES = (
    "udevadm control --reload\n"
    "timeout 60 udevadm trigger --action=move --subsystem-match=net --settle || true\n"
)
# netplan's units for Open vSwitch give themselves 10 s, which is little on a loaded host.
GIVE_OPENVSWITCH_TIME = """\
mkdir -p /run/systemd/system/netplan-ovs-.service.d
printf '[Service]\\nTimeoutStartSec=5min\\n' >/run/systemd/system/netplan-ovs-.service.d/time.conf
"""
# All at once, because systemd knows their order. The cleanup, which is slow, runs with networkd.
START_OPENVSWITCH = """\
units=$(cd /run/systemd && find system generator.late -maxdepth 1 -name 'netplan-ovs-*.service' \
    ! -name netplan-ovs-cleanup.service -exec basename {} ';' 2>/dev/null || true)
[ -z "$units" ] || systemctl start $units
"""
# NetworkManager lets go of a device only when it is restarted. What it has is written down first:
# what is begun here may break off, and those devices are its own again on the way back.
STOP_NETWORKMANAGER = """\
if systemctl --quiet is-active NetworkManager.service; then
    [ -e networkmanager ] || timeout 30 nmcli --terse --fields device,state device |
        sed -n 's/:connected$//p' >networkmanager
    systemctl stop NetworkManager.service
fi
"""
START_NETWORKMANAGER = """\
if [ -e networkmanager ]; then timeout 60 systemctl start NetworkManager.service; fi
"""

# netplan warns of files that others can read, because they may hold secrets.
_MODE = 0o600
_HEADER = "# CloudStack network (what stands here is overwritten)\n"
_KINDS: dict[str, Kind] = {"bonds": "bond", "vlans": "vlan"}

# What is read one by one; of `renderer`, each definition of ours has its own.
_MODELLED = re.compile(
    r"id|dhcp[46]|addresses|gateway[46]|routes|routing-policy|nameservers|mtu|activation-mode"
    r"|renderer"
)
# What says how DHCP is done, which ours do not; `critical` would keep a lease.
_MOOT = re.compile(r"dhcp-identifier|dhcp[46]-overrides|critical")
# What goes for the device, whoever has the address; also whether the boot waits for it.
_HARDWARE = re.compile(
    r"match|set-name|macaddress|wakeonw?lan|emit-lldp|.*-offload|ipv6-mtu|ignore-carrier"
    r"|optional|optional-addresses|auth|regulatory-domain|openvswitch|interfaces|parameters"
    r"|neigh-suppress|hairpin|port-mac-learning|infiniband-mode"
    r"|link|virtual-function-count|embedded-switch-mode|delay-virtual-functions-rebind"
)
_DEFAULTS: Mapping[str, object] = {
    "link-local": ["ipv6"],
    "ipv6-privacy": "false",
    "ipv6-address-generation": "eui64",
}
_PARAMETERS: Mapping[Kind, tuple[str, ...]] = {
    "bridge": ("stp", "forward-delay"),
    "bond": ("mode", "mii-monitor-interval"),
}
"""The parameters that the model has."""

_ROUTE_DEFAULTS = {"type": "unicast", "scope": "global", "table": "254"}
_DEFAULT_ROUTES = ("default", "0.0.0.0/0", "::/0")
_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_PLACES = {"via", "metric", "table", "type"}
"""What a default route has one of unless it is the preferred one of the main table."""
_PLAIN_ROUTE = {"to", "via", "metric"}
_METRIC6 = 1
"""Of our IPv6 default route: those that routers announce get 100 to 2048 from networkd."""

_SCALAR = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG
_MAPPING = yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG

# Section ("ethernets", "vlans", …), then definition by its id.
_Definition = Mapping[str, Any]
_Sections = Mapping[str, Mapping[str, _Definition]]


def render(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[File, ...]:
    """Render our file, and each other file that must let go of our interfaces.

    `existing` maps the paths on the host that match `PATHS` to their text. Comments in another
    file are lost where a definition is taken out of it. Ours has the interface's name for its id,
    because that is the name that netplan tells Open vSwitch; who refers to an earlier id gets it.

    Raises ValueError, in a sentence for the administrator, if a file is no YAML, has our id for
    another device, or says what cannot be said of our interfaces.
    """
    names = _names(_loaded(existing), devices)
    others = (
        File(path, kept, _MODE)
        for path, text in existing.items()
        if path != OWN_FILE and (kept := _without(path, text, network, names)) != text
    )
    document = {"network": {"version": 2, **_sections(network, devices)}}
    text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
    return File(OWN_FILE, _HEADER + text, _MODE), *others


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read the interfaces that our file defines, and those that the others define together.

    A definition that matches several devices has a shell pattern for its name; one that matches
    a MAC address has the name of the NIC with it, or its id where no NIC has it. Raises
    ValueError, with the path, if a file is no YAML, and where an address or number is none.
    """
    names = _names(_loaded(existing), devices)
    others = {path: text for path, text in existing.items() if path != OWN_FILE}
    sections = _loaded({path: text for path, text in existing.items() if path == OWN_FILE})
    ids = frozenset(id_ for definitions in sections.values() for id_ in definitions)
    return (
        *_interfaces(_loaded(others), names),
        *(replace(each, own=True) for each in _interfaces(sections, names, ids)),
    )


def outdated(
    before: Mapping[str, str], after: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[str, ...]:
    """Name what is no NIC and has to be deleted on the way between files, upper ones first.

    It is what the files after leave out or build otherwise, and the VLAN interfaces on that,
    which the kernel deletes with it: networkd neither deletes a device nor changes one that
    exists, and makes a deleted one only when it is restarted. Open vSwitch's bridges are not
    among them.
    """
    old = _together(before, devices)
    new = {interface.name: _made_of(interface) for interface in _together(after, devices)}
    changed = {
        interface.name
        for interface in old
        if interface.kind != "ethernet" and not interface.is_ovs_bridge
        if new.get(interface.name) != _made_of(interface)
    }
    changed |= {each.name for each in old if each.kind == "vlan" and each.parent in changed}
    return tuple(name for name in reversed(bottom_up(old)) if name in changed)


def dropped(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Name Open vSwitch's bridges that the files after leave out, upper ones first."""
    old, kept = _together(before, NO_DEVICES), {each.name for each in _together(after, NO_DEVICES)}
    bridges = {interface.name for interface in old if interface.is_ovs_bridge}
    return tuple(name for name in reversed(bottom_up(old)) if name in bridges - kept)


def has_openvswitch(files: Mapping[str, str]) -> bool:
    """Whether netplan has units that configure Open vSwitch."""
    return any(
        "openvswitch" in definition
        for definitions in _loaded(files).values()
        for definition in definitions.values()
    )


def exchange_managers(names: Collection[str]) -> str:
    """Return what has neither NetworkManager nor networkd go by what the other made of a device.

    NetworkManager remembers a device, and takes its addresses for a profile of their own; networkd
    takes them for its own, but without the routes that ought to come with them.
    """
    return (
        "if [ -e networkmanager ]; then\n"
        f"    for name in {join(sorted(names))}; do\n"
        '        grep -qxF "$name" networkmanager && [ -e "/sys/class/net/$name" ] || continue\n'
        '        rm -f "/run/NetworkManager/devices/$(cat "/sys/class/net/$name/ifindex")"\n'
        '        ip address flush dev "$name" scope global\n'
        "    done\n"
        "fi\n"
    )


def _together(files: Mapping[str, str], devices: Devices) -> tuple[Interface, ...]:
    sections = _loaded(files)
    return tuple(_interfaces(sections, _names(sections, devices)))


def _made_of(interface: Interface) -> Interface:
    """Only what networkd does not change on a device that exists."""
    return Interface(
        interface.name,
        interface.kind,
        parent=interface.parent,
        tag=interface.tag,
        ports=interface.ports,
        bond_mode=interface.bond_mode,
        stp=interface.stp,
        forward_delay=interface.forward_delay,
    )


def _sections(network: Network, devices: Devices) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {
        section: {} for section in ("ethernets", "bonds", "vlans", "bridges")
    }
    for interface in network.interfaces:
        hardware = {key: _value(text) for key, text in interface.hardware}
        _check_device(interface, hardware, devices)
        sections[_section(interface)][interface.name] = _definition(interface, hardware)
    return {section: definitions for section, definitions in sections.items() if definitions}


def _check_device(interface: Interface, hardware: _Definition, devices: Devices) -> None:
    """Raise ValueError where the definition would not be for the interface's own NIC."""
    address = hardware.get("match", {}).get("macaddress")
    if address is not None and devices.get(address.lower()) != interface.name:
        owner = devices.get(address.lower(), "no NIC here")
        raise ValueError(
            f"The definition of {interface.name} matches the MAC address {address}, "
            f"which {owner} has: correct it, or restart the host if it is to rename that."
        )


def _section(interface: Interface) -> str:
    if interface.kind in ("vlan", "bridge"):
        return "bridges" if interface.tag is None else "vlans"
    is_foreign_bond = any(key == "interfaces" for key, _ in interface.hardware)
    return "bonds" if is_foreign_bond or interface.kind == "bond" else "ethernets"


def _definition(interface: Interface, hardware: _Definition) -> dict[str, object]:
    # The renderer stands in each definition, so that it goes for no one else's.
    definition: dict[str, object] = {"renderer": "networkd"}
    if interface.is_ovs_bridge:
        definition = {"openvswitch": hardware.get("openvswitch", {})}
    elif interface.kind != "ethernet":
        hardware = {key: value for key, value in hardware.items() if key != "openvswitch"}
    if interface.parent is not None:
        definition |= {"id": interface.tag, "link": interface.parent}
    if interface.ports:
        definition["interfaces"] = list(interface.ports)
    parameters: dict[str, object] = {}
    if interface.stp is not None:
        parameters = {"stp": interface.stp, "forward-delay": interface.forward_delay}
    if interface.kind == "bond":
        parameters = {"mode": interface.bond_mode, "mii-monitor-interval": MIIMON}
    if parameters := _beside(parameters, hardware.get("parameters", {})):
        definition["parameters"] = parameters
    if interface.mtu is not None:
        definition["mtu"] = interface.mtu
    definition |= {"dhcp4": False, "dhcp6": False, **_addressing(interface)}
    options = {key: _value(text) for key, text in interface.options if not _MODELLED.fullmatch(key)}
    if "networkmanager" in options:
        said = "; ".join(f"{key} {value}" for key, value in options["networkmanager"].items())
        raise ValueError(
            f"What {interface.name} tells NetworkManager alone would be lost, "
            f"because systemd-networkd takes its place: {said}."
        )
    return _beside(definition, {**hardware, **options})


def _beside(definition: dict[str, object], more: _Definition) -> dict[str, object]:
    """Put more keys before a definition, which stands whatever they say of its own."""
    return {**{key: more[key] for key in more if key not in definition}, **definition}


def _addressing(interface: Interface) -> dict[str, object]:
    options = [(key, _value(text)) for key, text in interface.options]
    addressing: dict[str, object] = {}
    if interface.addresses:
        addressing["addresses"] = list(_written_addresses(interface, options))
    if routes := list(_written_routes(interface, options)):
        addressing["routes"] = routes
    if rules := [value for key, value in options if key == "routing-policy"]:
        addressing["routing-policy"] = rules
    nameservers = {
        "addresses": [str(server) for server in interface.dns_servers],
        "search": list(interface.dns_search),
    }
    if given := {key: values for key, values in nameservers.items() if values}:
        addressing["nameservers"] = given
    if interface.has_ipv6:
        addressing["accept-ra"] = False
    elif not interface.addresses:
        # A port or bridge without address must not get one from what a guest announces, either.
        addressing |= {"accept-ra": False, "link-local": []}
    return addressing


def _written_addresses(
    interface: Interface, options: list[tuple[str, Any]]
) -> Iterator[str | dict[str, object]]:
    """Write each address, with what was said of its predecessor, such as a label."""
    said = {
        ip_interface(address).version: attributes
        for key, value in options
        if key == "addresses"
        for address, attributes in value.items()
    }
    for address in interface.addresses:
        attributes = said.get(address.version)
        yield str(address) if attributes is None else {str(address): attributes}


def _written_routes(
    interface: Interface, options: list[tuple[str, Any]]
) -> Iterator[dict[str, object]]:
    given = [value for key, value in options if key == "routes"]
    attributes = {route["to"]: route for route in given if _is_of_default_gateway(route)}
    for gateway in interface.gateways:
        to = _ANYWHERE[gateway.version]
        metric = {"metric": _METRIC6} if gateway.version == 6 else {}
        said = attributes.get(to, {})
        yield {**said, "to": "default", "via": str(gateway), **metric}
    for static in interface.routes:
        metric = {} if static.metric is None else {"metric": static.metric}
        yield {"to": str(static.destination), "via": str(static.via), **metric}
    for route in given:
        if _is_of_default_gateway(route) or _is_like_ours(interface, route):
            continue
        if interface.addresses and not _is_reachable(interface, route):
            networks = " and ".join(str(address.network) for address in interface.addresses)
            raise ValueError(
                f"The route {_text(route)} of {interface.name} would be lost, "
                f"because its gateway is not in {networks}."
            )
        yield route


def _is_of_default_gateway(route: _Definition) -> bool:
    """Whether this is what is said of our default route besides its gateway."""
    return route["to"] in _ANYWHERE.values() and not route.keys() & _PLACES


def _is_like_ours(interface: Interface, route: _Definition) -> bool:
    """Whether this is a default route by our own gateway that is only less preferred."""
    return _is_default_of_main_table(route) and route.get("via") in {
        str(gateway) for gateway in interface.gateways
    }


def _is_reachable(interface: Interface, route: _Definition) -> bool:
    """Whether networkd can set the route; an interface with one that it cannot never gets ready."""
    if "via" not in route or _true(route.get("on-link", "false")):
        return True
    via = ip_address(route["via"])
    return via.is_link_local or any(via in address.network for address in interface.addresses)


def _without(path: str, text: str, network: Network, names: Mapping[str, str]) -> str:
    """Take the definitions of our interfaces out of a file's text, and refer to ours instead.

    netplan knows an id that another definition refers to only if it has read it by then: where
    ours is read later, an empty definition stays.

    Raises ValueError where another device's definition has the id of one of ours.
    """
    definitions = _read(path, text)
    ours = {
        (section, id_)
        for section, found in definitions.items()
        for id_ in found
        if names[id_] in network.claims
    }
    for section, found in definitions.items():
        for id_ in found:
            if (section, id_) not in ours and id_ in network.names:
                raise ValueError(
                    f"{path} has the id {id_} for {names[id_]}: give it another, "
                    f"because ours of {id_} has its name for its id."
                )
    # Nodes keep the quotes, and BaseLoader and BaseDumper add no tags of their own.
    document = yaml.compose(text, yaml.CBaseLoader)
    body = _entries(document).get("network")
    references = [
        node
        for section, found in _entries(body).items()
        for id_, definition in _entries(found).items()
        if (section, id_) not in ours
        for node in _references(definition)
        if names.get(node.value) in network.names
    ]
    is_read_before = PurePosixPath(path).name < PurePosixPath(OWN_FILE).name
    needed = {
        (_section(interface), interface.name)
        for interface in network.interfaces
        if is_read_before and interface.name in {names[node.value] for node in references}
    }
    is_right = all(names[node.value] == node.value for node in references)
    if is_right and needed == ours and not any(definitions[key][id_] for key, id_ in ours):
        return text
    assert isinstance(body, yaml.MappingNode)
    for node in references:
        node.value = names[node.value]
    for key, section in _entries(body).items():
        if isinstance(section, yaml.MappingNode):
            section.value = [(id_, n) for id_, n in section.value if (key, id_.value) not in ours]
    for key, name in sorted(needed):
        if key not in _entries(body):
            body.value.append((yaml.ScalarNode(_SCALAR, key), yaml.MappingNode(_MAPPING, [])))
        empty = yaml.MappingNode(_MAPPING, [], flow_style=True)
        _entries(body)[key].value.insert(0, (yaml.ScalarNode(_SCALAR, name), empty))
    body.value = [(key, node) for key, node in body.value if node.value != []]
    return str(yaml.serialize(document, Dumper=yaml.CBaseDumper))


def _entries(node: Any) -> dict[str, Any]:
    """Return the nodes of a mapping by their keys; of anything else, none."""
    return {key.value: n for key, n in node.value} if isinstance(node, yaml.MappingNode) else {}


def _references(definition: Any) -> Iterator[yaml.ScalarNode]:
    """Find what refers to another definition."""
    found = _entries(definition)
    if "link" in found:
        yield found["link"]
    if isinstance(found.get("interfaces"), yaml.SequenceNode):
        yield from found["interfaces"].value


def _loaded(existing: Mapping[str, str]) -> _Sections:
    """Merge the files' definitions in netplan's order, which is that of the file names."""
    sections: _Sections = {}
    for path in sorted(existing, key=lambda path: PurePosixPath(path).name):
        sections = _merged(sections, _read(path, existing[path]))
    return sections


@lru_cache(maxsize=16)  # of one host at a time
def _read(path: str, text: str) -> _Sections:
    try:
        document = yaml.load(text, yaml.CBaseLoader)  # a loader of text only
        _refuse_repeated(path, yaml.compose(text, yaml.CBaseLoader))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    network = document.get("network") if isinstance(document, dict) else None
    return {
        section: {
            id_: body if isinstance(body, dict) else {}
            for id_, body in definitions.items()
            if id_ != "renderer"  # of the section
        }
        for section, definitions in (network or {}).items()
        if isinstance(definitions, dict) and section != "openvswitch"
    }


def _refuse_repeated(path: str, node: yaml.Node | None) -> None:
    """Raise ValueError for a key that a mapping has twice: netplan takes both, PyYAML the last."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"{path} has {key} more than once in one place: have it once.")
        for _, value in node.value:
            _refuse_repeated(path, value)


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(one)
    for key, value in other.items():
        present = result.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            result[key] = _merged(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            result[key] = [*present, *value]
        else:
            result[key] = value
    return result


def _names(sections: _Sections, devices: Devices) -> dict[str, str]:
    """Name the device of each definition, by the definition's id."""
    return {
        id_: _device_name(id_, definition, devices)
        for definitions in sections.values()
        for id_, definition in definitions.items()
    }


def _device_name(id_: str, definition: _Definition, devices: Devices) -> str:
    """Name the device that a definition is for; a shell pattern where it may be several."""
    match = definition.get("match")
    if "set-name" in definition:
        return str(definition["set-name"])
    if match is None:
        return id_
    if "macaddress" in match:
        return devices.get(str(match["macaddress"]).lower(), id_)
    return str(match.get("name", "*"))


def _interfaces(
    sections: _Sections, names: Mapping[str, str], own: Set[str] = frozenset()
) -> Iterator[Interface]:
    for section, definitions in sections.items():
        for id_, definition in definitions.items():
            yield _interface(section, names[id_], definition, names, own)


def _interface(
    section: str, name: str, definition: _Definition, names: Mapping[str, str], own: Set[str]
) -> Interface:
    parameters = definition.get("parameters") or {}
    nameservers = definition.get("nameservers") or {}
    is_ovs = "openvswitch" in definition
    kind = _kind(section, is_ovs)
    has_stp = section == "bridges" and not is_ovs
    # of a NIC it names the one whose virtual function it is
    link = definition.get("link") if kind in ("vlan", "bridge") else None
    routes = tuple(_routes(definition))
    return Interface(
        name=name,
        kind=kind,
        parent=None if link is None else names.get(link, link),
        tag=_number(definition.get("id")),
        ports=tuple(sorted(names.get(port, port) for port in definition.get("interfaces") or ())),
        bond_mode=parameters.get("mode"),
        stp=_true(parameters.get("stp", "true")) if has_stp else None,
        forward_delay=_number(parameters.get("forward-delay")),
        mtu=_number(definition.get("mtu")),
        dhcp=_has_dhcp(definition),
        addresses=tuple(_addresses(definition)),
        gateways=tuple(gateway for route in routes for gateway in _gateway(route)),
        gateway_by_dhcp=_has_preferred_lease(definition),
        routes=tuple(static for route in routes for static in _static(route)),
        dns_servers=tuple(map(ip_address, nameservers.get("addresses") or ())),
        dns_search=tuple(nameservers.get("search") or ()),
        hardware=tuple(_hardware(kind, definition, own)),
        options=tuple(_options(definition, routes)),
        starts="activation-mode" not in definition,
    )


def _kind(section: str, is_ovs: bool) -> Kind:
    if section == "bridges" or (section == "vlans" and is_ovs):  # Open vSwitch's fake bridge
        return "bridge"
    return _KINDS.get(section, "ethernet")


def _has_dhcp(definition: _Definition) -> bool:
    return any(_true(definition.get(key, "false")) for key in ("dhcp4", "dhcp6"))


def _has_preferred_lease(definition: _Definition) -> bool:
    """Whether a lease's default route is no less preferred than ours, whose metric is 0.

    netplan gives it 100, and so it does what comes with IPv6, where ours has 1.
    """
    overrides = definition.get("dhcp4-overrides") or {}
    return (
        _true(definition.get("dhcp4", "false"))
        and _true(overrides.get("use-routes", "true"))
        and int(overrides.get("route-metric", 100)) == 0
    )


def _addresses(definition: _Definition) -> Iterator[AddressWithPrefix]:
    for entry in definition.get("addresses") or ():
        # An address with options (label, lifetime) is a mapping of one key.
        yield from map(ip_interface, entry if isinstance(entry, dict) else [entry])


def _routes(definition: _Definition) -> Iterator[dict[str, Any]]:
    """Return every route, without what is so anyway."""
    for route in definition.get("routes") or ():
        yield {
            key: value
            for key, value in route.items()
            if _ROUTE_DEFAULTS.get(key) != value and (key != "on-link" or _true(value))
        }
    for key in ("gateway4", "gateway6"):
        if key in definition:
            yield {"to": "default", "via": definition[key]}


def _is_default_of_main_table(route: _Definition) -> bool:
    return route.get("to") in _DEFAULT_ROUTES and not route.keys() & {"table", "type"}


def _family(route: _Definition) -> int:
    if "via" in route:
        return ip_address(route["via"]).version
    return 6 if route["to"] == _ANYWHERE[6] else 4


def _gateway(route: _Definition) -> Iterator[Address]:
    """Read a default gateway that is no less preferred than ours; 0.0.0.0 is the link itself."""
    if _is_default_of_main_table(route):
        family = _family(route)
        # the kernel's metric where none is given, and ours
        default, ours = (1024, _METRIC6) if family == 6 and "via" in route else (0, 0)
        if int(route.get("metric", default)) <= ours:
            yield ip_address(route.get("via", "0.0.0.0" if family == 4 else "::"))


def _static(route: _Definition) -> Iterator[Route]:
    """Read a static route of which nothing is said but its gateway and metric."""
    if route["to"] not in _DEFAULT_ROUTES and "via" in route and route.keys() <= _PLAIN_ROUTE:
        via = ip_address(route["via"])
        yield Route(ip_network(route["to"]), via, _number(route.get("metric")))


def _hardware(kind: Kind, definition: _Definition, own: Set[str]) -> Iterator[tuple[str, str]]:
    """Read what goes for the device; `own` are the ids in the file if that is ours.

    A bond of ours has NICs of ours; any other is the uplink as it was found, and stays whole.
    """
    ports = definition.get("interfaces") or ()
    is_model = kind == "bridge" or (kind == "bond" and bool(own) and own >= {*ports})
    for key, value in definition.items():
        match key:
            case "link" if kind in ("vlan", "bridge"):
                continue
            case "interfaces" if kind != "bond" or is_model:
                continue
            case "parameters" if is_model:
                value = {k: v for k, v in value.items() if k not in _PARAMETERS[kind]}
            case "accept-ra" | "link-local":
                if not _is_refusal(key, value) or (own and _is_said_anyway(key, definition)):
                    continue
            case _ if not _HARDWARE.fullmatch(key):
                continue
        if value or key == "link-local":
            yield key, _text(value)


def _is_refusal(key: str, value: Any) -> bool:
    """Whether a device is told to get no address from others: that goes for the device."""
    return value == [] if key == "link-local" else not _true(value)


def _is_said_anyway(key: str, definition: _Definition) -> bool:
    """Whether a definition of ours says it of itself."""
    addresses = list(_addresses(definition))
    is_ipv6 = any(address.version == 6 for address in addresses)
    return not addresses or (is_ipv6 and key == "accept-ra")


def _options(
    definition: _Definition, routes: Collection[dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    for key, value in definition.items():
        if key in ("accept-ra", "link-local") and _is_refusal(key, value):
            continue
        if key == "networkmanager":
            value = dict(_passed_through(value))
        is_read = any(keys.fullmatch(key) for keys in (_HARDWARE, _MODELLED, _MOOT))
        if value and not is_read and _DEFAULTS.get(key) != value:
            yield key, _text(value)
    for entry in definition.get("addresses") or ():
        if isinstance(entry, dict):
            yield "addresses", _text(entry)
    for route in routes:
        gateway = next(_gateway(route), None)
        more = {key: value for key, value in route.items() if key not in _PLAIN_ROUTE}
        if gateway is None and not any(_static(route)):
            yield "routes", _text(route)
        elif gateway is not None and "via" in route and more:
            yield "routes", _text({"to": _ANYWHERE[gateway.version], **more})
    for rule in definition.get("routing-policy") or ():
        yield "routing-policy", _text(rule)


def _passed_through(settings: _Definition) -> Iterator[tuple[str, str]]:
    """Read what NetworkManager alone understands; of its names for a profile, none is left."""
    for key, value in (settings.get("passthrough") or {}).items():
        if value and key != "connection.timestamp":
            yield key, value


def _text(value: Any) -> str:
    """Write a value on one line: a scalar as it is, anything else as JSON, which is YAML too."""
    return value if isinstance(value, str) else json.dumps(value)


def _value(text: str) -> Any:
    return yaml.load(text, yaml.CBaseLoader) if text.startswith(("[", "{")) else text


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _true(text: str) -> bool:
    return text.lower() in ("true", "on", "yes", "y")
