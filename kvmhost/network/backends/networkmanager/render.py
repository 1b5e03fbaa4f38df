"""Our network as keyfiles, and what NetworkManager has to know of it."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from uuid import NAMESPACE_URL, uuid5

from kvmhost.network.backends.networkmanager import profiles
from kvmhost.network.backends.networkmanager.ifcfg import UNTRANSLATED
from kvmhost.network.backends.networkmanager.interfaces import METRIC, has_address
from kvmhost.network.backends.networkmanager.profiles import OWN, Profile
from kvmhost.network.files import HEADER, File
from kvmhost.network.interfaces import MIIMON, NO_DEVICES, Devices, Interface
from kvmhost.network.model import Network

CONFIGURATION = "/etc/NetworkManager/conf.d/cloudstack.conf"
PATHS = (*profiles.PATHS, CONFIGURATION)
_MODE = 0o600  # NetworkManager refuses a keyfile that others can read
# The highest: a profile that fits the uplink among other devices must not win over ours.
_PRIORITY = "999"
# The entries of these lists have keys with numbers.
_NUMBERED = ("route", "routing-rule")
# How a bond of ours works, and looks at its NICs.
_BY_MODEL = re.compile(r"mode|miimon|arp_.*")
# What a written address leaves without a meaning.
_OF_ROUTERS = re.compile(
    r"method|never-default|ignore-auto-.*|dhcp-.*|ra-timeout|required-timeout|may-fail"
)


def render(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[File, ...]:
    """Render a profile for each of our interfaces, and what NetworkManager has to know of them.

    `existing` maps the paths on the host that match `PATHS` to their text. A present profile of
    an interface hands its UUID on to ours, because others may refer to it.

    Raises ValueError where NetworkManager cannot have the network as it is modelled, and where it
    could not go back to what is there.
    """
    present = profiles.read(existing, devices)
    _refuse(network, present)
    upper = {
        port: interface
        for interface in network.interfaces
        if not interface.is_ovs_bridge
        for port in interface.ports
    }
    going = removed(network, existing, devices)
    rendered = [
        File(
            _path(each.name),
            HEADER
            + profiles.text(
                _rendered(each, upper.get(each.name), _uuid(each.name, present, going))
            ),
            _MODE,
        )
        for each in network.interfaces
    ]
    return *rendered, File(CONFIGURATION, HEADER + profiles.text(_configuration(network)))


def removed(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[str, ...]:
    """Name the files that have to go: others of our interfaces, and ours of an earlier network.

    A profile that fits the uplink among other devices stays, because ours wins over it; so does
    one that does not start by itself, and what was made at runtime.
    """
    own = {_path(name) for name in network.names}
    return tuple(
        path
        for profile in profiles.read(existing, devices)
        if profile.is_persistent and own.isdisjoint(profile.paths)
        if profile.is_own or (_is_of(network, profile) and (profile.counts or profile.is_elsewhere))
        for path in profile.paths
    )


def _path(name: str) -> str:
    return f"{OWN}{name}.nmconnection"


def _is_of(network: Network, profile: Profile) -> bool:
    return bool(profile.names) and network.claims.issuperset(profile.names)


def _refuse(network: Network, present: Iterable[Profile]) -> None:
    present = tuple(present)
    for profile in present:
        if profile.is_elsewhere and has_address(profile) and _is_of(network, profile):
            raise ValueError(
                f"{profile.names[0]} has its address from something else than NetworkManager "
                f"(it is in {profile.paths[0]} only to be shown), and could not have it back: "
                "make a profile of it."
            )
    in_effect = profiles.in_effect(present)
    for name, profile in in_effect.items():
        # our profile takes the place of what says so
        controller = in_effect.get(profile.controller or "")
        if name in network.names and controller and not _gives_way(network, controller):
            raise ValueError(f"{profile.controller} has {name} as a port.")
        if name in network.nics and profile.type in ("vlan", "bridge"):
            raise ValueError(
                f"{name} is a {profile.type} in {profile.paths[0]}: "
                "an uplink is a NIC, a bond or a team."
            )


def _gives_way(network: Network, profile: Profile) -> bool:
    return profile.is_own or _is_of(network, profile)


def _uuid(name: str, present: Iterable[Profile], going: Collection[str]) -> str:
    """Choose the UUID of our profile: that of an earlier one, if there is any.

    What was made at runtime would win over a profile with the same one.
    """
    present = tuple(present)
    path = _path(name)
    earlier = [each.uuid for each in present if each.paths == (path,)]
    earlier += [
        each.uuid
        for each in sorted(present, key=lambda each: not each.is_active)
        if each.names == (name,)
        if each.paths[0] in going or not (each.is_persistent or each.is_at_runtime)
    ]
    generated = (str(uuid5(NAMESPACE_URL, f"file://{path}{end}")) for end in ("", "#"))
    taken = {each.uuid for each in present if each.is_at_runtime}
    return next(uuid for uuid in (*earlier, *generated) if uuid not in taken)


def _rendered(interface: Interface, upper: Interface | None, uuid: str) -> profiles.Sections:
    name = interface.name
    connection = {
        "id": f"cloudstack-{name}",
        "uuid": uuid,
        "type": _type(interface),
        "interface-name": name,
        "autoconnect-priority": _PRIORITY,
    }
    sections: dict[str, dict[str, str]] = {"connection": connection}
    if interface.mtu is not None and not interface.is_ovs_bridge:
        sections["ethernet"] = {"mtu": str(interface.mtu)}
    if interface.kind == "bond":
        sections["bond"] = {"mode": str(interface.bond_mode), "miimon": str(MIIMON)}
        sections["bond"] |= dict(interface.bond_options)
    elif interface.kind == "vlan":
        sections["vlan"] = {"id": str(interface.tag), "parent": str(interface.parent)}
    elif interface.kind == "bridge" and not interface.is_ovs_bridge:
        sections["bridge"] = _bridge(interface)
    if upper is None:
        sections |= _addressing(interface)
    else:
        # The names before NetworkManager 1.46 hold for the later ones too.
        connection |= {"master": upper.name, "slave-type": upper.kind}
    for key, value in _taken_over(interface):
        _add(sections, interface, key, value)
    return sections


def _type(interface: Interface) -> str:
    if interface.is_ovs_bridge:
        return "generic"
    if interface.kind == "ethernet":
        return dict(interface.hardware).get("connection.type", "ethernet")
    return interface.kind


def _bridge(interface: Interface) -> dict[str, str]:
    delay = interface.forward_delay
    if delay is not None and delay < 2:
        raise ValueError(
            f"NetworkManager has no bridge with a forward delay of {delay} s, but of 2 s or more"
        )
    return {"stp": "true" if interface.stp else "false", "forward-delay": str(delay)}


def _addressing(interface: Interface) -> dict[str, dict[str, str]]:
    if not interface.addresses:
        return {"ipv4": {"method": "disabled"}, "ipv6": {"method": "disabled"}}
    closed = "disabled" if interface.is_closed_to_ipv6 else "auto"
    method6 = dict(interface.addressing).get("ipv6.method", closed)
    has_ipv4 = any(address.version == 4 for address in interface.addresses)
    sections = {
        "ipv4": {"method": "manual" if has_ipv4 else "disabled"},
        "ipv6": {"method": "manual" if interface.has_ipv6 else method6},
    }
    for version, section in ((4, sections["ipv4"]), (6, sections["ipv6"])):
        for address in interface.addresses:
            if address.version == version:
                section["address1"] = str(address)
        for gateway in interface.gateways:
            if gateway.version == version:
                section["gateway"] = str(gateway)
        section["route-metric"] = str(METRIC)
        routes = (each for each in interface.routes if each.destination.version == version)
        for number, route in enumerate(routes, start=1):
            metric = "" if route.metric is None else f",{route.metric}"
            section[f"route{number}"] = f"{route.destination},{route.via}{metric}"
        servers = [str(server) for server in interface.dns_servers if server.version == version]
        if servers:
            section["dns"] = ";".join(servers)
    if interface.dns_search:
        sections["ipv4"]["dns-search"] = ";".join(interface.dns_search)
    return sections


def _taken_over(interface: Interface) -> Iterator[tuple[str, str]]:
    """Say what earlier profiles said besides, as far as it goes with the interface's kind."""
    hardware = dict(interface.hardware)
    earlier = hardware.get("connection.type", interface.kind)
    is_as_found = interface.kind in ("ethernet", earlier)
    is_same_mode = hardware.get("bond.mode", interface.bond_mode) == interface.bond_mode
    for key, value in (*interface.hardware, *interface.options, *interface.addressing):
        section, _, name = key.partition(".")
        if key == "connection.type" or (section == earlier and not is_as_found):
            continue
        if interface.kind == section == "bond" and (
            not is_same_mode
            or _BY_MODEL.fullmatch(name)
            or name in dict(interface.bond_options)
            or (name == "primary" and value not in interface.ports)
        ):
            continue
        if section == "ipv6" and interface.has_ipv6 and _OF_ROUTERS.fullmatch(name):
            continue
        yield key, value


