"""Whole runs against one host, this machine, over SSH: which of them may change it, and when.

The locks are flock(1)'s, the processes are real, and a run that is killed is killed.
"""

import getpass
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Config, Host, Inventory, State
from pyinfra.connectors.ssh import SSHConnector

from kvmhost import lock, ssh
from kvmhost.facts.machine import LOCK, Machine, Traits
from tests.lab.fleet import wait_until
from tests.runs import CHECKOUT, Run, pyinfra, start
from tests.unit.ssh_server import listening, reaching

LIMIT = 120
"""Seconds after which a run hangs."""
PIPES: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
ME = f"{getpass.getuser()}@{socket.gethostname()}"
DEPLOY = """\
from kvmhost import lock
from kvmhost.operations.commands import Commands, operation

lock.LOCK = {lock!r}

@operation()
def does(command: str | None) -> Commands:
    if command:
        yield command

does(name="Change a thing", command={command!r})
does(name="Find all as it is to be", command=None)
"""
BROKEN_OFF = """
from pyinfra.api import FunctionCommand

@operation()
def disconnected() -> Commands:
    yield FunctionCommand(lambda state, host: host.disconnect(), (), {})

disconnected(name="Be disconnected")
does(name="Find all as it is to be again", command=None)
"""


@dataclass(frozen=True)
class Site:
    """A host that is this machine, as runs know it, and what it has of them."""

    folder: Path
    port: int
    log: socket.socket

    @property
    def lock(self) -> Path:
        return self.folder / "a host's lock"

    @property
    def data(self) -> dict[str, object]:
        return reaching(self.port, self.folder)

    def inventory(self, **others: dict[str, object]) -> str:
        path = self.folder / "inventory.py"
        hosts = {"kvm1": self.data} | others
        path.write_text(f"hosts = {list(hosts.items())!r}\n")
        return str(path)

    def deploy(self, command: str | None) -> str:
        path = self.folder / "deploy.py"
        path.write_text(DEPLOY.format(lock=str(self.lock), command=command))
        return str(path)

    def run(self, command: str | None, *arguments: str, **others: dict[str, object]) -> Run:
        how = arguments or ("-y", "--json")
        return pyinfra(self.inventory(**others), self.deploy(command), *how, timeout=LIMIT)

    def connect(self) -> Host:
        """Return the host as a run of this process is connected to it."""
        inventory = Inventory(([("kvm1", self.data)], {}))
        State(inventory, Config())
        host = inventory.get_host("kvm1")
        assert isinstance(host, Host)
        host.connect(raise_exceptions=True)
        return host

    def program(self, name: str, script: str) -> None:
        """Have the host find a script in a program's place."""
        path = self.folder / "programs" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    @property
    def journal(self) -> list[str]:
        """What has come to the host's journal since it was last asked, without time and process."""
        lines = []
        while True:
            try:
                said = self.log.recv(2**20).decode()
            except BlockingIOError:
                return lines
            lines.append(re.sub(r"^<\d+>.{15} ", "", said))

    def is_free(self) -> bool:
        return subprocess.run(["flock", "-n", self.lock, "true"]).returncode == 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    programs = tmp_path / "programs"
    programs.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, listening(programs) as port:
        log.bind(str(tmp_path / "log"))
        log.setblocking(False)
        site = Site(tmp_path, port, log)
        # the machine's own, to a socket that this test reads
        site.program("logger", f'exec /usr/bin/logger -u {tmp_path}/log "$@"')
        yield site


@pytest.fixture
def held(site: Site) -> Iterator["subprocess.Popen[str]"]:
    """Yield a run that is in the middle of a change."""
    begun = site.folder / "begun"
    process = start(site.inventory(), site.deploy(f"touch {begun}; exec sleep 100"), "-y")
    wait_until(begun.exists, LIMIT, "the change to begin")
    yield process
    process.kill()
    process.communicate()


def test_a_run_leaves_a_line_and_no_lock(site: Site) -> None:
    done = site.run("touch {}; test ! -e nothing".format(site.folder / "changed"))
    assert done.status == 0, done.output
    assert site.is_free()
    version = subprocess.check_output(
        ["git", "describe", "--tags", "--always", "--dirty"], cwd=CHECKOUT, text=True
    ).strip()
    [line] = site.journal
    said = re.fullmatch(r"cloudstack-kvm-host: version (\S+), (\S+), PID \d+: (.*)", line)
    assert said and said.groups() == (version, ME, "changed: Change a thing")


