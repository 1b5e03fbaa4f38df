"""The CPU that guests see where the settings name it: as libvirt reads, judges and computes it."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from shlex import quote

RUNS = "runs"
"""The verdict that a host runs a CPU."""

VIRSH = "LC_ALL=C timeout {seconds} virsh --quiet --connect qemu:///system"
_UNFIT = re.compile(
    r"Unknown CPU (?:model|feature) \S+|incompatible with (?:the CPU provided|host CPU)(?:.*\S)?"
)
_FIT = re.compile(r"is (?:a superset of CPU|identical to (?:the CPU provided|host CPU))")


def described(model: str, features: Iterable[str]) -> str:
    """Return a guest's CPU in libvirt's XML (formatdomain, 'CPU model and topology').

    It is what the agent writes of its properties (LibvirtVMDef.java), but for a model that QEMU
    lacks, which is not to be replaced here by a near one.

    model: a name that libvirt knows. features: names too, after a minus those that guests lack.
    """
    cpu = ET.Element("cpu", mode="custom", match="exact")
    ET.SubElement(cpu, "model", fallback="forbid").text = model
    for feature in features:
        policy = "disable" if feature.startswith("-") else "require"
        ET.SubElement(cpu, "feature", policy=policy, name=feature.removeprefix("-"))
    return ET.tostring(cpu, encoding="unicode")


def comparison(cpu: str, seconds: int) -> str:
    """Return the command that has a host's libvirt judge a CPU; `verdict` understands its answer.

    libvirt before 4.4 knows the host's CPU alone, and not what QEMU and KVM make of it.

    cpu: in libvirt's XML. seconds: the time that libvirt has to answer.
    """
    return (
        "compare='hypervisor-cpu-compare --error'; "
        "virsh help hypervisor-cpu-compare >/dev/null 2>&1 || compare=cpu-compare; "
        f"echo {quote(cpu)} | {VIRSH.format(seconds=seconds)} $compare /dev/stdin 2>&1"
    )


def verdict(said: str) -> str | None:
    """Return RUNS, or why a host cannot run a CPU; None when libvirt did not judge it.

    said: what the command of `comparison` printed.
    """
    if unfit := _UNFIT.search(said):
        return unfit[0]
    return RUNS if _FIT.search(said) else None


def host_model(capabilities: str) -> str | None:
    """Return the best CPU that a host has for guests, in libvirt's XML; None if it has none.

    capabilities: what `virsh domcapabilities` prints (formatdomaincaps, 'CPU configuration').
    """
    try:
        mode = ET.fromstring(capabilities).find("cpu/mode[@name='host-model'][@supported='yes']")
    except ET.ParseError:
        return None
    if mode is None:
        return None
    cpu = ET.Element("cpu", mode="custom", match="exact")
    for part in mode.iterfind("*"):
        if part.tag in ("model", "vendor", "feature"):
            part.tail = None
            cpu.append(part)
    return ET.tostring(cpu, encoding="unicode")


def as_settings(cpu: str) -> tuple[str, ...] | None:
    """Return the settings that have guests see a CPU, as group_data has them; None if it is none.

    cpu: in libvirt's XML, as `virsh hypervisor-cpu-baseline` prints it.
    """
    try:
        found = ET.fromstring(cpu)
    except ET.ParseError:
        return None
    model = found.findtext("model")
    if model is None:
        return None
    features = [
        json.dumps(f"{'-' * (feature.get('policy') == 'disable')}{feature.get('name')}")
        for feature in found.iter("feature")
    ]
    comma = "," if len(features) == 1 else ""
    return (
        'guest_cpu_mode = "custom"',
        f"guest_cpu_model = {json.dumps(model)}",
        f"guest_cpu_features = ({', '.join(features)}{comma})",
    )
