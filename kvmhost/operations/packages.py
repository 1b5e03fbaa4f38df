"""Packages, whatever program installs them."""

from shlex import join

from pyinfra import host
from pyinfra.api import StringCommand, operation

from kvmhost.facts.packages import LISTS_RENEWED, Installed, Updates
from kvmhost.operations.commands import Commands, unknown
from kvmhost.settings import Platform

_APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get -y -q"
    " -o DPkg::Lock::Timeout={timeout}"
    " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
    " {command}"
)
"""Configuration files that someone has changed stay: they are not the package's to replace."""

_DNF = (
    "end=$(($(date +%s) + {timeout})); "
    "until {manager} -y -q --setopt=exit_on_lock=1 {command}; do status=$?; "
    "[ $status = 200 ] && [ $(date +%s) -lt $end ] || exit $status; sleep 1; done"
)
"""dnf and yum wait for each other without end; told not to, they exit with 200 (dnf(8))."""

_DAY = 24 * 60 * 60


@operation()
def installed(packages: tuple[str, ...], platform: Platform) -> Commands:
    """
    Have packages installed, of whatever version; the package lists are renewed only when needed.

    + packages: names
    + platform: the host's package manager, and how long to wait for it
    """
    present = host.get_fact(Installed, manager=platform.package_manager, packages=packages)
    missing = [package for package in packages if package not in present]
    if missing:
        if platform.package_manager == "apt":
            yield StringCommand(_command(platform, "update"))
        yield StringCommand(_command(platform, f"install {join(missing)}"))


@operation()
def updated(platform: Platform) -> Commands:
    """
    Have the latest version of every installed package. New dependencies come along, but nothing
    is removed, except what dnf knows to be obsolete. Package lists that are too old are renewed
    first: apt's after a day, dnf's when they expire.

    + platform: the host's package manager, and how long to wait for it
    """
    pending = host.get_fact(Updates, manager=platform.package_manager)
    if pending and pending.age > _DAY:
        update = _command(platform, "-o APT::Update::Error-Mode=any update")
        yield StringCommand(f"{update} && touch {LISTS_RENEWED}")
        pending = host.get_fact(Updates, manager=platform.package_manager)
    if pending is None:
        yield from unknown("the list of updates")
    elif pending.packages:
        upgrade = "--with-new-pkgs upgrade" if platform.package_manager == "apt" else "upgrade"
        yield StringCommand(_command(platform, upgrade))


def _command(platform: Platform, command: str) -> str:
    form = _APT if platform.package_manager == "apt" else _DNF
    return form.format(
        manager=platform.package_manager, command=command, timeout=platform.package_lock_timeout
    )
