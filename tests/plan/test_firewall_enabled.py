"""What switches a firewall on, in whole runs of its task, with each of the three firewalls."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kvmhost.firewalls import FIREWALLS
from kvmhost.iptables import EMPTY
from kvmhost.network.change import GUARD
from tests.plan.support import commands, fake_host, inventory
from tests.plan.test_firewall import CAME, DEFAULTS, TASK, encoded
from tests.runs import Run, pyinfra

SERVICES = {"ufw": ["ufw"], "firewalld": ["firewalld"], "iptables": ["iptables", "ip6tables"]}
BACKENDS = pytest.mark.parametrize("backend", SERVICES)
OPENED = "rule4 allow tcp 16509 0.0.0.0/0 any 192.168.42.0/24 in"
SSH = "rule4 allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"
LISTED = ("public", "  services: ssh", '\trule service name="libvirt" accept')
PORT = '<service><port protocol="tcp" port="{}"/></service>'
OFFERED = tuple(
    f"service {name} {encoded(PORT.format(port))}"
    for name, port in (("ssh", 22), ("libvirt", 16509))
)
RULES = EMPTY.replace("COMMIT", "-A INPUT -j REJECT\n-A FORWARD -j REJECT\nCOMMIT")
SWITCH = "Firewall | Have the firewall on, and the guests' packets let through"

READY = {each.path: each.content for backend in SERVICES for each in FIREWALLS[backend].files({})}
"""The files of a firewall that lets the guests' packets through."""


def services(backend: str, state: str) -> list[str]:
    return [f"service {name} {state}" for name in SERVICES[backend]]


def run(
    folder: Path,
    backend: str,
    state: list[str],
    *how: str,
    guests: str = "",
    defaults: str = DEFAULTS,
    files: Mapping[str, str] = READY,
    **data: Any,
) -> Run:
    """Run the task on a host that says this of its firewall's services."""
    off = any(" off" in line for line in state)
    kept = [f"saved {encoded(RULES)}"]
    active = ["active", "-A INPUT -j REJECT"] if not off else []
    answers: dict[str, list[str]] = {
        "is-enabled": [
            *state,
            *(f"file {path} {encoded(text)}" for path, text in files.items()),
            "all",
        ],
        "done; echo all": [*([f"guest {guests}"] if guests else []), "all"],
        "-e /etc/default/ufw ]; then echo exists": ["exists", encoded(defaults)],
        "user.rules": [OPENED, SSH, *defaults.splitlines(), CAME, "all"],
        "dpkg-query": ["install ok installed ufw 0.36.2"],
        "rpm -q": ["installed firewalld 1.3", "installed iptables-services 1.8"],
        "--list-all-zones": [
            *(["off"] if off else []),
            *(*OFFERED, CAME, "zone public", "runtime"),
            *(() if off else LISTED),
            *("permanent", *LISTED, "all"),
        ],
        "ip6tables -S": ["family 4", *active, *kept, "family 6", *active, *kept, CAME, "all"],
    }
    host = fake_host(
        1,
        **{
            "fake_responses": answers,
            "firewall_backend": backend,
            "firewall_enabled": True,
            "package_manager": "apt" if backend == "ufw" else "dnf",
            "firewall_ports": ["16509"],
            **data,
        },
    )
    path = inventory(folder, {"@fake/kvm1": host})
    return pyinfra(path, TASK, *(how or ("-y",)), "--debug", "--diff", timeout=60)


def sent(finished: Run) -> str:
    return " ".join(finished.output.split())


@BACKENDS
def test_a_firewall_that_is_off_is_switched_on_under_the_guard(
    tmp_path: Path, backend: str
) -> None:
    output = sent(run(tmp_path, backend, services(backend, "off disabled")))
    assert '/guard" start' in output
    # no workstation reaches a fake host anew, so that nothing confirms it
    assert "Firewall in doubt" in output
    assert "systemctl enable" not in output


@BACKENDS
def test_a_dry_run_shows_that_a_firewall_would_be_switched_on(tmp_path: Path, backend: str) -> None:
    finished = run(tmp_path, backend, services(backend, "off disabled"), "--dry", "--json")
    assert finished.planned[SWITCH] == ["@fake/kvm1"]


