"""Rules of iptables' INPUT chain that let TCP through, in a running chain and in a saved one."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile

IN_USE = "{ systemctl is-active --quiet iptables || service iptables status; } >/dev/null 2>&1"
"""A shell command that tells whether the service of that name is on, with systemd or without."""
SAVED = "/etc/sysconfig/iptables"
"""The file from which iptables-services, and EL 6, restore the rules at boot."""
EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
"""A saved file without a rule, in the form of iptables-save(8)."""

# iptables-save -c puts the counters of packets and bytes in front
_INPUT = re.compile(r"(?:\[\d+:\d+\] )?-A INPUT (.*?)\s*")
_REFUSES = re.compile(r"-j (REJECT|DROP)\b")


@dataclass(frozen=True)
class Changes:
    """Rules to take out of a chain, each as often as it is there, and rules to put in front."""

    removed: tuple[str, ...]
    inserted: tuple[str, ...]


def accepting(port: str, source: str | None) -> str:
    """Return the rule that accepts TCP, as iptables-save(8) writes it after `-A INPUT`.

    port: a port, or a range such as 5900:6100. source: a network with its prefix; None: anyone.
    """
    origin = f"-s {source} " if source else ""
    return f"{origin}-p tcp -m tcp --dport {port} -j ACCEPT"


def input_chain(text: str) -> tuple[str, ...]:
    """Return the rules of the filter table's INPUT chain, without `-A INPUT`, in their order.

    text: the output of iptables-save(8), or of `iptables -S INPUT`, which names no table.
    """
    return tuple(_input_rules(text.splitlines()).values())


def changes(chain: Sequence[str], wanted: Sequence[str], unwanted: Collection[str]) -> Changes:
    """Return what makes each wanted rule stand once in a chain, before all that refuses packets.

    What is inserted goes to the front one after the other, as `iptables -I` does.
    """
    effective = list(takewhile(lambda rule: not _REFUSES.search(rule), chain))
    misplaced = [rule for rule in wanted if not (rule in effective and chain.count(rule) == 1)]
    return Changes(
        removed=tuple(rule for rule in chain if rule in misplaced or rule in unwanted),
        inserted=tuple(misplaced),
    )


def set_rules(text: str, wanted: Sequence[str], unwanted: Collection[str]) -> str:
    """Return a saved file's text with the wanted rules in, as `changes` has it, the unwanted out.

    All other lines stay as they are, other tables included.

    Raises ValueError when the text has no filter table.
    """
    lines = text.splitlines()
    rules = _input_rules(lines)
    needed = changes(list(rules.values()), wanted, unwanted)
    front = min(rules) if rules else lines.index("COMMIT", lines.index("*filter"))
    result: list[str] = []
    for at, line in enumerate(lines):
        if at == front:
            result += (f"-A INPUT {rule}" for rule in reversed(needed.inserted))
        if rules.get(at) not in needed.removed:
            result.append(line)
    return "".join(f"{line}\n" for line in result)


def _input_rules(lines: Sequence[str]) -> dict[int, str]:
    """Return the rules of the filter table's INPUT chain, by the number of their line."""
    rules: dict[int, str] = {}
    table = "filter"
    for at, line in enumerate(lines):
        if line.startswith("*"):
            table = line[1:].strip()
        elif table == "filter" and (match := _INPUT.fullmatch(line)):
            rules[at] = match[1]
    return rules
