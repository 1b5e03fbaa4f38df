"""The question for a host's names is put to this machine."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from kvmhost.facts.hostname import Names

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_this_machines_names_are_those_that_python_sees(shell: str) -> None:
    result = subprocess.run(
        [shell, "-c", Names().command()], capture_output=True, text=True, timeout=30, check=True
    )
    names = Names().process(result.stdout.splitlines())
    assert names.kernel == socket.gethostname()
    assert names.hosts_file == Path("/etc/hosts").read_text()
    static = Path("/etc/hostname")
    assert names.static_file == (static.read_text() if static.exists() else "")
    fqdn = subprocess.run(["hostname", "--fqdn"], capture_output=True, text=True, check=False)
    assert names.qualified == fqdn.stdout.strip()


def test_a_host_without_these_files_and_programs_still_answers(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell
    result = subprocess.run(
        [shell, "-c", Names().command()],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    names = Names().process(result.stdout.splitlines())
    assert (names.kernel, names.qualified, names.static_file, names.hosts_file) == ("", "", "", "")
