"""Our network as ifcfg files, with what goes beside them."""

import shlex
from collections.abc import Mapping

from kvmhost.network import ovs
from kvmhost.network.backends.ifcfg import routes
from kvmhost.network.backends.ifcfg.files import (
    DIRECTORY,
    SYSCTLS,
    Variables,
    interfaces_of,
    path_of,
)
from kvmhost.network.files import HEADER, File
from kvmhost.network.interfaces import MIIMON, NO_DEVICES, Devices, Interface
from kvmhost.network.model import Network

_NO_IPV6 = "net.ipv6.conf.{}.disable_ipv6 = 1\n"


def render(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[File, ...]:
    """Render a file for each of our interfaces, and one for the kernel.

    `existing` maps the paths on the host that match `PATHS` to their text.
    """
    rendered = _rendered(network)
    _refuse_files_of_others(network, existing, devices)
    closed = filter(_is_closed, network.interfaces)
    # sysctl.d(5) has a dot of a name as a slash
    without_ipv6 = (_NO_IPV6.format(each.name.replace(".", "/")) for each in closed)
    return (
        *(File(path_of(name), HEADER + _text(variables)) for name, variables in rendered.items()),
        *(
            File(f"{DIRECTORY}/{kind}-{each.name}", HEADER + text)
            for each in network.interfaces
            for kind, text in routes.render(each).items()
        ),
        File(SYSCTLS, HEADER + "".join(without_ipv6)),
    )


def _refuse_files_of_others(
    network: Network, existing: Mapping[str, str], devices: Devices
) -> None:
    """Raise ValueError where the file that ours would replace is for somebody else's interface."""
    owners = interfaces_of(existing, devices)
    for name in sorted(network.names):
        owner = owners.get(path_of(name), name)
        if owner != name and owner not in network.claims:
            raise ValueError(
                f"{path_of(name)} is for {owner}, by its DEVICE or HWADDR: "
                f"give it the name ifcfg-{owner}, because {name} is configured here."
            )


def removed(
    network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[str, ...]:
    """Name the files that have to go: others of our interfaces, and ours of an earlier network."""
    own = {file.path for file in render(network, existing, devices)}
    owners = interfaces_of(existing, devices)
    return tuple(
        path
        for path, owner in owners.items()
        if path not in own and (existing[path].startswith(HEADER) or owner in network.claims)
    )


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
            if key not in routes.KINDS
            if key != "BONDING_OPTS" or interface.kind != "bond"
        }
        variables |= {"ONBOOT": "yes", "BOOTPROTO": "none", "NM_CONTROLLED": "no"}
        variables |= _kind(interface, "BONDING_OPTS" in variables) | _addressing(interface)
        if interface.mtu is not None:
            variables["MTU"] = str(interface.mtu)
        if interface.name in upper:
            variables |= _port(upper[interface.name])
        rendered[interface.name] = variables
    for name, variables in _ovs_variables(network).items():
        rendered[name] |= variables
    return rendered


def _is_closed(interface: Interface) -> bool:
    """Whether it has to be kept from IPv6; a port gets none anyway."""
    return interface.is_closed_to_ipv6 and (interface.kind == "bridge" or bool(interface.addresses))


def _kind(interface: Interface, is_bond: bool) -> dict[str, str]:
    if interface.is_ovs_bridge:
        return {"HOTPLUG": "no", "DEVICETYPE": "ovs", "TYPE": "OVSBridge"}
    if interface.kind == "vlan":
        return {"HOTPLUG": "no", "TYPE": "Ethernet", "VLAN": "yes"}
    if interface.kind == "ethernet":
        return {"HOTPLUG": "no", "TYPE": "Bond" if is_bond else "Ethernet"}
    if interface.kind == "bond":
        said = {"mode": interface.bond_mode, "miimon": MIIMON, **dict(interface.bond_options)}
        options = " ".join(f"{key}={value}" for key, value in said.items())
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
    if _is_closed(interface) and not interface.is_ovs_bridge:
        variables |= {"IPV6INIT": "no", "IPV6_AUTOCONF": "no"}
    return variables


def _ovs_variables(network: Network) -> dict[str, dict[str, str]]:
    """Say what ifup-ovs has to tell Open vSwitch: the words after `add-br`, and more commands."""
    variables: dict[str, dict[str, str]] = {}
    uplinks = {uplink.name for uplink in network.uplinks}
    missing = ovs.corrections(network, ())
    for port, correction in zip(ovs.ports(network), missing, strict=True):
        creation, *more = correction.commands
        extra = [" ".join(command) for command in more]
        if port.name in uplinks:
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
