"""What libvirt says of the guests' CPU, by the real one of this machine where there is any."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from kvmhost.guest_cpu import RUNS, as_settings, comparison, described, host_model, verdict

Virsh = Callable[[str], str]


@pytest.fixture(scope="module")
def virsh(tmp_path_factory: pytest.TempPathFactory) -> Virsh:
    """Return what runs a command with this machine's own QEMU, in virsh itself: no daemon runs."""
    if not (shutil.which("virsh") and shutil.which("qemu-system-x86_64")):
        pytest.skip("there is no libvirt with QEMU here")
    embedded = f"'qemu:///embed?root={tmp_path_factory.mktemp('libvirt')}'"

    def run(command: str) -> str:
        shell = ["sh", "-c", command.replace("qemu:///system", embedded)]
        return subprocess.run(shell, capture_output=True, text=True, timeout=120).stdout

    return run


def judged(virsh: Virsh, model: str, *features: str) -> str | None:
    return verdict(virsh(comparison(described(model, features), seconds=100)))


def test_libvirt_judges_a_cpu_of_the_settings(virsh: Virsh) -> None:
    # an emulator has what a Pentium III has
    assert judged(virsh, "pentium3") == RUNS
    lacking = judged(virsh, "pentium3", "amx-tile", "-mmx")
    assert lacking is not None
    assert lacking.startswith("incompatible with host CPU: Host CPU does not provide")
    assert lacking.endswith("features: amx-tile")
    assert judged(virsh, "SandyBrigde") == "Unknown CPU model SandyBrigde"
    assert judged(virsh, "pentium3", "axv") == "Unknown CPU feature axv"


def test_libvirt_computes_what_all_hosts_run(virsh: Virsh) -> None:
    own = host_model(virsh("virsh --connect qemu:///system domcapabilities"))
    assert own is not None
    other = described("pentium3", ("x2apic", "-mmx"))
    command = "virsh --connect qemu:///system hypervisor-cpu-baseline --migratable /dev/stdin"
    lines = as_settings(virsh(f"echo '{own}{other}' | {command}"))
    assert lines is not None
    data: dict[str, object] = {}
    exec("\n".join(lines), data)
    features = data["guest_cpu_features"]
    assert isinstance(features, tuple)
    assert judged(virsh, str(data["guest_cpu_model"]), *features) == RUNS


SAID = {
    "The CPU provided by hypervisor on the host is a superset of CPU described in /dev/stdin": RUNS,
    "CPU described in /dev/stdin is identical to the CPU provided by hypervisor on the host": RUNS,
    "Host CPU is a superset of CPU described in /dev/stdin": RUNS,
    "CPU described in /dev/stdin is identical to host CPU": RUNS,
    "CPU described in /dev/stdin is incompatible with host CPU": "incompatible with host CPU",
    "error: failed to connect to the hypervisor error: Cannot recv data": None,
    "sh: 1: virsh: not found": None,
    "error: unknown command: 'cpu-compare'": None,
    "": None,
}


@pytest.mark.parametrize(("said", "expected"), SAID.items(), ids=SAID)
def test_every_answer_of_virsh_is_understood(said: str, expected: str | None) -> None:
    assert verdict(said) == expected


def test_a_libvirt_without_hypervisor_cpu_compare_is_asked_too(tmp_path: Path) -> None:
    old = tmp_path / "virsh"
    old.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "    help*) exit 1 ;;\n"
        "    *' cpu-compare /dev/stdin') grep -q Nehalem && echo Host CPU is a superset of CPU ;;\n"
        "esac\n"
    )
    old.chmod(0o755)
    command = f"PATH={tmp_path}:$PATH; {comparison(described('Nehalem', ()), seconds=9)}"
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
    assert verdict(said) == RUNS


BASELINE = """\
<cpu mode='custom' match='exact'>
  <model fallback='forbid'>Broadwell-noTSX-IBRS</model>
  <vendor>Intel</vendor>
  <feature policy='require' name='vme'/>
  <feature policy='disable' name='mpx'/>
</cpu>
"""


def test_a_baseline_is_written_as_the_settings_have_it() -> None:
    assert as_settings(BASELINE) == (
        'guest_cpu_mode = "custom"',
        'guest_cpu_model = "Broadwell-noTSX-IBRS"',
        'guest_cpu_features = ("vme", "-mpx")',
    )
    one = as_settings(described("EPYC", ("-svm",)))
    assert one is not None
    assert one[-1] == 'guest_cpu_features = ("-svm",)'
    assert as_settings(described("EPYC", ())) == (
        'guest_cpu_mode = "custom"',
        'guest_cpu_model = "EPYC"',
        "guest_cpu_features = ()",
    )


@pytest.mark.parametrize("text", ["", "error: no connection", "<cpu/>", "<domainCapabilities/>"])
def test_what_is_no_cpu_is_none(text: str) -> None:
    assert as_settings(text) is None
    assert host_model(text) is None


def test_a_host_without_a_cpu_for_guests_has_none() -> None:
    text = """\
        <domainCapabilities><cpu><mode name='host-model' supported='no'/></cpu></domainCapabilities>
        """
    assert host_model(dedent(text)) is None
