"""What ifcfg files say of their interfaces, in the model's terms."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface

from kvmhost.network.backends.ifcfg import routes
from kvmhost.network.backends.ifcfg.files import (
    Variables,
    files,
    interfaces_of,
    is_true,
    starts,
    texts_beside,
)
from kvmhost.network.files import HEADER
from kvmhost.network.interfaces import NO_DEVICES, Address, AddressWithPrefix, Devices, Interface

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
_TRAILING = re.compile(r"\d*$")


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read the interfaces that the files define; an alias (eth0:1) goes by its device's name.

    Raises ValueError where an address or number is none.
    """
    owners = interfaces_of(existing, devices)
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
            routes.parse(texts_beside(name, owners, existing)),
            own=existing[path].startswith(HEADER),
        )
        for path, name, variables in found
    )


def _interface(
    name: str, variables: Variables, ports: tuple[str, ...], beside: routes.Beside, own: bool
) -> Interface:
    mtu = variables.get("MTU")
    dhcp = variables.get("BOOTPROTO", "").lower() in ("dhcp", "bootp")
    # Ours has no metric, and ifup replaces a default route that has none either.
    is_default = is_true(variables.get("DEFROUTE", "yes"))
    competes = is_default and variables.get("METRIC", "0") == "0"
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
        spare_gateways=tuple(_gateways(variables)) if is_default and not competes else (),
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
            name, "bridge", stp=is_true(variables.get("STP", "no")), forward_delay=_delay(variables)
        )
    if type_ in ("ovsbridge", "ovsuserbridge"):
        parent, _, tag = variables.get("OVS_OPTIONS", "").partition(" ")
        if tag.isdigit():
            return Interface(name, "bridge", parent=parent, tag=int(tag))
        return Interface(name, "bridge")
    if type_ == "vlan" or is_true(variables.get("VLAN", "no")):
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
