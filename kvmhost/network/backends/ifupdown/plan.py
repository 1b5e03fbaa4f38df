"""From one set of stanzas to another, by ifdown(8) and ifup(8)."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from shlex import quote

from kvmhost.network.backends.ifupdown.files import INTERFACES, Definitions, Stanza, base, read
from kvmhost.network.backends.ifupdown.interfaces import interfaces, parse
from kvmhost.network.change import Plan, Steps
from kvmhost.network.commands import AT_MOST, delete, each
from kvmhost.network.drift import Drift
from kvmhost.network.interfaces import (
    NO_DEVICES,
    Devices,
    Interface,
    bottom_up,
    first,
    with_all_above,
)


@dataclass(frozen=True)
class Changes:
    """Interfaces for `ifdown` while the old files are in place, then for `ifup` with the new."""

    down: tuple[str, ...]
    up: tuple[str, ...]


def plan(drift: Drift) -> Plan:
    """ifdown(8) with the old files what changes, ifup(8) with the new.

    In a rollback ifup ignores errors: it would leave the stanza where any command fails, and the
    interface's other stanzas too. ifdown does so anyway. What ifup takes for up already is taken
    down first, because `ifup --force` would go for the interface of a VLAN's frames too: a bond
    would set its NICs down, and leave them so.
    """
    before, after = drift.present.files, drift.after
    also, devices = drift.unmended, drift.present.devices
    applying = changes(before, after, also, devices)
    undoing = changes(after, before, also, devices)
    present = parse(before, devices)
    # ifdown deletes the VLAN interfaces that a bridge has for ports, with or without a stanza
    gone = {*applying.down} | {
        port for each in present if each.name in applying.down for port in each.ports if "." in port
    }
    existing = {link.get("ifname") for link in drift.present.addresses}
    made = [
        each.name
        for each in reversed(drift.network.interfaces)
        if each.name not in existing and each.kind != "ethernet" and not each.is_ovs_bridge
    ]
    up_again = first(drift.management, undoing.up, present)
    unfinished = [name for name in reversed(up_again) if name not in undoing.down]
    ifdown = f"{AT_MOST.format(120)} ifdown --force"
    return Plan(
        apply=Steps(
            down=each("ifdown --force", map(quote, applying.down)),
            up=delete(map(quote, sorted(drift.network.taken_over.interfaces)))
            + drift.mend(without=gone)
            + drift.switching
            + each("ifup", map(quote, applying.up)),
        ),
        rollback=Steps(
            down=each(ifdown, map(quote, undoing.down)) + delete(made),
            up=each(ifdown, map(quote, unfinished))
            # as long as networking.service gives them all
            + each(f"{AT_MOST.format(300)} ifup --ignore-errors", map(quote, up_again)),
        ),
        validate=f"ifquery --interfaces=./new{INTERFACES} --list --all\n",
    )


def changes(
    before: Mapping[str, str],
    after: Mapping[str, str],
    also: Set[str] = frozenset(),
    devices: Devices = NO_DEVICES,
) -> Changes:
    """Say which interfaces have to be restarted on the way from one set of files to another.

    They are those whose stanzas differ, and `also` others. With each interface goes what is built
    on it, because it loses its routes or its ports, and what its own scripts take down with it.
    Down is from top to bottom; up is from bottom to top, and only what starts by itself.
    """
    old, new = read(before), read(after)
    told, tells = _definitions(old, devices), _definitions(new, devices)
    differing = {name for name in told.keys() | tells.keys() if told.get(name) != tells.get(name)}
    lower, upper = _with_aliases(old, devices), _with_aliases(new, devices)
    restarted = _restarted(differing | also, (*lower, *upper))
    down = (name for name in reversed(bottom_up(lower)) if name in restarted & told.keys())
    up = (
        name
        for name in bottom_up(upper)
        if name in restarted & tells.keys() and new.starts(name, devices)
    )
    return Changes(tuple(down), tuple(up))


def _restarted(names: Set[str], existing: Sequence[Interface]) -> frozenset[str]:
    """Add what has to be restarted with the named interfaces.

    ifenslave takes down the NICs of a bond that goes, and bridge-utils the ports of a bridge, of
    which it deletes the VLAN interfaces; a bond that comes takes no NIC whose own stanza says
    bond-master. What stands on such a port loses its routes, whether it has a stanza or not.
    """
    restarted = with_all_above(names, existing)
    ports = {port for each in existing if each.name in restarted for port in each.ports}
    return restarted if ports <= restarted else _restarted(restarted | ports, existing)


def _with_aliases(found: Definitions, devices: Devices) -> tuple[Interface, ...]:
    """Return what is defined, with each alias as an interface that is built on its own."""
    names = dict.fromkeys(stanza.name for stanza in found.stanzas)
    aliases = (Interface(name, "ethernet", parent=base(name)) for name in names if ":" in name)
    return (*interfaces(found, devices), *aliases)


def _definitions(
    found: Definitions, devices: Devices
) -> dict[str, tuple[tuple[str, ...], list[Stanza]]]:
    """Collect, for each name that has a stanza, the words that select it and its stanzas."""
    return {
        name: (
            found.selectors(name, devices),
            [stanza for stanza in found.stanzas if stanza.name == name],
        )
        for name in {stanza.name for stanza in found.stanzas}
    }
