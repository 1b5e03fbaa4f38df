"""Whole deploys in which one host answers one question in a way that nobody expects.

Whatever it is, the others finish. Where it cannot be understood, that host fails, with a reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.settings import load
from tests.plan.support import (
    ADDRESS,
    MACHINE,
    NAMES,
    group_data,
    host_data,
    inventory,
    machine,
    names,
)
from tests.plan.test_guide import DISTRIBUTION_KEYS, RULES, encoded, present, text
from tests.runs import Run, pyinfra

Answer = Sequence[str] | Mapping[str, object]

UFW, ON = "/etc/ufw/ufw.conf", "ENABLED=yes"
ANY: dict[str, Answer] = {
    "libvirtd --version": ["libvirt libvirtd (libvirt) 9.0.0", "qemu QEMU emulator version 7.2.1"],
    "-e /etc/libvirt/libvirtd.conf": text("#listen_tls = 0\n"),
    "timeout 300 virsh": ["Host CPU is a superset of CPU described in /dev/stdin"],
    "ip_nonlocal_bind": ["value 0", "absent"],
    "sha256sum <": ["sha256 " + "0" * 64, "origin https://packages.example.org/release.asc"],
    "-e /etc/cloudstack/agent/agent.properties": text("guid=\n"),
    "-e /etc/cloudstack/agent/cloud.crt": ["bare"],
    "getenforce": ["seen", "mode Enforcing", f"config {encoded('SELINUX=enforcing')}"],
}
SYSTEMD: dict[str, Answer] = {
    "systemctl show": [],
    "-e /etc/cloud/cloud.cfg": text("network: {}\n"),
    "-e /etc/modprobe.d/cloudstack-openvswitch.conf": ["absent"],
}
DEBIAN: dict[str, Answer] = {
    **ANY,
    **SYSTEMD,
    "update-success-stamp": ["age 60", "Inst libc6 [2.36-9] (2.36-10 Debian:12/stable [amd64])"],
    "dpkg-query": ["install ok installed curl 7.88.1-10"],
    "-e /etc/chrony/chrony.conf": text("pool 2.debian.pool.ntp.org iburst\n"),
    "-e /etc/default/libvirtd": text("#LIBVIRTD_ARGS=\n"),
    "parameters/enabled": ["enabled Y", "loaded usr.sbin.libvirtd"],
    "user.rules": ["all"],
    "-e /etc/default/ufw ]; then echo exists": text('DEFAULT_FORWARD_POLICY="DROP"\n'),
    "-e /etc/apt/sources.list.d/cloudstack.sources": ["absent"],
}
EL: dict[str, Answer] = {
    **ANY,
    "check-update": ["age 0", "Inst libvirt"],
    "rpm -q": ["installed sudo 1.9-5"],
    "rpm --dbpath": ["fetched", "taken"],
    "-e /etc/sysconfig/libvirtd": ["absent"],
    "-e /etc/yum.repos.d/cloudstack.repo": ["absent"],
}
SWITCH = {
    "bridge_type": "openvswitch",
    "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": 300},
    "management_vlan": ...,
    "management_interface": "mgmt0",
}

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Answer]]] = {
    "Debian": (
        "debian",
        {"firewall_enabled": True},
        DEBIAN | {"is-enabled": ["service ufw on enabled", f"file {UFW} {encoded(ON)}", "all"]},
    ),
    "Open vSwitch": ("debian", SWITCH, DEBIAN | {"/sys/module/bridge": ["loaded"]}),
    "EL": (
        "rhel",
        {},
        {
            **EL,
            **SYSTEMD,
            "-e /etc/chrony.conf": text("pool 2.rhel.pool.ntp.org iburst\n"),
            "-e /etc/libvirt/libvirt.conf": text("# empty\n"),
            "--list-all": ["zone public", "runtime", "public", "permanent", "public", "all"],
        },
    ),
    "EL 6": (
        "rhel_6",
        {"network_backend": "unmanaged"},
        {
            **EL,
            "-e /etc/ntp.conf": text("server 0.rhel.pool.ntp.org\n"),
            "done; echo all": ["all"],
            "for service in": ["service libvirtd", "exists", "enabled", "running"],
            "iptables -S": [
                "family 4",
                "active",
                "-P INPUT ACCEPT",
                f"saved {encoded(RULES)}",
                "family 6",
                "all",
            ],
        },
    ),
}
"""The group of each host, what it sets, and what its facts hear as a rule, by their commands."""

FIREWALLS = (
    "--list-all",
    "-e /etc/default/ufw ]; then echo exists",
    "is-enabled",
    "iptables -S",
    "user.rules",
)
TOLERANT = (
    "dpkg-query",
    "for service in",
    "libvirtd --version",
    "rpm -q",
    "systemctl show",
)
"""Questions to which every answer means something: what is not named is not there."""
HARMLESS = {
    ("check-update", "broken off"),
    ("parameters/enabled", "broken off"),
    ("sha256sum <", "broken off"),
    ("timeout 300 virsh", "broken off"),
    ("update-success-stamp", "broken off"),
    ("-e /etc/cloudstack/agent/cloud.crt", "nothing"),
}
"""Answers that mean something too, and one that no command that succeeds can give."""
NETWORK = "ip -json"
ODD: dict[str, Answer] = {
    "nothing": [],
    "blank lines": ["", "  ", ""],
    "a greeting": ["Welcome to kvm1!"],
    "words without values": [
        "exists",
        "saved",
        "addresses",
        "config",
        "mode",
        "age",
        "zone",
        "file",
    ],
    "values that are none": [
        "exists",
        "=",
        "saved ====",
        "addresses {",
        "config Zg",
        "age x",
        "file a",
    ],
    "binary": ["\x00\x01\x7fELF\x02\x01", "\x85\u2028\x1b[2J"],
    "not UTF-8": ["exists", "caf\udce9", "saved caf\udce9", "config caf\\xe9"],
    "very long": ["x" * 100_000],
    "no answer": {"success": False, "stderr": "Connection reset by peer"},
}
NO_NETWORKS: dict[str, Answer] = {
    name: [
        "file /etc/network/interfaces YXV0byBsbwo=",
        f"addresses {addresses}",
        f"routes {routes}",
    ]
    for name, addresses, routes in (
        ("no lists", "7", "{}"),
        ("lists of nothing", "[null]", "[null]"),
        ("devices without names", '[{"mtu": 1500}]', "[]"),
        ("devices of another kind", '[{"ifname": 7, "addr_info": 7, "linkinfo": []}]', "[[]]"),
        ("an address that is none", '[{"ifname": "eth0", "addr_info": [{"local": "x"}]}]', "[]"),
        ("a route to nowhere", '[{"ifname": "eth0"}]', '[{"dst": "x", "gateway": 1}]'),
    )
}


OTHER_KEYS = {"ssh_paramiko_connect_kwargs"}
COMMON = {
    "apply_updates": True,
    "gateway": "192.168.42.1",
    "guest_cpu_mode": "custom",
    "guest_cpu_model": "SandyBridge",
    "ntp_servers": ["10.0.0.1"],
}
FIRST = 2
"""The number of the host that answers as a rule; the gateway has the one before it."""


def questions(case: str, number: int) -> tuple[dict[str, Any], dict[str, Answer]]:
    """Return a host's data, and what its facts hear as a rule: its network is as it is to be."""
    group, changes, answers = CASES[case]
    data = host_data(number, **dict.fromkeys(DISTRIBUTION_KEYS, ...) | COMMON | changes)
    chosen = load({"host": group_data("all") | group_data(group) | data}, OTHER_KEYS)["host"]
    platform = chosen.platform
    seen = machine(number, distribution=platform.distribution[0], release=platform.releases[0])
    usual: dict[str, Answer] = {MACHINE: seen, NAMES: names(number), **answers}
    if platform.network_backend in BACKENDS:
        files = BACKENDS[platform.network_backend].render(chosen.network, {}, {})
        state = "guide" if chosen.network.bridge_type == "native" else "openvswitch"
        captured = present(state, {each.path: each.content for each in files})
        own = ADDRESS.format(number=number)
        usual[NETWORK] = [line.replace('"192.168.42.11"', f'"{own}"') for line in captured]
    return data, usual


