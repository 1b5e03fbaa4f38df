"""What libvirt and QEMU on a host are and can do."""

import re
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.guest_cpu import VIRSH, as_settings, comparison, described, host_model, verdict


@dataclass(frozen=True)
class Hypervisor:
    """The versions of libvirt and QEMU; None for one that is not installed."""

    libvirt: str | None
    qemu: str | None


class Versions(FactBase[Hypervisor | None]):
    """The versions of libvirt and QEMU; None when the host did not answer."""

    @override
    def command(self) -> str:
        return (
            "echo libvirt $(libvirtd --version 2>/dev/null); "
            "for qemu in qemu-system-x86_64 qemu-kvm /usr/libexec/qemu-kvm; do "
            "command -v $qemu >/dev/null && echo qemu $($qemu --version) && break; done; true"
        )

    @override
    def process(self, output: list[str]) -> Hypervisor:
        versions: dict[str, str] = {}
        for line in output:
            program, _, text = line.partition(" ")
            if found := re.search(r"\d+\.\d+(\.\d+)?", text):
                versions.setdefault(program, found[0])
        return Hypervisor(versions.get("libvirt"), versions.get("qemu"))


GUESTS_COMMAND = (
    "for guest in /var/run/libvirt/qemu/*.xml; do "
    '[ -f "$guest" ] && echo "guest $(basename "$guest" .xml)"; done'
)
"""Prints libvirt's record of each running guest; it is there even while libvirtd is not."""


class Guests(FactBase[tuple[str, ...] | None]):
    """The names of the guests that run here; None when the host did not answer."""

    @override
    def command(self) -> str:
        return f"{GUESTS_COMMAND}; echo all"

    @override
    def process(self, output: list[str]) -> tuple[str, ...] | None:
        if output[-1] != "all":
            return None
        return tuple(line.removeprefix("guest ") for line in output[:-1])


class GuestCpu(FactBase[str | None]):
    """What libvirt says of a CPU for guests (see `verdict`); None when it does not judge it.

    + model: the CPU's model, as `virsh cpu-models x86_64` shows it
    + features: the features that it has besides, or, after a minus, has not
    """

    @override
    def command(self, model: str, features: tuple[str, ...]) -> str:
        return f"{comparison(described(model, features), seconds=300)}; true"

    @override
    def process(self, output: list[str]) -> str | None:
        return verdict(" ".join(output))


class HostCpu(FactBase[str | None]):
    """The best CPU that a host has for guests (see `host_model`); None without libvirt."""

    @override
    def command(self) -> str:
        return f"{VIRSH.format(seconds=20)} domcapabilities 2>/dev/null; true"

    @override
    def process(self, output: list[str]) -> str | None:
        return host_model("\n".join(output))


class CommonCpu(FactBase[tuple[str, ...]]):
    """The settings of a CPU that several hosts can give to guests, or libvirt's reason for none.

    libvirt before 4.4 computes none.

    + cpus: the best CPU of each host, in libvirt's XML
    """

    @override
    def command(self, cpus: tuple[str, ...]) -> str:
        baseline = "hypervisor-cpu-baseline --migratable /dev/stdin"
        return f"echo {quote(''.join(cpus))} | {VIRSH.format(seconds=20)} {baseline} 2>&1; true"

    @override
    def process(self, output: list[str]) -> tuple[str, ...]:
        return as_settings("\n".join(output)) or tuple(filter(None, output))

    @override
    @staticmethod
    def default() -> tuple[str, ...]:
        return ()
