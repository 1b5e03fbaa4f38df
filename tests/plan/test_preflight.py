"""The gate in whole runs of pyinfra: either every host passes, or none is changed."""

from pathlib import Path
from typing import Any

import pytest

from kvmhost import checks
from tests.plan.support import (
    MACHINE,
    NAMES,
    commands,
    fake_host,
    fakes,
    host_data,
    inventory,
    machine,
    names,
)
from tests.runs import Run, pyinfra

PREFLIGHT = "tasks.preflight.preflight"
LIMIT = 60
"""Seconds after which a run hangs."""


def run(folder: Path, hosts: dict[str, dict[str, Any]], *arguments: str) -> Run:
    return pyinfra(inventory(folder, hosts), *arguments, "--debug", timeout=LIMIT)


def answer(hosts: dict[str, dict[str, Any]], number: int, matcher: str, response: object) -> None:
    """Have a fake host answer a fact in another way."""
    hosts[f"@fake/kvm{number}"]["fake_responses"][matcher] = response


def marks(**odd: str) -> list[str]:
    """Return the marks of a host in the table, all good but for the named ones."""
    return [odd.get(check, "ok") for check in checks.NAMES]


def rows(finished: Run) -> list[list[str]]:
    return [line.split() for line in finished.output.splitlines()]


def test_thirty_fit_hosts_pass_at_the_cost_of_two_commands_each(tmp_path: Path) -> None:
    finished = run(tmp_path, fakes(30), PREFLIGHT, "-y")
    assert finished.status == 0
    assert "30 hosts: every check passes." in finished.output
    assert commands(finished) == dict.fromkeys(fakes(30), 2)


def test_few_hosts_are_shown_with_every_check(tmp_path: Path) -> None:
    finished = run(tmp_path, fakes(2), PREFLIGHT, "--dry")
    assert finished.status == 0
    assert ["host", *" ".join(checks.NAMES).split()] in rows(finished)
    for name in ("@fake/kvm1", "@fake/kvm2"):
        assert [name, *marks()] in rows(finished)


