"""What operations yield, and how one refuses to go on, on its own host alone."""

from collections.abc import Generator
from shlex import quote

from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from kvmhost.masking import masked_reason

Commands = Generator[PyinfraCommand, None, None]
"""The remote commands of an operation, in order."""


def fail(reason: str) -> Commands:
    """Yield the command that fails this host with `reason` on its standard error.

    An exception in an operation would end the run for all hosts; a failed command fails one.
    """
    yield StringCommand(f"echo {quote(masked_reason(reason))} >&2; exit 1")


def unknown(what: str) -> Commands:
    """Yield the command that fails this host because its state could not be read."""
    yield from fail(f"{what} could not be read, so nothing is changed there")
