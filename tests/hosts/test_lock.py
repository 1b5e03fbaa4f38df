"""Runs beside and after each other: one at a time, and killed ones are completed by the next."""

import getpass
import random
import re
import subprocess
import time
from collections.abc import Callable

import pytest

from kvmhost.facts.machine import LOCK
from tests.lab import guide, lab
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.runs import CHECKOUT, Run, start

Deploy = Callable[..., Run]
KILLS = 10
DIGESTS = (
    "find /etc -type f -exec sha256sum {} + | sort -k 2; find /etc -type l -printf '%l  %p\\n'"
)
UNITS = "systemctl list-unit-files --no-legend --no-pager --state=enabled,masked | sort"
PACKAGES = "dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n'"


@pytest.fixture(scope="module")
def hosts(fleet: Fleet) -> tuple[Node, ...]:
    """Return three bare hosts of one release."""
    alike = [each for each in fleet.hosts if each.distribution == "debian"][:3]
    assert len({each.release for each in alike}) == 1
    for each in alike:
        lab.reset(each)
    return tuple(alike)


def begin(*hosts: Node) -> "subprocess.Popen[str]":
    limits = [word for host in hosts for word in ("--limit", host.name)]
    return start("inventories/lab.py", "deploy.py", "-y", *limits, KVMHOST_LAB_FLEET=hosts[0].fleet)


def is_locked(host: Node) -> bool:
    locked = f"[ -e {LOCK} ] && ! flock --nonblock {LOCK} true"
    return host.run(locked, check=False).returncode == 0


def journal(host: Node) -> list[str]:
    return host.run("journalctl -q -o cat -t cloudstack-kvm-host").stdout.splitlines()


def state(host: Node) -> dict[str, str]:
    """Return what a run may change: the digest of each file of /etc, units, packages."""
    lines = host.run(DIGESTS).stdout.splitlines()
    files = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    return files | {what: host.run(what).stdout for what in (UNITS, PACKAGES)}


@pytest.mark.thorough
def test_a_run_that_is_killed_at_any_moment_is_completed_by_the_next(
    hosts: tuple[Node, ...], deploy: Deploy
) -> None:
    killed, clean, other = hosts
    begun = time.monotonic()
    process = begin(clean, other)
    output = process.communicate(timeout=DEADLINE)
    duration = time.monotonic() - begun
    assert process.returncode == 0, output

    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(KILLS):
        process = begin(killed)
        time.sleep(moments.uniform(0, duration))  # the moment is what is tried
        process.kill()
        process.communicate()
        wait_until(lambda: not is_locked(killed), DEADLINE, "the killed run's lock to end")

    # apt goes on with what a killed run has begun
    patient = ("--data", f"package_lock_timeout={DEADLINE}")
    run = deploy("-y", "--json", "--limit", killed.name, *patient)
    assert run.status == 0, run.output
    assert guide.undone(killed) == ()
    states = [state(each) for each in (killed, clean, other)]
    # an address, keys, a machine-id: where two clean hosts differ, each has its own
    own = {what for what in states[1] | states[2] if states[1].get(what) != states[2].get(what)}
    assert own.isdisjoint((UNITS, PACKAGES))
    ended, expected = ({k: v for k, v in each.items() if k not in own} for each in states[:2])
    assert ended == expected
    assert deploy("-y", "--json", "--limit", killed.name).changed == {}


def test_of_two_runs_at_once_one_is_told_of_the_other(
    hosts: tuple[Node, ...], deploy: Deploy
) -> None:
    busy, free, _ = hosts
    lab.reset(busy)  # a bare host keeps a run busy
    process = begin(busy)
    wait_until(lambda: is_locked(busy), DEADLINE, "the first run to lock the host")
    both = ("--limit", busy.name, "--limit", free.name)
    dry = deploy("--dry", *both)
    beside = deploy("-y", "--json", *both)
    output = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    told = f"another run works on this host: {getpass.getuser()}@"
    for run in (dry, beside):
        assert told in run.output
        assert f", PID {process.pid}, since 2" in run.output
    assert dry.status == 0
    assert beside.json["results"]["failed_hosts"] == [busy.name]
    assert guide.undone(busy) == ()
    version = subprocess.check_output(
        ["git", "describe", "--tags", "--always", "--dirty"], cwd=CHECKOUT, text=True
    ).strip()
    [line] = journal(busy)
    assert line.startswith(f"version {version}, ")
    assert f", PID {process.pid}: changed: Preflight | Set the fully qualified name; " in line
    assert re.search(": (changed: .*|nothing changed)$", journal(free)[-1])
