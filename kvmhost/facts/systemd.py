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


class Units(FactBase[dict[str, Unit]]):
    """The state of each named unit, by name; empty when systemd did not answer.

    + units: names with their suffixes
    """

    @override
    def command(self, units: Iterable[str]) -> str:
        shown = "Id,LoadState,ActiveState,UnitFileState"
        # one call a unit, since an alias is shown under its real name
        return (
            f"for unit in {join(units)}; do echo unit=$unit; systemctl show -p {shown} $unit; done"
        )

    @override
    def process(self, output: list[str]) -> dict[str, Unit]:
        units: dict[str, dict[str, str]] = {}
        for line in output:
            key, _, value = line.partition("=")
            if key == "unit":
                units[value] = shown = {}
            elif key:
                shown[key] = value
        return {
            name: Unit(
                shown.get("LoadState", ""),
                shown.get("ActiveState", ""),
                shown.get("UnitFileState", ""),
            )
            for name, shown in units.items()
        }

    @override
    @staticmethod
    def default() -> dict[str, Unit]:
        return {}
