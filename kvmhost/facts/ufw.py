"""The rules of ufw, whether it is on or off."""

import re
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.firewall import ANYWHERE


@dataclass(frozen=True)
class Allowed:
    """A rule that lets TCP to a port, or a range such as 5900:6100, through from a source."""

    port: str
    source: str


@dataclass(frozen=True)
class Ufw:
    """Whether ufw is installed and on, and the TCP ports that its rules open."""

    installed: bool
    active: bool
    allowed: frozenset[Allowed]


_SHOW_ADDED = (
    "{ ufw show added 2>/dev/null || sed -n "
    r"-e 's|^\(### tuple ### allow tcp [0-9:]* 0.0.0.0/0 any\) 0.0.0.0/0 in$|\1 any in|' "
    r"-e 's|^### tuple ### allow tcp \([0-9:]*\) 0.0.0.0/0 any \(.*\) in$"
    r"|ufw allow from \2 to any port \1 proto tcp|p' /lib/ufw/user.rules; }"
)
"""What `ufw show added` says, or would say: ufw has it since 0.33 only, and its rules before."""


class Rules(FactBase[Ufw | None]):
    """The TCP ports that ufw opens; None when the host did not answer."""

    @override
    def command(self) -> str:
        return (
            f"if command -v ufw >/dev/null; then echo installed; ufw status; {_SHOW_ADDED}; "
            "else echo absent; fi"
        )

    _RULE = re.compile(
        r"ufw allow (?:"
        r"(?P<any_port>[\d:]+)/tcp"
        r"|from (?P<source>\S+) to any port (?P<port>[\d:]+) proto tcp"
        r")(?: comment .*)?"
    )

    @override
    def process(self, output: list[str]) -> Ufw:
        rules = [match for line in output if (match := self._RULE.fullmatch(line.strip()))]
        return Ufw(
            installed="installed" in output,
            active="Status: active" in output,
            allowed=frozenset(
                Allowed(rule["any_port"] or rule["port"], rule["source"] or ANYWHERE)
                for rule in rules
            ),
        )
