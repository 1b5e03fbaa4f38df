"""The rules of iptables and ip6tables, and whether a host uses them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.files import decoded
from kvmhost.firewall import ASK_WORKSTATION, IPAddress, workstation
from kvmhost.iptables import PROGRAMS, in_use, saved_path


@dataclass(frozen=True)
class Family:
    """Whether the service of one version of IP is on, and its rules.

    `running` is what `iptables -S INPUT` says, and `saved` the text of the file; None when there
    is none.
    """

    active: bool = False
    running: str = ""
    saved: str | None = None


@dataclass(frozen=True)
class Iptables:
    """The rules by the version of IP, whether firewalld runs, and who has come.

    `workstation` is the administrator's address as the host sees it; None when it has none.
    """

    families: Mapping[int, Family]
    firewalld: bool
    workstation: IPAddress | None

    @property
    def active(self) -> dict[int, Family]:
        """The versions of IP whose service is on."""
        return {version: family for version, family in self.families.items() if family.active}


class Rules(FactBase[Iptables | None]):
    """The state of iptables and ip6tables; None when the host did not answer."""

    @override
    def command(self) -> str:
        families = (
            f"echo family {version}; if {in_use(program)}; then echo active; {program} -S INPUT; "
            f"fi; if [ -e {saved_path(program)} ]; then "
            f'echo "saved $(base64 -w0 {saved_path(program)})"; fi; '
            for version, program in PROGRAMS.items()
        )
        return (
            f"{''.join(families)}{ASK_WORKSTATION}; "
            "if firewall-cmd --state >/dev/null 2>&1; then echo firewalld; fi; echo all"
        )

    @override
    def process(self, output: list[str]) -> Iptables | None:
        if output[-1] != "all":
            return None
        lines: dict[int, list[str]] = {version: [] for version in PROGRAMS}
        version = 0
        for line in output:
            if match := re.fullmatch(r"family ([46])", line):
                version = int(match[1])
            elif version:
                lines[version].append(line)
        return Iptables(
            families={version: _family(lines[version]) for version in PROGRAMS},
            firewalld="firewalld" in output,
            workstation=workstation(output),
        )


def _family(lines: list[str]) -> Family:
    saved = [line.removeprefix("saved").strip() for line in lines if line.startswith("saved")]
    return Family(
        active="active" in lines,
        running="\n".join(line for line in lines if line.startswith("-")),
        saved=decoded(saved[0]) if saved else None,
    )
