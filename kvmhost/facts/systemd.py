"""The state of systemd's units."""

from collections.abc import Iterable
from dataclasses import dataclass
from shlex import join

from pyinfra.api import FactBase
from typing_extensions import override


@dataclass(frozen=True)
class Unit:
    """A unit's LoadState, ActiveState and UnitFileState, as `systemctl show` gives them."""

    load: str
    active: str
    enabled: str

    @property
    def exists(self) -> bool:
        """Whether the host has such a unit."""
        return self.load not in ("", "not-found")

    @property
    def masked(self) -> bool:
        """Whether the unit can not be started."""
        return self.load == "masked"

    @property
    def running(self) -> bool:
        """Whether the unit runs, or is about to."""
        return self.active in ("active", "activating", "reloading")


_SHOWN = ("LoadState", "ActiveState", "UnitFileState")


class Units(FactBase[dict[str, Unit]]):
    """The state of each named unit, by name; empty when systemd did not answer.

    + units: names with their suffixes
    """

    @override
    def command(self, units: Iterable[str]) -> str:
        # an alias is shown under its real name, but in its place
        return f"echo {join(units)}; systemctl show -p {','.join(_SHOWN)} {join(units)}"

    @override
    def process(self, output: list[str]) -> dict[str, Unit]:
        names, *lines = output
        shown = [line.partition("=")[::2] for line in lines if line]
        size = len(_SHOWN)
        blocks = (dict(shown[at : at + size]) for at in range(0, len(shown), size))
        units = zip(names.split(), blocks, strict=False)
        return {name: Unit(*(block.get(key, "") for key in _SHOWN)) for name, block in units}

    @override
    @staticmethod
    def default() -> dict[str, Unit]:
        return {}
