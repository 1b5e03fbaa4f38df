"""Services without systemd: those that must run, and those that must not."""

from shlex import quote

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import OperationMeta

from kvmhost.facts.sysvinit import Service, Services, stays_up
from kvmhost.operations import guests
from kvmhost.operations.commands import Commands, operation
from kvmhost.operations.systemd import SETTLED, will_restart

_ENABLE = (
    "if command -v chkconfig >/dev/null; then chkconfig {0} on; else update-rc.d {0} enable; fi"
)
_DISABLE = (
    "if [ -e /etc/init/{0}.conf ]; then echo manual > /etc/init/{0}.override; "
    "elif command -v chkconfig >/dev/null; then chkconfig {0} off; else update-rc.d {0} disable; fi"
)
"""RHEL's program, Debian's, and the way to keep a job of Upstart from starting (init(5))."""


@operation()
def disable(services: tuple[str, ...]) -> Commands:
    """
    Have services stopped and disabled, where the host has them.

    + services: names
    """
    present = host.get_fact(Services, services=services)
    for name, found in present.items():
        if found.running:
            yield StringCommand(f"service {quote(name)} stop")
        if found.enabled:
            yield StringCommand(_DISABLE.format(quote(name)))


@operation()
def service(
    service: str,
    running: bool = True,
    restart_after: tuple[OperationMeta, ...] = (),
    with_guests: bool = True,
) -> Commands:
    """
    Have a service enabled, and running with its present configuration.

    + service: its name
    + running: whether it is started and has to stay up; one that runs is restarted in either case
    + restart_after: operations whose changes the service has to read
    + with_guests: whether it is restarted while guests run; else that is left to the administrator,
      and this run says so
    """
    present = host.get_fact(Services, services=(service,)).get(service, Service())
    if not present.enabled:
        yield StringCommand(_ENABLE.format(quote(service)))
    verb = None
    if not present.running:
        verb = "start" if running else None
    elif will_restart(restart_after) and (
        yield from guests.allow(f"To restart {service}", with_guests)
    ):
        verb = "restart"
    if verb:
        watch = f" && {stays_up(service, SETTLED)} >&2" if running else ""
        yield StringCommand(f"service {quote(service)} {verb}{watch}")
