"""The management address changes, and the workstation follows its hosts."""

import json
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.lab import lab
from tests.lab.fleet import Fleet, Node
from tests.runs import CHECKOUT, pyinfra

TARGET = "tasks.bridges_native.bridges_native"


@pytest.fixture(scope="module")
def eight_machines() -> Iterator[Fleet]:
    """Eight machines of all back ends, as they are after their installation."""
    spec = lab.FleetSpec("large", ("ifupdown", "netplan", "networkmanager", "netplan") * 2)
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
        inventory = _inventory(folder, moved, reached_at=20 - offset)
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
        "def _moved(group):\n"
        "    return [(n, _data(n, d)) for n, d in _lab[group] if n in _wanted]\n"
        "debian, rhel = _moved('debian'), _moved('rhel')\n"
        "cluster_lab = [n for n in _lab['cluster_lab'] if n in _wanted]\n"
        "cluster_el = [n for n in _lab['cluster_el'] if n in _wanted]\n"
    )
    return str(path)
