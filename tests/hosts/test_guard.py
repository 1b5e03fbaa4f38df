"""The guard of a network change, under systemd, with changes that go wrong in every way.

What is changed here is a file that stands for those of a network: what a guard does with it does
not depend on what it is. Real networks are changed in tests/machines.
"""

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from kvmhost.network.change import Change, Steps
from kvmhost.network.files import File
from kvmhost.operations.guarded import GUARD, LOG, START, package
from tests.lab import lab
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until

DIRECTORY = "/etc/guarded"
PATH = f"{DIRECTORY}/network"
LONG = 600
"""Seconds until an unconfirmed change is undone, where that is not awaited."""
STUBS = "/usr/local/bin"


@dataclass(frozen=True)
class Guarded:
    """A host whose file is changed under the guard."""

    host: Node
    token: str

    def start(
        self, change: Change, timeout: int = LONG, token: str | None = None, cut: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Begin a change; `cut` breaks its upload off after so many characters."""
        upload = package(change, token or self.token, timeout)
        return self.host.run(START, stdin=upload[:cut], check=False)

    def confirm(self, token: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.host.run(f"sh {GUARD}/guard confirm {token or self.token}", check=False)

    def text(self) -> str:
        return self.host.run(f"cat {PATH}").stdout

    def log(self, token: str | None = None) -> list[str]:
        """What the guard has said of one change."""
        named = f" {(token or self.token)[:8]} "
        lines = self.host.run(f"cat {LOG}", check=False).stdout.splitlines()
        return [line.partition(named)[2] for line in lines if named in line]

    def wait_for(self, text: str, token: str | None = None) -> None:
        def said() -> bool:
            return any(line.startswith(text) for line in self.log(token))

        wait_until(said, DEADLINE, f"{text!r} in the guard's log")

    def assert_nothing_is_left(self) -> None:
        """Neither files, nor units that anything would come of; a daemon's unit lives with it."""
        left = self.host.run(
            f"ls -d {GUARD} /run/cloudstack-network.?*/ 2>/dev/null; "
            f"find {DIRECTORY} /etc/systemd -name '*cloudstack-n*'; "
            "ps -eo args | grep '[/]guard '",
            check=False,
        ).stdout
        assert left == ""


@pytest.fixture
def guarded(fleet: Fleet) -> Iterator[Guarded]:
    """Yield a host with the old file, and take the test's traces away afterwards."""
    host = next(node for node in fleet.hosts if node.distribution == "debian")
    host.run(f"mkdir -p {DIRECTORY} && echo old >{PATH}")
    yield Guarded(host, secrets.token_hex(16))
    host.run(
        "systemctl kill --signal=KILL 'cloudstack-network*'; "
        f"umount {PATH} {DIRECTORY} 2>/dev/null; "
        f"rm -rf {GUARD} {DIRECTORY} {STUBS}/systemd-run {STUBS}/ln {STUBS}/mv /root/daemon"
    )


def a_change(**parts: object) -> Change:
    """Return a change of the file that succeeds, with some parts otherwise."""
    change = Change((), (File(PATH, "new\n"),), Steps(), Steps(), "true\n")
    return replace(change, **parts)  # type: ignore[arg-type]


def stub(host: Node, program: str, script: str) -> None:
    """Have the host call a script in a program's place."""
    host.run(
        f"cat >{STUBS}/{program} && chmod +x {STUBS}/{program}", stdin=f"#!/bin/sh\n{script}\n"
    )


def test_a_confirmed_change_stays_and_leaves_nothing(guarded: Guarded) -> None:
    assert guarded.start(a_change()).returncode == 0
    guarded.wait_for("applied")
    assert guarded.confirm("another host's").returncode != 0
    assert guarded.confirm().returncode == 0
    assert guarded.text() == "new\n"
    assert guarded.log()[-1] == "confirmed"
    guarded.assert_nothing_is_left()


@pytest.mark.parametrize("script", ["exit 1", "exit 0"], ids=["fails", "does nothing"])
def test_nothing_is_touched_where_nobody_would_roll_back(guarded: Guarded, script: str) -> None:
    stub(guarded.host, "systemd-run", script)
    refused = guarded.start(a_change())
    assert refused.returncode != 0
    assert "cannot stand by; nothing is changed" in refused.stderr
    assert guarded.text() == "old\n"
    assert guarded.log() == []
    guarded.assert_nothing_is_left()


def test_nothing_is_touched_without_the_boot_unit(guarded: Guarded) -> None:
    stub(guarded.host, "ln", "exit 0")
    assert guarded.start(a_change()).returncode != 0
    assert guarded.text() == "old\n"
    guarded.assert_nothing_is_left()


@pytest.mark.parametrize(
    "part", [{"validate": "echo no >&2; false\n"}, {"save": "echo no >&2; false\n"}], ids=str
)
def test_nothing_is_touched_that_is_refused_or_cannot_be_saved(
    guarded: Guarded, part: dict[str, str]
) -> None:
    refused = guarded.start(a_change(**part))
    assert refused.returncode != 0
    assert "no\n" in refused.stderr
    assert guarded.text() == "old\n"
    guarded.assert_nothing_is_left()


def test_a_daemon_that_a_rollback_has_started_does_not_disarm_the_next_change(
    guarded: Guarded,
) -> None:
    daemon = a_change(rollback=Steps(up="sleep 900 & echo $! >>/root/daemon\n"))
    for token in (secrets.token_hex(16), secrets.token_hex(16)):
        assert guarded.start(daemon, timeout=1, token=token).returncode == 0
        guarded.wait_for("rolled back: nobody confirmed in time", token)
        assert guarded.text() == "old\n"
    units = guarded.host.run("xargs -n1 ps -o unit= -p </root/daemon").stdout.split()
    assert len(set(units)) == 2
    assert all(unit.startswith("cloudstack-network-rollback-") for unit in units)
    guarded.assert_nothing_is_left()


@pytest.mark.parametrize("steps", [Steps(down="false\n"), Steps(up="false\n")], ids=str)
def test_a_step_that_fails_ends_the_change(guarded: Guarded, steps: Steps) -> None:
    entered = Steps(steps.down, steps.up + "touch /root/entered\n")
    assert guarded.start(a_change(apply=entered)).returncode == 0
    guarded.wait_for("rolled back: the change could not be carried out")
    assert guarded.text() == "old\n"
    assert guarded.host.run("ls /root/entered", check=False).returncode != 0
    guarded.assert_nothing_is_left()


def test_a_file_that_cannot_be_written_ends_the_change(guarded: Guarded) -> None:
    guarded.host.run(f"touch {DIRECTORY}/file")
    files = (File(f"{DIRECTORY}/file/below-it", "new\n"), File(PATH, "new\n"))
    entering = Steps(up="touch /root/entered\n")
    assert guarded.start(a_change(files=files, apply=entering)).returncode == 0
    guarded.wait_for("rolled back: the change could not be carried out")
    assert guarded.text() == "old\n"
    assert guarded.host.run("ls /root/entered", check=False).returncode != 0


def test_the_way_back_tries_everything(guarded: Guarded) -> None:
    back = Steps(down="false\necho left >/root/tried\n", up="false\necho entered >>/root/tried\n")
    assert guarded.start(a_change(rollback=back), timeout=1).returncode == 0
    guarded.wait_for("rolled back: nobody confirmed in time")
    assert guarded.text() == "old\n"
    assert guarded.host.run("cat /root/tried; rm /root/tried").stdout == "left\nentered\n"


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_file_that_is_a_link_is_one_again(guarded: Guarded, target: str) -> None:
    guarded.host.run(f"cd {DIRECTORY} && mv network elsewhere && ln -s {target} network")
    listed = guarded.host.run(f"ls -o --time-style=+ {DIRECTORY}").stdout
    assert guarded.start(a_change(), timeout=1).returncode == 0
    guarded.wait_for("rolled back: nobody confirmed in time")
    assert guarded.host.run(f"ls -o --time-style=+ {DIRECTORY}").stdout == listed
    assert guarded.host.run(f"cat {DIRECTORY}/elsewhere").stdout == "old\n"


def test_a_change_that_is_not_applied_cannot_be_confirmed(guarded: Guarded) -> None:
    hanging = a_change(apply=Steps(down="touch /root/leaving; sleep 900\n"))
    assert guarded.start(hanging, timeout=20).returncode == 0
    guarded.host.run("until [ -e /root/leaving ]; do sleep 0.1; done; rm /root/leaving")
    assert guarded.confirm().returncode != 0
    guarded.wait_for("rolled back: nobody confirmed in time")
    assert guarded.text() == "old\n"


def test_a_change_that_hangs_is_undone(guarded: Guarded) -> None:
    hanging = a_change(apply=Steps(up="sleep 900\n"))
    assert guarded.start(hanging, timeout=2).returncode == 0
    guarded.wait_for("rolled back: nobody confirmed in time")
    assert guarded.text() == "old\n"
    assert "applied" not in guarded.log()
    guarded.assert_nothing_is_left()


def test_a_full_disk_is_rolled_back_from(guarded: Guarded) -> None:
    guarded.host.run(f"mount -t tmpfs -o size=64k guarded {DIRECTORY} && echo old >{PATH}")
    filling = Steps(up=f"cat /dev/zero >{DIRECTORY}/fills-it || false\n")
    assert guarded.start(a_change(apply=filling)).returncode == 0
    guarded.wait_for("rolled back: the change could not be carried out")
    assert guarded.text() == "old\n"


@pytest.mark.parametrize("part", [0.0, 0.1, 0.9])
def test_an_upload_that_breaks_off_keeps_nobody_from_trying_again(
    guarded: Guarded, part: float
) -> None:
    length = len(package(a_change(), guarded.token, LONG))
    assert guarded.start(a_change(), cut=int(part * length) // 4 * 4).returncode != 0
    guarded.assert_nothing_is_left()
    assert guarded.text() == "old\n"
    assert guarded.start(a_change()).returncode == 0
    guarded.wait_for("applied")
    assert guarded.confirm().returncode == 0


def test_what_an_upload_left_that_was_never_armed_is_in_nobodys_way(guarded: Guarded) -> None:
    guarded.host.run(f"mkdir {GUARD} && echo half >{GUARD}/guard")
    assert guarded.start(a_change()).returncode == 0
    guarded.wait_for("applied")
    assert guarded.confirm().returncode == 0


def test_of_two_administrators_the_second_is_refused(guarded: Guarded) -> None:
    assert guarded.start(a_change()).returncode == 0
    guarded.wait_for("applied")
    other = secrets.token_hex(16)
    refused = guarded.start(a_change(files=(File(PATH, "newer\n"),)), token=other)
    assert refused.returncode != 0
    assert "an earlier change is not confirmed yet" in refused.stderr
    assert guarded.text() == "new\n"
    assert guarded.log(other) == []
    assert guarded.confirm().returncode == 0


def test_a_change_that_nobody_would_roll_back_is_undone_by_the_next(guarded: Guarded) -> None:
    assert guarded.start(a_change()).returncode == 0
    guarded.wait_for("applied")
    guarded.host.run("systemctl stop 'cloudstack-network-rollback-*'")
    again = guarded.start(a_change(), token=secrets.token_hex(16))
    assert "is being undone now" in again.stderr
    guarded.wait_for("rolled back: nobody was left to do it")
    assert guarded.text() == "old\n"
    guarded.assert_nothing_is_left()


def test_a_power_cut_between_two_files_leaves_no_half_of_one(guarded: Guarded) -> None:
    stub(
        guarded.host,
        "mv",
        f"if [ -e {GUARD}/armed ] && mkdir /root/cut 2>/dev/null; then sleep 900; fi\n"
        'exec /usr/bin/mv "$@"',
    )
    assert guarded.start(a_change()).returncode == 0
    wait_until(
        lambda: guarded.host.run("ls /root/cut", check=False).returncode == 0,
        DEADLINE,
        "the file that is about to be replaced",
    )
    assert "cloudstack-new" in guarded.host.run(f"ls -A {DIRECTORY}").stdout
    assert "cloudstack-new" not in guarded.host.run(f"echo {DIRECTORY}/*").stdout
    lab.power_cut(guarded.host)
    lab.power_on(guarded.host)
    guarded.wait_for("rolled back: the host restarted before the change was confirmed")
    assert guarded.text() == "old\n"
    guarded.host.run("rmdir /root/cut")
    guarded.assert_nothing_is_left()


def test_a_rollback_that_cannot_put_a_file_back_says_so_and_is_tried_again(
    guarded: Guarded,
) -> None:
    holding = Steps(
        up=f"mount --bind -o ro {PATH} {PATH}; mount -o remount,ro,bind {PATH}; false\n"
    )
    assert guarded.start(a_change(apply=holding), timeout=20).returncode == 0
    guarded.wait_for("rolled back, but not every file")
    assert guarded.text() == "new\n"
    guarded.host.run(f"umount {PATH}")
    guarded.wait_for("rolled back: nobody confirmed in time")
    assert guarded.text() == "old\n"
    guarded.assert_nothing_is_left()