def test_a_run_that_changes_nothing_says_so(site: Site) -> None:
    assert site.run(None).status == 0
    [line] = site.journal
    assert line.endswith(": nothing changed")


def test_what_failed_is_said_too(site: Site) -> None:
    assert site.run("exit 7").status == 1
    [line] = site.journal
    assert line.endswith(": failed: Change a thing")
    assert site.is_free()


def test_what_goes_on_when_the_run_is_broken_off_is_said_too(site: Site) -> None:
    deploy = site.deploy("true")
    Path(deploy).write_text(Path(deploy).read_text() + BROKEN_OFF)
    assert pyinfra(site.inventory(), deploy, "-y", timeout=LIMIT).status == 0
    [early, _] = site.journal
    assert early.endswith(": changed: Change a thing. broken off: Be disconnected")


@pytest.mark.parametrize("how", [("--dry",), ("--dry", "-y")], ids=" ".join)
def test_a_dry_run_writes_nothing(site: Site, how: tuple[str, ...]) -> None:
    assert site.run("true", *how).status == 0
    assert not site.lock.exists()
    assert site.journal == []


def test_a_run_beside_another_is_told_of_it_and_changes_nothing(
    site: Site, held: "subprocess.Popen[str]"
) -> None:
    changed = site.folder / "changed"
    beside = site.run(f"touch {changed}")
    assert beside.status == 1
    who = rf"{re.escape(ME)}, PID {held.pid}, since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n"
    assert re.search(f"another run works on this host: {who}", beside.output)
    assert not changed.exists()
    assert site.journal == []
    assert site.run(f"touch {changed}", "--dry").status == 0
    held.kill()
    wait_until(site.is_free, LIMIT, "the killed run's lock to end")
    assert site.run(f"touch {changed}").status == 0
    assert changed.exists()


def test_the_others_go_on_beside_a_host_that_is_locked(
    site: Site, held: "subprocess.Popen[str]"
) -> None:
    both = site.run("true", **{"@fake/kvm2": {}})
    assert both.status == 1
    assert both.json["results"]["failed_hosts"] == ["kvm1"]
    assert both.changed == {"Change a thing": ["@fake/kvm2"]}


def test_a_machine_with_two_names_is_changed_under_one(site: Site) -> None:
    both = site.run("true", kvm2=site.data)
    assert both.status == 1
    assert len(both.json["results"]["failed_hosts"]) == 1
    assert len(both.changed["Change a thing"]) == 1
    assert len(site.journal) == 1


def test_the_gates_question_tells_who_holds_the_lock(
    site: Site, held: "subprocess.Popen[str]"
) -> None:
    def asked() -> str | None:
        command = Traits().command(None, None).replace(LOCK, shlex.quote(str(site.lock)))
        lines = subprocess.check_output(["sh", "-c", command], text=True).splitlines()
        machine: Machine = Traits().process(lines)
        return machine.locked

    assert (asked() or "").startswith(f"{ME}, PID {held.pid}, since 2")
    held.kill()
    wait_until(site.is_free, LIMIT, "the killed run's lock to end")
    assert asked() is None
    site.lock.unlink()
    assert asked() is None
    assert not site.lock.exists()


def test_a_host_that_cannot_be_locked_says_why(site: Site) -> None:
    site.lock.mkdir()
    refused = site.run("true")
    assert refused.status == 1
    assert "this host cannot be locked: " in refused.output
    assert "Is a directory" in refused.output


