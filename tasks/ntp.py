"""Turn on time synchronisation (guide, 'Prepare the Operating System', step 4)."""

from pyinfra.api import deploy
from pyinfra.api.operation import OperationMeta

from kvmhost import inventory, templates
from kvmhost.operations import files, packages, services

VALIDATE = {
    "chrony": ("chronyd", "-p", "-f", files.NEW),
    # its AppArmor profile (usr.sbin.ntpd) has it read /etc/openntpd/ntpd.conf and no file beside it
    "openntpd": ("/usr/sbin/ntpd", "-n", "-f", files.PIPED),
    "ntp": (),  # ntpd(8) can not check a file without using it
}
"""How each time service checks its configuration."""


@deploy("NTP")
def ntp() -> None:
    """Have one time service installed and running, and no other."""
    settings = inventory.settings()
    chosen = settings.time.time_service
    file = settings.time.time_files[chosen]
    packages.installed(
        name="Install the time service",
        packages=(chosen,),
        platform=settings.platform,
    )
    services.disabled(
        name="Stop every other time service",
        services=tuple(
            service for package, service in settings.time.time_services.items() if package != chosen
        ),
        platform=settings.platform,
    )
    configured: tuple[OperationMeta, ...] = ()
    if settings.time.ntp_servers:
        configured = (
            files.content(
                name="Name the time servers",
                path=file,
                text=templates.render(file, servers=settings.time.ntp_servers),
                validate=VALIDATE[chosen],
            ),
        )
    services.enabled(
        name="Run the time service",
        service=settings.time.time_services[chosen],
        platform=settings.platform,
        restart_after=configured,
    )
