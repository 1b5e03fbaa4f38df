"""Kernel parameters of a host."""

from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.files import RemoteFile, Text


@dataclass(frozen=True)
class Kept:
    """What a kernel parameter is now, "" where the kernel has none, and the file that keeps it."""

    value: str
    file: RemoteFile


class Parameter(FactBase[Kept | None]):
    """A kernel parameter and the file that keeps it; None when the host did not answer.

    + parameter: as sysctl(8) has it
    + path: the file's absolute path
    """

    @override
    def command(self, parameter: str, path: str) -> str:
        value = f'"value $(sysctl -n {quote(parameter)} 2>/dev/null)"'
        return f"echo {value}; {Text().command(path=path)}"

    @override
    def process(self, output: list[str]) -> Kept:
        word, _, value = output[0].partition(" ")
        if word != "value" or len(output) == 1:
            raise ValueError(f"it is not said what the kernel has: {output[0]!r}")
        return Kept(value, Text().process(output[1:]))
