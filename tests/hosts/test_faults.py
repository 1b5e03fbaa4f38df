"""Hosts that fail alone, and complete when they are mended."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from shlex import quote

import pytest

from tests.lab import guide, lab
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.runs import Run, pyinfra

Deploy = Callable[..., Run]
ON_DEBIAN = ("--limit", "debian")

# apt keeps its lock while this hook of it runs
HOLD_APT_LOCK = (
    "systemd-run --unit=holds-apt-lock apt-get -o DPkg::Pre-Invoke::='sleep infinity'"
    " install --reinstall -y hostname"
)


def test_each_fails_alone_with_its_reason_and_completes_when_mended(
    fleet: Fleet, deploy: Deploy
) -> None:
    hosts = [host for host in fleet.hosts if host.distribution == "debian"]
    off, locked, full, sound = hosts
    for host in (off, locked, full):
        lab.reset(host)
    lab.shut_down(off)
    locked.run(f"apt-get update -qq; {HOLD_APT_LOCK}")
    wait_until(lambda: _apt_is_locked(locked), DEADLINE, "apt's lock to be held")
    full.run("mount -t tmpfs -o size=64k tmpfs /var/cache/apt/archives")

    broken = deploy("-y", "--data", "package_lock_timeout=5", "--json", *ON_DEBIAN)
    assert broken.status != 0 or broken.failed
    said = broken.output
    assert f"[{off.name}]" in said and "Could not connect" in said
    assert "Could not get lock" in said
    assert "don't have enough free space" in said
    table = said.partition("--> Failed:")[2]
    assert all(host.name in table for host in (off, locked, full)), said
    assert sound.name not in table
    assert guide.undone(sound) == ()
    failed = {name for names in broken.failed.values() for name in names}
    assert failed == {locked.name, full.name}

    lab.power_on(off)
    locked.run("systemctl stop holds-apt-lock")
    full.run("umount /var/cache/apt/archives")
    mended = deploy("-y", "--json", *ON_DEBIAN)
    assert mended.status == 0, mended.output
    assert not mended.failed
    assert {host.name: guide.undone(host) for host in hosts} == {host.name: () for host in hosts}


FALLING = """\
[Unit]
StartLimitIntervalSec=0
[Service]
Type=simple
ExecStart=
ExecStart=/bin/sh -c 'echo the clock has fallen; exit 1'
Restart=always
RestartSec=1
"""
DROP_IN = "/etc/systemd/system/chrony.service.d/zz-falling.conf"


def test_a_service_that_falls_again_and_again_fails_its_host_with_its_last_lines(
    fleet: Fleet, deploy: Deploy
) -> None:
    host = next(each for each in fleet.hosts if each.distribution == "debian")
    how = ("-y", "--json", "--limit", host.name)
    host.run(f"mkdir -p {DROP_IN.rpartition('/')[0]}")
    host.run(f"printf %s {quote(FALLING)} >{DROP_IN}; systemctl daemon-reload")
    host.run("systemctl restart chrony", check=False)
    try:
        fallen = deploy(*how, target="tasks.ntp.ntp")
        assert fallen.status != 0
        assert "chrony.service does not stay up" in fallen.output
        assert "the clock has fallen" in fallen.output
    finally:
        host.run(f"rm {DROP_IN}; systemctl daemon-reload")
    assert not deploy(*how, target="tasks.ntp.ntp").failed
    assert host.run("systemctl is-active chrony").stdout.strip() == "active"


def test_a_full_file_system_leaves_the_file_as_it_was(fleet: Fleet, deploy: Deploy) -> None:
    host = fleet.hosts[0]
    properties = "/etc/cloudstack/agent/agent.properties"
    host.run(
        "cp -a /etc/cloudstack /tmp/cloudstack && mount -t tmpfs -o size=32k tmpfs /etc/cloudstack"
        " && cp -a /tmp/cloudstack/. /etc/cloudstack/"
        " && sed -i s/^guest.cpu.mode=custom/guest.cpu.mode=host-model/ " + properties
    )
    host.run("dd if=/dev/zero of=/etc/cloudstack/fill", check=False)
    try:
        before = host.run(f"md5sum {properties}; ls /etc/cloudstack/agent").stdout
        run = deploy("-y", "--limit", host.name)
        assert run.status != 0
        assert "No space left on device" in run.output
        assert host.run(f"md5sum {properties}; ls /etc/cloudstack/agent").stdout == before
    finally:
        host.run("umount /etc/cloudstack")


@dataclass(frozen=True)
class Fault:
    """A fault of a bare host: how it is made, how it is mended, and what the run's table says."""

    made: str
    mended: str
    reason: str


