"""From one set of ifcfg files to another, by the network scripts' ifdown and ifup."""

import re
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass

from kvmhost.network.backends.ifcfg.files import DIRECTORY, SYSCTLS, Variables, definitions, starts
from kvmhost.network.backends.ifcfg.interfaces import parse
from kvmhost.network.change import Plan, Steps
from kvmhost.network.commands import each, tolerant
from kvmhost.network.drift import Drift
from kvmhost.network.interfaces import (
    NO_DEVICES,
    Devices,
    Interface,
    bottom_up,
    first,
    with_all_above,
)

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


def plan(drift: Drift) -> Plan:
    """The network scripts' ifdown with the old files what changes, their ifup with the new."""
    before, after = drift.present.files, drift.after
    devices, management = drift.present.devices, drift.management
    applying = changes(before, after, drift.unmended, devices)
    undoing = changes(after, before, drift.unmended, devices, soonest=management)
    return Plan(
        apply=Steps(
            down=QUIETLY + _ifdown(applying),
            up=drift.mend(without=applying.down)
            + drift.switching
            + each("ovs-vsctl --if-exists del-br", applying.dropped)
            + sysctls(before, after)
            + QUIETLY
            + each("ifup", applying.up),
        ),
        rollback=Steps(
            down=QUIETLY + _ifdown(undoing),
            up=each("ovs-vsctl --if-exists del-br", undoing.dropped)
            + sysctls(after, before)
            + QUIETLY
            + each("ifup", undoing.up),
        ),
        validate=VALIDATE
        + (VALIDATE_OPENVSWITCH if drift.network.bridge_type == "openvswitch" else ""),
    )


def _ifdown(changes: Changes) -> str:
    flushed = (
        f"if [ -e /sys/class/net/{name} ]; then\n"
        f"    ip address flush dev {name}\n    ip link set {name} down\nfi\n"
        for name in changes.flushed
    )
    # ifdown fails on what is down already.
    down = tolerant(each("ifdown", changes.down))
    deleted = (
        f"if [ -e /sys/class/net/{name}/bridge ] || [ -e /sys/class/net/{name}/bonding ]; then\n"
        f"    ip link delete {name}\nfi\n"
        for name in changes.deleted
    )
    return "".join((*flushed, down, *deleted))


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
    old, new = definitions(before, devices), definitions(after, devices)
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


def _is_ovs(definitions: Mapping[str, Variables]) -> bool:
    return any(variables.get("TYPE", "").startswith("OVS") for variables in definitions.values())
