"""What firewalld lets through."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.iptables import in_use


@dataclass(frozen=True)
class Zone:
    """The TCP ports and the rich rules of a zone, as firewall-cmd(1) writes them."""

    ports: frozenset[str] = frozenset()
    rich_rules: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Firewalld:
    """Whether firewalld runs, and the zone of an interface, as it is now and as it is kept.

    `iptables` says whether the service iptables is on. `zone` is empty when firewalld is off.
    """

    running: bool
    iptables: bool
    zone: str = ""
    runtime: Zone = Zone()
    permanent: Zone = Zone()


class InterfaceZone(FactBase[Firewalld | None]):
    """The zone of an interface, or the default zone; None when the host did not answer.

    A firewalld that is off makes `firewall-cmd --state` exit with 252 (firewall-cmd(1)); one that
    runs and cannot be asked is another thing.

    + interface: its name
    """

    @override
    def command(self, interface: str) -> str:
        return (
            f"if {in_use('iptables')}; then echo iptables; fi; "
            "if ! command -v firewall-cmd >/dev/null; then echo off; exit; fi; "
            "firewall-cmd --state >/dev/null; "
            "case $? in 0) ;; 252) echo off; exit;; *) exit 1;; esac; "
            f"zone=$(firewall-cmd --get-zone-of-interface={quote(interface)} 2>/dev/null) || "
            "zone=$(firewall-cmd --get-default-zone); echo zone $zone; "
            "echo runtime; firewall-cmd --zone=$zone --list-all; "
            "echo permanent; firewall-cmd --permanent --zone=$zone --list-all"
        )

    @override
    def process(self, output: list[str]) -> Firewalld:
        zones = [line.split()[1] for line in output if re.fullmatch(r"zone \S+", line)]
        if not zones:
            return Firewalld(running=False, iptables="iptables" in output)
        runtime, permanent = output.index("runtime"), output.index("permanent")
        return Firewalld(
            running=True,
            iptables="iptables" in output,
            zone=zones[0],
            runtime=_zone(output[runtime:permanent]),
            permanent=_zone(output[permanent:]),
        )


def _zone(lines: Iterable[str]) -> Zone:
    words = [line.split() for line in lines]
    return Zone(
        ports=frozenset(port for row in words if row[:1] == ["ports:"] for port in row[1:]),
        rich_rules=frozenset(" ".join(row) for row in words if row[:1] == ["rule"]),
    )
