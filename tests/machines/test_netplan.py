"""Starting points of netplan on a machine: taken over, undone, and booted into.

The machine is put where the test starts, and gets a pristine disk afterwards.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kvmhost.network.change import GUARD
from tests.lab import lab
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.runs import Run, start

Deploy = Callable[..., Run]
TARGET = "tasks.bridges_native.bridges_native"
OPENVSWITCH = "tasks.bridges_ovs.bridges_ovs"
FILE = "/etc/netplan/50-cloud-init.yaml"
# NetworkManager numbers a route's metric by the order of activations
STATE = (
    "md5sum /etc/netplan/*; ip -br address | sort; ip rule;"
    " { ip route show table all; ip -6 route show table all; } | sed 's/ metric [0-9]*//' | sort;"
    " ip -o link | sed -E 's/^[0-9]+: ([^:@]*).* (mtu [0-9]+).*/\\1 \\2/' | sort"
)
SETTLING = 300
"""Seconds until what a rollback has started has set up what it is told to."""

NETWORKMANAGER = """\
network:
  version: 2
  renderer: NetworkManager
  ethernets:
    eth0: {{}}
    eth1: {{addresses: [10.9.0.11/24]}}
  vlans:
    eth0.100:
      id: 100
      link: eth0
      addresses: [{address}]
      routes: [{{to: default, via: {gateway}}}]
"""
# A little of everything: ids that are no names, and what stands beside the address.
VARIED = """\
network:
  version: 2
  ethernets:
    id0: {{match: {{macaddress: "{mac}"}}, optional: true}}
    eth1:
      dhcp4: true
      optional: true
      addresses: [10.9.0.11/24]
      routes: [{{to: default, via: 10.9.0.1, metric: 200}}]
  vlans:
    vlan100:
      id: 100
      link: id0
      addresses: ["{address}": {{label: "mgmt:0"}}]
      routes:
      - {{to: default, via: {gateway}}}
      - {{to: 10.70.0.0/16, via: {gateway}, metric: 7}}
      - {{to: default, via: {gateway}, table: 101}}
      routing-policy: [{{from: {host}, table: 101, priority: 500}}]
    storage:
      id: 50
      link: id0
      mtu: 1400
      addresses: [10.50.0.11/16]
      routes: [{{to: 10.60.0.0/16, via: 10.50.0.1}}]
