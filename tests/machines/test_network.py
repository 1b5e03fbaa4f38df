"""Every topology on every back end: a machine goes from each to the next, and carries traffic.

The cells are one story and run in their order, so that the way from one to another is tried too.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from tests.lab import lab
from tests.lab.fleet import Fleet, Node
from tests.machines.traffic import reaches
from tests.runs import CHECKOUT, Run, pyinfra

Deploy = Callable[..., Run]
TARGET = "tasks.bridges_native.bridges_native"

TOPOLOGIES: dict[str, tuple[str, dict[str, Any]]] = {
    "native, address on its VLAN": ("bridges_native", {}),
    "native, address on a bridge": (
        "bridges_native",
        {
            "bridges": {"cloudbr0": 100, "cloudbr1": 300},
            "management_interface": "cloudbr0",
        },
    ),
    "Open vSwitch, as in the guide": (
        "bridges_ovs",
        {
            "bridge_type": "openvswitch",
            "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": 300},
            "management_interface": "mgmt0",
        },
    ),
    "native again": ("bridges_native", {}),
}


def run(deploy: Deploy, topology: str, *more: str) -> Run:
    task, keys = TOPOLOGIES[topology]
    settings = [f"--data={key}={_written(value)}" for key, value in keys.items()]
    limit = ("-y", "--json", "--limit", "cluster_lab")
    return deploy(*limit, *settings, *more, target=f"tasks.{task}.{task}")


def _written(value: object) -> str:
    """Return a value as pyinfra's --data reads it."""
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_topology_converges_and_carries_its_vlans(
    fleet: Fleet, deploy: Deploy, topology: str
) -> None:
    one, other = fleet.machines
    first = run(deploy, topology)
    assert first.status == 0, first.output
    second = run(deploy, topology)
    assert second.changed == {}, second.output
    assert reaches(one, "cloudbr0", other, "cloudbr0")
    assert reaches(one, "cloudbr1", other, "cloudbr1")
    assert not reaches(one, "cloudbr0", other, "cloudbr1")


def test_open_vswitch_survives_a_reboot(fleet: Fleet, deploy: Deploy) -> None:
    topology = "Open vSwitch, as in the guide"
    assert run(deploy, topology).status == 0
    with ThreadPoolExecutor() as pool:
        list(pool.map(lab.reboot, fleet.machines))
    for machine in fleet.machines:
        tags = machine.run(
            "for port in mgmt0 cloudbr0 cloudbr1; do ovs-vsctl br-to-vlan $port; done"
        )
        assert tags.stdout.split() == ["100", "200", "300"]
        modules = machine.run("lsmod").stdout
        assert "\nbridge " not in modules
    assert run(deploy, topology).changed == {}
    one, other = fleet.machines
    assert reaches(one, "cloudbr0", other, "cloudbr0")
    assert run(deploy, "native again").status == 0
    for machine in fleet.machines:
        assert "Bridge" not in machine.run("ovs-vsctl show").stdout


@pytest.mark.parametrize(
    ("drift", "read", "modelled"),
    [
        (
            "ip link set eth0.300 nomaster",
            "basename $(readlink /sys/class/net/eth0.300/master)",
            "cloudbr1\n",
        ),
        pytest.param(
            "ip link add stray type dummy && ip link set stray master cloudbr0",
            "ls /sys/class/net/cloudbr0/brif",
            "eth0.200\n",
            marks=pytest.mark.thorough,
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
    dry = deploy("--dry", "--json", "--limit", "cluster_lab", target=TARGET)
    assert list(dry.planned.values()) == [[machine.name for machine in drifted]]
    mended = run(deploy, "native again")
    assert mended.status == 0, mended.output
    for machine in fleet.machines:
        assert machine.run(read).stdout == modelled, machine.name
        machine.run("ip link delete stray", check=False)


def test_the_workstation_follows_to_a_new_address(fleet: Fleet, tmp_path: Path) -> None:
    """There and back again, with strict host keys, in an inventory that names what is wanted."""
    for offset in (20, 0):
        moved = {each.name: _moved(each, offset) for each in fleet.machines}
        inventory = _inventory(tmp_path, moved, reached_at=20 - offset)
        change = pyinfra(inventory, TARGET, "-y", KVMHOST_LAB_FLEET=fleet.name)
        assert change.status == 0, change.output
        for name, address in moved.items():
            assert f"reached at {IPv4Interface(address).ip}" in change.output, name
    for machine in fleet.machines:
        addresses = json.loads(machine.run("ip -j -4 address show eth0.100").stdout)
        assert [entry["local"] for entry in addresses[0]["addr_info"]] == [machine.ssh_hostname]


def _moved(machine: Node, offset: int) -> str:
    address = IPv4Interface(machine.address)
    return f"{address.ip + offset}/{address.network.prefixlen}"


def _inventory(folder: Path, wanted: dict[str, str], reached_at: int) -> str:
    """Write an inventory like the lab's, with other addresses; return its path.

    Its name is the lab's, so that the lab's group data goes for it too.
    """
    path = folder / "lab.py"
    path.write_text(
        "import runpy as _runpy\n"
        "from ipaddress import ip_address as _ip\n"
        f"_wanted = {wanted!r}\n"
        f"_lab = _runpy.run_path({str(CHECKOUT / 'inventories/lab.py')!r})\n"
        "def _data(name, data):\n"
        f"    now = str(_ip(data['ssh_hostname']) + {reached_at})\n"
        "    return {**data, 'ssh_hostname': now, 'management_address': _wanted[name]}\n"
        "debian = [(n, _data(n, d)) for n, d in _lab['debian'] if n in _wanted]\n"
        "cluster_lab = list(_wanted)\n"
    )
    return str(path)
