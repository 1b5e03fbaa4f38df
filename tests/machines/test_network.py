"""Every topology on every back end: a machine goes from each to the next, and carries traffic.

The cells are one story and run in their order, so that the way from one to another is tried too.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from tests.lab import lab
from tests.lab.fleet import Fleet, Node
from tests.machines import inner_switch
from tests.machines.switching import switched
from tests.machines.traffic import assert_vlans_carry_traffic
from tests.runs import Run
from tests.unit.network_examples import BOND, bonded

Deploy = Callable[..., Run]
TARGET = "tasks.bridges_native.bridges_native"

THOROUGH = pytest.mark.thorough
NATIVE, OPENVSWITCH = "bridges_native", "bridges_ovs"


@dataclass(frozen=True)
class Topology:
    """A cell of the matrix: the task that makes it, its settings, and the switch that it needs.

    `untagged` is the VLAN whose frames the switch sends without their tag. `storage` names the
    interface with an address of the storage network, of which each machine has its own.
    """

    task: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    untagged: int | None = None
    storage: str | None = None

    def data(self, machines: Iterable[Node]) -> dict[str, dict[str, Any]]:
        """Return what is particular to each machine, by its name."""
        if self.storage is None:
            return {}
        return {
            each.name: {"addresses": {self.storage: f"{storage_address(each)}/24"}}
            for each in machines
        }


FAKE_BRIDGES = {
    "bridge_type": "openvswitch",
    "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": 300},
    "management_interface": "mgmt0",
}
# What 9000 is beside 1500: the lab's cables carry 1500.
STORAGE = {
    "mtu": 1400,
    "mtus": {"eth1": 1500, "eth1.50": 1500},
    "routes": {"10.60.0.0/16": "10.50.0.1"},
}
GUIDE = "native, address on its VLAN"
ONE_UPLINK = "native, one uplink again"
GUIDE_OVS = "Open vSwitch, address on a fake bridge"
TOPOLOGIES = {
    GUIDE: Topology(NATIVE),
    "native, address on a bridge": Topology(
        NATIVE,
        {"bridges": {"cloudbr0": 100, "cloudbr1": 300}, "management_interface": "cloudbr0"},
    ),
    "native, untagged": Topology(
        NATIVE,
        {"management_vlan": None, "mtu": 1400},
        untagged=100,
    ),
    "native, untagged on a bridge": Topology(
        NATIVE,
        {
            "management_vlan": None,
            "bridges": {"cloudbr0": None, "cloudbr1": 300},
            "management_interface": "cloudbr0",
            "mtu": 1400,
        },
        untagged=100,
    ),
    "Open vSwitch, untagged": Topology(
        OPENVSWITCH,
        {
            "management_vlan": None,
            "bridge_type": "openvswitch",
            "bridges": {"cloudbr0": None, "cloudbr1": 300},
            "management_interface": "cloudbr0",
        },
        untagged=100,
    ),
    GUIDE_OVS: Topology(
        OPENVSWITCH,
        {**FAKE_BRIDGES, "mtu": 1500},
    ),
    "native again": Topology(NATIVE, {"mtu": 1500}),
    "native, on a bond": Topology(NATIVE, BOND),
    "Open vSwitch, on a bond": Topology(OPENVSWITCH, {**BOND, **FAKE_BRIDGES}),
    "native, on one NIC again": Topology(NATIVE),
    "native, two uplinks and storage": Topology(
        NATIVE,
        {
            "bridges": {"cloudbr0": 200, "cloudbr1": "eth1.300"},
            "interfaces": ["eth1.50"],
            **STORAGE,
        },
        storage="eth1.50",
    ),
    "Open vSwitch, two uplinks and storage": Topology(
        OPENVSWITCH,
        {
            **FAKE_BRIDGES,
            "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": "eth1.300", "stor0": "eth1.50"},
            **STORAGE,
        },
        storage="stor0",
    ),
    "native, two bonds": Topology(
        NATIVE,
        {
            "uplink": "bond0",
            "bonds": {"bond0": {"nics": ["eth0"]}, "bond1": {"nics": ["eth1"]}},
            "bridges": {"cloudbr0": 200, "cloudbr1": "bond1.300"},
        },
    ),
    "native, management on a NIC of its own": Topology(
        NATIVE,
        {"management_vlan": None, "bridges": {"cloudbr0": "eth1.200", "cloudbr1": "eth1.300"}},
        untagged=100,
    ),
    ONE_UPLINK: Topology(NATIVE),
}
LACP_NATIVE, LACP_OVS = "native, on a bond with LACP", "Open vSwitch, on a bond with LACP"
LACP = bonded("eth0", "eth1", mode="802.3ad", lacp_rate="fast", hash_policy="layer3+4")
LACP_TOPOLOGIES = {
    LACP_NATIVE: Topology(NATIVE, LACP),
    LACP_OVS: Topology(OPENVSWITCH, {**LACP, **FAKE_BRIDGES}),
}
ACCESS_TOPOLOGIES = {
    "native, two NICs, both untagged": Topology(
        NATIVE,
        {
            "management_vlan": None,
            "bridges": {"cloudbr0": None, "cloudbr1": "eth1"},
            "management_interface": "cloudbr0",
        },
        untagged=100,
    ),
    "Open vSwitch, two NICs, both untagged": Topology(
        OPENVSWITCH,
        {
            "management_vlan": None,
            "bridge_type": "openvswitch",
            "bridges": {"cloudbr0": None, "cloudbr1": "eth1"},
            "management_interface": "cloudbr0",
        },
        untagged=100,
    ),
}
EVERY_TOPOLOGY = {**TOPOLOGIES, **LACP_TOPOLOGIES, **ACCESS_TOPOLOGIES}
# the guide's own is what tests/machines/test_deploy.py makes
REPRESENTATIVE = (GUIDE_OVS, "native, two uplinks and storage", ONE_UPLINK)
COMMANDS = 8
"""The most remote commands that a host's network costs when nothing is to be changed."""