@pytest.mark.parametrize("arguments", [("-y",), ("--dry",), (), ("-y", "--parallel", "2")])
def test_one_host_that_fails_stops_all(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    hosts = fakes(30)
    answer(hosts, 7, MACHINE, machine(7, memory="1024000"))
    finished = run(tmp_path, hosts, PREFLIGHT, *arguments)
    assert finished.status == 1
    assert commands(finished) == dict.fromkeys(hosts, 1)
    assert "Beginning operation run" not in finished.output
    assert ["@fake/kvm7", *marks(memory="FAILS")] in rows(finished)
    assert "it has 1000 MiB of memory, needed are 3800 MiB" in finished.output
    assert "1 of 30 hosts did not pass every check, so no host was changed" in finished.output
    assert "29 hosts: every check passes." in finished.output
    assert finished.output.count("Checking every host") == 1


def test_a_firewall_that_is_off_is_named_and_hinders_nothing(tmp_path: Path) -> None:
    hosts = fakes(30)
    for number in (7, 9):
        answer(hosts, number, MACHINE, machine(number, firewalls="iptables"))
    finished = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert finished.status == 0
    assert "30 hosts: every check passes." in finished.output
    assert "@fake/kvm7, @fake/kvm9  firewall  ufw is off, and stays off" in finished.output


def test_the_others_go_on_when_that_host_is_excluded(tmp_path: Path) -> None:
    hosts = fakes(3)
    answer(hosts, 2, MACHINE, machine(2, release="11"))
    refused = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert "or run with --exclude @fake/kvm2" in refused.output
    finished = run(tmp_path, hosts, PREFLIGHT, "-y", "--exclude", "@fake/kvm2")
    assert finished.status == 0
    assert commands(finished) == {"@fake/kvm1": 2, "@fake/kvm3": 2}
    assert (
        "cluster_a: not compared, because not in this run or not reached: @fake/kvm2"
        in finished.output
    )


@pytest.mark.parametrize("count", [1, 30])
def test_more_hosts_than_pyinfra_prepares_at_once_pass(tmp_path: Path, count: int) -> None:
    finished = run(tmp_path, fakes(count), PREFLIGHT, "-y", "--parallel", "1")
    assert finished.status == 0
    assert commands(finished) == dict.fromkeys(fakes(count), 2)


@pytest.mark.parametrize(
    "silence", [{"success": False, "stderr": "Connection reset by peer"}, []], ids=str
)
def test_a_host_that_cannot_be_asked_stops_all(tmp_path: Path, silence: object) -> None:
    hosts = fakes(3)
    answer(hosts, 2, MACHINE, silence)
    finished = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert finished.status == 1
    assert commands(finished) == dict.fromkeys(hosts, 1)
    assert ["@fake/kvm2", *["?"] * len(checks.NAMES)] in rows(finished)
    assert ["@fake/kvm2", "answer", "the", "host", "did", "not", "answer"] in rows(finished)


def test_a_host_that_stalls_is_not_waited_for(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy.py"
    deploy.write_text(
        "from kvmhost import gate\n"
        "from tasks.preflight import preflight\n"
        "gate.ANSWER_TIME = 1\n"
        "preflight()\n"
    )
    hosts = fakes(3) | {"@fake/kvm4": fake_host(4, fake_delay=10 * LIMIT)}
    finished = run(tmp_path, hosts, str(deploy), "-y")
    assert finished.status == 1
    assert ["@fake/kvm4", *["?"] * len(checks.NAMES)] in rows(finished)


def test_a_host_that_is_switched_off_fails_alone(tmp_path: Path) -> None:
    off = host_data(3, ssh_hostname="127.0.0.1", ssh_port=1)
    finished = run(tmp_path, fakes(2) | {"off": off}, PREFLIGHT, "-y")
    assert finished.status == 1
    assert commands(finished) == dict.fromkeys(fakes(2), 2)
    assert "2 hosts: every check passes." in finished.output
    assert "cluster_a: not compared, because not in this run or not reached: off" in finished.output


def test_unlike_hosts_of_a_cluster_stop_all(tmp_path: Path) -> None:
    hosts = fakes(3)
    answer(hosts, 3, MACHINE, machine(3, cpu_count="8"))
    finished = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert finished.status == 1
    assert "CPU count is 8, but 16 on @fake/kvm1" in finished.output


def test_a_waived_check_stops_nobody_and_shows(tmp_path: Path) -> None:
    hosts = fakes(2) | {"@fake/kvm3": fake_host(3, waived_checks=["CPU flags", "memory"])}
    answer(hosts, 3, MACHINE, machine(3, cpu_flags="fpu sse2 svm arch_lbr"))
    finished = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert finished.status == 0, finished.output
    waived = marks(memory="waived", **{"CPU flags": "waived"})
    assert ["@fake/kvm3", *waived] in rows(finished)
    answer(hosts, 3, MACHINE, machine(3, cpu_flags="fpu sse2 svm arch_lbr", cpu_count="8"))
    assert run(tmp_path, hosts, PREFLIGHT, "-y").status == 1


CPU = "<cpu mode='custom' match='exact'><model fallback='forbid'>{}</model>{}</cpu>"
BASELINE = CPU.format(
    "SandyBridge", "<feature policy='require' name='vme'/><feature policy='disable' name='avx'/>"
)
PASTED = [
    "cluster_a: a CPU that all of these hosts can give to guests, for the cluster's file:",
    'guest_cpu_mode = "custom"',
    'guest_cpu_model = "SandyBridge"',
    'guest_cpu_features = ("vme", "-avx")',
]


def mixed(**of_libvirt: object) -> dict[str, dict[str, Any]]:
    """Return three hosts of mixed CPUs, and what libvirt's commands print on each."""
    hosts = fakes(3)
    answer(hosts, 3, MACHINE, machine(3, cpu_flags="fpu sse2 svm avx512f"))
    for number, model in ((1, "SandyBridge"), (2, "SandyBridge"), (3, "Haswell")):
        host_model = f"<mode name='host-model' supported='yes'><model>{model}</model></mode>"
        capabilities = f"<domainCapabilities><cpu>{host_model}</cpu></domainCapabilities>"
        answer(hosts, number, "domcapabilities", capabilities)
        for matcher, response in of_libvirt.items():
            answer(hosts, number, matcher, response)
    return hosts


def test_a_cluster_of_mixed_cpus_is_told_one_that_all_have(tmp_path: Path) -> None:
    finished = run(tmp_path, mixed(baseline=BASELINE), PREFLIGHT, "-y")
    assert finished.status == 1
    assert "CPU flags have avx512f, unlike @fake/kvm1" in finished.output
    assert "\n".join(PASTED) in "\n".join(map(str.strip, finished.output.splitlines()))
    [sent] = [line for line in finished.output.splitlines() if "--migratable /dev/stdin" in line]
    assert "simulating command on @fake/kvm1: " in sent
    assert sent.count("<model>SandyBridge</model>") == sent.count("<model>Haswell</model>") == 1
    assert commands(finished) == {"@fake/kvm1": 3, "@fake/kvm2": 2, "@fake/kvm3": 2}


def test_a_cluster_whose_cpus_have_nothing_in_common_is_told_why(tmp_path: Path) -> None:
    said = "error: operation failed: CPU vendors do not match"
    finished = run(tmp_path, mixed(baseline=said), PREFLIGHT, "-y")
    assert said in [line.strip() for line in finished.output.splitlines()]


def test_without_libvirt_a_cluster_of_mixed_cpus_is_told_how_to_get_one(tmp_path: Path) -> None:
    hosts = mixed(baseline=BASELINE)
    answer(hosts, 2, "domcapabilities", [])
    finished = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert "libvirt runs on @fake/kvm2 by then (tasks.libvirt.libvirt)" in finished.output
    assert "--migratable" not in finished.output


def test_mixed_cpus_are_no_matter_where_each_runs_that_of_the_guests(tmp_path: Path) -> None:
    hosts = mixed()
    custom = {"guest_cpu_mode": "custom", "guest_cpu_model": "SandyBridge"}
    hosts = {name: data | custom for name, data in hosts.items()}
    fits = "guest_cpu=Host CPU is a superset of CPU described in /dev/stdin"
    answer(hosts, 1, MACHINE, [*machine(1), fits])
    answer(hosts, 3, MACHINE, [*machine(3, cpu_flags="fpu svm"), fits])
    finished = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert finished.status == 0, finished.output
    assert ["@fake/kvm3", *marks()] in rows(finished)
    assert ["@fake/kvm2", *marks(**{"guest CPU": "later"})] in rows(finished)
    assert commands(finished) == dict.fromkeys(hosts, 2)


def test_minor_releases_of_a_cluster_may_differ(tmp_path: Path) -> None:
    hosts = fakes(2)
    answer(hosts, 2, MACHINE, machine(2, release="12.1"))
    finished = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert finished.status == 0
    assert "12 on @fake/kvm1; 12.1 on @fake/kvm2" in finished.output


def test_uplinks_of_different_names_in_a_cluster_are_said_in_a_run(tmp_path: Path) -> None:
    hosts = fakes(2) | {"@fake/kvm3": fake_host(3, uplink="enp1s0")}
    answer(hosts, 3, MACHINE, machine(3, interfaces="lo enp1s0"))
    finished = run(tmp_path, hosts, PREFLIGHT, "-y")
    assert finished.status == 0, finished.output
    assert (
        "cluster_a: uplinks differ in their names, enp1s0 on @fake/kvm3; "
        "eth0 on @fake/kvm1, @fake/kvm2: CloudStack names" in finished.output
    )


def test_the_json_of_a_run_stays_json(tmp_path: Path) -> None:
    finished = run(tmp_path, fakes(2), PREFLIGHT, "--dry", "--json")
    assert finished.status == 0
    assert "2 hosts: every check passes." in finished.output
    assert finished.planned == {}


def test_the_gate_asks_with_the_configuration_of_the_deploy(tmp_path: Path) -> None:
    """A deploy file's configuration is its own greenlet's; the gate's have to be given it."""
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\ntouch {tmp_path}/used\nexec sh "$@"\n')
    shell.chmod(0o755)
    deploy = tmp_path / "deploy.py"
    deploy.write_text(
        "from pyinfra import config\n"
        "from kvmhost import gate\n"
        f"config.SHELL = {str(shell)!r}\n"
        "gate.pass_all()\n"
    )
    run(tmp_path, {"@local": host_data(outbound_host=None)}, str(deploy), "--dry")
    assert (tmp_path / "used").exists()


def unnamed(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Return a host as Debian's installer leaves it, and another that has its name."""
    hosts = fakes(2)
    answer(hosts, 1, MACHINE, machine(1, hostname="debian", qualified_name="debian"))
    answer(
        hosts,
        1,
        NAMES,
        names(
            1,
            kernel="debian",
            qualified="debian",
            static_file="debian\n",
            hosts_file="127.0.0.1 localhost\n127.0.1.1 kvm1.lab.example.org kvm1\n",
        ),
    )
    return hosts


SET_NAME = "Preflight | Set the fully qualified name"


def test_a_dry_run_shows_how_a_host_gets_its_name(tmp_path: Path) -> None:
    finished = run(tmp_path, unnamed(tmp_path), PREFLIGHT, "--dry", "--diff", "--json")
    assert finished.planned == {SET_NAME: ["@fake/kvm1"]}
    assert ["@fake/kvm1", *marks(name="mend")] in rows(finished)
    for difference in (
        "- 127.0.1.1 kvm1.lab.example.org kvm1",
        "+ 192.168.42.1 kvm1.lab.example.org kvm1",
        "- debian",
        "+ kvm1",
    ):
        assert difference in [line.strip() for line in finished.output.splitlines()]


def test_a_name_in_upper_case_is_the_same_name(tmp_path: Path) -> None:
    hosts = fakes(2)
    upper = {"hostname": "KVM1", "qualified_name": "KVM1.lab.example.org"}
    answer(hosts, 1, MACHINE, machine(1, managed="yes", **upper))
    entry = "192.168.42.1 KVM1.lab.example.org KVM1\n"
    files = {"static_file": "KVM1\n", "hosts_file": f"127.0.0.1 localhost\n{entry}"}
    answer(hosts, 1, NAMES, names(1, kernel="KVM1", qualified="KVM1.lab.example.org", **files))
    finished = run(tmp_path, hosts, PREFLIGHT, "-y", "--json")
    assert finished.status == 0
    assert finished.changed == {}


@pytest.mark.parametrize("how", ["--dry", "-y"])
def test_a_host_that_another_run_changes_is_named(tmp_path: Path, how: str) -> None:
    hosts = fakes(2)
    who = "root@desk, PID 4711, since 2026-01-01T00:00:00Z"
    answer(hosts, 2, MACHINE, machine(2, locked=who))
    finished = run(tmp_path, hosts, PREFLIGHT, how)
    assert finished.status == 0
    assert f"@fake/kvm2: another run works on this host: {who}\n" in finished.output
    assert "@fake/kvm1: another run" not in finished.output


def test_a_dry_run_that_is_not_root_is_no_dry_run(tmp_path: Path) -> None:
    hosts = fakes(2)
    answer(hosts, 2, MACHINE, machine(2, root="no"))
    finished = run(tmp_path, hosts, PREFLIGHT, "--dry")
    assert finished.status == 1
    assert "commands do not run as root; --sudo, or _sudo in group_data" in finished.output


def test_only_the_host_without_its_name_is_changed(tmp_path: Path) -> None:
    finished = run(tmp_path, unnamed(tmp_path), PREFLIGHT, "-y", "--json")
    assert finished.status == 0
    assert finished.changed == {SET_NAME: ["@fake/kvm1"]}
    assert "simulating command on @fake/kvm1: hostname kvm1" in finished.output


def test_cloud_inits_template_of_etc_hosts_is_told_too(tmp_path: Path) -> None:
    template = {"template_path": "/etc/cloud/templates/hosts.debian.tmpl"}
    hosts = fakes(2)
    for number, text in (
        (1, "127.0.1.1 {{fqdn}} {{hostname}}"),
        (2, "192.168.42.2 kvm2.lab.example.org kvm2"),
    ):
        answer(hosts, number, NAMES, names(number, **template, template_file=f"{text}\n"))
    finished = run(tmp_path, hosts, PREFLIGHT, "--dry", "--diff", "--json")
    assert finished.planned == {SET_NAME: ["@fake/kvm1"]}
    assert "Will modify /etc/cloud/templates/hosts.debian.tmpl" in finished.output
    assert "+ 192.168.42.1 kvm1.lab.example.org kvm1" in finished.output


def test_a_host_whose_names_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    hosts = fakes(2)
    answer(hosts, 2, NAMES, {"success": False, "stderr": "Connection reset by peer"})
    finished = run(tmp_path, hosts, PREFLIGHT, "-y", "--json")
    assert finished.status == 1
    assert finished.json["results"]["failed_hosts"] == ["@fake/kvm2"]
    assert finished.reasons()["@fake/kvm2"].endswith(
        "the host's name could not be read, so nothing is changed there"
    )
    assert commands(finished) == {"@fake/kvm1": 2, "@fake/kvm2": 2}


@pytest.mark.parametrize(
    ("pending", "updated"),
    [
        ("age 60", False),
        ("age 60\nInst libc6 [2.36-9] (2.36-10 Debian:12/stable [amd64])", True),
        ("age 90000", True),
    ],
    ids=["up to date", "behind", "lists of yesterday"],
)
def test_updates_are_installed_when_asked_for_and_there_are_any(
    tmp_path: Path, pending: str, updated: bool
) -> None:
    data = fake_host(apply_updates=True)
    data["fake_responses"]["update-success-stamp"] = pending
    finished = run(tmp_path, {"@fake/kvm1": data}, PREFLIGHT, "--dry", "--json")
    name = "Preflight | Install the distribution's latest updates"
    assert finished.planned == ({name: ["@fake/kvm1"]} if updated else {})
