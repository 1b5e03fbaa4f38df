"""The ifcfg files that NetworkManager reads on EL 8 and 9, said in a keyfile's terms.

It means by some variables what the network scripts do not: METRIC is nothing to it, DEFROUTE and
IPV4_ROUTE_METRIC are nothing to them. What has no counterpart here stays a variable, in a section
of its own that no keyfile has: `nmcli connection migrate` makes a keyfile of the whole.

Source: nm-settings-ifcfg-rh(5).
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import md5
from ipaddress import IPv4Interface, ip_address
from pathlib import PurePosixPath
from uuid import UUID

from kvmhost.network.backends.ifcfg import files as ifcfg

PATHS = (*ifcfg.PATHS, f"{ifcfg.DIRECTORY}/route*-*", f"{ifcfg.DIRECTORY}/rule*-*")
UNTRANSLATED = "ifcfg"
"""The section of variables, and of files, that have no counterpart here."""
UNMANAGED = "unmanaged"
"""The section of a file with which NetworkManager lets the interface alone."""

Sections = dict[str, dict[str, str]]

_TYPES = {"bridge": "bridge", "bond": "bond", "team": "team", "vlan": "vlan"}
_CONTROLLERS = {"BRIDGE": "bridge", "MASTER": "bond", "TEAM_MASTER": "team", "VRF": "vrf"}
_SAME = {
    "DEVICE": "connection.interface-name",
    "NAME": "connection.id",
    "UUID": "connection.uuid",
    "AUTOCONNECT_PRIORITY": "connection.autoconnect-priority",
    "ZONE": "connection.zone",
    "STABLE_ID": "connection.stable-id",
    "HWADDR": "ethernet.mac-address",
    "MACADDR": "ethernet.cloned-mac-address",
    "GENERATE_MAC_ADDRESS_MASK": "ethernet.generate-mac-address-mask",
    "MTU": "ethernet.mtu",
    "IPV4_ROUTE_METRIC": "ipv4.route-metric",
    "IPV4_ROUTE_TABLE": "ipv4.route-table",
    "IPV4_DNS_PRIORITY": "ipv4.dns-priority",
    "IPV6_ROUTE_METRIC": "ipv6.route-metric",
    "IPV6_ROUTE_TABLE": "ipv6.route-table",
    "IPV6_DNS_PRIORITY": "ipv6.dns-priority",
    "IPV6_ADDR_GEN_MODE": "ipv6.addr-gen-mode",
    "IPV6_TOKEN": "ipv6.token",
    "PHYSDEV": "vlan.parent",
    "VLAN_ID": "vlan.id",
}
_SWITCHES = {"ONBOOT": "connection.autoconnect", "LLDP": "connection.lldp"}
_INVERTED = {
    "DEFROUTE": "ipv4.never-default",
    "PEERDNS": "ipv4.ignore-auto-dns",
    "PEERROUTES": "ipv4.ignore-auto-routes",
    "IPV6_DEFROUTE": "ipv6.never-default",
    "IPV6_PEERDNS": "ipv6.ignore-auto-dns",
    "IPV6_PEERROUTES": "ipv6.ignore-auto-routes",
}
_LISTS = {
    "DOMAIN": "ipv4.dns-search",
    "RES_OPTIONS": "ipv4.dns-options",
    "IPV6_DOMAIN": "ipv6.dns-search",
    "IPV6_RES_OPTIONS": "ipv6.dns-options",
}
# What the rest of this module reads, and what says nothing to NetworkManager or, as a lease's
# details do, of what is written down.
_READ = re.compile(
    r"TYPE|DEVICETYPE|BOOTPROTO|VLAN|SLAVE|BONDING_MASTER|BONDING_OPTS|STP|DELAY|NM_CONTROLLED"
    r"|(IPADDR|PREFIX|NETMASK|GATEWAY|DNS)\d*|IPV6ADDR(_SECONDARIES)?|IPV6_DEFAULTGW"
    r"|IPV6INIT|IPV6_AUTOCONF|IPV6_DISABLED|(" + "|".join(_CONTROLLERS) + r")(_UUID)?"
    r"|NETWORK|BROADCAST|METRIC|HOTPLUG|USERCTL|PEERNTP|REORDER_HDR|ARPCHECK|LAST_CONNECT"
    r"|PERSISTENT_DHCLIENT|DHCP.*|DHCPV6.*|IPV[46]_(FAILURE_FATAL|DHCP_TIMEOUT|REQUIRED_TIMEOUT)"
    r"|AUTOCONNECT_RETRIES|AUTOCONNECT_SLAVES|MULTI_CONNECT|USERS|PROXY_METHOD|BROWSER_ONLY"
)


def read(existing: Mapping[str, str]) -> dict[tuple[str, ...], Sections]:
    """Translate the ifcfg files; an alias (ifcfg-eth0:1) only adds addresses to its interface's.

    The keys are the paths of the files that say it, with the interface's first.
    """
    files = ifcfg.files(existing)
    aliases: dict[str, list[str]] = {}
    for path in files:
        main, colon, _ = path.rpartition(":")
        if colon and main in files:
            aliases.setdefault(main, []).append(path)
    added = {alias for each in aliases.values() for alias in each}
    return {
        (path, *aliases.get(path, ())): _sections(
            path, [variables, *(files[alias] for alias in aliases.get(path, ()))], existing
        )
        for path, variables in files.items()
        if path not in added
    }


def _sections(path: str, files: list[ifcfg.Variables], existing: Mapping[str, str]) -> Sections:
    variables, *aliases = files
    name = PurePosixPath(path).name.removeprefix("ifcfg-")
    sections: Sections = {
        "connection": {
            "id": f"System {name}",
            "uuid": str(UUID(md5(path.encode(), usedforsecurity=False).hexdigest())),
            "type": _type(variables),
        }
    }
    for key, value in _pairs(variables):
        section, _, rest = key.partition(".")
        sections.setdefault(section, {})[rest] = value
    _add_kind(sections, variables)
    for family, addresses in _addresses([variables, *aliases]).items():
        for number, address in enumerate(addresses, start=1):
            sections.setdefault(family, {})[f"address{number}"] = address
    for family, method in (("ipv4", _method4(variables, sections)), ("ipv6", _method6(variables))):
        sections.setdefault(family, {})["method"] = method
    if not _is_true(variables.get("NM_CONTROLLED", "yes")):
        sections[UNMANAGED] = {}
    for kind in ("route", "route6", "rule", "rule6"):
        if f"{ifcfg.DIRECTORY}/{kind}-{name}" in existing:
            sections.setdefault(UNTRANSLATED, {})[f"{kind}-{name}"] = "a file of its own"
    return sections


def _pairs(variables: ifcfg.Variables) -> Iterator[tuple[str, str]]:
    for variable, value in variables.items():
        if not value:
            continue
        if variable in _SAME:
            yield _SAME[variable], value
        elif variable in _SWITCHES:
            yield _SWITCHES[variable], _switch(value)
        elif variable in _INVERTED:
            yield _INVERTED[variable], _switch("no" if _is_true(value) else "yes")
        elif variable in _LISTS:
            yield _LISTS[variable], ";".join(value.split())
        elif not _READ.fullmatch(variable):
            yield f"{UNTRANSLATED}.{variable}", value
    for family, servers in _servers(variables).items():
        yield f"{family}.dns", ";".join(servers)
    if gateway := variables.get("GATEWAY") or variables.get("GATEWAY0"):
        yield "ipv4.gateway", gateway
    if gateway := variables.get("IPV6_DEFAULTGW"):
        yield "ipv6.gateway", gateway.partition("%")[0]
    for variable, kind in _CONTROLLERS.items():
        if controller := variables.get(f"{variable}_UUID") or variables.get(variable):
            yield "connection.master", controller
            yield "connection.slave-type", kind


def _type(variables: ifcfg.Variables) -> str:
    if "BONDING_OPTS" in variables or "BONDING_MASTER" in variables:
        return "bond"
    if _is_true(variables.get("VLAN", "no")):
        return "vlan"
    type_ = variables.get("TYPE") or variables.get("DEVICETYPE") or ""
    return _TYPES.get(type_.lower(), "ethernet")


def _add_kind(sections: Sections, variables: ifcfg.Variables) -> None:
    type_ = sections["connection"]["type"]
    if type_ == "bond":
        options = (option.partition("=") for option in variables.get("BONDING_OPTS", "").split())
        sections["bond"] = {key: value for key, _, value in options}
    elif type_ == "bridge":
        stp = _is_true(variables.get("STP", "no"))
        sections["bridge"] = {"stp": "true" if stp else "false"}
        if stp and "DELAY" in variables:
            sections["bridge"]["forward-delay"] = variables["DELAY"]
    elif type_ == "vlan":
        vlan = sections.setdefault("vlan", {})
        parent, _, tag = variables.get("DEVICE", "").rpartition(".")
        vlan.setdefault("parent", parent)
        vlan.setdefault("id", tag.removeprefix("vlan"))


def _addresses(files: list[ifcfg.Variables]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"ipv4": [], "ipv6": []}
    for variables in files:
        for key, address in variables.items():
            if (match := re.fullmatch(r"IPADDR(\d*)", key)) and address:
                prefix = variables.get(f"PREFIX{match[1]}") or variables.get(f"NETMASK{match[1]}")
                found["ipv4"].append(str(IPv4Interface(f"{address}/{prefix or 24}")))
        found["ipv6"] += variables.get("IPV6ADDR", "").split()
        found["ipv6"] += variables.get("IPV6ADDR_SECONDARIES", "").split()
    return found


def _servers(variables: ifcfg.Variables) -> dict[str, list[str]]:
    numbered = (f"DNS{number}" for number in range(1, 10))
    found: dict[str, list[str]] = {}
    for server in (variables[name] for name in numbered if variables.get(name)):
        found.setdefault(f"ipv{ip_address(server).version}", []).append(server)
    return found


def _method4(variables: ifcfg.Variables, sections: Sections) -> str:
    method = variables.get("BOOTPROTO", "").lower()
    if method in ("", "none", "static"):
        return "manual" if "address1" in sections.get("ipv4", {}) else "disabled"
    return {"dhcp": "auto", "bootp": "auto", "autoip": "link-local"}.get(method, method)


def _method6(variables: ifcfg.Variables) -> str:
    if _is_true(variables.get("IPV6_DISABLED", "no")):
        return "disabled"
    if not _is_true(variables.get("IPV6INIT", "no")):
        return "ignore"
    if _is_true(variables.get("IPV6_AUTOCONF", "yes")):
        return "auto"
    if _is_true(variables.get("DHCPV6C", "no")):
        return "dhcp"
    return "manual" if variables.get("IPV6ADDR") else "link-local"


def _switch(value: str) -> str:
    return "true" if _is_true(value) else "false"


def _is_true(value: str) -> bool:
    return value.lower() in ("yes", "true", "on", "y", "t", "1")
