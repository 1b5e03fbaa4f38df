"""The table at a run's end: which hosts failed, in which step, and why."""

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from kvmhost.failures import Failure, report
from tests.plan.support import fake_host, inventory
from tests.runs import Run, pyinfra

INSTALL = "apt-get"
LOCKED = {
    INSTALL: {"success": False, "stdout": ["Reading lists"], "stderr": ["E: locked", "E: by 7"]}
}
TELLING = {"success": False, "stderr": ["curl: http://bob:hunter2@mirror/", "password=hunter3"]}
HOSTS: dict[str, Mapping[str, Any]] = {
    "sound": {},
    "locked1": LOCKED,
    "full": {INSTALL: {"success": False, "stdout": ["no space left"]}},
    "silent": {INSTALL: {"success": False}},
    "locked2": LOCKED,
}
"""What is particular to the answers of each host."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    hosts: dict[str, dict[str, Any]] = {}
    for number, (name, answers) in enumerate(HOSTS.items(), start=1):
        host = fake_host(number)
        host["fake_responses"] = {**answers, **host["fake_responses"]}
        hosts[f"@fake/{name}"] = host
    hosts["off.example.org"] = fake_host(7, ssh_hostname="127.0.0.1", ssh_port=1)
    folder = tmp_path_factory.mktemp("failures")
    return pyinfra(inventory(folder, hosts), "tasks.ntp.ntp", "-y", "--json")


def test_it_is_the_last_that_a_person_reads(run: Run) -> None:
    expected = """\
    --> Failed:
        host                          step                            reason
        ----------------------------  ------------------------------  -----------------------------------------------------------
        @fake/full                    NTP | Install the time service  no space left
        @fake/locked1, @fake/locked2  NTP | Install the time service  E: locked
                                                                      E: by 7
        @fake/silent                  NTP | Install the time service  no reason was given
        off.example.org               Connecting to hosts             Could not connect ([Errno None] Unable to connect to port 1
                                                                      on 127.0.0.1)
    """  # noqa: E501
    assert run.output.endswith(dedent(expected))


def test_it_names_the_hosts_that_pyinfra_counts(run: Run) -> None:
    table = run.output.partition("--> Failed:")[2]
    named = re.findall(r"@fake/\w+|off\.example\.org", table)
    assert sorted(named) == sorted(run.json["results"]["failed_hosts"])
    assert run.status != 0


def test_a_run_without_failures_has_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sound")
    run = pyinfra(inventory(folder, {"@fake/kvm1": fake_host()}), "tasks.ntp.ntp", "-y")
    assert run.status == 0, run.output
    assert "Failed" not in run.output


def failing(folder: Path, name: str, answer: object, *arguments: str) -> Run:
    """Run one step on a host that gives an answer to the installation of packages."""
    host = fake_host()
    host["fake_responses"] = {INSTALL: answer, **host["fake_responses"]}
    hosts = {name: host, "@fake/sound": fake_host(2)}
    return pyinfra(inventory(folder, hosts), "tasks.ntp.ntp", "-y", *arguments)


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    run = failing(tmp_path, "@fake/kvm1", TELLING)
    assert run.reasons() == {"@fake/kvm1": "curl: http://***@mirror/ password=***"}


def test_without_waiting_too_those_that_failed_are_named(tmp_path: Path) -> None:
    run = failing(tmp_path, "@fake/kvm1", LOCKED[INSTALL], "--no-wait")
    assert run.reasons() == {"@fake/kvm1": "E: locked E: by 7"}


def test_a_host_with_a_space_in_its_name_is_named(tmp_path: Path) -> None:
    run = failing(tmp_path, "@fake/kvm 1", LOCKED[INSTALL])
    assert run.reasons() == {"@fake/kvm 1": "E: locked E: by 7"}


def test_where_all_that_is_said_of_a_host_is_shown_its_own_refusal_stays(tmp_path: Path) -> None:
    hosts = {"@fake/kvm1": fake_host(fake_responses={"dpkg-query": {"success": False}})}
    run = pyinfra(inventory(tmp_path, hosts), "tasks.libvirt.libvirt", "-y", "-vvv")
    assert "no reason was given" not in run.reasons()["@fake/kvm1"]


def test_a_dry_run_tells_which_hosts_would_fail(tmp_path: Path) -> None:
    host = fake_host()
    host["fake_responses"]["ip -json"] = {"success": False, "stderr": ["ip: not found"]}
    hosts = {"@fake/kvm1": host, "@fake/kvm2": fake_host(2)}
    run = pyinfra(inventory(tmp_path, hosts), "tasks.bridges_native.bridges_native", "--dry")
    assert "ip: not found" in run.reasons()["@fake/kvm1"]


def test_a_long_story_is_cut_to_its_end() -> None:
    failure = Failure("step", errors=tuple(f"line {number}" for number in range(100)))
    assert [line.split()[-1] for line in report({"kvm1": failure})][-5:] == [
        f"{number}" for number in range(95, 100)
    ]


def test_a_line_without_end_is_cut_too() -> None:
    assert len("".join(report({"kvm1": Failure("step", errors=("x" * 100_000,))}))) < 2000