def beginning_with_libvirt(command: str) -> str:
    """Return the shell command that does something as soon as libvirt is being installed."""
    waiting = f"until [ -e /etc/libvirt ]; do sleep 1; done; {command}"
    return f"systemd-run --unit=fault sh -c {quote(waiting)}"


TEN_FAULTS = {
    "off": Fault("systemctl poweroff", "true", "Could not connect"),
    "is switched off in the middle": Fault(
        beginning_with_libvirt("systemctl poweroff"), "dpkg --configure -a", "lost"
    ),
    "falls silent": Fault(
        beginning_with_libvirt("pkill -STOP sshd"), "dpkg --configure -a", "lost"
    ),
    "holds apt's lock": Fault(
        f"apt-get update -qq; {HOLD_APT_LOCK}",
        "systemctl stop holds-apt-lock",
        "is another process using it",
    ),
    "has a full disk": Fault(
        "mount -t tmpfs -o size=64k tmpfs /var/cache/apt/archives",
        "umount /var/cache/apt/archives",
        "enough free space",
    ),
    "has a service that falls": Fault(
        f"mkdir -p {DROP_IN.rpartition('/')[0]}; printf %s {quote(FALLING)} >{DROP_IN}",
        f"rm {DROP_IN}; systemctl daemon-reload",
        "does not stay up",
    ),
    "was interrupted in dpkg": Fault(
        "cp /var/lib/dpkg/status /var/lib/dpkg/updates/0001",
        "dpkg --configure -a",
        "dpkg was interrupted",
    ),
    "has a broken list of sources": Fault(
        "echo deb >/etc/apt/sources.list.d/broken.list",
        "rm /etc/apt/sources.list.d/broken.list",
        "Malformed line",
    ),
    "has a pinned package": Fault(
        "printf 'Package: libvirt-daemon-system\\nPin: version *\\nPin-Priority: -1\\n'"
        " >/etc/apt/preferences.d/pinned",
        "rm /etc/apt/preferences.d/pinned",
        "no installation candidate",
    ),
    "has a read-only file system": Fault(
        "mount -t tmpfs -o ro tmpfs /etc/sysctl.d",
        "umount /etc/sysctl.d",
        "Read-only file system",
    ),
}


@pytest.fixture
def eleven_hosts() -> Iterator[Fleet]:
    """One bare host for each of ten faults, and a sound one."""
    spec = lab.FleetSpec("fails", machines=(), hosts=len(TEN_FAULTS) + 1)
    yield lab.up(spec)
    lab.down(spec.name)


@pytest.mark.thorough
def test_ten_hosts_fail_in_ten_ways_and_are_told_apart(eleven_hosts: Fleet) -> None:
    def deploy() -> Run:
        how = ("-y", "--json", "--data", "package_lock_timeout=5")
        return pyinfra("inventories/lab.py", "deploy.py", *how, KVMHOST_LAB_FLEET=eleven_hosts.name)

    *ill, sound = eleven_hosts.hosts
    faults = dict(zip(ill, TEN_FAULTS.values(), strict=True))
    for host, fault in faults.items():
        host.run(fault.made, check=False)
    broken = deploy()
    assert broken.status != 0
    assert sorted(broken.json["results"]["failed_hosts"]) == sorted(host.name for host in ill)
    said = broken.reasons()
    assert said.keys() == {host.name for host in ill}
    assert not {
        fault.reason: said[host.name]
        for host, fault in faults.items()
        if fault.reason not in said[host.name]
    }
    assert guide.undone(sound) == ()

    def mend(host: Node) -> None:
        if not host.answers_ssh():
            lab.power_cut(host)
            lab.power_on(host)
        host.run(faults[host].mended)

    with ThreadPoolExecutor() as pool:
        list(pool.map(mend, ill))
    mended = deploy()
    assert mended.status == 0, mended.output
    assert not {host.name: guide.undone(host) for host in ill if guide.undone(host)}


def _apt_is_locked(host: Node) -> bool:
    return (
        host.run("apt-get -o DPkg::Lock::Timeout=0 install -y hostname", check=False).returncode
        != 0
    )
