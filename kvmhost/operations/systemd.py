"""Units of systemd: those that must run, and those that must not."""

from shlex import join, quote

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import OperationMeta

from kvmhost.facts.systemd import PUT_OFF, Fall, Unit, Units, stays_up
from kvmhost.operations import guests
from kvmhost.operations.commands import Commands, fail, operation, unknown

SETTLED = 5
"""Seconds that a unit has to be up after it was started here."""
_RECOVERED = 30
"""Seconds that a unit has to be up since systemd has restarted it."""


@operation()
def mask(units: tuple[str, ...], with_guests: bool = True) -> Commands:
    """
    Have units stopped and masked, those that a package has yet to bring included.

    + units: names with their suffixes
    + with_guests: whether they are stopped while guests run; else that is put off, and said
    """
    present = host.get_fact(Units, units=units)
    running = [name for name in units if name in present and present[name].running]
    unmasked = [name for name in units if name not in present or not present[name].masked]
    if running and (yield from guests.allow(f"To stop {' '.join(running)}", with_guests)):
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
    unit: str,
    running: bool = True,
    restart_after: tuple[OperationMeta, ...] = (),
    with_guests: bool = True,
) -> Commands:
    """
    Have a unit enabled, and running with its present configuration.

    Up is not enough: it has to stay so, else the host fails with the unit's last lines in the
    journal. Unlike a restart with `_if`, a dry run can tell whether this one will restart the unit.

    + unit: its name with its suffix
    + running: whether it is started and has to stay up; one that is up is restarted in either case
    + restart_after: operations whose changes the unit has to read
    + with_guests: whether it is restarted while guests run; else that is put off, and each run
      says so until it was restarted
    """
    present = host.get_fact(Units, units=(unit,)).get(unit, Unit("", "", ""))
    if present.enabled in ("", "disabled"):
        yield StringCommand(f"systemctl enable {quote(unit)}")
    if not present.up:
        if running:
            yield _kept_up(unit, "start")
        return
    if present.waits or will_restart(restart_after):
        if (yield from guests.allow(f"To restart {unit}", with_guests)):
            restart = StringCommand(f"systemctl restart {quote(unit)}")
            yield _kept_up(unit, "restart") if running else restart
            return
        if not present.waits:
            yield StringCommand(f"systemctl show -p InvocationID --value {quote(unit)} >>{PUT_OFF}")
    if running and present.restarts:
        yield from _recovered(unit)


def _kept_up(unit: str, verb: str) -> StringCommand:
    """Return the command that starts a unit, or restarts it, and fails unless it stays up.

    What systemd has counted of earlier falls is no longer held against the unit.
    """
    name = quote(unit)
    return StringCommand(
        f"systemctl reset-failed {name} 2>/dev/null; systemctl {verb} {name}; status=$?; "
        f"{stays_up(unit, SETTLED)} >&2 && exit $status"
    )


def _recovered(unit: str) -> Commands:
    """Fail the host unless a unit that has fallen stays up now."""
    fall = host.get_fact(Fall, unit=unit, seconds=_RECOVERED)
    if fall is None:
        yield from unknown(f"whether {unit} stays up")
    elif fall:
        yield from fail(fall)


def will_restart(restart_after: tuple[OperationMeta, ...]) -> bool:
    """Return whether any of these operations changed something, or is about to."""
    return any(
        operation.did_change() if operation.is_complete() else operation.will_change
        for operation in restart_after
    )
