"""How a firewall is switched on: what a host is asked, what its guard gets, what confirms it."""

import os
import subprocess
from base64 import b64encode
from pathlib import Path
from unittest.mock import Mock
from xml.etree import ElementTree

import pytest
from pyinfra.api import Host

from kvmhost.facts.firewalls import Firewall, Service, State
from kvmhost.firewalls import FIREWALLS, switching_on
from kvmhost.network.change import Steps
from kvmhost.network.files import File
from kvmhost.operations import firewalls, guarded

CONF = "# /etc/ufw/ufw.conf\nENABLED=no\n"
SAVED = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j DROP\n-A FORWARD -i eth9 -j DROP\nCOMMIT\n"


@pytest.mark.parametrize(
    ("backend", "status", "enabled", "expected"),
    [
        ("ufw", "echo Status: active", "enabled", {"ufw": Service(True, True)}),
        ("ufw", "echo Status: inactive", "enabled", {"ufw": Service(False, True)}),
        ("ufw", "exit 1", "disabled", {"ufw": Service(False, False)}),
        ("firewalld", "echo running", "enabled", {"firewalld": Service(True, True)}),
        ("firewalld", "exit 252", "enabled-runtime", {"firewalld": Service(False, False)}),
        ("iptables", "", "", {"iptables": Service(False, False)}),
    ],
)
def test_a_host_says_whether_its_firewall_is_on(
    tmp_path: Path, backend: str, status: str, enabled: str, expected: dict[str, Service]
) -> None:
    for program, script in (
        ("ufw", status),
        ("firewall-cmd", status),
        ("service", "exit 1"),
        ("systemctl", f"[ $1 = is-enabled ] && echo {enabled}"),
    ):
        (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "ufw.conf").write_text(CONF)
    command = State().command(backend=backend).replace("/etc/ufw/ufw.conf", f"{tmp_path}/ufw.conf")
    answer = subprocess.run(
        ["sh", "-c", command.replace("/proc/net/if_inet6", "/nowhere")],
        env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    present = State().process(answer.stdout.splitlines())
    assert present
    assert present.services == expected
    assert present.files == ({f"{tmp_path}/ufw.conf": CONF} if backend == "ufw" else {})
    assert not present.unconfirmed


def test_a_firewall_is_on_when_all_of_it_is() -> None:
    lines = ["service iptables on enabled", "service ip6tables off", "unconfirmed"]
    encoded = b64encode(SAVED.encode()).decode()
    present = State().process([*lines, f"file /etc/sysconfig/iptables {encoded}", "all"])
    assert present == Firewall(
        services={"iptables": Service(True, True), "ip6tables": Service(False, False)},
        files={"/etc/sysconfig/iptables": SAVED},
        unconfirmed=True,
    )
    assert present.off == ("ip6tables",)


@pytest.mark.parametrize("lines", [["service ufw on enabled"], ["all"]])
def test_half_an_answer_is_none(lines: list[str]) -> None:
    assert State().process(lines) is None


def test_ufws_file_is_the_guards_to_put_back() -> None:
    """As it stands: `ufw enable` is silent about a failure where the file says yes already."""
    (path,) = FIREWALLS["ufw"].paths
    change = switching_on("ufw", ("ufw",), {path: CONF})
    assert change.files == (File(path, CONF),)
    assert "ufw --force disable" in change.rollback.down


def test_firewalld_lets_all_through_and_nothing_in() -> None:
    change = switching_on("firewalld", ("firewalld",), {})
    (policy,) = change.files
    root = ElementTree.fromstring(policy.content)
    assert root.get("target") == "ACCEPT"
    zones = [(each.tag, each.get("name")) for each in root if each.get("name")]
    assert zones == [("ingress-zone", "ANY"), ("egress-zone", "ANY")]


def test_iptables_refuses_nothing_that_goes_through() -> None:
    path = "/etc/sysconfig/ip6tables"
    change = switching_on("iptables", ("ip6tables",), {path: SAVED})
    (saved,) = change.files
    assert saved.content == "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i eth9 -j DROP\nCOMMIT\n"
    again = switching_on("iptables", ("ip6tables",), {path: saved.content})
    assert again.files == ()
    # what is on stays on, and what libvirt has set comes back
    assert "iptables.service ip6tables.service" not in f"{change.apply}{change.rollback}"
    assert change.save == "ip6tables-save >ip6tables.rules\n"
    assert change.rollback == Steps(
        down="systemctl stop ip6tables.service\n", up="ip6tables-restore <ip6tables.rules\n"
    )


@pytest.mark.parametrize("backend", ["firewalld", "iptables"])
def test_a_service_is_off_at_boot_until_it_is_confirmed(backend: str) -> None:
    change = switching_on(backend, FIREWALLS[backend].services, {})
    assert change.apply.down.startswith("systemctl disable ")
    assert change.apply.up.startswith("systemctl start ")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what a confirmation does on a host whose firewall is on, as far as it gets."""
    carried_out: list[str] = []

    def answer(host: Host, command: str) -> list[str]:
        carried_out.append("confirmed" if "guard confirm" in command else "asked")
        return ["service ufw on enabled", "all"]

    monkeypatch.setattr(guarded, "_stage", lambda host, pending: "applied")
    monkeypatch.setattr(guarded, "answer", answer)
    monkeypatch.setattr(guarded.lock, "hold", lambda host: carried_out.append("locked"))
    monkeypatch.setattr(firewalls.ssh, "destination", lambda host: "there")
    monkeypatch.setattr(
        firewalls.ssh, "reconnect", lambda host, destination: carried_out.append("connected anew")
    )
    return carried_out


PENDING = guarded.Pending(firewalls.On("ufw"), "0" * 32, 60)


def test_a_connection_that_began_after_the_firewall_confirms_it(done: list[str]) -> None:
    guarded._verify(Mock(Host), PENDING)
    assert done == ["asked", "connected anew", "locked", "confirmed"]


def test_a_firewall_that_lets_no_new_connection_in_is_not_confirmed(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise guarded.ConnectError("no connection within 30 s")

    monkeypatch.setattr(firewalls.ssh, "reconnect", refused)
    with pytest.raises(guarded.ConnectError):
        guarded._verify(Mock(Host), PENDING)
    assert done == ["asked"]


def test_a_firewall_that_is_off_is_not_confirmed(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "answer", lambda *_: ["service ufw off enabled", "all"])
    with pytest.raises(guarded.UnconfirmedError, match="ufw is off"):
        guarded._verify(Mock(Host), PENDING)
    assert done == []
