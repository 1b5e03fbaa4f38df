"""The rules of iptables, and whether a host uses them."""

from base64 import b64decode
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.iptables import IN_USE, SAVED, input_chain


@dataclass(frozen=True)
class Iptables:
    """Whether the service iptables is on, the INPUT chain that runs, and the saved rules.

    `chain` is without `-A INPUT`. `saved` is the text of the file; None when there is none.
    `firewalld` says whether that firewall runs.
    """

    active: bool
    firewalld: bool
    chain: tuple[str, ...]
    saved: str | None


class Rules(FactBase[Iptables | None]):
    """The state of iptables; None when the host did not answer."""

    @override
    def command(self) -> str:
        return (
            f"if {IN_USE}; then echo active; iptables -S INPUT; "
            "else echo off; fi; "
            "if firewall-cmd --state >/dev/null 2>&1; then echo firewalld; fi; "
            f'if [ -e {SAVED} ]; then echo "saved $(base64 -w0 {SAVED})"; fi'
        )

    @override
    def process(self, output: list[str]) -> Iptables:
        saved = [line.removeprefix("saved").strip() for line in output if line.startswith("saved")]
        return Iptables(
            active="active" in output,
            firewalld="firewalld" in output,
            chain=input_chain("\n".join(output)),
            saved=b64decode(saved[0]).decode("utf-8", "surrogateescape") if saved else None,
        )