def test_names_of_the_workstation_are_nothing_to_a_shell(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"$(touch {site.folder}/run) 'x' \\\" ; exit 1 #\n\x1b[2J \udce9 {'long' * 1000}"
    monkeypatch.setenv("LOGNAME", name)
    assert site.run("true").status == 0
    assert not (site.folder / "run").exists()
    [line] = site.journal
    assert name.replace("\n\x1b", "??").replace("\udce9", "?") in line
    assert line.endswith(": changed: Change a thing")


def test_an_old_logger_that_knows_no_size_writes_the_line(site: Site) -> None:
    site.program(
        "logger",
        'case "$*" in *--help) exit 1 ;; *-S*) exit 1 ;; esac\n'
        f'exec /usr/bin/logger -u {site.folder}/log "$@"',
    )
    assert "no line" not in site.run("true").output
    assert len(site.journal) == 1


def test_a_host_without_a_journal_is_named(site: Site) -> None:
    (site.folder / "log").unlink()
    # as it does where systemd has booted
    on = "--socket-errors=on"
    site.program("logger", f'exec /usr/bin/logger {on} -u {site.folder}/log "$@"')
    done = site.run("true")
    assert done.status == 0
    assert "Its journal has no line of this run: logger: socket " in done.output
    assert site.is_free()


def test_the_lock_is_taken_as_operations_run_their_commands(site: Site) -> None:
    site.program("sudo", f'echo "$*" >>{site.folder}/asked; shift 2; exec "$@"')
    assert site.run("true", "-y", "--sudo").status == 0
    assert "-H -n bash -c " in (site.folder / "asked").read_text()
    assert len(site.journal) == 1


def test_there_is_no_lock_where_su_is_given_its_password_in_the_channels_place(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = site.connect()
    monkeypatch.setattr(host, "current_op_global_arguments", {"_su_password": "secret"})
    assert lock.hold(host) is None
    assert not site.lock.exists()


@pytest.fixture
def connected(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(lock, "LOCK", str(site.lock))
    host = site.connect()
    yield host
    host.disconnect()


def holder(site: Site) -> int:
    """Return the process that holds the lock."""
    return int(site.lock.read_text().split()[-1])


def test_a_connection_takes_the_lock_once(site: Site, connected: Host) -> None:
    assert lock.hold(connected) is None
    first = holder(site)
    assert lock.hold(connected) is None
    assert holder(site) == first
    os.kill(first, signal.SIGKILL)

    def is_taken_anew() -> bool:
        """Whether it is; the connection may learn a little later that its process has ended."""
        return lock.hold(connected) is None and not site.is_free() and holder(site) != first

    wait_until(is_taken_anew, LIMIT, "the lock to be taken anew")


@pytest.mark.parametrize("is_silent", [False, True], ids=["closed", "silent"])
def test_a_connection_that_is_made_anew_takes_the_lock_over(
    site: Site, connected: Host, is_silent: bool
) -> None:
    assert lock.hold(connected) is None
    first = holder(site)
    connector = connected.connector
    assert isinstance(connector, SSHConnector)
    if is_silent:
        old, connector.client = connector.client, None
        assert old is not None
    ssh.reconnect(connected, ssh.destination(connected))
    assert lock.hold(connected) is None
    assert holder(site) != first
    assert not site.is_free()
    wait_until(lambda: not Path(f"/proc/{first}").exists(), LIMIT, "the first holder to end")


def test_a_run_that_has_lost_its_lock_to_another_is_told(site: Site, connected: Host) -> None:
    assert lock.hold(connected) is None
    ssh.reconnect(connected, ssh.destination(connected))
    wait_until(site.is_free, LIMIT, "the lock to be free")
    with subprocess.Popen(["flock", site.lock, "sh", "-c", "echo; read x"], **PIPES) as other:
        assert other.stdin and other.stdout
        other.stdout.readline()
        site.lock.write_text("someone@elsewhere, PID 7, since today\nother 7\n")
        refusal = "another run works on this host: someone@elsewhere, PID 7, since today"
        assert lock.hold(connected) == refusal
        other.stdin.close()
    assert lock.hold(connected) is None


@pytest.mark.parametrize("end", ["stdin", "stdout"])
def test_a_lock_ends_with_either_end_of_its_channel(site: Site, end: str) -> None:
    """What it says and nobody takes is how it learns that the workstation is gone."""
    script = lock._HOLD.replace("-t 60", "-t 1")
    command = ["bash", "-c", script, "bash", str(site.lock), "me", "token", "held", "tag"]
    with subprocess.Popen(command, **PIPES) as process:
        assert process.stdin and process.stdout
        assert [process.stdout.readline() for _ in range(3)] == [b"held\n", b"\n", b"\n"]
        assert not site.is_free()
        getattr(process, end).close()
        assert process.wait(LIMIT) in (0, -signal.SIGPIPE)
        assert site.is_free()