def _add(sections: dict[str, dict[str, str]], interface: Interface, key: str, value: str) -> None:
    """Add what an earlier profile said; raise ValueError if it has no place in ours."""
    section_name, _, name = key.partition(".")
    if section_name == UNTRANSLATED:
        raise ValueError(
            f"{interface.name} has {name} ({value}) in an ifcfg file, which is not carried over: "
            f"make it a keyfile with `nmcli connection migrate`."
        )
    if name == "route-table" or key == "ipv4.method":
        raise ValueError(
            f"{interface.name} has {key} {value}, which keeps our default route from being "
            "the host's: take it out."
        )
    section = sections.setdefault(section_name, {})
    if name in _NUMBERED:
        number = next(n for n in count(1) if f"{name}{n}" not in section)
        section[f"{name}{number}"], _, options = (
            value.partition(" ") if name == "route" else (value, "", "")
        )
        if options:
            section[f"{name}{number}_options"] = options
    elif name == "dns":
        section[name] = ";".join((*filter(None, (section.get(name),)), value))
    elif section.setdefault(name, value) != value:
        raise ValueError(
            f"{interface.name} would have {key} {section[name]} and {value}: only one can be had."
        )


def _configuration(network: Network) -> profiles.Sections:
    """Say that profiles of the initrd give way to ours, and which bridges are NetworkManager's.

    At its first start after a boot it keeps what the initrd has set up, and a bond or bridge would
    be without its NIC.
    """
    lower = [each.name for each in network.interfaces if each.kind != "bridge"]
    sections = {
        "device-cloudstack-lower": {
            "match-device": _matching(lower),
            "keep-configuration": "no",
            "allowed-connections": "except:origin:nm-initrd-generator",
        }
    }
    if generic := [each.name for each in network.interfaces if each.is_ovs_bridge]:
        sections["device-cloudstack"] = {"match-device": _matching(generic), "managed": "1"}
    return sections


def _matching(names: Iterable[str]) -> str:
    return ",".join(f"interface-name:={name}" for name in names)
