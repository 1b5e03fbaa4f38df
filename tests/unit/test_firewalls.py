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
from kvmhost.iptables import forwarding
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
        ("systemctl", f"case $1 in is-enabled) echo {enabled} ;; *) exit 3 ;; esac"),
    ):
        (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "firewalld.conf").write_text(CONF)
    command = State().command(backend=backend).replace("/etc/firewalld", str(tmp_path))
    command = command.replace("/etc/ufw", str(tmp_path))
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


def test_a_firewalld_that_runs_and_does_not_answer_is_not_off(tmp_path: Path) -> None:
    for program, status in (("firewall-cmd", 251), ("systemctl", 0)):
        (tmp_path / program).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / program).chmod(0o755)
    ask = ["sh", "-c", FIREWALLS["firewalld"].is_on("firewalld")]
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert subprocess.run(ask, env=os.environ | path).returncode == 0


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


UFW = "/etc/ufw/ufw.conf"


def test_ufw_is_as_it_was_at_the_next_boot_by_its_file() -> None:
    needed = changed("ufw", {UFW: "# ENABLED=yes\nENABLED=no\nLOGLEVEL=low\n"}, ufw=OFF)
    assert needed.apply == Steps(up="ufw --force enable\n")
    assert needed.rollback.down == "ufw --force disable\n"
    (conf,) = needed.files
    assert (conf.path, conf.content) == (UFW, "# ENABLED=yes\nENABLED=yes\nLOGLEVEL=low\n")
    assert change("ufw", Present({"ufw": ON}, {UFW: conf.content})) is None
    # which its program changes on the way back
    assert changed("ufw", {UFW: conf.content}, ufw=OFF).files == (conf,)


def test_ufw_that_is_on_and_not_at_boot_is_made_so() -> None:
    needed = changed("ufw", {UFW: "ENABLED=no\n"}, ufw=ON)
    assert needed.files[0].content == "ENABLED=yes\n"
    assert needed.rollback.down == ""


def test_the_kernel_is_told_again_what_it_was_before_ufw(tmp_path: Path) -> None:
    """Its rules are restored by iptables-restore(8), its parameters by sysctl(8)."""
    needed = changed("ufw", {}, ufw=OFF)
    (tmp_path / "sysctl.conf").write_text(
        "# net/ipv4/ip_forward=1\nnet/ipv4/ip_forward=9\nnet/ipv4/no_such=1\n"
    )
    for program in ("iptables", "ip6tables"):
        (tmp_path / f"{program}-save").write_text(f"#!/bin/sh\necho {program}\n")
        (tmp_path / f"{program}-restore").write_text(f"#!/bin/sh\ncat >>{tmp_path}/restored\n")
    (tmp_path / "sysctl").write_text(
        f"#!/bin/sh\n[ $1$2 = -q-p ] && cat $3 >>{tmp_path}/restored\n"
    )
    for stub in tmp_path.glob("*[!f]"):
        stub.chmod(0o755)
    for script in (needed.save, needed.rollback.up):
        written = script.replace("/etc/ufw", str(tmp_path)).replace("/proc/net/if_inet6", "/proc")
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(["sh", "-e", "-c", written], cwd=tmp_path, env=path, check=True)
    forwards = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    restored = (tmp_path / "restored").read_text().splitlines()
    assert restored == ["iptables", "ip6tables", f"net/ipv4/ip_forward = {forwards}"]


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


IP6TABLES = "/etc/sysconfig/ip6tables"


def test_iptables_refuses_nothing_that_goes_through() -> None:
    needed = changed("iptables", {IP6TABLES: SAVED}, iptables=ON, ip6tables=ON)
    (saved,) = needed.files
    assert saved.content == "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i eth9 -j DROP\nCOMMIT\n"
    again = Present({"iptables": ON, "ip6tables": ON}, {IP6TABLES: saved.content})
    assert change("iptables", again) is None
    assert "systemctl" not in f"{needed.apply}{needed.rollback}"


IF_IPV6 = "[ ! -e /proc/net/if_inet6 ] || "


def test_what_was_on_stays_on_and_the_rules_of_all_come_back() -> None:
    needed = changed("iptables", {}, iptables=ON, ip6tables=OFF)
    assert needed.save == (
        f"iptables-save >iptables.rules\n{IF_IPV6}ip6tables-save >ip6tables.rules\n"
    )
    begins = "systemctl enable --no-reload ip6tables.service\n"
    assert needed.rollback == Steps(
        down="systemctl stop ip6tables.service\n",
        up="iptables-restore <iptables.rules\n"
        f"{IF_IPV6}ip6tables-restore <ip6tables.rules\n{begins}",
    )
    assert needed.boot == begins


def test_the_rules_as_they_are_refuse_nothing_that_goes_through_either(tmp_path: Path) -> None:
    needed = changed("iptables", {IP6TABLES: SAVED}, iptables=ON, ip6tables=ON)
    kept = [
        "*filter",
        "[7:99] -A FORWARD -i eth9 -j DROP",
        "[7:99] -A FORWARD -j DROP-ALL",
        "[7:99] -A INPUT -j DROP",
        "COMMIT",
    ]
    lines = [
        kept[0],
        ":FORWARD DROP [1:2]",
        *kept[1:4],
        "[7:99] -A FORWARD -j REJECT --reject-with icmp-host-prohibited",
        r'[0:0] -A FORWARD -m comment --comment "a \"$(halt)\" -j" -j DROP',
        "[0:0] -A FORWARD -m comment --comment word -j DROP",
        kept[-1],
    ]
    saved = tmp_path / "saved"
    saved.write_text("".join(f"{line}\n" for line in lines))
    for program in ("iptables", "ip6tables"):
        (tmp_path / f"{program}-save").write_text(f"#!/bin/sh\ncat {saved}\n")
        (tmp_path / f"{program}-restore").write_text(f"#!/bin/sh\ncat >{tmp_path}/{program}\n")
    for stub in tmp_path.glob("*-*"):
        stub.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-e", "-c", needed.apply.up], env=os.environ | path, check=True)
    expected = [kept[0], ":FORWARD ACCEPT [1:2]", *kept[1:]]
    for program in ("iptables", "ip6tables"):
        assert (tmp_path / program).read_text().splitlines() == expected
    assert forwarding("\n".join(lines)) == "\n".join(expected)


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