@pytest.fixture(scope="module", autouse=True)
def unconfined(deploy: Deploy) -> None:
    """Have Open vSwitch and libvirt run as the guide has them, under no policy."""
    run = deploy("-y", target="tasks.apparmor_selinux.apparmor_selinux")
    assert run.status == 0, run.output


def run(fleet: Fleet, deploy: Deploy, name: str, *more: str) -> Run:
    topology = EVERY_TOPOLOGY[name]
    settings = [f"--data={key}={_written(value)}" for key, value in topology.keys.items()]
    target = f"tasks.{topology.task}.{topology.task}"
    data = json.dumps(topology.data(fleet.machines))
    return deploy("-y", "--json", *settings, *more, target=target, KVMHOST_LAB_DATA=data)


def _written(value: object) -> str:
    """Return a value as pyinfra's --data reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def assert_converged(fleet: Fleet, deploy: Deploy, topology: str) -> None:
    """Nothing more is to be changed, at little cost, and each VLAN carries its traffic."""
    machines = fleet.machines
    second = run(fleet, deploy, topology, "--debug")
    assert second.status == 0, second.output
    assert second.changed == {}, second.output
    assert all(count <= COMMANDS for count in second.commands().values()), second.commands()
    assert_vlans_carry_traffic(machines)
    for machine in machines:
        assert_switch(machine, EVERY_TOPOLOGY[topology])
        assert_mtus(machine, EVERY_TOPOLOGY[topology].keys)
    if storage := EVERY_TOPOLOGY[topology].storage:
        assert_storage_is_reached(machines, storage)


def assert_mtus(machine: Node, keys: Mapping[str, Any]) -> None:
    if "mtu" in keys:
        links = json.loads(machine.run("ip -j link").stdout)
        names = ("eth0", "eth1.", "cloudbr0", "cloudbr1")
        ours = [each for each in links if each["ifname"].startswith(names)]
        mtus = {
            each["ifname"]: keys.get("mtus", {}).get(each["ifname"], keys["mtu"]) for each in ours
        }
        assert {each["ifname"]: each["mtu"] for each in ours} == mtus, machine.name


def assert_storage_is_reached(machines: Sequence[Node], interface: str) -> None:
    """Each machine reaches the next one's storage address in one piece, and what lies behind."""
    for one, other in pairwise(machines):
        ping = f"ping -q -c 1 -w 8 -M do -s {1500 - 28} -I {interface} {storage_address(other)}"
        assert one.run(ping, check=False).returncode == 0, (one.name, other.name)
        (route,) = json.loads(one.run("ip -j route get 10.60.0.1").stdout)
        assert (route["dev"], route["gateway"]) == (interface, "10.50.0.1")


def storage_address(machine: Node) -> str:
    return f"10.50.0.{machine.ssh_hostname.rpartition('.')[2]}"


def assert_switch(machine: Node, topology: Topology) -> None:
    """Open vSwitch alone has the bridges, or nothing of them."""
    shown = machine.run("ovs-vsctl show 2>/dev/null", check=False).stdout
    modules = machine.run("lsmod").stdout.splitlines()
    if topology.task == NATIVE:
        assert "Bridge" not in shown
        return
    assert not any(line.startswith("bridge ") for line in modules)
    for bridge, tag in topology.keys["bridges"].items():
        modelled = tag.partition(".")[2] if isinstance(tag, str) else tag
        assert int(machine.run(f"ovs-vsctl br-to-vlan {bridge}").stdout) == int(modelled or 0)


