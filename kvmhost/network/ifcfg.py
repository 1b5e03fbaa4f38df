"""The network as the ifcfg files of Red Hat's network scripts, which EL had up to release 8.

A file holds all that its interface needs, for Open vSwitch too: ifdown-ovs deletes a bridge, and
with it the fake bridges, whenever the network service stops, so that ifup-ovs has to make them
anew at each start.

With IPV6INIT=no the scripts configure no IPv6, but the kernel does: a bridge would have a
link-local address, and take others from routers. So a file of sysctl.d(5) says which have no IPv6;
udev applies it to each interface that appears (systemd's 99-systemd.rules).

Sources: initscripts' sysconfig.txt, Open vSwitch's README.RHEL.rst, ovs-vsctl(8) and the guide's
"Configure in RHEL or CentOS".
"""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from pathlib import PurePosixPath

from kvmhost.network import ifcfg_routes, ovs
from kvmhost.network.files import File
from kvmhost.network.interfaces import (
    MIIMON,
    NO_DEVICES,
    Address,
    AddressWithPrefix,
    Devices,
    Interface,
    bottom_up,
    first,
    with_all_above,
)
from kvmhost.network.model import Network

DIRECTORY = "/etc/sysconfig/network-scripts"
SYSCTLS = "/etc/sysctl.d/60-cloudstack-network.conf"
PATHS = (*(f"{DIRECTORY}/{kind}-*" for kind in ("ifcfg", *ifcfg_routes.KINDS)), SYSCTLS)

VALIDATE = f"""\
for file in new{DIRECTORY}/ifcfg-*; do
    [ ! -e "$file" ] || bash -n "$file"
done
[ -x {DIRECTORY}/ifup-eth ] || {{
    echo "{DIRECTORY} has no scripts: install the package network-scripts" >&2
    exit 1
}}
"""
"""Shell commands that accept the files below ./new, and what is to read them."""
VALIDATE_OPENVSWITCH = f"""\
[ -x {DIRECTORY}/ifup-ovs ] || {{
    echo "{DIRECTORY} has no ifup-ovs: name its package in openvswitch_packages" >&2
    exit 1
}}
"""
"""Shell commands that refuse network scripts which do not know Open vSwitch."""
QUIETLY = "export DEPRECATION_WARNING_ISSUED=true\n"
"""A shell command after which ifup and ifdown do not say each time that they are deprecated."""

_HEADER = "# CloudStack network (what stands here is overwritten)\n"
# network-functions passes these over.
_IGNORED = re.compile(r".*(~|\.bak|\.old|\.orig|\.rpmnew|\.rpmorig|\.rpmsave|-range\d*)")
_TRAILING = re.compile(r"\d*$")
_PLAIN = re.compile(r"[\w.:/=%-]*")  # what needs no shell to be read
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.S)
_NO_IPV6 = "net.ipv6.conf.{}.disable_ipv6 = 1\n"
_HARDWARE = re.compile(r"HWADDR|MACADDR|BONDING_OPTS|ETHTOOL_.*|GVRP|REORDER_HDR|SUBCHANNELS")
# What the model says, what says how a device that is ours comes up, and what DHCP alone heeds.
_SAID = re.compile(
    r"DEVICE|NAME|UUID|TYPE|DEVICETYPE|ONBOOT|BOOTPROTO|BOOTPROTOv6|NM_CONTROLLED|HOTPLUG|USERCTL"
    r"|(IPADDR|NETMASK|PREFIX|GATEWAY|NETWORK|BROADCAST)\d*|DEFROUTE|METRIC|MTU|DNS\d+|DOMAIN|SEARCH"
    r"|IPV6INIT|IPV6ADDR|IPV6ADDR_SECONDARIES|IPV6_DEFAULTGW|IPV6_DEFROUTE|IPV6_AUTOCONF"
    r"|IPV6_ADDR_GEN_MODE|IPV6_PRIVACY|IPV[46]_FAILURE_FATAL|IPV6FORWARDING|PROXY_METHOD|BROWSER_ONLY"
    r"|BRIDGE|MASTER|SLAVE|VLAN|PHYSDEV|VID|VLAN_ID|STP|DELAY|BRIDGING_OPTS|BONDING_MASTER|OVS_?.*"
    r"|PEERDNS|PEERROUTES|IPV6_PEERDNS|IPV6_PEERROUTES|DHCP.*|PERSISTENT_DHCLIENT|RES_OPTIONS_DHCP"
)
_SAID_OF_BOND = re.compile(rf"{_SAID.pattern}|BONDING_OPTS")

