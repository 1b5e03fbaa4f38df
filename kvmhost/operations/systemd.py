"""Units of systemd: those that must run, and those that must not."""

from shlex import join, quote

from pyinfra import host
from pyinfra.api import StringCommand, operation
from pyinfra.api.operation import OperationMeta

from kvmhost.facts.systemd import Fall, Unit, Units, stays_up
from kvmhost.operations.commands import Commands, fail, unknown

SETTLED = 5
"""Seconds that a unit has to be up after it was started here."""
_RECOVERED = 30
"""Seconds that a unit has to be up since systemd has restarted it."""


@operation()
def mask(units: tuple[str, ...]) -> Commands:
    """
    Have units stopped and masked, those that a package has yet to bring included.

    + units: names with their suffixes
    """
    present = host.get_fact(Units, units=units)
    running = [name for name in units if name in present and present[name].running]
    unmasked = [name for name in units if name not in present or not present[name].masked]
    if running:
        yield StringCommand(f"systemctl stop {join(running)}")
    if unmasked:
        yield StringCommand(f"systemctl mask {join(unmasked)}")


@operation()
def disable(units: tuple[str, ...]) -> Commands:
    """
    Have units stopped and disabled, where the host has them.

    + units: names with their suffixes
    """
    present = host.get_fact(Units, units=units)
    unwanted = [
        name
        for name, unit in present.items()
        if unit.exists and not unit.masked and (unit.running or unit.enabled == "enabled")
    ]
    if unwanted:
        yield StringCommand(f"systemctl disable --now {join(unwanted)}")


@operation()
def service(
    unit: str, running: bool = True, restart_after: tuple[OperationMeta, ...] = ()
) -> Commands:
    """
    Have a unit enabled, and running with its present configuration.

    Up is not enough: it has to stay so, else the host fails with the unit's last lines in the
    journal. Unlike a restart with `_if`, a dry run can tell whether this one will restart the unit.

    + unit: its name with its suffix
    + running: whether it is started and has to stay up; one that is up is restarted in either case
    + restart_after: operations whose changes the unit has to read
    """
    present = host.get_fact(Units, units=(unit,)).get(unit, Unit("", "", ""))
    if present.enabled in ("", "disabled"):
        yield StringCommand(f"systemctl enable {quote(unit)}")
    if present.up and will_restart(restart_after):
        restart = f"systemctl restart {quote(unit)}"
        yield StringCommand(_kept_up(unit, restart) if running else restart)
    elif present.up and running and present.restarts:
        fall = host.get_fact(Fall, unit=unit, seconds=_RECOVERED)
        if fall is None:
            yield from unknown(f"whether {unit} stays up")
        elif fall:
            yield from fail(fall)
    elif running and not present.up:
        yield StringCommand(_kept_up(unit, f"systemctl start {quote(unit)}"))


def _kept_up(unit: str, command: str) -> str:
    """Return a command that brings a unit up, as one that fails unless the unit stays so.

    What systemd has counted of earlier falls is no longer held against the unit.
    """
    forget = f"systemctl reset-failed {quote(unit)} 2>/dev/null"
    return f"{forget}; {command}; status=$?; {stays_up(unit, SETTLED)} >&2 && exit $status"


def will_restart(restart_after: tuple[OperationMeta, ...]) -> bool:
    """Return whether any of these operations changed something, or is about to."""
    return any(
        operation.did_change() if operation.is_complete() else operation.will_change
        for operation in restart_after
    )
