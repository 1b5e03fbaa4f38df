"""What netplan's definitions say of their interfaces, in the model's terms."""

import re
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

from kvmhost.network.backends.netplan.files import (
    OWN_FILE,
    Definition,
    Sections,
    device_names,
    is_true,
    loaded,
    number,
    to_text,
)
from kvmhost.network.backends.netplan.routes import (
    ANYWHERE,
    PLAIN_ROUTE,
    default_gateway,
    routes_of,
    static_routes,
)
from kvmhost.network.interfaces import NO_DEVICES, AddressWithPrefix, Devices, Interface, Kind

_KINDS: dict[str, Kind] = {"bonds": "bond", "vlans": "vlan"}
# What is read one by one; of `renderer`, each definition of ours has its own.
MODELLED = re.compile(
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


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read the interfaces that our file defines, and those that the others define together.

    A definition that matches several devices has a shell pattern for its name; one that matches
    a MAC address has the name of the NIC with it, or its id where no NIC has it. Raises
    ValueError, with the path, if a file is no YAML, and where an address or number is none.
    """
    names = device_names(loaded(existing), devices)
    others = {path: text for path, text in existing.items() if path != OWN_FILE}
    sections = loaded({path: text for path, text in existing.items() if path == OWN_FILE})
    ids = frozenset(id_ for definitions in sections.values() for id_ in definitions)
    return (
        *_interfaces(loaded(others), names),
        *(replace(each, own=True) for each in _interfaces(sections, names, ids)),
    )


def all_interfaces(files: Mapping[str, str], devices: Devices) -> tuple[Interface, ...]:
    """Read the interfaces that all files define together, whoever wrote them."""
    sections = loaded(files)
    return tuple(_interfaces(sections, device_names(sections, devices)))


def _interfaces(
    sections: Sections, names: Mapping[str, str], own: Set[str] = frozenset()
) -> Iterator[Interface]:
    for section, definitions in sections.items():
        for id_, definition in definitions.items():
            yield _interface(section, names[id_], definition, names, own)


def _interface(
    section: str, name: str, definition: Definition, names: Mapping[str, str], own: Set[str]
) -> Interface:
    parameters = definition.get("parameters") or {}
    nameservers = definition.get("nameservers") or {}
    is_ovs = "openvswitch" in definition
    kind = _kind(section, is_ovs)
    has_stp = section == "bridges" and not is_ovs
    # of a NIC it names the one whose virtual function it is
    link = definition.get("link") if kind in ("vlan", "bridge") else None
    routes = tuple(routes_of(definition))
    return Interface(
        name=name,
        kind=kind,
        parent=None if link is None else names.get(link, link),
        tag=number(definition.get("id")),
        ports=tuple(sorted(names.get(port, port) for port in definition.get("interfaces") or ())),
        bond_mode=parameters.get("mode"),
        stp=is_true(parameters.get("stp", "true")) if has_stp else None,
        forward_delay=number(parameters.get("forward-delay")),
        mtu=number(definition.get("mtu")),
        dhcp=_has_dhcp(definition),
        addresses=tuple(_addresses(definition)),
        gateways=tuple(gateway for route in routes for gateway in default_gateway(route)),
        gateway_by_dhcp=_has_preferred_lease(definition),
        routes=tuple(static for route in routes for static in static_routes(route)),
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


def _has_dhcp(definition: Definition) -> bool:
    return any(is_true(definition.get(key, "false")) for key in ("dhcp4", "dhcp6"))


def _has_preferred_lease(definition: Definition) -> bool:
    """Whether a lease's default route is no less preferred than ours, whose metric is 0.

    netplan gives it 100, and so it does what comes with IPv6, where ours has 1.
    """
    overrides = definition.get("dhcp4-overrides") or {}
    return (
        is_true(definition.get("dhcp4", "false"))
        and is_true(overrides.get("use-routes", "true"))
        and int(overrides.get("route-metric", 100)) == 0
    )


def _addresses(definition: Definition) -> Iterator[AddressWithPrefix]:
    for entry in definition.get("addresses") or ():
        # An address with options (label, lifetime) is a mapping of one key.
        yield from map(ip_interface, entry if isinstance(entry, dict) else [entry])


def _hardware(kind: Kind, definition: Definition, own: Set[str]) -> Iterator[tuple[str, str]]:
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
            yield key, to_text(value)


def _is_refusal(key: str, value: Any) -> bool:
    """Whether a device is told to get no address from others: that goes for the device."""
    return value == [] if key == "link-local" else not is_true(value)


def _is_said_anyway(key: str, definition: Definition) -> bool:
    """Whether a definition of ours says it of itself."""
    is_ipv6 = any(address.version == 6 for address in _addresses(definition))
    has_gateway = any(True for each in routes_of(definition) for _ in default_gateway(each))
    return not (is_ipv6 or has_gateway) or (is_ipv6 and key == "accept-ra")


def _options(
    definition: Definition, routes: Collection[dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    for key, value in definition.items():
        if key in ("accept-ra", "link-local") and _is_refusal(key, value):
            continue
        if key == "networkmanager":
            value = dict(_passed_through(value))
        is_read = any(keys.fullmatch(key) for keys in (_HARDWARE, MODELLED, _MOOT))
        if value and not is_read and _DEFAULTS.get(key) != value:
            yield key, to_text(value)
    for entry in definition.get("addresses") or ():
        if isinstance(entry, dict):
            yield "addresses", to_text(entry)
    for route in routes:
        gateway = next(default_gateway(route), None)
        more = {key: value for key, value in route.items() if key not in PLAIN_ROUTE}
        if gateway is None and not any(static_routes(route)):
            yield "routes", to_text(route)
        elif gateway is not None and "via" in route and more:
            yield "routes", to_text({"to": ANYWHERE[gateway.version], **more})
    for rule in definition.get("routing-policy") or ():
        yield "routing-policy", to_text(rule)


def _passed_through(settings: Definition) -> Iterator[tuple[str, str]]:
    """Read what NetworkManager alone understands; of its names for a profile, none is left."""
    for key, value in (settings.get("passthrough") or {}).items():
        if value and key != "connection.timestamp":
            yield key, value