def asked(case: str, usual: Mapping[str, Answer]) -> set[str]:
    """Return a case's own questions: those that no case before it has, but for the network's."""
    before = list(CASES)[: list(CASES).index(case)]
    known = {MACHINE, *(question for each in before for question in CASES[each][2])}
    return usual.keys() - known - ({NAMES} if before else set())


def odd_answers(question: str, usual: Answer) -> dict[str, Answer]:
    """Return the odd answers to a question, one that breaks off among them."""
    cut = {} if isinstance(usual, Mapping) or not usual else {"broken off": broken_off(usual)}
    return ODD | cut | (NO_NETWORKS if question == NETWORK else {})


def broken_off(lines: Sequence[str]) -> list[str]:
    return "\n".join(lines)[:-1].splitlines()


ASPECTS = [
    pytest.param(case, about_firewall, id=f"{case}, its firewall" if about_firewall else case)
    for case in CASES
    for about_firewall in (False, True)
    if not (about_firewall and case == "Open vSwitch")
]


@dataclass(frozen=True)
class Deploy:
    """A run, and by the name of each host the question that it answers oddly, and how."""

    run: Run
    hosts: dict[str, tuple[str, str]]


@cache
def deploy(case: str, about_firewall: bool, how: str) -> Deploy:
    """Deploy on one host that answers as a rule, and for each question and each odd answer one."""
    group = CASES[case][0]
    _, usual = questions(case, FIRST)
    odd = [
        (question, name, answer)
        for question in sorted(asked(case, usual))
        if (question in FIREWALLS) == about_firewall
        for name, answer in odd_answers(question, usual[question]).items()
    ]
    hosts = {}
    for number, (question, _, answer) in enumerate([("", "", []), *odd], start=FIRST):
        data, answers = questions(case, number)
        if question:
            answers[question] = answer
        hosts[f"@fake/kvm{number}"] = data | {
            "fake_responses": answers,
            "fake_delay": 0,
            "fake_delay_jitter": 0,
        }
    with TemporaryDirectory() as folder:
        path = Path(inventory(Path(folder), hosts))
        path.write_text(f"{path.read_text()}{group} = {list(hosts)}\n")
        run = pyinfra(str(path), "deploy.py", how, "--json", "--debug", timeout=600)
    return Deploy(run, dict(zip(hosts, [("", ""), *((q, n) for q, n, _ in odd)], strict=True)))


