"""A switch inside a machine, between its cards and what it takes for its cards.

The lab's own switch does not speak LACP and has one port for both cards, and an emulated card tells
no speed, without which the kernel aggregates nothing. So a network namespace of the machine holds
the real cards and a switch, and the machine's eth0 or eth1 are veth interfaces to that.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.lab import lab
from tests.lab.fleet import Node

LACP = """
ip netns add switch
ip link set eth0 netns switch name cable
ip link set eth1 netns switch name spare
ip link add eth0 address $mac0 type veth peer name port0 netns switch
ip link add eth1 address $mac1 type veth peer name port1 netns switch
ip -n switch link add lacp type bond mode 802.3ad miimon 100 lacp_rate fast
for port in port0 port1; do ip -n switch link set $port master lacp; done
for link in port0 port1 lacp cable; do ip -n switch link set $link up; done
redirect cable lacp
redirect lacp cable
"""
"""Aggregates the ports of eth0 and eth1; a host that does not speak LACP may use the first."""
ACCESS = """
ip netns add switch
ip link set eth1 netns switch name cable
ip link add eth1 address $mac1 type veth peer name port1 netns switch
ip -n switch link add link cable name cable.300 type vlan id 300
for link in port1 cable cable.300; do ip -n switch link set $link up; done
for link in cable cable.300; do ip -n switch link set $link promisc on; done
redirect port1 cable.300
redirect cable.300 port1
"""
"""Gives eth1 an access port of VLAN 300."""

_UNIT = "/etc/systemd/system/inner-switch.service"
_INSTALL = f"""
cat >/usr/local/sbin/inner-switch <<'END'
set -e
redirect() {{
    tc -n switch qdisc add dev $1 ingress
    tc -n switch filter add dev $1 ingress matchall action mirred egress redirect dev $2
}}
until [ -e /sys/class/net/eth0 ] && [ -e /sys/class/net/eth1 ]; do sleep 0.2; done
mac0=$(cat /sys/class/net/eth0/address) mac1=$(cat /sys/class/net/eth1/address)
WIRING
END
cat >{_UNIT} <<'END'
[Unit]
DefaultDependencies=no
After=systemd-modules-load.service systemd-udevd.service local-fs.target
Wants=network-pre.target
Before=network-pre.target networking.service systemd-networkd.service NetworkManager.service
Before=ovsdb-server.service ovs-vswitchd.service

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=60
ExecStart=/bin/sh /usr/local/sbin/inner-switch

[Install]
WantedBy=sysinit.target
END
systemctl enable inner-switch.service
"""
_REMOVE = f"systemctl disable inner-switch.service; rm {_UNIT} /usr/local/sbin/inner-switch"


def plug_in(machines: Iterable[Node], wiring: str) -> None:
    """Put such a switch before each machine, from its next boot on, which is now.

    wiring: LACP or ACCESS.
    """
    machines = tuple(machines)
    _run_and_reboot(machines, _INSTALL.replace("WIRING", wiring))
    for machine in machines:
        machine.run("systemctl is-active inner-switch.service")


def take_out(machines: Iterable[Node]) -> None:
    """Have the machines use their own cards again, after a boot."""
    _run_and_reboot(machines, _REMOVE)


def bond(machine: Node) -> dict[str, str]:
    """Return what the kernel tells of the machine's bond0 (bonding.rst)."""
    lines = machine.run("cat /proc/net/bonding/bond0").stdout.splitlines()
    return dict(line.strip().split(": ", 1) for line in lines if ": " in line)


def aggregated_ports(machine: Node) -> int:
    """Return how many NICs the machine's bond has aggregated with a partner."""
    told = bond(machine)
    has_partner = told["Partner Mac Address"] != "00:00:00:00:00:00"
    return int(told["Number of ports"]) if has_partner else 0


def set_port(machine: Node, port: int, state: str) -> None:
    """Take a port of the switch "down", or "up" again."""
    machine.run(f"ip -n switch link set port{port} {state}")


def _run_and_reboot(machines: Iterable[Node], command: str) -> None:
    def one(machine: Node) -> None:
        machine.run(command)
        lab.reboot(machine)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, machines))
