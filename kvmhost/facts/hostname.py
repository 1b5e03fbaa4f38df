"""The names that a host has, and where it has them from."""

from base64 import b64decode
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.machine import values


@dataclass(frozen=True)
class Hostname:
    """A host's names and the texts of the files that hold them.

    `kernel` is the name that runs, `qualified` what `hostname --fqdn` returns ("": nothing).
    `static_file` and `hosts_file` are the texts of /etc/hostname and /etc/hosts.
    """

    kernel: str
    qualified: str
    static_file: str
    hosts_file: str


class Names(FactBase[Hostname | None]):
    """The names of a host; None when the host did not answer."""

    @override
    def command(self) -> str:
        return (
            "echo kernel=$(uname -n); "
            "echo qualified=$(timeout 6 hostname --fqdn 2>/dev/null); "
            "echo static_file=$(base64 -w0 /etc/hostname 2>/dev/null); "
            "echo hosts_file=$(base64 -w0 /etc/hosts 2>/dev/null)"
        )

    @override
    def process(self, output: list[str]) -> Hostname:
        said = values(output)
        return Hostname(
            said["kernel"],
            said["qualified"],
            _decoded(said["static_file"]),
            _decoded(said["hosts_file"]),
        )


def _decoded(text: str) -> str:
    return b64decode(text).decode("utf-8", "surrogateescape")
