"""Kernel modules on a host."""

from shlex import quote

from pyinfra.api import FactBase
from typing_extensions import override


class Loaded(FactBase[bool | None]):
    """Whether a module is loaded; None when the host did not answer.

    + module: its name
    """

    @override
    def command(self, module: str) -> str:
        return f"if [ -e /sys/module/{quote(module)} ]; then echo loaded; else echo absent; fi"

    @override
    def process(self, output: list[str]) -> bool:
        if output not in (["loaded"], ["absent"]):
            raise ValueError(f"it is not said whether the module is loaded: {output[0]!r}")
        return output == ["loaded"]
