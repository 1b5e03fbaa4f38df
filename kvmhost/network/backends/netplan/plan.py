"""From one set of netplan's files to another."""

from collections.abc import Collection, Iterable, Mapping
from shlex import join, quote

from kvmhost.network.backends.netplan.files import loaded
from kvmhost.network.backends.netplan.interfaces import all_interfaces
from kvmhost.network.change import Plan, Steps
from kvmhost.network.commands import delete, each, if_exists
from kvmhost.network.drift import Drift
from kvmhost.network.interfaces import NO_DEVICES, Devices, Interface, bottom_up

GENERATE = "netplan generate\nsystemctl daemon-reload\n"
# Has udev, and with it NetworkManager, see whose each device is, and what links are set to: the
# action is that of netplan 1.1, which renames nothing. A container may not trigger anything.
SEE_DEVICES = (
    "udevadm control --reload\n"
    "timeout 60 udevadm trigger --action=move --subsystem-match=net --settle || true\n"
)
# netplan's units for Open vSwitch give themselves 10 s, which is little on a loaded host.
GIVE_OPENVSWITCH_TIME = """\
mkdir -p /run/systemd/system/netplan-ovs-.service.d
printf '[Service]\\nTimeoutStartSec=5min\\n' >/run/systemd/system/netplan-ovs-.service.d/time.conf
"""
# All at once, because systemd knows their order. The cleanup, which is slow, runs with networkd.
START_OPENVSWITCH = """\
units=$(cd /run/systemd && find system generator.late -maxdepth 1 -name 'netplan-ovs-*.service' \
    ! -name netplan-ovs-cleanup.service -exec basename {} ';' 2>/dev/null || true)
[ -z "$units" ] || systemctl start $units
"""
# NetworkManager lets go of a device only when it is restarted. What it has is written down first:
# what is begun here may break off, and those devices are its own again on the way back.
STOP_NETWORKMANAGER = """\
if systemctl --quiet is-active NetworkManager.service; then
    [ -e networkmanager ] || timeout 30 nmcli --terse --fields device,state device |
        sed -n 's/:connected$//p' >networkmanager
    systemctl stop NetworkManager.service
fi
"""
START_NETWORKMANAGER = """\
if [ -e networkmanager ]; then timeout 60 systemctl start NetworkManager.service; fi
"""


def plan(drift: Drift) -> Plan:
    """What `netplan apply` does and is of use here, and what systemd-networkd leaves as it is.

    networkd takes a device that exists as it finds it, and makes one that was deleted only when
    it is restarted itself. netplan fails on what Open vSwitch has in another place or with
    another tag. `netplan apply` itself takes several times as long, and fails on a host that is
    busy; it also sets up virtual functions, 802.1X and regulatory domains, which stay as they are.
    """
    before, after, devices = drift.present.files, drift.after, drift.present.devices
    gone = outdated(before, after, devices)
    without_bridges = dropped(before, after)
    openvswitch = has_openvswitch(after)
    restart = "systemctl restart systemd-networkd.service\n"
    exchange = exchange_managers(drift.network.claims)
    return Plan(
        apply=Steps(
            down=STOP_NETWORKMANAGER + exchange,
            up=delete(gone)
            + _flush(vacated(before, after, devices))
            + drift.mend(without=gone)
            + drift.switching
            + each("ovs-vsctl --if-exists del-br", without_bridges)
            + (GIVE_OPENVSWITCH_TIME if openvswitch else "")
            + GENERATE
            + SEE_DEVICES
            + (START_OPENVSWITCH if openvswitch else "")
            + restart
            + START_NETWORKMANAGER,
        ),
        rollback=Steps(
            down=STOP_NETWORKMANAGER,
            up=delete(outdated(after, before, devices))
            + _flush(vacated(after, before, devices))
            + GENERATE
            + SEE_DEVICES
            + restart
            + exchange
            + START_NETWORKMANAGER,
        ),
        validate=(
            "mkdir -p check/etc/netplan\n"
            "cp -a /etc/netplan/*.yaml check/etc/netplan/ || true\n"
            "cp -a new/etc/netplan/. check/etc/netplan/ || true\n"
            "netplan generate --root-dir check\n"
        ),
        boot="netplan generate\n" + SEE_DEVICES,
        drops_bridges=bool(without_bridges),
    )


def _flush(names: Iterable[str]) -> str:
    return "".join(if_exists(name, f"ip address flush dev {name} scope global") for name in names)


def vacated(
    before: Mapping[str, str], after: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[str, ...]:
    """Name the NICs with addresses that the files after do not define: networkd lets them be."""
    kept = {interface.name for interface in all_interfaces(after, devices)}
    return tuple(
        quote(interface.name)
        for interface in all_interfaces(before, devices)
        if interface.kind == "ethernet" and interface.name not in kept
        if interface.addresses or interface.dhcp
    )


def outdated(
    before: Mapping[str, str], after: Mapping[str, str], devices: Devices = NO_DEVICES
) -> tuple[str, ...]:
    """Name what is no NIC and has to be deleted on the way between files, upper ones first.

    It is what the files after leave out or build otherwise, and the VLAN interfaces on that,
    which the kernel deletes with it: networkd neither deletes a device nor changes one that
    exists, and makes a deleted one only when it is restarted. Open vSwitch's bridges are not
    among them.
    """
    old = all_interfaces(before, devices)
    new = {interface.name: _made_of(interface) for interface in all_interfaces(after, devices)}
    changed = {
        interface.name
        for interface in old
        if interface.kind != "ethernet" and not interface.is_ovs_bridge
        if new.get(interface.name) != _made_of(interface)
    }
    changed |= {each.name for each in old if each.kind == "vlan" and each.parent in changed}
    return tuple(name for name in reversed(bottom_up(old)) if name in changed)


def dropped(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Name Open vSwitch's bridges that the files after leave out, upper ones first."""
    old = all_interfaces(before, NO_DEVICES)
    kept = {each.name for each in all_interfaces(after, NO_DEVICES)}
    bridges = {interface.name for interface in old if interface.is_ovs_bridge}
    return tuple(name for name in reversed(bottom_up(old)) if name in bridges - kept)


def has_openvswitch(files: Mapping[str, str]) -> bool:
    """Whether netplan has units that configure Open vSwitch."""
    return any(
        "openvswitch" in definition
        for definitions in loaded(files).values()
        for definition in definitions.values()
    )


def exchange_managers(names: Collection[str]) -> str:
    """Return what has neither NetworkManager nor networkd go by what the other made of a device.

    NetworkManager remembers a device, and takes its addresses for a profile of their own; networkd
    takes them for its own, but without the routes that ought to come with them.
    """
    return (
        "if [ -e networkmanager ]; then\n"
        f"    for name in {join(sorted(names))}; do\n"
        '        grep -qxF "$name" networkmanager && [ -e "/sys/class/net/$name" ] || continue\n'
        '        rm -f "/run/NetworkManager/devices/$(cat "/sys/class/net/$name/ifindex")"\n'
        '        ip address flush dev "$name" scope global\n'
        "    done\n"
        "fi\n"
    )


def _made_of(interface: Interface) -> Interface:
    """Only what networkd does not change on a device that exists."""
    return Interface(
        interface.name,
        interface.kind,
        parent=interface.parent,
        tag=interface.tag,
        ports=interface.ports,
        bond_mode=interface.bond_mode,
        stp=interface.stp,
        forward_delay=interface.forward_delay,
        hardware=tuple(each for each in interface.hardware if each[0] == "parameters"),
    )
