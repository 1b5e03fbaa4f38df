"""The state of systemd's units, and whether one stays up."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from shlex import join, quote

from pyinfra.api import FactBase
from typing_extensions import override


@dataclass(frozen=True)
class Unit:
    """A unit's LoadState, ActiveState and UnitFileState, as `systemctl show` gives them.

    `restarts` is NRestarts: how often systemd has restarted a service that ended by itself, since
    somebody started it. `waits` says that a restart was put off, and that there was none since.
    """

    load: str
    active: str
    enabled: str
    restarts: int = 0
    waits: bool = False

    @property
    def exists(self) -> bool:
        """Whether the host has such a unit."""
        return self.load not in ("", "not-found")

    @property
    def masked(self) -> bool:
        """Whether the unit can not be started."""
        return self.load == "masked"

    @property
    def up(self) -> bool:
        """Whether the unit is up; one that waits to be restarted is not."""
        return self.active in ("active", "reloading")

    @property
    def running(self) -> bool:
        """Whether the unit is up, or is about to be."""
        return self.up or self.active == "activating"


PUT_OFF = "/run/cloudstack-restarts"
"""The file with the InvocationID (systemd.exec(5)) of each unit whose restart was put off.

Whoever restarts the unit gives it another; a boot empties /run.
"""
_SHOWN = ("LoadState", "ActiveState", "UnitFileState", "NRestarts", "InvocationID")


class Units(FactBase[dict[str, Unit]]):
    """The state of each named unit, by name; empty when systemd did not answer.

    + units: names with their suffixes
    """

    @override
    def command(self, units: Iterable[str]) -> str:
        # an alias is shown under its real name, but in its place
        return (
            f"echo {join(units)}; echo $(cat {PUT_OFF} 2>/dev/null); "
            f"systemctl show -p {','.join(_SHOWN)} {join(units)}"
        )

    @override
    def process(self, output: list[str]) -> dict[str, Unit]:
        names, put_off, *lines = output
        # an empty line comes between units; only services have NRestarts
        blocks = [dict(map(_pair, lines)) for shown, lines in groupby(lines, bool) if shown]
        return {
            name: Unit(
                block.get("LoadState", ""),
                block.get("ActiveState", ""),
                block.get("UnitFileState", ""),
                int(block.get("NRestarts") or 0),
                block.get("InvocationID") in put_off.split(),
            )
            for name, block in zip(names.split(), blocks, strict=False)
        }

    @override
    @staticmethod
    def default() -> dict[str, Unit]:
        return {}


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key, value


_STAYS_UP = """(
show() {{ systemctl show -p "$1" --value {unit}; }}
age() {{
    read -r now _ </proc/uptime
    echo $((${{now%.*}} - $(show ActiveEnterTimestampMonotonic) / 1000000))
}}
restarts=$(show NRestarts) look=0
while case $(show ActiveState) in (active | reloading) ;; (*) false ;; esac &&
    [ "$(show NRestarts)" = "$restarts" ]
do
    look=$((look + 1))
    [ $look -le {seconds} ] && [ "$(age)" -lt {seconds} ] || exit 0
    sleep 1
done
state=$(systemctl show -p ActiveState,SubState,NRestarts {unit})
journalctl --quiet --no-pager --lines 10 --unit {unit}
echo {unit} does not stay up: $state
exit 1
)"""


def stays_up(unit: str, seconds: int) -> str:
    """Return the shell command that succeeds when a unit has been up for so long.

    It fails as soon as the unit is seen to be down, or systemd to have restarted it, and prints
    the last lines of the journal, and then the state. A slow machine is never refused for being
    slow: to look for too short a time only leaves a crash to the next run, which finds it counted.

    unit: its name with its suffix.
    seconds: how long it has to be up, the time included that it has been up already.
    """
    return _STAYS_UP.format(unit=quote(unit), seconds=seconds)


class Fall(FactBase[str | None]):
    """What a unit that is up says of not staying so, "" if it stays; None without an answer.

    + unit: its name with its suffix
    + seconds: how long it has to be up, the time included that it has been up already
    """

    @override
    def command(self, unit: str, seconds: int) -> str:
        return f'if said=${stays_up(unit, seconds)}; then echo up; else echo "$said"; fi'

    @override
    def process(self, output: list[str]) -> str:
        return "" if output == ["up"] else "\n".join(output)
