"""The guide carried out on machines with a kernel of their own, one a network back end.

The tests are one story and run in their order.
"""

import json
from collections.abc import Callable

import pytest

from tests.lab import guide, lab
from tests.lab.fleet import Fleet, Node
from tests.machines.traffic import reaches
from tests.runs import Run

Deploy = Callable[..., Run]
ON_MACHINES = ("--limit", "cluster_lab")


@pytest.fixture(scope="module")
def machines(fleet: Fleet) -> tuple[Node, ...]:
    """Return the machines as they are after their installation."""
    for machine in fleet.machines:
        lab.reset(machine)
    return fleet.machines


def undone(machine: Node) -> list[guide.Reading]:
    return [reading for reading in guide.read(machine) if reading.done is False]


def test_apparmor_confines_libvirt_before_the_deploy(machines: tuple[Node, ...]) -> None:
    for machine in machines:
        profiles = json.loads(machine.run("aa-status --json").stdout)["profiles"]
        assert profiles.get("libvirtd") == "enforce", machine.name
        assert "virt-aa-helper" in profiles, machine.name


def test_the_first_run_does_every_step_of_the_guide(
    machines: tuple[Node, ...], deploy: Deploy
) -> None:
    first = deploy("-y", "--json", *ON_MACHINES)
    assert first.status == 0, first.output
    assert {machine.name: undone(machine) for machine in machines} == {
        machine.name: [] for machine in machines
    }


def test_a_second_run_changes_nothing(machines: tuple[Node, ...], deploy: Deploy) -> None:
    second = deploy("-y", "--json", *ON_MACHINES)
    assert second.status == 0, second.output
    assert second.changed == {}


def test_each_vlan_carries_traffic_between_the_bridges_and_not_across(
    machines: tuple[Node, ...],
) -> None:
    one, other = machines
    assert reaches(one, "cloudbr0", other, "cloudbr0")
    assert reaches(one, "cloudbr1", other, "cloudbr1")
    assert not reaches(one, "cloudbr0", other, "cloudbr1")


def test_a_reboot_keeps_everything(machines: tuple[Node, ...], deploy: Deploy) -> None:
    for machine in machines:
        lab.reboot(machine)
    assert {machine.name: undone(machine) for machine in machines} == {
        machine.name: [] for machine in machines
    }
    one, other = machines
    assert reaches(one, "cloudbr0", other, "cloudbr0")
    assert reaches(one, "cloudbr1", other, "cloudbr1")
    assert not reaches(one, "cloudbr1", other, "cloudbr0")
    after = deploy("-y", "--json", *ON_MACHINES)
    assert after.changed == {}


def test_management_is_reached_through_vlan_100_alone(machines: tuple[Node, ...]) -> None:
    machine = machines[0]
    lab.set_trunk(machine, (200, 300))
    try:
        assert not machine.answers_ssh()
    finally:
        lab.set_trunk(machine, (100, 200, 300))
    machine.wait_for_ssh(60)
