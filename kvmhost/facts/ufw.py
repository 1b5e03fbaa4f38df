"""The rules of ufw, whether it is on or off."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.firewall import ASK_WORKSTATION, IPAddress, workstation
from kvmhost.ufw import Rule, parse

DEFAULTS = "/etc/default/ufw"
_FOLDERS = "/etc/ufw /lib/ufw"
"""Where ufw keeps its rules; up to 0.34 it was the latter."""


@dataclass(frozen=True)
class Ufw:
    """The rules for what comes in, in the order in which they count, and what else decides.

    `ipv6` says whether ufw minds IPv6, `accepts` whether it lets in what no rule speaks of.
    `workstation` is the administrator's address as the host sees it; None when it has none.
    """

    rules: tuple[Rule, ...]
    ipv6: bool
    accepts: bool
    workstation: IPAddress | None


class Rules(FactBase[Ufw | None]):
    """The rules of ufw, none when it is not installed; None when the host did not answer."""

    @override
    def command(self) -> str:
        return (
            f"for folder in {_FOLDERS}; do if [ -e $folder/user.rules ]; then "
            "for version in '' 6; do if [ -e $folder/user$version.rules ]; then "
            's="s/^### tuple ###/rule${version:-4}/p"; '
            'sed -n "$s" $folder/user$version.rules || exit; fi; done; '
            "break; fi; done; "
            f"if [ -e {DEFAULTS} ]; then cat {DEFAULTS}; fi; {ASK_WORKSTATION}; echo all"
        )

    _RULE = re.compile(r"rule([46]) (.*)")

    @override
    def process(self, output: list[str]) -> Ufw | None:
        if output[-1] != "all":
            return None
        ipv6 = _default(output, "IPV6") in ("", "yes")
        found = [match for line in output if (match := self._RULE.fullmatch(line))]
        rules = [parse(match[2], int(match[1])) for match in found if ipv6 or match[1] == "4"]
        return Ufw(
            rules=tuple(rule for rule in rules if rule),
            ipv6=ipv6,
            accepts=_default(output, "DEFAULT_INPUT_POLICY") == "accept",
            workstation=workstation(output),
        )


def _default(lines: Iterable[str], key: str) -> str:
    """Return the value of a default in lower case, as ufw takes it; "" when it is not set."""
    values = [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]
    return values[-1].strip().strip("\"'").lower() if values else ""
