"""Hosts are renumbered, and the workstation follows them."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.lab import lab
from tests.lab.fleet import Fleet, Node
from tests.runs import CHECKOUT, Run, pyinfra

Deploy = Callable[..., Run]

TARGET = "tasks.bridges_native.bridges_native"


@pytest.fixture(scope="module")
def eight_machines() -> Iterator[Fleet]:
    """Eight machines of all back ends, as they are after their installation."""
    spec = lab.FleetSpec("large", ("ifupdown", "netplan:13", "networkmanager", "netplan") * 2)
    yield lab.up(spec)
    lab.down(spec.name)


def test_hosts_are_followed_to_new_addresses_and_back(fleet: Fleet, tmp_path: Path) -> None:
    there_and_back(fleet, tmp_path)


@pytest.mark.thorough
def test_eight_hosts_are_followed_at_once(eight_machines: Fleet, tmp_path: Path) -> None:
    there_and_back(eight_machines, tmp_path)


def there_and_back(fleet: Fleet, folder: Path) -> None:
    """Move all at once, with strict host keys, in an inventory that names what is wanted."""
    for offset in (20, 0):
        moved = {each.name: _moved(each, offset) for each in fleet.machines}
        reached_at = {each.name: _moved(each, 20 - offset) for each in fleet.machines}
        changes = {
            name: {
                "ssh_hostname": str(IPv4Interface(reached_at[name]).ip),
                "management_address": address,
            }
            for name, address in moved.items()
        }
        inventory = like_the_labs(folder, changes)
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


@pytest.mark.thorough
def test_ipv6_comes_and_goes_beside_ipv4(fleet: Fleet, deploy: Deploy, tmp_path: Path) -> None:
    addresses = {
        machine.name: f"fd42:100::{number}/64"
        for number, machine in enumerate(fleet.machines, start=1)
    }
    inventory = like_the_labs(
        tmp_path, {name: {"management_address6": each} for name, each in addresses.items()}
    )

    def run() -> Run:
        return pyinfra(inventory, TARGET, "-y", "--json", KVMHOST_LAB_FLEET=fleet.name)

    first = run()
    assert first.status == 0, first.output
    for _ in range(2):
        assert run().changed == {}
        for machine in fleet.machines:
            for address in addresses.values():
                machine.run(f"ping -q -c 1 -w 8 {address.partition('/')[0]}")
        with ThreadPoolExecutor() as pool:
            list(pool.map(lab.reboot, fleet.machines))
    without = deploy("-y", target=TARGET)
    assert without.status == 0, without.output
    for machine in fleet.machines:
        assert "fd42:" not in machine.run("ip -6 address").stdout


def like_the_labs(folder: Path, changes: dict[str, dict[str, str]]) -> str:
    """Write an inventory of the lab's machines with some data changed, by host; return its path.

    Its name is the lab's, so that the lab's group data goes for it too.
    """
    path = folder / "lab.py"
    path.write_text(
        "import runpy as _runpy\n"
        f"_changes = {changes!r}\n"
        f"_lab = _runpy.run_path({str(CHECKOUT / 'inventories/lab.py')!r})\n"
        "def _changed(group):\n"
        "    return [(n, {**d, **_changes[n]}) for n, d in _lab[group] if n in _changes]\n"
        "debian, rhel = _changed('debian'), _changed('rhel')\n"
        "for _group in [group for group in _lab if group.startswith('cluster_')]:\n"
        "    globals()[_group] = [name for name in _lab[_group] if name in _changes]\n"
    )
    return str(path)
