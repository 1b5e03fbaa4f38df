"""How a firewall is switched on: what a host is asked, what its guard gets, what confirms it."""

import os
import subprocess
from base64 import b64encode
from pathlib import Path
from unittest.mock import Mock
from xml.etree import ElementTree

import pytest
from pyinfra.api import Host

from kvmhost.facts.firewalls import State
from kvmhost.firewalls import FIREWALLS, Present, Service, change
from kvmhost.network.change import Change, Steps
from kvmhost.operations import firewalls, guarded

CONF = "# firewalld\nDefaultZone=public\nIPv6_rpfilter=yes\n"
SAVED = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j DROP\n-A FORWARD -i eth9 -j DROP\nCOMMIT\n"


@pytest.mark.parametrize(
    ("backend", "status", "enabled", "expected"),
    [
        ("ufw", "echo Chain ufw-user-input", "enabled", {"ufw": Service(True, True)}),
        ("ufw", "exit 1", "enabled", {"ufw": Service(False, True)}),
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
        ("ufw", "exit 2"),
        ("iptables", status),
        ("firewall-cmd", status),
        ("service", "exit 1"),
        ("systemctl", f"[ $1 = is-enabled ] && echo {enabled}"),
    ):
        (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "firewalld.conf").write_text(CONF)
    command = State().command(backend=backend).replace("/etc/firewalld", str(tmp_path))
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
    conf = {f"{tmp_path}/firewalld.conf": CONF}
    assert present.files == (conf if backend == "firewalld" else {})
    assert not present.unconfirmed


def test_a_firewall_is_on_when_all_of_it_is() -> None:
    lines = ["service iptables on enabled", "service ip6tables off", "unconfirmed"]
    encoded = b64encode(SAVED.encode()).decode()
    present = State().process([*lines, f"file /etc/sysconfig/iptables {encoded}", "all"])
    assert present == Present(
        services={"iptables": Service(True, True), "ip6tables": Service(False, False)},
        files={"/etc/sysconfig/iptables": SAVED},
        unconfirmed=True,
    )
    assert present.off == ("ip6tables",)


@pytest.mark.parametrize("lines", [["service ufw on enabled"], ["all"]])
def test_half_an_answer_is_none(lines: list[str]) -> None:
    assert State().process(lines) is None


OFF, ON = Service(False, True), Service(True, True)


def changed(backend: str, files: dict[str, str], **services: Service) -> Change:
    needed = change(backend, Present(services, files))
    assert needed
    return needed


def test_ufw_is_off_again_at_the_next_boot(tmp_path: Path) -> None:
    needed = changed("ufw", {}, ufw=OFF)
    assert needed.apply == Steps(up="ufw --force enable\n")
    assert needed.rollback == Steps(down="ufw --force disable\n")
    conf = tmp_path / "ufw.conf"
    conf.write_text("# ENABLED=yes\nENABLED=yes\nLOGLEVEL=low\n")
    boot = needed.boot.replace("/etc/ufw/ufw.conf", str(conf))
    subprocess.run(["sh", "-e", "-c", boot], check=True)
    assert conf.read_text() == "# ENABLED=yes\nENABLED=no\nLOGLEVEL=low\n"


def test_firewalld_lets_all_through_and_nothing_in() -> None:
    needed = changed("firewalld", {"/etc/firewalld/firewalld.conf": CONF}, firewalld=OFF)
    conf, policy = needed.files
    assert conf.content == CONF.replace("=yes", "=no")
    root = ElementTree.fromstring(policy.content)
    assert root.get("target") == "ACCEPT"
    zones = [(each.tag, each.get("name")) for each in root if each.get("name")]
    assert zones == [("ingress-zone", "ANY"), ("egress-zone", "ANY")]


def test_a_firewalld_that_is_on_reads_its_files_again_and_stays_on() -> None:
    needed = changed("firewalld", {}, firewalld=ON)
    assert needed.apply == needed.rollback == Steps(up="firewall-cmd --reload\n")
    files = {each.path: each.content for each in needed.files}
    assert change("firewalld", Present({"firewalld": ON}, files)) is None
    assert change("ufw", Present({"ufw": ON}, {})) is None


IP6TABLES = "/etc/sysconfig/ip6tables"


def test_iptables_refuses_nothing_that_goes_through() -> None:
    needed = changed("iptables", {IP6TABLES: SAVED}, iptables=ON, ip6tables=ON)
    (saved,) = needed.files
    assert saved.content == "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i eth9 -j DROP\nCOMMIT\n"
    again = Present({"iptables": ON, "ip6tables": ON}, {IP6TABLES: saved.content})
    assert change("iptables", again) is None
    assert "systemctl" not in f"{needed.apply}{needed.rollback}"


def test_what_was_on_stays_on_and_the_rules_of_all_come_back() -> None:
    needed = changed("iptables", {}, iptables=ON, ip6tables=OFF)
    assert needed.save == "iptables-save >iptables.rules\nip6tables-save >ip6tables.rules\n"
    assert needed.rollback == Steps(
        down="systemctl stop ip6tables.service\n",
        up="iptables-restore <iptables.rules\nip6tables-restore <ip6tables.rules\n",
    )


def test_the_rules_as_they_are_refuse_nothing_that_goes_through_either(tmp_path: Path) -> None:
    needed = changed("iptables", {IP6TABLES: SAVED}, iptables=ON, ip6tables=ON)
    listed = "-P FORWARD DROP\n-A FORWARD -j REJECT --reject-with x\n-A FORWARD -i eth9 -j DROP"
    for program in ("iptables", "ip6tables"):
        stub = f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/log; [ "$1" != -S ] || echo "{listed}"\n'
        (tmp_path / program).write_text(stub)
        (tmp_path / program).chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-e", "-c", needed.apply.up], env=os.environ | path, check=True)
    log = (tmp_path / "log").read_text().replace(f"{tmp_path}/", "")
    assert log.splitlines() == [
        f"{program} {arguments}"
        for program in ("iptables", "ip6tables")
        for arguments in (
            "-S FORWARD",
            "-D FORWARD -j REJECT --reject-with x",
            "-P FORWARD ACCEPT",
        )
    ]


@pytest.mark.parametrize("backend", ["firewalld", "iptables"])
def test_a_service_is_off_at_boot_until_it_is_confirmed(backend: str) -> None:
    services = dict.fromkeys(FIREWALLS[backend].services, OFF)
    needed = changed(backend, {}, **services)
    assert needed.apply.down.startswith("systemctl disable ")
    assert needed.apply.up.startswith("systemctl start ")


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