@pytest.mark.parametrize("state", ["off disabled", "on enabled"])
def test_the_guests_packets_are_let_through(tmp_path: Path, state: str) -> None:
    firewalld = sent(run(tmp_path, "firewalld", services("firewalld", state), "--dry", files={}))
    assert "Will create /etc/firewalld/policies/cloudstack-guests.xml" in firewalld
    assert "+ IPv6_rpfilter=no" in firewalld
    saved = {"/etc/sysconfig/ip6tables": RULES}
    iptables = run(tmp_path, "iptables", services("iptables", state), "--dry", files=saved)
    assert "Will modify /etc/sysconfig/ip6tables" in iptables.output
    assert "- -A FORWARD -j REJECT" in sent(iptables)
    # else ufw lets nothing of IPv6 through
    ufw = run(tmp_path, "ufw", services("ufw", state), defaults=DEFAULTS.replace("yes", "no"))
    assert "+ IPV6=yes" in sent(ufw)


@BACKENDS
def test_a_firewall_that_is_on_at_boot_too_costs_one_question(tmp_path: Path, backend: str) -> None:
    on = run(tmp_path, backend, services(backend, "on enabled"), "--json")
    without = run(tmp_path, backend, [], "--json", firewall_enabled=None)
    assert on.planned.get(SWITCH) is None
    # that, and for what dnf installs another
    more = 1 if backend == "ufw" else 2
    assert commands(on)["@fake/kvm1"] == commands(without)["@fake/kvm1"] + more


@BACKENDS
def test_a_firewall_that_is_on_is_enabled_at_boot(tmp_path: Path, backend: str) -> None:
    output = sent(run(tmp_path, backend, services(backend, "on disabled")))
    units = " ".join(f"{name}.service" for name in SERVICES[backend])
    assert f"systemctl enable {units}" in output
    assert '/guard" start' not in output


@BACKENDS
def test_a_firewall_waits_for_guests_and_each_run_says_so(tmp_path: Path, backend: str) -> None:
    off = services(backend, "off disabled")
    finished = run(tmp_path, backend, off, guests="i-2-3-VM")
    assert finished.status == 0, finished.output
    output = sent(finished)
    assert f"To switch on {backend} waits, because guests run here: i-2-3-VM" in output
    assert "network_change_with_guests would allow it" in output
    assert '/guard" start' not in output
    assert "systemctl enable" not in output
    told = run(tmp_path, backend, off, guests="i-2-3-VM", network_change_with_guests=True)
    assert '/guard" start' in sent(told)


@BACKENDS
def test_what_another_run_has_not_confirmed_is_no_success(tmp_path: Path, backend: str) -> None:
    pending = run(tmp_path, backend, [*services(backend, "on enabled"), "unconfirmed"])
    assert f"sh {GUARD}/guard refuse_beside_another" in sent(pending)


def test_what_is_to_be_open_is_so_before_iptables_is_on(tmp_path: Path) -> None:
    output = sent(run(tmp_path, "iptables", services("iptables", "off")))
    opened = output.index("Will modify /etc/sysconfig/iptables")
    assert opened < output.index('/guard" start')
    assert "+ -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT" in output
    assert "+ -A INPUT -s 192.168.42.0/24 -p tcp -m tcp --dport 16509 -j ACCEPT" in output
    assert not re.search(r"ip6?tables -[ID] INPUT", output)


def test_what_is_to_be_open_is_so_before_firewalld_is_on(tmp_path: Path) -> None:
    output = sent(run(tmp_path, "firewalld", services("firewalld", "off")))
    rule = 'rule family="ipv4" source address="192.168.42.0/24" port port="16509" protocol="tcp"'
    opened = f"firewall-offline-cmd -q --zone=public '--add-rich-rule={rule} accept'"
    assert output.index(opened) < output.index('/guard" start')
    assert "firewall-cmd -q" not in output


@BACKENDS
def test_a_firewall_that_says_nothing_of_itself_fails_its_host(
    tmp_path: Path, backend: str
) -> None:
    silent = run(tmp_path, backend, [])
    reason = f"the state of {backend} could not be read, so nothing is changed there"
    assert silent.reasons() == {"@fake/kvm1": reason}
    assert '/guard" start' not in sent(silent)


def test_a_firewall_that_is_somebody_elses_cannot_be_switched_on(tmp_path: Path) -> None:
    refused = run(tmp_path, "unmanaged", [])
    assert refused.status != 0
    assert "None where firewall_backend is unmanaged" in sent(refused)
