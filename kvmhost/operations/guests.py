"""Guests that run on a host, and what waits until they do not."""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api.command import PyinfraCommand

from kvmhost.facts.libvirt import Guests
from kvmhost.findings import few
from kvmhost.operations.commands import unknown


def allow(
    what: str, with_guests: bool, setting: str = "restart_with_guests"
) -> Generator[PyinfraCommand, None, bool]:
    """Return whether a thing may be done now; if it has to wait, the run's output says so.

    The host fails where it cannot be told whether guests run.

    what: the thing, as the beginning of a sentence.
    with_guests: whether it may be done while guests run, as the setting has it.
    """
    if with_guests:
        return True
    guests = host.get_fact(Guests)
    if guests is None:
        yield from unknown("which guests run")
    elif guests:
        host.log_styled(
            f"{what} waits, because guests run here: {few(guests)}; {setting} would allow it",
            fg="yellow",
        )
    return guests == ()
