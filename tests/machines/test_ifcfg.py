"""EL 8's own network scripts, where they are to be had: what no other back end has."""

import json
from collections.abc import Callable

import pytest

from tests.lab import lab
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.runs import Run

Deploy = Callable[..., Run]
TARGET = "tasks.bridges_native.bridges_native"


@pytest.fixture(scope="module")
def machine(fleet: Fleet, deploy: Deploy) -> Node:
    """Return the machine with the network scripts, its network as modelled."""
    machine = next((each for each in fleet.machines if each.network_backend == "ifcfg"), None)
    if machine is None:
        pytest.skip("LAB_NETWORK_SCRIPTS names no folder with EL 8's network scripts, see README")
    run = deploy("-y", "--limit", machine.name, target=TARGET)
    assert run.status == 0, run.output
    return machine


def test_the_package_of_the_network_scripts_is_installed(machine: Node) -> None:
    assert machine.run("rpm -q --qf '%{NAME}' network-scripts").stdout == "network-scripts"


@pytest.mark.parametrize("restart", [pytest.param("reboot", marks=pytest.mark.thorough), "service"])
def test_bridges_without_an_address_have_no_ipv6(
    machine: Node, deploy: Deploy, restart: str
) -> None:
    assert ipv6(machine) == {"cloudbr0": [], "cloudbr1": []}
    if restart == "reboot":
        lab.reboot(machine)
    else:
        restart_network(machine)
    assert ipv6(machine) == {"cloudbr0": [], "cloudbr1": []}
    again = deploy("-y", "--json", "--limit", machine.name, target=TARGET)
    assert again.changed == {}, again.output


def ipv6(machine: Node) -> dict[str, list[str]]:
    """Return the IPv6 addresses of the bridges."""
    links = json.loads(machine.run("ip -j -6 address show type bridge").stdout)
    # of a link without any, iproute2 writes an empty object
    found = {link["ifname"]: link["addr_info"] for link in links if "ifname" in link}
    return {
        name: [address["local"] for address in found.get(name, [])]
        for name in ("cloudbr0", "cloudbr1")
    }


def restart_network(machine: Node) -> None:
    """Restart the service as an administrator does; the login does not have to outlive it."""
    machine.run("systemd-run --unit=restarts --collect systemctl restart network.service")

    def is_over() -> bool:
        return (
            machine.answers_ssh()
            and "inactive" in machine.run("systemctl is-active restarts", check=False).stdout
        )

    wait_until(is_over, DEADLINE, f"{machine.name} to restart its network")
    assert machine.run("systemctl is-active network").stdout == "active\n"