"""


@pytest.fixture
def machine(fleet: Fleet) -> Iterator[Node]:
    node = next(each for each in fleet.machines if each.network_backend == "netplan")
    lab.reset(node)
    yield node
    lab.reset(node)


def begin(node: Node, fleet: Fleet, text: str, more: str = "true") -> None:
    """Boot into a network that somebody else has defined."""
    mac = node.run("cat /sys/class/net/eth0/address").stdout.strip()
    values = {"address": node.address, "host": node.ssh_hostname, "gateway": fleet.gateway}
    node.run(f"cat > {FILE}; {more}", stdin=text.format(mac=mac, **values))
    lab.reboot(node)


def state(node: Node) -> str:
    return node.run(STATE).stdout


def run(deploy: Deploy, node: Node, *data: str, target: str = TARGET) -> Run:
    return deploy("-y", "--json", "--limit", node.name, *data, target=target)


def is_undone(node: Node) -> bool:
    return node.run(f"test ! -e {GUARD}", check=False).returncode == 0


def wait_until_as_before(node: Node, before: str) -> None:
    wait_until(lambda: is_undone(node), DEADLINE, "the guard to go")
    try:
        wait_until(lambda: state(node) == before, SETTLING, "the network to be as before")
    finally:
        assert state(node) == before


def assert_undone_when_the_gateway_is_wrong(node: Node, deploy: Deploy) -> None:
    before = state(node)
    wrong = f"gateway={node.ssh_hostname.rpartition('.')[0]}.77"
    undone = run(deploy, node, "--data", wrong, "--data", "network_confirm_timeout=60")
    assert undone.status != 0
    assert "rolled back: nobody confirmed in time" in undone.output, undone.output
    wait_until_as_before(node, before)


def assert_undone_when_power_is_cut(node: Node, fleet: Fleet) -> None:
    before, seen = state(node), len(lab.console(node))
    change = start("inventories/lab.py", TARGET, "-y", "--limit", node.name,
                   "--data", f"gateway={node.ssh_hostname.rpartition('.')[0]}.77",
                   KVMHOST_LAB_FLEET=fleet.name)  # fmt: skip
    try:
        wait_until(lambda: ": applied" in lab.console(node)[seen:], DEADLINE, "the change")
        lab.power_cut(node)
    finally:
        change.kill()
        change.communicate()
    lab.power_on(node)
    wait_until_as_before(node, before)


def assert_confirmed_and_kept(node: Node, deploy: Deploy) -> None:
    first = run(deploy, node)
    assert first.status == 0, first.output
    assert "Network confirmed" in first.output
    assert run(deploy, node).changed == {}
    lab.reboot(node)
    assert run(deploy, node).changed == {}


def managed(node: Node) -> dict[str, str]:
    """Which of the devices NetworkManager has, and by which profile."""
    shown = node.run("nmcli --terse --fields device,state,connection device").stdout
    rows = (line.split(":") for line in shown.splitlines())
    return {device: connection for device, state, connection in rows if state == "connected"}


@pytest.mark.thorough
def test_from_networkmanager_to_networkd_and_back(
    machine: Node, fleet: Fleet, deploy: Deploy
) -> None:
    begin(machine, fleet, NETWORKMANAGER, "systemctl enable NetworkManager")
    profiles = {name: f"netplan-{name}" for name in ("eth0", "eth0.100", "eth1")}
    wait_until(lambda: managed(machine) == profiles, SETTLING, "NetworkManager")
    assert_undone_when_the_gateway_is_wrong(machine, deploy)
    assert managed(machine) == profiles
    assert_undone_when_power_is_cut(machine, fleet)
    wait_until(lambda: managed(machine) == profiles, SETTLING, "NetworkManager")
    assert_confirmed_and_kept(machine, deploy)
    assert managed(machine) == {"eth1": "netplan-eth1"}


@pytest.mark.thorough
def test_from_a_network_that_says_a_little_of_everything(
    machine: Node, fleet: Fleet, deploy: Deploy
) -> None:
    begin(machine, fleet, VARIED)
    assert_undone_when_the_gateway_is_wrong(machine, deploy)
    assert_undone_when_power_is_cut(machine, fleet)
    assert_confirmed_and_kept(machine, deploy)
    assert read(machine, "ip -j address show dev storage")[0]["mtu"] == 1400
    (management,) = read(machine, "ip -4 -j address show dev eth0.100")
    assert [each["label"] for each in management["addr_info"]] == ["mgmt:0"]
    routes = {
        (each["dst"], each.get("gateway"), each.get("metric"), each["dev"])
        for each in read(machine, "ip -j route")
    }
    gateway = str(fleet.gateway)
    assert routes >= {
        ("default", gateway, None, "eth0.100"),
        ("default", "10.9.0.1", 200, "eth1"),
        ("10.70.0.0/16", gateway, 7, "eth0.100"),
        ("10.60.0.0/16", "10.50.0.1", None, "storage"),
    }
    (by_source,) = read(machine, "ip -j route show table 101")
    assert (by_source["dst"], by_source["gateway"]) == ("default", gateway)
    rules = {(each["priority"], each["src"]) for each in read(machine, "ip -j rule")}
    assert (500, machine.ssh_hostname) in rules


def read(node: Node, command: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(node.run(command).stdout)
    return found


FAKE_BRIDGES = (
    "--data=bridge_type=openvswitch",
    "--data=management_interface=mgmt0",
    '--data=bridges={"mgmt0": 100, "cloudbr0": 200, "cloudbr1": 300}',
)
FAILS = "/run/systemd/system/netplan-ovs-cloudbr0.service.d"


@pytest.mark.thorough
def test_a_failing_unit_of_open_vswitch_ends_the_change_and_not_the_way_back(
    machine: Node, deploy: Deploy
) -> None:
    made = run(deploy, machine, *FAKE_BRIDGES, target=OPENVSWITCH)
    assert made.status == 0, made.output
    before = state(machine)
    machine.run(f"mkdir {FAILS}; printf '[Service]\\nExecStartPre=false\\n' > {FAILS}/fails.conf")
    other = FAKE_BRIDGES[-1].replace("300", "250")
    undone = run(deploy, machine, *FAKE_BRIDGES, other, target=OPENVSWITCH)
    assert "rolled back: the change could not be carried out" in undone.output, undone.output
    wait_until_as_before(machine, before)
    assert machine.run("ovs-vsctl br-to-vlan cloudbr1").stdout == "300\n"
    machine.run(f"rm -r {FAILS}; systemctl daemon-reload")
    fewer = '--data=bridges={"mgmt0": 100, "cloudbr0": 200}'
    labelled = ("--data=guest_label=cloudbr0", fewer)
    confirmed = run(deploy, machine, *FAKE_BRIDGES, *labelled, target=OPENVSWITCH)
    assert confirmed.status == 0, confirmed.output
    assert machine.run("ovs-vsctl list-br").stdout.split() == ["cloudbr", "cloudbr0", "mgmt0"]


CLOUDSTACKS_BRIDGE = """\
ip link add link eth0 name eth0.250 type vlan id 250
ip link add breth0-250 type bridge && ip link add cloud0 type bridge
ip address add 169.254.0.1/16 dev cloud0
ip tuntap add vnet7 mode tap
for port in eth0.250 vnet7; do ip link set $port master breth0-250 up; done
ip link set breth0-250 up; ip link set cloud0 up
"""


@pytest.mark.thorough
def test_what_cloudstack_has_made_stays_as_it_is(machine: Node, deploy: Deploy) -> None:
    assert run(deploy, machine).status == 0
    machine.run(CLOUDSTACKS_BRIDGE)
    assert run(deploy, machine).changed == {}
    other = run(deploy, machine, '--data=bridges={"cloudbr0": 200, "cloudbr1": 301}')
    assert other.status == 0, other.output
    assert machine.run("ls /sys/class/net/breth0-250/brif").stdout.split() == ["eth0.250", "vnet7"]
    (bridge,) = read(machine, "ip -j -4 address show dev cloud0")
    assert [each["local"] for each in bridge["addr_info"]] == ["169.254.0.1"]
    assert machine.run("ls /sys/class/net/cloudbr1/brif").stdout == "eth0.301\n"