Variables = Mapping[str, str]
_Text = tuple[str, str]


@dataclass(frozen=True)
class Changes:
    """What is done with which interface, in order.

    With the old files in place, `ifdown` stops what is in `down`. `deleted` are native bridges
    and bonds that have to go then: ifdown leaves a bond, and a bridge while a guest is in it, and
    EL 8's ifup fails on a bridge that is there with STP. On a bridge of Open vSwitch, ifdown would
    delete it with all ports, and ifup passes over one that is up: those in `flushed` are to lose
    their addresses and be set down only, and those in `dropped` are to leave Open vSwitch. With
    the new files, `ifup` starts what is in `up`.

    `down` and `up` have the names of files, without "ifcfg-": by an interface's name, the network
    scripts may find the file of another interface with the same MAC address. Aliases come and go
    with their interface.
    """

    down: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    flushed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    up: tuple[str, ...] = ()


def render(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[File, ...]:
    """Render a file for each of our interfaces, and one for the kernel.

    `existing` maps the paths on the host that match `PATHS` to their text.
    """
    rendered = _rendered(network)
    bridges = (each for each in network.interfaces if each.kind == "bridge")
    without_ipv6 = (_NO_IPV6.format(each.name) for each in bridges if not each.addresses)
    return (
        *(File(_path(name), _HEADER + _text(variables)) for name, variables in rendered.items()),
        *(
            File(f"{DIRECTORY}/{kind}-{each.name}", _HEADER + text)
            for each in network.interfaces
            for kind, text in ifcfg_routes.render(each).items()
        ),
        File(SYSCTLS, _HEADER + "".join(without_ipv6)),
    )


def removed(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[str, ...]:
    """Name the files that have to go: others of our interfaces, and ours of an earlier network."""
    own = {file.path for file in render(network, existing, devices)}
    owners = _owners(existing, devices)
    return tuple(
        path
        for path, owner in owners.items()
        if path not in own and (existing[path].startswith(_HEADER) or owner in network.claims)
    )


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read the interfaces that the files define; an alias (eth0:1) goes by its device's name.

    Raises ValueError where an address or number is none.
    """
    owners = _owners(existing, devices)
    found = [(path, owners[path], variables) for path, variables in files(existing).items()]
    ports: dict[str, list[str]] = {}
    for _, name, variables in found:
        for key in ("BRIDGE", "MASTER", "OVS_BRIDGE"):
            if key in variables:
                ports.setdefault(variables[key], []).append(name)
        for bridge, port in re.findall(r"add-port (\S+) (\S+)", variables.get("OVS_EXTRA", "")):
            ports.setdefault(bridge, []).append(port)
    return tuple(
        _interface(
            name,
            variables,
            tuple(ports.get(name, ())),
            ifcfg_routes.parse(_beside(name, owners, existing)),
            own=existing[path].startswith(_HEADER),
        )
        for path, name, variables in found
    )


def changes(
    before: Mapping[str, str],
    after: Mapping[str, str],
    also: Set[str] = frozenset(),
    devices: Devices = NO_DEVICES,
    soonest: Set[str] = frozenset(),
) -> Changes:
    """Say which interfaces have to be restarted on the way from one set of files to another.

    `also` names interfaces that are to be restarted although their files stay. With each
    interface goes what is built on it, because it loses its routes or its ports, and with a bridge
    or bond its ports: ifup makes it anew, and a bridge's port joins it when it is itself brought
    up. `soonest` are to come up before the others, with what they are built on.
    """
    old, new = _definitions(before, devices), _definitions(after, devices)
    lower, upper = parse(before, devices), parse(after, devices)
    differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    restarted = _with_ports_and_above(differing | also, (*lower, *upper))
    stopped = [name for name in reversed(bottom_up(lower)) if name in restarted & old.keys()]
    flushed = [name for name in stopped if _is_ovs(old[name])]
    made = {each.name for each in (*lower, *upper) if _is_made(each)}
    return Changes(
        down=tuple(file for name in stopped if name not in flushed for file in old[name]),
        deleted=tuple(sorted(made & restarted)),
        flushed=tuple(flushed),
        dropped=tuple(name for name in flushed if not _is_ovs(new.get(name, {}))),
        up=tuple(
            file
            for name in first(soonest, bottom_up(upper), upper)
            if name in restarted
            for file, variables in new.get(name, {}).items()
            if starts(variables)
        ),
    )


def _with_ports_and_above(names: Set[str], interfaces: Collection[Interface]) -> frozenset[str]:
    made = [each for each in interfaces if _is_made(each)]
    found = with_all_above(names, interfaces)
    while ports := {port for each in made if each.name in found for port in each.ports} - found:
        found = with_all_above(found | ports, interfaces)
    return found


def _is_made(interface: Interface) -> bool:
    """Whether ifup makes the interface, and gives it its ports."""
    return interface.kind == "bond" or interface.stp is not None


def sysctls(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the commands that have interfaces which stay heed another text of `SYSCTLS`."""
    old, new = (_without_ipv6(files.get(SYSCTLS, "")) for files in (before, after))
    default = "$(cat /proc/sys/net/ipv6/conf/default/disable_ipv6)"
    commands = [
        f"sysctl -e -q -w net.ipv6.conf.{name}.disable_ipv6={default}\n"
        for name in sorted(old - new)
    ]
    return "".join(commands) + (f"sysctl -e -q -p {SYSCTLS}\n" if new - old else "")


def _without_ipv6(text: str) -> set[str]:
    return set(re.findall(r"^net\.ipv6\.conf\.(\S+)\.disable_ipv6 = 1$", text, re.M))


def files(existing: Mapping[str, str]) -> dict[str, Variables]:
    """Read those of the files that the network scripts read: each path's variables."""
    return {
        path: _variables(text)
        for path, text in sorted(existing.items())
        if path.startswith(f"{DIRECTORY}/ifcfg-") and not _IGNORED.fullmatch(path)
    }


def device(path: str, variables: Variables, devices: Devices = NO_DEVICES) -> str:
    """Name the interface that a file is for: it says so, or has its MAC address, or its name."""
    by_address = devices.get(variables.get("HWADDR", "").lower())
    return (variables.get("DEVICE") or by_address or _name(path)).partition(":")[0]


def _owners(existing: Mapping[str, str], devices: Devices) -> dict[str, str]:
    """Name the interface that each of the files is for."""
    owners = {path: device(path, variables, devices) for path, variables in files(existing).items()}
    named = {_name(path): owner for path, owner in owners.items()}
    for path in existing:
        kind, dash, name = PurePosixPath(path).name.partition("-")
        if path.startswith(f"{DIRECTORY}/") and dash and kind in ifcfg_routes.KINDS:
            owners[path] = named.get(name, name)
    return owners


def _beside(name: str, owners: Mapping[str, str], existing: Mapping[str, str]) -> Iterator[_Text]:
    """Yield the texts of the files beside an interface's own, each by its kind."""
    for path, owner in owners.items():
        kind = PurePosixPath(path).name.partition("-")[0]
        if owner == name and kind in ifcfg_routes.KINDS:
            yield kind, existing[path]


def _name(path: str) -> str:
    return PurePosixPath(path).name.removeprefix("ifcfg-")


def _path(name: str) -> str:
    return f"{DIRECTORY}/ifcfg-{name}"


def _rendered(network: Network) -> dict[str, dict[str, str]]:
    upper = {
        port: interface
        for interface in network.interfaces
        if not interface.is_ovs_bridge
        for port in interface.ports
    }
    rendered = {}
    for interface in network.interfaces:
        variables = {"DEVICE": interface.name}
        variables |= {
            key: value
            for key, value in (*interface.hardware, *interface.options, *interface.addressing)
            if key not in ifcfg_routes.KINDS
            if key != "BONDING_OPTS" or interface.kind != "bond"
        }
        variables |= {"ONBOOT": "yes", "BOOTPROTO": "none", "NM_CONTROLLED": "no"}
        variables |= _kind(interface, "BONDING_OPTS" in variables) | _addressing(interface)
        if interface.mtu is not None:
            variables["MTU"] = str(interface.mtu)
        if interface.name in upper:
            variables |= _port(upper[interface.name])
        rendered[interface.name] = variables
    if network.ovs_bridge is not None:
        for name, variables in _ovs_variables(network).items():
            rendered[name] |= variables
    return rendered


def _kind(interface: Interface, is_bond: bool) -> dict[str, str]:
    if interface.is_ovs_bridge:
        return {"HOTPLUG": "no", "DEVICETYPE": "ovs", "TYPE": "OVSBridge"}
    if interface.kind == "vlan":
        return {"HOTPLUG": "no", "TYPE": "Ethernet", "VLAN": "yes"}
    if interface.kind == "ethernet":
        return {"HOTPLUG": "no", "TYPE": "Bond" if is_bond else "Ethernet"}
    if interface.kind == "bond":
        options = f"mode={interface.bond_mode} miimon={MIIMON}"
        return {"HOTPLUG": "no", "TYPE": "Bond", "BONDING_MASTER": "yes", "BONDING_OPTS": options}
    delay = interface.forward_delay or 0
    return {
        "TYPE": "Bridge",
        "STP": "yes" if interface.stp else "no",
        "DELAY": str(delay),
        # EL 8 hands DELAY to ip-link(8), which counts in hundredths of a second, as sysfs does.
        "BRIDGING_OPTS": f"forward_delay={delay * 100}",
    }


def _port(upper: Interface) -> dict[str, str]:
    if upper.kind == "bond":
        return {"MASTER": upper.name, "SLAVE": "yes"}
    return {"BRIDGE": upper.name}


def _addressing(interface: Interface) -> dict[str, str]:
    variables: dict[str, str] = {}
    for address in interface.addresses:
        if address.version == 4:
            variables |= {"IPADDR": str(address.ip), "NETMASK": str(address.netmask)}
        else:
            variables |= {"IPV6INIT": "yes", "IPV6_AUTOCONF": "no"}
            variables["IPV6ADDR"] = str(address)
    for gateway in interface.gateways:
        if gateway.version == 4:
            variables["GATEWAY"] = str(gateway)
        else:  # a link-local one is nothing without its interface
            variables["IPV6_DEFAULTGW"] = f"{gateway}%{interface.name}"
    for number, server in enumerate(interface.dns_servers, start=1):
        variables[f"DNS{number}"] = str(server)
    if interface.dns_search:
        variables["DOMAIN"] = " ".join(interface.dns_search)
    if interface.stp is not None and not interface.addresses:  # a native bridge
        variables |= {"IPV6INIT": "no", "IPV6_AUTOCONF": "no"}
    return variables


def _ovs_variables(network: Network) -> dict[str, dict[str, str]]:
    """Say what ifup-ovs has to tell Open vSwitch: the words after `add-br`, and more commands."""
    variables: dict[str, dict[str, str]] = {}
    missing = ovs.corrections(network, ())
    for port, correction in zip(ovs.ports(network), missing, strict=True):
        creation, *more = correction.commands
        extra = [" ".join(command) for command in more]
        if port.name == network.uplink:
            # The uplink is no bridge: the main bridge's file, which comes first, takes it in.
            of_main = variables[port.bridge]
            extra = [of_main["OVS_EXTRA"], " ".join(creation), *extra]
            of_main["OVS_EXTRA"] = " -- ".join(extra)
            continue
        variables[port.name] = {}
        if port.fake_bridge:
            options = " ".join(creation[creation.index(port.name) + 1 :])
            variables[port.name] |= {"OVSREQUIRES": port.bridge, "OVS_OPTIONS": options}
        if extra:
            variables[port.name]["OVS_EXTRA"] = " -- ".join(extra)
    return variables


def _text(variables: Variables) -> str:
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in variables.items())


def _variables(text: str) -> Variables:
    """Read what a shell would assign, as far as that can be told without a shell."""
    found = {}
    for line in text.splitlines():
        if _PLAIN.fullmatch(line):
            words = [line]
        else:
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # an unfinished quotation
                words = [line.strip()]
        for word in words:
            if match := _ASSIGNMENT.fullmatch(word):
                found[match[1]] = match[2]
    return found


def _definitions(existing: Mapping[str, str], devices: Devices) -> dict[str, dict[str, Variables]]:
    """Collect, for each interface, its variables by the name of the file; aliases left out.

    What stands in the files beside is among the variables, each under its kind.
    """
    owners = _owners(existing, devices)
    found: dict[str, dict[str, Variables]] = {}
    for path, variables in files(existing).items():
        if ":" not in _name(path):
            beside = dict(_beside(owners[path], owners, existing))
            found.setdefault(owners[path], {})[_name(path)] = {**variables, **beside}
    return found


def _is_ovs(definitions: Mapping[str, Variables]) -> bool:
    return any(variables.get("TYPE", "").startswith("OVS") for variables in definitions.values())


def starts(variables: Variables) -> bool:
    """Whether the interface starts with the host."""
    return variables.get("ONBOOT", "yes").lower() not in ("no", "false", "off", "n", "f", "0")


def _interface(
    name: str, variables: Variables, ports: tuple[str, ...], beside: ifcfg_routes.Beside, own: bool
) -> Interface:
    mtu = variables.get("MTU")
    dhcp = variables.get("BOOTPROTO", "").lower() in ("dhcp", "bootp")
    # Ours has no metric, and ifup replaces a default route that has none either.
    competes = _true(variables.get("DEFROUTE", "yes")) and variables.get("METRIC", "0") == "0"
    # a bond that we make says what it is in the same variable as one that we keep
    is_said = _SAID_OF_BOND if own and "BONDING_MASTER" in variables else _SAID
    said = [(key, value) for key, value in variables.items() if not is_said.fullmatch(key)]
    addresses = tuple(_addresses(variables))
    moving = {"ZONE"} if dhcp or addresses else set()  # a firewall's
    return replace(
        _link(name, variables),
        ports=tuple(sorted(ports)),
        mtu=None if mtu is None else int(mtu),
        dhcp=dhcp,
        addresses=addresses,
        gateways=(*(_gateways(variables) if competes else ()), *beside.gateways),
        gateway_by_dhcp=dhcp and competes,
        routes=beside.routes,
        dns_servers=tuple(ip_address(value) for value in _numbered(variables, "DNS")),
        dns_search=tuple(variables.get("DOMAIN", "").split()),
        hardware=tuple((key, value) for key, value in said if _HARDWARE.fullmatch(key)),
        options=(
            *(
                (key, value)
                for key, value in said
                if not _HARDWARE.fullmatch(key) and key not in moving
            ),
            *beside.lines,
        ),
        addressing=tuple((key, value) for key, value in said if key in moving),
        starts=starts(variables),
        own=own,
    )


def _link(name: str, variables: Variables) -> Interface:
    type_ = variables.get("TYPE", "").lower()
    if type_ == "bridge":
        return Interface(
            name, "bridge", stp=_true(variables.get("STP", "no")), forward_delay=_delay(variables)
        )
    if type_ in ("ovsbridge", "ovsuserbridge"):
        parent, _, tag = variables.get("OVS_OPTIONS", "").partition(" ")
        if tag.isdigit():
            return Interface(name, "bridge", parent=parent, tag=int(tag))
        return Interface(name, "bridge")
    if type_ == "vlan" or _true(variables.get("VLAN", "no")):
        return Interface(
            name,
            "vlan",
            parent=variables.get("PHYSDEV") or name.rpartition(".")[0],
            tag=int(variables.get("VID") or variables.get("VLAN_ID") or _TRAILING.findall(name)[0]),
        )
    if type_ == "bond" or "BONDING_OPTS" in variables:
        options = dict(re.findall(r"(\w+)=(\S+)", variables.get("BONDING_OPTS", "")))
        return Interface(name, "bond", bond_mode=options.get("mode"))
    return Interface(name, "ethernet")


def _delay(variables: Variables) -> int | None:
    if match := re.search(r"\bforward_delay=(\d+)", variables.get("BRIDGING_OPTS", "")):
        return int(match[1]) // 100
    return round(float(variables["DELAY"])) if "DELAY" in variables else None


def _addresses(variables: Variables) -> Iterator[AddressWithPrefix]:
    for key, address in variables.items():
        if (match := re.fullmatch(r"IPADDR(\d*)", key)) and address:
            prefix = variables.get(f"PREFIX{match[1]}") or variables.get(f"NETMASK{match[1]}")
            yield ip_interface(f"{address}/{prefix}" if prefix else address)
    for key in ("IPV6ADDR", "IPV6ADDR_SECONDARIES"):
        yield from map(ip_interface, variables.get(key, "").split())


def _gateways(variables: Variables) -> Iterator[Address]:
    for key in ("GATEWAY", "GATEWAY0", "IPV6_DEFAULTGW"):
        if variables.get(key):
            yield ip_address(variables[key].partition("%")[0])


def _numbered(variables: Variables, key: str) -> list[str]:
    found = {
        int(match[1]): value
        for name, value in variables.items()
        if (match := re.fullmatch(rf"{key}(\d+)", name)) and value
    }
    return [found[number] for number in sorted(found)]


def _true(text: str) -> bool:
    return text.lower() in ("yes", "true", "on", "y", "t", "1")
