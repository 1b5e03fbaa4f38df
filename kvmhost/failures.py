"""Which hosts failed in a run, in which step, and why: one table at its end.

pyinfra says it where it happens, among the lines of all hosts, and only counts the failures at the
end. Its log is the one place where it is said whatever has failed, and by whom it was noticed.
"""

import atexit
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import click
from pyinfra import logger
from pyinfra.api import State
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_state
from typing_extensions import override

from kvmhost import table
from kvmhost.findings import few
from kvmhost.masking import masked_reason

_MOST_LINES = 5
"""So many of a host's last lines are shown: the reason, or a program's last words."""
_MOST_CHARACTERS = 400
"""So many characters of a line are shown."""
_STEP = re.compile(r"--> (?:Starting .*operation: )?(?P<step>.*?)(?:\.\.\.| +\(.*| *)$", re.DOTALL)
_OF_HOST = re.compile(r"\[(?P<host>[^\]]+)\]\s+(?P<text>.*)", re.DOTALL)
_COUNT = re.compile(r"Error: executed \d+ commands")
_RED = "\x1b[31m"


@dataclass(frozen=True)
class Failure:
    """The step in which a host failed, and the lines of the log that say why.

    `errors` are those in red; `output` the others that were logged as errors: what a program
    that failed wrote to its standard output.
    """

    step: str
    errors: tuple[str, ...] = ()
    output: tuple[str, ...] = ()

    @property
    def reason(self) -> tuple[str, ...]:
        """The last lines of what was said of it, none of them endless."""
        lines = (self.errors or self.output or ("no reason was given",))[-_MOST_LINES:]
        return tuple(
            f"{each[:_MOST_CHARACTERS]}…" if len(each) > _MOST_CHARACTERS else each
            for each in lines
        )


class Listener(logging.Handler):
    """Notes what pyinfra's log says is wrong with each host."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.last: dict[str, Failure] = {}
        """What was last said to be wrong with a host, by its name."""
        self.ended: set[str] = set()
        """Hosts on which an operation has failed; with --no-wait pyinfra does not count them."""
        self._step = ""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        plain = click.unstyle(message).strip()
        is_error = _RED in message
        if step := _STEP.match(plain):
            self._step = step["step"]
        elif (said := _OF_HOST.match(plain)) and (is_error or record.levelno >= logging.ERROR):
            if _COUNT.match(said["text"]):
                self.ended.add(said["host"])
                self._note(said["host"], (), is_error)
            else:
                lines = masked_reason(said["text"]).splitlines()
                self._note(said["host"], tuple(lines), is_error)

    def _note(self, host: str, lines: tuple[str, ...], is_error: bool) -> None:
        failure = self.last.get(host)
        if failure is None or failure.step != self._step:
            failure = Failure(self._step)
        if is_error:
            failure = replace(failure, errors=failure.errors + lines)
        else:
            failure = replace(failure, output=failure.output + lines)
        self.last[host] = failure


def watch() -> None:
    """Have the run that is beginning tell at its end which hosts failed."""
    listener = Listener()
    logger.addHandler(listener)
    atexit.register(_tell, listener)


def _tell(listener: Listener) -> None:
    run: State | None = ctx_state.get()  # type: ignore[no-untyped-call]
    if run is None or not run.initialised:
        return
    failed = {host.name for host in run.failed_hosts} | listener.ended
    if run.current_stage < StateStage.Execute:  # as in a dry run
        failed |= listener.last.keys() & {host.name for host in run.inventory}
    for line in report({name: listener.last.get(name, Failure("")) for name in sorted(failed)}):
        logger.info(line)


def report(failed: Mapping[str, Failure]) -> Iterator[str]:
    """Yield the lines of the table; hosts that failed, or would, alike are named together.

    failed: how each host failed, by the host's name.
    """
    hosts: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for name, failure in failed.items():
        hosts[failure.step, failure.reason].append(name)
    if hosts:
        rows = [row for failure, names in hosts.items() for row in _rows(few(names), *failure)]
        yield "--> Failed:"
        yield from table.render(("host", "step", "reason"), rows).splitlines()


def _rows(names: str, step: str, reason: tuple[str, ...]) -> Iterable[tuple[str, str, str]]:
    first, *others = reason
    return ((names, step, first), *(("", "", line) for line in others))
