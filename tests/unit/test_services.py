"""Services that go down again: what is asked of systemd runs here, with its answers written down.

The answers are those of systemctl 252 of a unit that ends by itself and has Restart=.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from kvmhost.facts import systemd, sysvinit

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
UNIT = "libvirtd.service"
UP = ("active", "running")
WAITS = ("activating", "auto-restart")
STARTS = ("activating", "start")
FAILED = ("failed", "failed")
LINE = "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory"

SYSTEMCTL = """\
#!/bin/sh
cd {folder}
[ "$3" != ActiveState ] || [ "$(wc -l <states)" = 1 ] || sed -i 1d states
read -r active sub count <states
case $3 in
    ActiveState) echo $active ;;
    NRestarts) echo $count ;;
    ActiveState,SubState,NRestarts)
        printf '%s\\n' NRestarts=$count ActiveState=$active SubState=$sub ;;
    ActiveEnterTimestampMonotonic)
        echo $(($(cut -d. -f1 /proc/uptime) * 1000000 - {age}000000)) ;;
esac
"""
"""Each time that the state is asked for, the next one is told; the last one stays."""

State = tuple[str, str, int]


def host(folder: Path, states: Iterable[State], age: int) -> dict[str, str]:
    """Make a systemd that tells these states in turn, and return the environment that has it."""
    told = "".join(f"{active} {sub} {count}\n" for active, sub, count in states)
    (folder / "states").write_text(told.splitlines(keepends=True)[0] + told)
    programs = {
        "systemctl": SYSTEMCTL.format(folder=folder, age=age),
        "journalctl": f'#!/bin/sh\necho "{LINE}"\necho "$@" >{folder}/asked\n',
        "sleep": f"#!/bin/sh\necho $1 >>{folder}/slept\n",
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


def watched(folder: Path, states: Iterable[State], age: int = 0, shell: str = "sh") -> str | None:
    """Return what the host says of a unit that is up at first and has these states from then on."""
    command = systemd.Fall().command(UNIT, seconds=5)
    answer = subprocess.run(
        [shell, "-c", command],
        env=host(folder, states, age),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert answer.stderr == ""
    return systemd.Fall().process(answer.stdout.splitlines())


@pytest.mark.parametrize("shell", SHELLS)
def test_a_unit_that_stays_up_says_nothing(shell: str, tmp_path: Path) -> None:
    assert watched(tmp_path, [(*UP, 3)], shell=shell) == ""
    assert (tmp_path / "slept").read_text().split() == ["1"] * 5


def test_one_that_has_been_up_for_long_is_not_waited_for(tmp_path: Path) -> None:
    assert watched(tmp_path, [(*UP, 3)], age=5) == ""
    assert not (tmp_path / "slept").exists()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "states",
    [
        [(*UP, 3), (*UP, 4)],
        [(*UP, 3), (*UP, 3), (*WAITS, 3)],
        [(*UP, 3), (*STARTS, 4)],
        [(*UP, 3), (*FAILED, 3)],
        [(*WAITS, 3)],
    ],
    ids=["counted", "waiting", "starting", "given up", "at once"],
)
def test_one_that_falls_says_its_state_and_its_last_lines(
    states: list[State], shell: str, tmp_path: Path
) -> None:
    fall = watched(tmp_path, states, shell=shell)
    assert fall
    *lines, verdict = fall.splitlines()
    active, sub, count = states[-1]
    for part in (f"{UNIT} does not stay up", active, sub, f"NRestarts={count}"):
        assert part in verdict
    assert lines == [LINE]
    assert (tmp_path / "asked").read_text().split()[-2:] == ["--unit", UNIT]


SERVICE = """\
#!/bin/sh
cd {folder}
sed -i 1d states
exec test "$(head -n 1 states)" = up
"""


@pytest.mark.parametrize(
    ("states", "status"), [(["up"] * 9, 0), (["up", "up", "up", "down"], 1), (["up", "down"], 1)]
)
def test_a_service_without_systemd_is_looked_at_too(
    states: list[str], status: int, tmp_path: Path
) -> None:
    (tmp_path / "states").write_text("\n".join(states))
    for name, text in {"service": SERVICE, "sleep": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    answer = subprocess.run(
        ["sh", "-c", sysvinit.stays_up("no-such-service", seconds=5)],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == status
    assert ("no-such-service does not stay up" in answer.stdout) is bool(status)
