"""From one set of profiles to another, by nmcli(1)."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from graphlib import TopologicalSorter
from shlex import join
from types import MappingProxyType

from kvmhost.network.backends.networkmanager import profiles
from kvmhost.network.backends.networkmanager.interfaces import interfaces
from kvmhost.network.backends.networkmanager.profiles import DIRECTORY, Profile
from kvmhost.network.change import Plan, Steps
from kvmhost.network.commands import delete, tolerant
from kvmhost.network.drift import Drift
from kvmhost.network.interfaces import NO_DEVICES, Devices, Interface, with_all_above

_NAME, _PATH = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"
VALIDATE = f"""\
for file in new{DIRECTORY}/*; do
    [ -e "$file" ] || continue
    nmcli --offline connection modify connection.autoconnect yes <"$file" || {{
        echo "in $file" >&2
        exit 1
    }}
done
"""
"""Shell commands that accept the profiles below ./new: nmcli reads each as the daemon would."""
VALIDATE_OPENVSWITCH = f"""\
if busctl get-property {_NAME} {_PATH} {_NAME} Capabilities | cut -d " " -f 3- | grep -qw 2; then
    echo "NetworkManager has its plugin for Open vSwitch (NetworkManager-ovs), with which" \
        "fake bridges cannot have addresses: remove it" >&2
    exit 1
fi
"""
"""Shell commands that refuse a NetworkManager with NM_CAPABILITY_OVS (its D-Bus API)."""
_VIRTUAL = {"vlan", "bridge", "bond"}


@dataclass(frozen=True)
class Changes:
    """Profiles as words for `nmcli connection`, such as ("uuid", "…"), each list in order.

    `down` is for the old files, of interfaces that end; `gone` names those of them that
    NetworkManager makes, and so should have deleted by then. `up` is for the new files, and so is
    `late`: what starts by itself but was not active, and so is not to be waited for.
    """

    down: tuple[tuple[str, ...], ...] = ()
    gone: tuple[str, ...] = ()
    up: tuple[tuple[str, ...], ...] = ()
    late: tuple[tuple[str, ...], ...] = ()


def plan(drift: Drift) -> Plan:
    """nmcli(1) ends with the old profiles what goes, and activates the new ones."""
    before, after, present = drift.present.files, drift.after, drift.present
    active = profiles.active(before, present.addresses)
    unmended, devices = drift.unmended, present.devices
    applying = changes(before, after, unmended, devices, active)
    undoing = changes(after, before, unmended, devices, active, drift.management)
    reload = "timeout 60 nmcli general reload conf\ntimeout 60 nmcli connection reload\n"
    return Plan(
        apply=Steps(
            # nmcli fails on what is not active.
            down=tolerant(_nmcli("down", applying.down)) + delete(applying.gone),
            up=drift.mend(without=applying.gone)
            + drift.switching
            + reload
            + _nmcli("up", applying.up)
            + tolerant(_nmcli("up", applying.late, wait=0)),
        ),
        rollback=Steps(
            down=_nmcli("down", undoing.down) + delete(undoing.gone),
            up=reload + _nmcli("up", undoing.up) + _nmcli("up", undoing.late, wait=0),
        ),
        validate=VALIDATE
        + (VALIDATE_OPENVSWITCH if drift.network.bridge_type == "openvswitch" else ""),
    )


def _nmcli(verb: str, found: Iterable[tuple[str, ...]], wait: int = 30) -> str:
    """Run nmcli for each profile; its own limit counts from when NetworkManager has answered."""
    command = f"timeout {wait + 30} nmcli --wait {wait} connection"
    return "".join(f"{command} {join((verb, *words))}\n" for words in found)


def changes(
    before: Mapping[str, str],
    after: Mapping[str, str],
    also: Set[str] = frozenset(),
    devices: Devices = NO_DEVICES,
    active: Mapping[str, str] = MappingProxyType({}),
    soonest: Set[str] = frozenset(),
) -> Changes:
    """Say which profiles are to be activated on the way from one set of files to another.

    `also` names interfaces that are to be set up anew although their profiles stay. With each
    interface goes what is built on it, and the ports of a bridge or bond go with it. `active` has
    the UUID of the profile that is active on each interface at present, and is empty where that is
    not known; `soonest` names interfaces that come up before others.
    """
    old, new = (profiles.in_effect(profiles.read(files, devices)) for files in (before, after))
    lower, upper = interfaces(old), interfaces(new)
    differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    restarted = _restarted(differing | also, (*lower, *upper))
    ended = [name for name in reversed(_order(lower)) if _ends(old.get(name), new.get(name))]
    order = [(name, new[name]) for name in _order(upper, soonest) if name in restarted & new.keys()]
    is_late = {
        name: bool(active) and not profile.is_own and active.get(name) != profile.uuid
        for name, profile in order
    }
    return Changes(
        down=tuple(_words(name, old[name]) for name in ended),
        gone=tuple(name for name in ended if old[name].type in _VIRTUAL),
        up=tuple(_words(name, profile) for name, profile in order if not is_late[name]),
        late=tuple(_words(name, profile) for name, profile in order if is_late[name]),
    )


def _words(name: str, profile: Profile) -> tuple[str, ...]:
    return ("uuid", profile.uuid, *(() if profile.is_bound else ("ifname", name)))


def _ends(old: Profile | None, new: Profile | None) -> bool:
    return old is not None and (new is None or new.type != old.type)


def _order(interfaces: Iterable[Interface], soonest: Set[str] = frozenset()) -> list[str]:
    """Put each interface after what it needs, and before the others what `soonest` names."""
    needs = _needs(interfaces)
    first: set[str] = set()
    queue = {*soonest}
    while queue:
        first |= queue
        queue = {needed for name in queue for needed in needs.get(name, ())} - first
    return sorted(TopologicalSorter(needs).static_order(), key=lambda name: name not in first)


def _needs(interfaces: Iterable[Interface]) -> dict[str, list[str]]:
    """Name what has to be up before each: its parent with its ports, a port's bridge or bond.

    A bond that has no port yet carries nothing for what stands on it.
    """
    interfaces = tuple(interfaces)
    ports = {interface.name: interface.ports for interface in interfaces}
    needs: dict[str, list[str]] = {}
    for interface in interfaces:
        needs.setdefault(interface.name, [])
        if interface.parent is not None:
            needs[interface.name] += (interface.parent, *ports.get(interface.parent, ()))
        for port in interface.ports:
            needs.setdefault(port, []).append(interface.name)
    return needs


def _restarted(names: Set[str], interfaces: Iterable[Interface]) -> frozenset[str]:
    """Add what is built on the interfaces, and the ports that a bridge or bond lets go of."""
    interfaces = tuple(interfaces)
    found = with_all_above(names, interfaces)
    ports = {port for each in interfaces if each.name in found for port in each.ports}
    return found if ports <= found else _restarted(found | ports, interfaces)
