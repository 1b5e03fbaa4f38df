"""Services in whole runs: up and staying up, else their host fails, with the reason."""

from pathlib import Path

import pytest

from tests.plan.support import commands, fake_host, inventory
from tests.runs import Run, pyinfra

NTP = "tasks.ntp.ntp"
RUN = "NTP | Run the time service"
STATES = "LoadState,ActiveState"
"""A part of the command that asks for the state of units."""
LOOKED = "does not stay up"
"""A part of the command that looks whether a unit stays up."""
FAILS = ">&2; exit 1"
"""A part of the command with which an operation fails its host."""


def unit(name: str, active: str, restarts: int = 0) -> list[str]:
    """Return what the fact about units hears of one that is enabled."""
    states = (f"NRestarts={restarts}", "LoadState=loaded", f"ActiveState={active}")
    return [f"{name}.service", *states, "UnitFileState=enabled"]


def run(folder: Path, *arguments: str, state: list[str], fall: object = "") -> Run:
    """Run the task on a host whose chrony is in a state, and says `fall` when it is looked at."""
    responses = {
        FAILS: {"success": False},
        LOOKED: fall,
        STATES: state,
    }
    hosts = {
        "@fake/kvm1": fake_host(fake_responses=responses),
        "@fake/kvm2": fake_host(2, fake_responses={STATES: unit("chrony", "active")}),
    }
    return pyinfra(inventory(folder, hosts), NTP, "--json", "--debug", *arguments, timeout=60)


def test_a_service_that_is_up_is_left_alone_at_no_further_cost(tmp_path: Path) -> None:
    finished = run(tmp_path, "-y", state=unit("chrony", "active"))
    assert RUN not in finished.changed
    assert commands(finished)["@fake/kvm1"] == commands(finished)["@fake/kvm2"]
    assert LOOKED not in finished.output


@pytest.mark.parametrize("active", ["activating", "failed", "inactive"])
def test_a_service_that_waits_to_be_restarted_does_not_run(active: str, tmp_path: Path) -> None:
    finished = run(tmp_path, "--dry", state=unit("chrony", active, restarts=17))
    assert finished.planned[RUN] == ["@fake/kvm1"]


def test_one_that_goes_down_after_its_start_fails_its_host(tmp_path: Path) -> None:
    fall = {"success": False, "stderr": "Cannot read CA certificate"}
    finished = run(tmp_path, "-y", state=unit("chrony", "activating", 17), fall=fall)
    assert finished.status == 1
    assert finished.failed == {RUN: ["@fake/kvm1"]}
    assert "Cannot read CA certificate" in finished.output


@pytest.mark.parametrize("fall", ["", {"success": False}], ids=["no answer", "failure"])
def test_one_of_which_that_cannot_be_told_fails_its_host(fall: object, tmp_path: Path) -> None:
    finished = run(tmp_path, "-y", state=unit("chrony", "active", 17), fall=fall)
    assert finished.failed == {RUN: ["@fake/kvm1"]}
    assert "whether chrony.service stays up could not be read" in finished.output


def test_one_that_is_seen_to_fall_again_fails_its_host(tmp_path: Path) -> None:
    fall = "chrony.service does not stay up: NRestarts=18"
    finished = run(tmp_path, "-y", state=unit("chrony", "active", 17), fall=fall)
    assert finished.failed == {RUN: ["@fake/kvm1"]}
    assert f"echo '{fall}' >&2; exit 1" in finished.output


def test_one_that_recovered_is_left_alone(tmp_path: Path) -> None:
    finished = run(tmp_path, "-y", state=unit("chrony", "active", 17), fall="up")
    assert finished.status == 0
    assert RUN not in finished.changed


@pytest.mark.parametrize(("added", "started"), [("bare", False), ("added", True)])
def test_the_agent_has_to_stay_up_once_cloudstack_has_added_the_host(
    added: str, started: bool, tmp_path: Path
) -> None:
    responses = {"cloud.crt": added, STATES: unit("cloudstack-agent", "activating", 17)}
    hosts = {"@fake/kvm1": fake_host(fake_responses=responses)}
    agent = "tasks.cloudstack_agent.cloudstack_agent"
    finished = pyinfra(inventory(tmp_path, hosts), agent, "--json", "--debug", "-y", timeout=60)
    assert finished.status == 0
    assert ("systemctl start cloudstack-agent.service" in finished.output) is started