@pytest.mark.parametrize(
    "topology",
    [
        pytest.param(name, marks=() if name in REPRESENTATIVE else THOROUGH, id=name)
        for name in TOPOLOGIES
    ],
    scope="class",
)
class TestTopology:
    """Each topology on every back end: made from the one before, then booted into."""

    def test_it_is_made_and_carries_its_vlans(
        self, fleet: Fleet, deploy: Deploy, topology: str
    ) -> None:
        with switched(fleet.machines, TOPOLOGIES[topology].untagged):
            first = run(fleet, deploy, topology)
        assert first.status == 0, first.output
        assert_converged(fleet, deploy, topology)

    @THOROUGH
    def test_it_survives_a_reboot(self, fleet: Fleet, deploy: Deploy, topology: str) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lab.reboot, fleet.machines))
        assert_converged(fleet, deploy, topology)


@pytest.fixture(scope="class")
def lacp_switches(fleet: Fleet, deploy: Deploy) -> Iterator[None]:
    """Have every machine on a switch that speaks LACP, and on one NIC of it."""
    assert run(fleet, deploy, GUIDE).status == 0
    inner_switch.plug_in(fleet.machines, inner_switch.LACP)
    yield
    assert run(fleet, deploy, GUIDE).status == 0
    inner_switch.take_out(fleet.machines)


@THOROUGH
@pytest.mark.usefixtures("lacp_switches")
@pytest.mark.parametrize("topology", LACP_TOPOLOGIES, scope="class")
class TestLacp:
    """A bond of our own that aggregates two NICs with the switch."""

    def test_it_aggregates_and_survives_a_lost_port(
        self, fleet: Fleet, deploy: Deploy, topology: str
    ) -> None:
        first = run(fleet, deploy, topology)
        assert first.status == 0, first.output
        assert_converged(fleet, deploy, topology)
        for machine in fleet.machines:
            assert inner_switch.aggregated_ports(machine) == 2, machine.name
            told = inner_switch.bond(machine)
            assert told["LACP rate"] == "fast", machine.name
            assert told["Transmit Hash Policy"] == "layer3+4 (1)", machine.name
            inner_switch.set_port(machine, 0, "down")
        assert_vlans_carry_traffic(fleet.machines)
        for machine in fleet.machines:
            inner_switch.set_port(machine, 0, "up")

    def test_it_survives_a_reboot(self, fleet: Fleet, deploy: Deploy, topology: str) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lab.reboot, fleet.machines))
        assert_converged(fleet, deploy, topology)
        for machine in fleet.machines:
            assert inner_switch.aggregated_ports(machine) == 2, machine.name


@pytest.fixture(scope="class")
def access_ports(fleet: Fleet, deploy: Deploy) -> Iterator[None]:
    """Have eth1 of every machine on an access port of its own."""
    assert run(fleet, deploy, GUIDE).status == 0
    inner_switch.plug_in(fleet.machines, inner_switch.ACCESS)
    yield
    with switched(fleet.machines, None):
        assert run(fleet, deploy, GUIDE).status == 0
    inner_switch.take_out(fleet.machines)


@THOROUGH
@pytest.mark.usefixtures("access_ports")
@pytest.mark.parametrize("topology", ACCESS_TOPOLOGIES, scope="class")
class TestUntaggedNics:
    """Management on one NIC and guests on another, whose switch ports both send untagged frames."""

    def test_they_are_bridged_apart(self, fleet: Fleet, deploy: Deploy, topology: str) -> None:
        with switched(fleet.machines, ACCESS_TOPOLOGIES[topology].untagged):
            first = run(fleet, deploy, topology)
        assert first.status == 0, first.output
        assert_converged(fleet, deploy, topology)

    def test_they_survive_a_reboot(self, fleet: Fleet, deploy: Deploy, topology: str) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lab.reboot, fleet.machines))
        assert_converged(fleet, deploy, topology)


@pytest.mark.parametrize(
    ("drift", "read", "modelled"),
    [
        pytest.param(
            "ip link set eth0.300 nomaster",
            "basename $(readlink /sys/class/net/eth0.300/master)",
            "cloudbr1\n",
            marks=THOROUGH,
        ),
        pytest.param(
            "ip link add stray type dummy && ip link set stray master cloudbr0",
            "ls /sys/class/net/cloudbr0/brif",
            "eth0.200\n",
            marks=THOROUGH,
        ),
        ("ip link delete eth0.200", "ls /sys/class/net/cloudbr0/brif", "eth0.200\n"),
    ],
    ids=["port taken out", "port put in", "VLAN interface deleted"],
)
def test_what_was_changed_by_hand_is_seen_and_mended(
    fleet: Fleet, deploy: Deploy, drift: str, read: str, modelled: str
) -> None:
    for machine in fleet.machines:
        machine.run(drift)
    # networkd mends some of it by itself, at once
    drifted = [each for each in fleet.machines if each.run(read, check=False).stdout != modelled]
    assert drifted
    dry = deploy("--dry", "--json", target=TARGET)
    assert list(dry.planned.values()) == [[machine.name for machine in drifted]]
    mended = run(fleet, deploy, ONE_UPLINK)
    assert mended.status == 0, mended.output
    for machine in fleet.machines:
        assert machine.run(read).stdout == modelled, machine.name
        machine.run("ip link delete stray", check=False)