LAST = "CloudStack agent | Set the agent's properties"


@pytest.mark.parametrize(("case", "about_firewall"), ASPECTS)
def test_an_odd_answer_is_the_end_of_nobody_elses_run(case: str, about_firewall: bool) -> None:
    done = deploy(case, about_firewall, "-y")
    first = next(iter(done.hosts))
    assert first in done.run.changed[LAST]
    assert not any(first in hosts for hosts in done.run.failed.values())


def test_a_dry_run_goes_on_too_and_says_why_a_host_would_fail() -> None:
    done = deploy("Debian", False, "--dry")
    assert next(iter(done.hosts)) in done.run.planned[LAST]
    assert "this host's answer is not understood: KeyError: 'kernel'" in done.run.output


@pytest.mark.parametrize(("case", "about_firewall"), ASPECTS)
def test_a_host_that_is_not_understood_fails_with_a_reason(case: str, about_firewall: bool) -> None:
    done = deploy(case, about_firewall, "-y")
    failed = set(done.run.json["results"]["failed_hosts"])
    for host, (question, answer) in done.hosts.items():
        harmless = question in (*TOLERANT, "") or (question, answer) in HARMLESS
        assert harmless or host in failed, (question, answer)
    reasons = done.run.reasons().values()
    assert reasons
    assert not any("no reason was given" in reason for reason in reasons)
