"""Hosts on which CloudStack runs guests: what it has made beside our network keeps working.

The bridge of the guests' VLAN is made as CloudStack's modifyvlan.sh makes it. The guest of libvirt
has no disk; what sends and answers is a network namespace whose interface is named as a guest's.
"""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.lab import lab
from tests.lab.fleet import Fleet, Node
from tests.runs import Run

Deploy = Callable[..., Run]
Machines = tuple[Node, ...]
TARGET = "tasks.bridges_native.bridges_native"
VLAN, BRIDGE = 250, "breth0-250"
TRUNK = (100, 200, 300)
OTHER_VLAN = ("--data", 'bridges={"cloudbr0": 200, "cloudbr1": 310}')
WITH_GUESTS = ("--data", "network_change_with_guests=True")
# What a firewall makes of guests' frames is not what is tried here.
SETUP = f"""
modprobe br_netfilter
sysctl -q -w net.bridge.bridge-nf-call-iptables=0
ip link add cloud0 type bridge
ip address add 169.254.0.1/16 dev cloud0
ip link set cloud0 up
ip link add link eth0 name eth0.{VLAN} type vlan id {VLAN}
ip link add {BRIDGE} type bridge
ip link set eth0.{VLAN} up
ip link set eth0.{VLAN} master {BRIDGE}
ip link set {BRIDGE} up
ip netns add guest
ip link add vnet9 type veth peer name eth0 netns guest
ip link set vnet9 master {BRIDGE}
ip link set vnet9 up
ip -n guest address add 198.18.250.{{number}}/24 dev eth0
ip -n guest link set eth0 up
cat >/root/guest.xml
# libvirt gives systemd half a minute to know of a guest, which is little on a busy machine
for attempt in 1 2 3 4; do virsh create /root/guest.xml && break || sleep 15; done
virsh domstate guest1
"""
GUEST = f"""
<domain type='qemu'>
  <name>guest1</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
  <devices><interface type='bridge'><source bridge='{BRIDGE}'/></interface></devices>
</domain>
"""
TEARDOWN = f"""
virsh destroy guest1
ip netns delete guest
for link in {BRIDGE} eth0.{VLAN} cloud0; do ip link delete $link; done
"""
PORTS = f"for bridge in {BRIDGE} cloudbr0 cloudbr1; do ls /sys/class/net/$bridge/brif; done"


@pytest.fixture(scope="module")
def machines(fleet: Fleet, deploy: Deploy) -> Iterator[Machines]:
    """Yield machines with a guest each on a VLAN of CloudStack's own."""
    for target in ("tasks.apparmor_selinux.apparmor_selinux", "tasks.libvirt.libvirt", TARGET):
        run = deploy("-y", target=target)
        assert run.status == 0, run.output
    try:
        for number, machine in enumerate(fleet.machines, start=1):
            lab.set_trunk(machine, (*TRUNK, VLAN, 310))
            machine.run(f"set -e\n{SETUP.format(number=number)}", stdin=GUEST)
        yield fleet.machines
    finally:
        for machine in fleet.machines:
            machine.run(TEARDOWN, check=False)
            lab.set_trunk(machine)


def guests_reach_each_other(machines: Machines) -> bool:
    """Whether the first machine's guest reaches every other's."""
    others = range(2, len(machines) + 1)
    pings = [f"ip netns exec guest ping -q -c 1 -w 30 198.18.250.{number}" for number in others]
    return machines[0].run(" && ".join(pings), check=False).returncode == 0


def ports(machines: Machines) -> dict[str, str]:
    return {machine.name: machine.run(PORTS).stdout for machine in machines}


def test_a_run_that_changes_nothing_touches_no_guest(machines: Machines, deploy: Deploy) -> None:
    assert guests_reach_each_other(machines)
    before = ports(machines)
    run = deploy("-y", "--json", target=TARGET)
    assert run.status == 0, run.output
    assert run.changed == {}
    assert ports(machines) == before
    assert guests_reach_each_other(machines)


def test_another_vlan_changes_and_the_guests_keep_theirs(
    machines: Machines, deploy: Deploy
) -> None:
    before = ports(machines)
    there = {name: re.sub(r"eth0\.300\b", "eth0.310", text) for name, text in before.items()}
    pinging = "nohup ip netns exec guest ping -i 1 198.18.250.2 >/root/pings 2>&1 & echo $!"
    pid = machines[0].run(pinging).stdout.strip()
    for keys, expected in ((OTHER_VLAN, there), ((), before)):
        run = deploy("-y", *WITH_GUESTS, *keys, target=TARGET)
        assert run.status == 0, run.output
        assert ports(machines) == expected
        assert guests_reach_each_other(machines)
    for machine in machines:
        assert machine.run("virsh domstate guest1").stdout.strip() == "running"
    said = machines[0].run(f"kill -INT {pid}; sleep 1; tail -n 2 /root/pings").stdout
    print(f"the guests' pings meanwhile: {said}")


def test_a_change_that_is_undone_leaves_the_guests_theirs(
    machines: Machines, deploy: Deploy
) -> None:
    before = ports(machines)
    wrong = ("--data", "management_vlan=150", "--data", "network_confirm_timeout=45")
    run = deploy("-y", *WITH_GUESTS, *wrong, target=TARGET)
    assert run.status != 0
    assert run.output.partition("--> Failed:")[0].count("rolled back") == len(machines), run.output
    assert ports(machines) == before
    assert guests_reach_each_other(machines)
