"""What operations yield, and how one refuses to go on, on its own host alone."""

from collections.abc import Callable, Generator
from functools import wraps
from typing import ParamSpec

from pyinfra import api, host, logger
from pyinfra.api import FunctionCommand, Host, State
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import PyinfraOperation

from kvmhost import lock, prefetch
from kvmhost.masking import masked_reason
from kvmhost.ssh import reason

Commands = Generator[PyinfraCommand, None, None]
"""The remote commands of an operation, in order."""

_P = ParamSpec("_P")


def operation() -> Callable[[Callable[_P, Commands]], PyinfraOperation[_P]]:
    """Return pyinfra's decorator of operations, for one whose exceptions fail this host alone.

    An exception that leaves an operation ends the run for all hosts, whichever of them has
    answered in a way that nobody expects. Whatever is carried out, the host's lock is held, and
    what the next operations will ask is asked together.
    """

    def decorator(commands: Callable[_P, Commands]) -> PyinfraOperation[_P]:
        @wraps(commands)
        def contained(*args: _P.args, **kwargs: _P.kwargs) -> Commands:
            try:
                prefetch.begin(host.state)
                refusal = lock.hold(host) if host.state.is_executing else None
                yield from fail(refusal) if refusal else commands(*args, **kwargs)
            except Exception as error:
                logger.debug("What led to the failure of this host", exc_info=True)
                yield from fail(f"this host's answer is not understood: {reason(error)}")

        return api.operation()(contained)

    return decorator


def fail(reason: str) -> Commands:
    """Yield what fails this host and says why; it asks nothing of the host, which may not answer.

    A dry run, which carries nothing out, says it at once.
    """
    shown = masked_reason(reason)
    if not host.state.is_executing:
        _say(host, shown)
    yield FunctionCommand(_failing, (shown,), {})


def _failing(state: State, host: Host, shown: str) -> bool:
    _say(host, shown)
    return False


def _say(host: Host, reason: str) -> None:
    host.log_styled(reason, fg="red", log_func=logger.error)


def unknown(what: str) -> Commands:
    """Yield the command that fails this host because its state could not be read."""
    yield from fail(f"{what} could not be read, so nothing is changed there")
