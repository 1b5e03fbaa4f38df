"""The question to a machine is put to this one, and its answers are compared with Python's."""

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import pytest

from kvmhost.facts.machine import Machine, Traits
from kvmhost.guest_cpu import described

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]

CAPTURED = """\
distribution=debian
release=12
system=Debian GNU/Linux 12 (bookworm)
architecture=x86_64
memory=24684084
kdump=268435456
root=no
cpu_model=AMD EPYC
cpu_count=2
cpu_flags=fpu vme de pse svm
kvm=yes
interfaces=docker0 eth0 lo
hostname=kvm1
qualified_name=kvm1.lab.example.org
addresses=192.168.42.11 172.17.0.1
firewalls=ufw iptables 
guests=vm1 qemu-process-23007 
managed=no
locked=root@desk, PID 4711, since 2026-01-01T00:00:00Z
outbound=reached
systemd=yes
"""  # noqa: W291 (as the host writes it)


def ask(
    outbound_host: str | None = None,
    shell: str = "sh",
    path: str | None = None,
    etc: Path = Path("/etc"),
    guest_cpu: str | None = None,
) -> tuple[str, Machine]:
    """Return what a shell of this machine answers, and what is understood.

    etc: what the machine has below /etc.
    """
    command = Traits().command(outbound_host, guest_cpu).replace("/etc/", f"{etc}/")
    result = subprocess.run(
        [shutil.which(shell) or shell, "-c", command],
        env=os.environ | ({} if path is None else {"PATH": path}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stderr == ""
    return result.stdout, Traits().process(result.stdout.splitlines())


def understood(answer: str) -> Machine:
    return Traits().process(answer.splitlines())


def test_every_value_of_a_captured_answer_is_understood() -> None:
    assert understood(CAPTURED) == Machine(
        distribution="debian",
        release="12",
        system="Debian GNU/Linux 12 (bookworm)",
        architecture="x86_64",
        memory=24105 + 256,
        root=False,
        cpu_model="AMD EPYC",
        cpu_count=2,
        cpu_flags=frozenset(("fpu", "vme", "de", "pse", "svm")),
        kvm=True,
        interfaces=frozenset(("docker0", "eth0", "lo")),
        hostname="kvm1",
        qualified_name="kvm1.lab.example.org",
        addresses=frozenset(("192.168.42.11", "172.17.0.1")),
        outbound="reached",
        systemd=True,
        firewalls=frozenset(("ufw", "iptables")),
        guests=frozenset(("vm1", "qemu-process-23007")),
        managed=False,
        locked="root@desk, PID 4711, since 2026-01-01T00:00:00Z",
    )


RELEASES = {
    "CentOS release 6.3 (Final)": ("centos", "6.3"),
    "Red Hat Enterprise Linux Server release 6.3 (Santiago)": ("rhel", "6.3"),
    "CentOS Linux release 7.9.2009 (Core)": ("centos", "7.9.2009"),
    "Fedora release 12 (Constantine)": (None, "12"),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("line", "expected"), RELEASES.items(), ids=RELEASES)
def test_el_says_its_release_where_there_is_no_os_release(
    line: str, expected: tuple[str | None, str], shell: str, tmp_path: Path
) -> None:
    (tmp_path / "redhat-release").write_text(f"{line}\n")
    _, machine = ask(shell=shell, etc=tmp_path)
    assert (machine.distribution, machine.release) == expected
    assert machine.system == line


@pytest.mark.parametrize("shell", SHELLS)
def test_os_release_is_what_counts_where_both_are(shell: str, tmp_path: Path) -> None:
    (tmp_path / "redhat-release").write_text("Rocky Linux release 9.4 (Blue Onyx)\n")
    (tmp_path / "os-release").write_text('ID="rocky"\nVERSION_ID="9.4"\n')
    _, machine = ask(shell=shell, etc=tmp_path)
    assert (machine.distribution, machine.release) == ("rocky", "9.4")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_system_that_does_not_say_what_it_is_is_unknown(shell: str, tmp_path: Path) -> None:
    _, machine = ask(shell=shell, etc=tmp_path)
    assert (machine.distribution, machine.release, machine.system) == (None, None, None)
    assert machine.architecture


def test_an_answer_that_breaks_off_leaves_the_rest_unknown() -> None:
    machine = understood(CAPTURED[: CAPTURED.index("cpu_model")])
    assert machine.memory == 24105 + 256
    assert machine.guests is None
    assert machine.managed is None


def test_empty_values_are_unknown_but_no_guest_is_no_guest_and_no_firewall_none() -> None:
    machine = understood("release=\nmemory=\ncpu_flags=\ninterfaces=\nfirewalls=\nguests=\n")
    assert machine == Machine(firewalls=frozenset(), guests=frozenset())


@pytest.mark.parametrize("shell", SHELLS)
def test_this_machine_is_seen_as_python_sees_it(shell: str) -> None:
    before = {name for _, name in socket.if_nameindex()}
    _, machine = ask(shell=shell)
    after = {name for _, name in socket.if_nameindex()}
    release = platform.freedesktop_os_release()
    assert machine.distribution == release["ID"]
    assert machine.release == release.get("VERSION_ID")
    assert machine.architecture == platform.machine()
    assert machine.cpu_count == os.cpu_count()
    assert machine.kvm == Path("/dev/kvm").exists()
    # the lab may be plugging its hosts in meanwhile
    assert machine.interfaces is not None
    assert before & after <= machine.interfaces <= before | after
    assert machine.hostname == socket.gethostname()
    assert machine.managed is False
    assert machine.systemd == Path("/run/systemd/system").is_dir()
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    reserve = Path("/sys/kernel/kexec_crash_size")
    kdump = int(reserve.read_text()) if reserve.exists() else 0
    assert machine.memory == pages * page // 2**20 + kdump // 2**20
    assert machine.root == (os.geteuid() == 0)


@pytest.mark.parametrize("shell", SHELLS)
def test_an_added_host_says_which_addresses_its_certificate_bears(
    shell: str, tmp_path: Path
) -> None:
    certificate = tmp_path / "cloudstack" / "agent" / "cloud.crt"
    certificate.parent.mkdir(parents=True)
    certificate.touch()
    machine = ask(shell=shell, etc=tmp_path)[1]
    assert (machine.managed, machine.certified) == (True, frozenset())
    certify(certificate, "DNS:203.0.113.1,IP:203.0.113.1,IP:2001:db8::1,IP:203.0.113.2")
    machine = ask(shell=shell, etc=tmp_path)[1]
    assert machine.certified == {"203.0.113.1", "203.0.113.2"}
    listed = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    assert machine.addresses == {address for address in listed if ":" not in address}


def certify(certificate: Path, names: str) -> None:
    """Make a certificate that bears these names and addresses, as CloudStack's has them."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kvm1"),
            *("-keyout", f"{certificate}.key", "-out", certificate),
            *("-addext", f"subjectAltName={names}"),
        ],
        capture_output=True,
        check=True,
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_single_program_it_still_answers(shell: str, tmp_path: Path) -> None:
    _, machine = ask("nowhere.invalid", shell=shell, path=str(tmp_path))
    assert machine.distribution is not None
    assert machine.managed is False
    assert machine.outbound == "untried"
    assert (machine.memory, machine.cpu_flags, machine.guests) == (None, None, None)


def test_a_name_that_does_not_exist_is_unresolved() -> None:
    assert ask("nowhere.invalid")[1].outbound == "unresolved"


def test_a_name_is_never_taken_for_a_command(tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert ask(f"$(touch {made});touch {made}")[1].outbound == "unresolved"
    assert not made.exists()


def test_nothing_is_reached_when_nothing_was_asked_for() -> None:
    assert ask(None)[1].outbound is None


@pytest.mark.parametrize("shell", SHELLS)
def test_libvirt_judges_the_guests_cpu_where_it_is_there(shell: str, tmp_path: Path) -> None:
    cpu = described("SandyBridge", ("aes", "-hle"))
    virsh = tmp_path / "virsh"
    virsh.write_text(
        "#!/bin/sh\n"
        "[ $1 = help ] && exit\n"
        f"grep -qxF {quote(cpu)} || exit\n"
        "echo error: Failed to compare hypervisor CPU with /dev/stdin >&2\n"
        "echo error: the CPU is incompatible with host CPU: avx >&2\n"
    )
    virsh.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert ask(shell=shell, path=path, guest_cpu=cpu)[1].guest_cpu == (
        "incompatible with host CPU: avx"
    )
    virsh.write_text("#!/bin/sh\necho error: failed to connect to the hypervisor >&2\nexit 1\n")
    assert ask(shell=shell, path=path, guest_cpu=cpu)[1].guest_cpu is None
    assert ask(shell=shell, path=path)[1].guest_cpu is None


ON = {
    # by this `ufw status` tells it, too
    "ufw": '[ "$*" = "-n -L ufw-user-input" ]',
    "firewalld": "[ $1 = --state ] && echo running",
    "iptables": '[ "$*" = "is-active --quiet iptables" ]',
}
OFF = {
    "ufw": "echo iptables: No chain/target/match by that name. >&2; exit 1",
    "firewalld": "echo not running >&2; exit 252",
    "iptables": "exit 3",
}
PROGRAMS = {"ufw": "iptables", "firewalld": "firewall-cmd", "iptables": "systemctl"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask a firewall")
@pytest.mark.parametrize("on", [(), *((name,) for name in ON), tuple(ON)], ids="-".join)
def test_firewalls_are_those_that_are_on(on: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "ufw").symlink_to("/bin/false")
    for name, program in PROGRAMS.items():
        executable = tmp_path / program
        executable.write_text(f"#!/bin/sh\n{(ON if name in on else OFF)[name]}\n")
        executable.chmod(0o755)
    (tmp_path / "service").symlink_to("/bin/false")
    assert ask(path=f"{tmp_path}:{os.environ['PATH']}")[1].firewalls == frozenset(on)


def test_who_is_not_root_is_told_of_no_firewall(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    assert ask(path=f"{tmp_path}:{os.environ['PATH']}")[1].firewalls is None


@contextmanager
def process(folder: Path, program: str, *arguments: str) -> Iterator[int]:
    """Run a process of that name and command line, which waits for its input to end."""
    executable = folder / program
    executable.write_text("#!/bin/sh\nread -r forever\n")
    executable.chmod(0o755)
    with subprocess.Popen([executable, *arguments], stdin=subprocess.PIPE) as waiting:
        yield waiting.pid


@pytest.mark.parametrize("program", ["qemu-system-x86_64", "qemu-kvm"])
def test_a_guest_is_seen_by_its_process(program: str, tmp_path: Path) -> None:
    arguments = ("-S", "-name", f"guest={program},debug-threads=on", "-machine", "pc,accel=kvm")
    with process(tmp_path, program, *arguments):
        guests = ask()[1].guests
    assert guests is not None
    assert program in guests
    assert program not in (ask()[1].guests or ())


def test_a_guest_without_a_name_is_seen_by_its_number(tmp_path: Path) -> None:
    with process(tmp_path, "qemu-system-x86_64", "-m", "32") as pid:
        assert f"qemu-process-{pid}" in (ask()[1].guests or ())


def test_what_libvirt_asks_qemu_is_no_guest(tmp_path: Path) -> None:
    arguments = ("-S", "-machine", "none,accel=kvm:tcg", "-daemonize")
    with process(tmp_path, "qemu-system-x86_64", *arguments) as pid:
        assert f"qemu-process-{pid}" not in (ask()[1].guests or ())
