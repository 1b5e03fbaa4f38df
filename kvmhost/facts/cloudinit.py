"""What cloud-init is told on a host."""

from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.files import Text

CONFIGURATION = "/etc/cloud/cloud.cfg"


@dataclass(frozen=True)
class Told:
    """Whether cloud-init is installed, and the text of one file, None when there is no such."""

    installed: bool
    text: str | None = None


class Configuration(FactBase[Told | None]):
    """One file of cloud-init's configuration; None when the host did not answer.

    + path: the file's absolute path
    """

    @override
    def command(self, path: str) -> str:
        read = Text().command(path)
        return f"if [ -e {quote(CONFIGURATION)} ]; then {read}; else echo none; fi"

    @override
    def process(self, output: list[str]) -> Told:
        return Told(False) if output == ["none"] else Told(True, Text().process(output).text)
