"""Services, whatever manages them."""

from pyinfra.api.operation import OperationMeta

from kvmhost.operations import systemd, sysvinit
from kvmhost.operations.commands import Commands, operation
from kvmhost.settings import Platform


@operation()
def disabled(services: tuple[str, ...], platform: Platform) -> Commands:
    """
    Have services stopped and disabled, where the host has them.

    + services: names, without systemd's suffix
    + platform: the host's service manager
    """
    if platform.service_manager == "systemd":
        units = tuple(f"{service}.service" for service in services)
        yield from systemd.disable._inner(units=units)
    else:
        yield from sysvinit.disable._inner(services=services)


@operation()
def enabled(
    service: str,
    platform: Platform,
    running: bool = True,
    restart_after: tuple[OperationMeta, ...] = (),
    with_guests: bool = True,
) -> Commands:
    """
    Have a service enabled, and running with its present configuration.

    Up is not enough: it has to stay so, else the host fails with the service's last lines in its
    log. Unlike a restart with `_if`, a dry run can tell whether this one will restart the service.

    + service: its name, without systemd's suffix
    + platform: the host's service manager
    + running: whether it is started and has to stay up; one that runs is restarted in either case
    + restart_after: operations whose changes the service has to read
    + with_guests: whether it is restarted while guests run; else that is put off, and said
    """
    if platform.service_manager == "systemd":
        yield from systemd.service._inner(
            unit=f"{service}.service",
            running=running,
            restart_after=restart_after,
            with_guests=with_guests,
        )
    else:
        yield from sysvinit.service._inner(
            service=service,
            running=running,
            restart_after=restart_after,
            with_guests=with_guests,
        )
