"""Units of systemd: those that must run, and those that must not."""

from shlex import join, quote

from pyinfra import host
from pyinfra.api import StringCommand, operation
from pyinfra.api.operation import OperationMeta

from kvmhost.facts.systemd import Unit, Units
from kvmhost.operations.commands import Commands


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

    Unlike a restart with `_if`, a dry run can tell whether this one will restart the unit.

    + unit: its name with its suffix
    + running: whether it is started; a unit that runs is restarted in either case
    + restart_after: operations whose changes the unit has to read
    """
    present = host.get_fact(Units, units=(unit,)).get(unit, Unit("", "", ""))
    if present.enabled in ("", "disabled"):
        yield StringCommand(f"systemctl enable {quote(unit)}")
    if present.running:
        if will_restart(restart_after):
            yield StringCommand(f"systemctl restart {quote(unit)}")
    elif running:
        yield StringCommand(f"systemctl start {quote(unit)}")


def will_restart(restart_after: tuple[OperationMeta, ...]) -> bool:
    """Return whether any of these operations changed something, or is about to."""
    return any(
        operation.did_change() if operation.is_complete() else operation.will_change
        for operation in restart_after
    )
