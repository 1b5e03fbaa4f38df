"""What SELinux does on a host."""

from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.files import decoded

CONFIG = "/etc/selinux/config"
"""The file that says what SELinux does after the next boot."""


@dataclass(frozen=True)
class Selinux:
    """What SELinux does now: enforcing, permissive or disabled; None where it is not installed.

    `config` is the text of the file; None when there is none. `labelled` says whether the files
    bear labels, by the example of sshd: without them an enforcing SELinux locks everybody out.
    """

    mode: str | None
    config: str | None
    labelled: bool


class Status(FactBase[Selinux | None]):
    """The state of SELinux; None when the host did not answer."""

    @override
    def command(self) -> str:
        return (
            "echo seen; "
            "if command -v getenforce >/dev/null; then echo mode $(getenforce); fi; "
            f"if [ -e {CONFIG} ]; then echo config $(base64 -w0 {CONFIG}); fi; "
            "case $(stat -c %C $(command -v sshd || echo /usr/sbin/sshd) 2>/dev/null) in "
            "*:sshd_exec_t*) echo labelled;; esac"
        )

    @override
    def process(self, output: list[str]) -> Selinux:
        said = {word: value for word, _, value in (line.partition(" ") for line in output)}
        if "seen" not in said:
            raise ValueError(f"nothing is said of SELinux: {output[0]!r}")
        config = said.get("config")
        return Selinux(
            mode=said["mode"].lower() if "mode" in said else None,
            config=None if config is None else decoded(config),
            labelled="labelled" in said,
        )
