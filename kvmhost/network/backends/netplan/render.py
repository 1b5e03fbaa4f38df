"""Our network as a netplan file, and the other files without it."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_interface
from pathlib import PurePosixPath
from typing import Any

import yaml

from kvmhost.network.backends.netplan.files import (
    OWN_FILE,
    Definition,
    device_names,
    from_text,
    loaded,
    read,
)
from kvmhost.network.backends.netplan.interfaces import MODELLED
from kvmhost.network.backends.netplan.routes import rendered_routes
from kvmhost.network.files import HEADER, File
from kvmhost.network.interfaces import MIIMON, NO_DEVICES, Devices, Interface
from kvmhost.network.model import Network

# netplan warns of files that others can read, because they may hold secrets.
_MODE = 0o600
BOND_OPTIONS = {"lacp_rate": "lacp-rate", "xmit_hash_policy": "transmit-hash-policy"}
"""A bond's parameters by the kernel's names for them."""
_SCALAR = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG
_MAPPING = yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG


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
    names = device_names(loaded(existing), devices)
    others = (
        File(path, kept, _MODE)
        for path, text in existing.items()
        if path != OWN_FILE and (kept := _without(path, text, network, names)) != text
    )
    document = {"network": {"version": 2, **_sections(network, devices)}}
    text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
    return File(OWN_FILE, HEADER + text, _MODE), *others


def _sections(network: Network, devices: Devices) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {
        section: {} for section in ("ethernets", "bonds", "vlans", "bridges")
    }
    for interface in network.interfaces:
        hardware = {key: from_text(text) for key, text in interface.hardware}
        _check_device(interface, hardware, devices)
        sections[_section(interface)][interface.name] = _definition(interface, hardware)
    return {section: definitions for section, definitions in sections.items() if definitions}


def _check_device(interface: Interface, hardware: Definition, devices: Devices) -> None:
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


def _definition(interface: Interface, hardware: Definition) -> dict[str, object]:
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
        more = {BOND_OPTIONS[key]: value for key, value in interface.bond_options}
        parameters = {"mode": interface.bond_mode, "mii-monitor-interval": MIIMON, **more}
    kept = dict(hardware.get("parameters", {}))
    if interface.kind == "bond" and interface.bond_mode != "802.3ad":
        kept = {key: value for key, value in kept.items() if key not in BOND_OPTIONS.values()}
    if parameters := _beside(parameters, kept):
        definition["parameters"] = parameters
    if interface.mtu is not None:
        definition["mtu"] = interface.mtu
    definition |= {"dhcp4": False, "dhcp6": False, **_addressing(interface)}
    options = {
        key: from_text(text) for key, text in interface.options if not MODELLED.fullmatch(key)
    }
    if "networkmanager" in options:
        said = "; ".join(f"{key} {value}" for key, value in options["networkmanager"].items())
        raise ValueError(
            f"What {interface.name} tells NetworkManager alone would be lost, "
            f"because systemd-networkd takes its place: {said}."
        )
    return _beside(definition, {**hardware, **options})


def _beside(definition: dict[str, object], more: Definition) -> dict[str, object]:
    """Put more keys before a definition, which stands whatever they say of its own."""
    return {**{key: more[key] for key in more if key not in definition}, **definition}


def _addressing(interface: Interface) -> dict[str, object]:
    options = [(key, from_text(text)) for key, text in interface.options]
    addressing: dict[str, object] = {}
    if interface.addresses:
        addressing["addresses"] = list(_written_addresses(interface, options))
    if routes := list(rendered_routes(interface, options)):
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
    elif interface.is_closed_to_ipv6:
        # A port, a bridge or a storage network must not get one from what a guest announces.
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


def _without(path: str, text: str, network: Network, names: Mapping[str, str]) -> str:
    """Take the definitions of our interfaces out of a file's text, and refer to ours instead.

    netplan knows an id that another definition refers to only if it has read it by then: where
    ours is read later, an empty definition stays.

    Raises ValueError where another device's definition has the id of one of ours.
    """
    definitions = read(path, text)
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
