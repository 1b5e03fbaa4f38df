"""AppArmor's profiles."""

from shlex import join, quote

from pyinfra import host
from pyinfra.api import StringCommand

from kvmhost.facts.apparmor import Profiles
from kvmhost.operations.commands import Commands, operation, unknown

_DIRECTORY = "/etc/apparmor.d"


@operation()
def disable(profiles: tuple[str, ...]) -> Commands:
    """
    Have profiles disabled for good and unloaded now, where the kernel runs AppArmor.

    A profile that a package has yet to bring is disabled beforehand: it is then never loaded.

    + profiles: file names below /etc/apparmor.d
    """
    present = host.get_fact(Profiles, profiles=profiles)
    if present is None:
        yield from unknown("AppArmor's profiles")
        return
    if not present.enabled:
        host.noop("the kernel does not run AppArmor")
        return
    unlinked = [profile for profile in profiles if profile not in present.disabled]
    if unlinked:
        files = [f"{_DIRECTORY}/{profile}" for profile in unlinked]
        yield StringCommand(
            f"mkdir -p {_DIRECTORY}/disable && ln -sf {join(files)} {_DIRECTORY}/disable/"
        )
    for profile in sorted(present.loaded):
        yield StringCommand(f"apparmor_parser -R {quote(f'{_DIRECTORY}/{profile}')}")
