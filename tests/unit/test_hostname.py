"""The question for a host's names is put to this machine, and what it says is acted upon."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from kvmhost.facts.hostname import HOSTNAME, SYSCONFIG, Hostname, Names
from kvmhost.operations.hostname import naming

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


def ask(shell: str, root: str = "", path: str | None = None) -> Hostname:
    """Return the names of this machine, with its files and directories below `root`."""
    command = Names().command()
    for directory in ("/etc/", "/run/"):
        command = command.replace(directory, f"{root}{directory}")
    result = subprocess.run(
        [shutil.which(shell) or shell, "-c", command],
        env=os.environ | ({} if path is None else {"PATH": path}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return Names().process(result.stdout.splitlines())


@pytest.mark.parametrize("shell", SHELLS)
def test_this_machines_names_are_those_that_python_sees(shell: str) -> None:
    names = ask(shell)
    assert names.kernel == socket.gethostname()
    assert names.hosts_file == Path("/etc/hosts").read_text()
    static = Path("/etc/hostname")
    assert names.static_file == (static.read_text() if static.exists() else "")
    fqdn = subprocess.run(["hostname", "--fqdn"], capture_output=True, text=True, check=False)
    assert names.qualified == fqdn.stdout.strip()


def test_a_host_without_these_files_and_programs_still_answers(tmp_path: Path) -> None:
    names = ask("sh", root=str(tmp_path), path=str(tmp_path))
    assert (names.kernel, names.qualified, names.static_file, names.hosts_file) == ("", "", "", "")


NETWORK = """\
NETWORKING=yes
HOSTNAME=localhost.localdomain
GATEWAY=192.168.42.1
"""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("files", "static"),
    [
        (("etc/hostname",), "/etc/hostname"),
        (("etc/sysconfig/network",), "/etc/sysconfig/network"),
        (("etc/sysconfig/network", "run/systemd/system/unit"), "/etc/hostname"),
        ((), "/etc/hostname"),
    ],
    ids=["Debian", "EL 6", "EL with systemd", "nothing"],
)
def test_a_host_says_which_file_names_it(
    files: tuple[str, ...], static: str, shell: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(NETWORK)
    names = ask(shell, root=str(tmp_path))
    assert names.static_path == f"{tmp_path}{static}"
    assert names.static_file == (NETWORK if static[1:] in files else "")


@pytest.mark.parametrize("family", ["debian", "redhat"])
def test_a_host_says_what_cloud_init_would_make_etc_hosts_of(family: str, tmp_path: Path) -> None:
    templates = tmp_path / "etc" / "cloud" / "templates"
    templates.mkdir(parents=True)
    for each in ("debian", "redhat"):
        (templates / f"hosts.{each}.tmpl").write_text(f"# {each}\n")
    if family == "redhat":
        (tmp_path / "etc" / "redhat-release").touch()
    names = ask("sh", root=str(tmp_path))
    assert names.template_path == f"{templates}/hosts.{family}.tmpl"
    assert names.template_file == f"# {family}\n"


def host(path: str, text: str) -> Hostname:
    return Hostname("localhost", "", path, text, "127.0.0.1 localhost\n")


def test_el_6_keeps_every_other_line() -> None:
    assert naming(host(SYSCONFIG, NETWORK), "kvm1") == NETWORK.replace(
        "localhost.localdomain", "kvm1"
    )
    assert naming(host(SYSCONFIG, "NETWORKING=yes\n"), "kvm1") == "NETWORKING=yes\nHOSTNAME=kvm1\n"


@pytest.mark.parametrize("text", ["kvm1\n", "kvm1"])
def test_a_name_that_is_there_already_is_left_as_it_is_written(text: str) -> None:
    assert naming(host(HOSTNAME, text), "kvm1") == text


def test_else_the_file_holds_nothing_but_the_name() -> None:
    assert naming(host(HOSTNAME, "localhost\n"), "kvm1") == "kvm1\n"
    assert naming(host(HOSTNAME, ""), "kvm1") == "kvm1\n"
