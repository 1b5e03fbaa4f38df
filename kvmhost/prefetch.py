"""What operations are about to ask of a host, asked together: one command instead of one each.

Over SSH a command costs round trips and processes, and in most runs nearly every operation finds
all as it is to be. So when an operation begins, it and those after it are tried out, as in
pyinfra's prepare pass, each up to its first question, which is a fact's command. These questions
are sent as one script, or as few. No operation knows of it: when it asks, the connection has the
answer.

An answer is given to its operation alone, and only as the first thing that the operation wants of
the host. It holds until anything else is sent there, or an operation has carried out a command of
whatever kind; and for a minute at most, since others may change a host too. A question that fails
has no answer: its operation asks it.

On a host that is being changed most answers would be forgotten unused. So after a change the next
operation asks by itself, then two ask together, then four.
"""

import math
import secrets
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from shlex import quote
from typing import Any, cast

from pyinfra import logger
from pyinfra.api import Host, QuoteString, State, StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.state import BaseStateCallback
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from typing_extensions import override

VALID = 60
"""Seconds for which an answer holds, from when it is asked for."""
LONGEST = 64 * 1024
"""Characters of a script; sshd ends the connection at a packet of 256 KiB (its packet.c)."""


@dataclass(frozen=True)
class Question:
    """A command, and how it is to be run: pyinfra's arguments for a connector."""

    command: str | StringCommand
    arguments: Mapping[str, Any]

    @property
    def how(self) -> str:
        """The arguments, as a text to compare."""
        return repr(sorted(self.arguments.items()))

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others."""
        command = self.command
        text = command.get_raw_value() if isinstance(command, StringCommand) else command
        return text, self.how

    @property
    def can_be_joined(self) -> bool:
        """Whether it can be one of several in a script: its input or terminal is not its own."""
        get = self.arguments.get
        alone = get("_get_pty") or get("_stdin") or get("_success_exit_codes", [0]) != [0]
        return bool(get("_shell_executable")) and not alone


class Asked(BaseException):
    """Ends the trial of an operation, which is not to contain it as it does an Exception.

    `question` is the operation's first.
    """

    def __init__(self, question: Question) -> None:
        self.question = question


class Connector(SSHConnector):
    """pyinfra's connection, which has some answers before they are asked for.

    `questions` are the first ones, None for none, of the operations that were tried out, by the
    operations' hashes; `answers` are lines by a question's key. Both hold until `end`, in seconds
    of the monotonic clock. `awaited` is what the present operation is to ask first, until it has
    sent anything. `changes` is how many operations have carried out a command, and `ahead` how
    many are tried out together next time; 0: none again.
    """

    questions: Mapping[str, Question | None]
    answers: Mapping[tuple[str, str], list[str]]
    end: float
    awaited: Question | None
    changes: int
    ahead: int
    is_trial: bool

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        question = Question(command, arguments)
        if self.is_trial:
            raise Asked(question)
        awaited, self.awaited = self.awaited, None
        holds = question.key in self.answers and time.monotonic() <= self.end
        if holds and awaited and awaited.key == question.key:
            logger.debug("Answered beforehand on %s: %s", self.host.name, command)
            lines = self.answers[question.key]
            return True, CommandOutput([OutputLine("stdout", line) for line in lines])
        self.forget()
        return super().run_shell_command(command, print_output, print_input, **arguments)

    @override
    def put_file(self, *arguments: Any, **how: Any) -> bool:
        self.forget()
        return super().put_file(*arguments, **how)

    @override
    def get_file(self, *arguments: Any, **how: Any) -> bool:
        self.forget()
        return super().get_file(*arguments, **how)

    def forget(self) -> None:
        """Have no answer any more."""
        self.questions, self.answers, self.awaited, self.end = {}, {}, None, math.inf

    def ask(self, questions: Mapping[str, Question | None]) -> None:
        """Have answers to the first questions of operations, as far as they can be asked together.

        Raises ValueError where the host says something else, and what pyinfra's own does.
        """
        alike: defaultdict[str, dict[tuple[str, str], Question]] = defaultdict(dict)
        for each in filter(None, questions.values()):
            if each.can_be_joined:
                alike[each.how][each.key] = each
        known: dict[tuple[str, str], list[str]] = {}
        end = time.monotonic() + VALID
        for group in alike.values():
            for some in portions(list(group.values())):
                known |= self._answers(some)
        self.questions, self.answers, self.end = questions, known, end

    def _answers(self, questions: Sequence[Question]) -> dict[tuple[str, str], list[str]]:
        state, mark = self.host.state, secrets.token_hex(8)
        _, output = super().run_shell_command(
            script(questions, mark),
            state.print_fact_output,
            state.print_fact_input,
            **questions[0].arguments,
        )
        said = zip(questions, answers(output.stdout_lines, mark), strict=True)
        return {question.key: lines for question, lines in said if lines is not None}


def portions(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Yield questions in groups whose script the host's sshd takes: 256 KiB, quoted once more."""
    some: list[Question] = []
    for each in questions:
        if some and len(quote(script([*some, each], "").get_raw_value())) > LONGEST:
            yield some
            some = []
        some.append(each)
    if some:
        yield some


def script(questions: Sequence[Question], mark: str) -> StringCommand:
    """Return the command that has questions answered in turn, each followed by a line of its own.

    That line is the mark and the exit status. Each question has a shell of its own to leave.
    """
    shell = questions[0].arguments["_shell_executable"]
    end = f"2>/dev/null; printf '\\n{mark} %s\\n' $?;"
    return StringCommand(
        *(StringCommand(shell, "-c", QuoteString(each.command), end) for each in questions)
    )


def answers(lines: Iterable[str], mark: str) -> Iterator[list[str] | None]:
    """Yield the lines of each answer in what a `script` prints; None for one that failed."""
    said: list[str] = []
    for line in lines:
        word, _, status = line.partition(" ")
        if word != mark:
            said.append(line)
            continue
        if said and not said[-1]:
            said.pop()  # the line of the mark begins anew, also where the one before it was ended
        yield said if status == "0" else None
        said = []


class _Prefetch(BaseStateCallback):
    """Has questions asked when an operation begins on a host."""

    @staticmethod
    def operation_host_start(state: State, host: Host, op_hash: str) -> None:
        connector = _connector(host)
        if connector is None or op_hash not in state.ops[host]:
            return
        if host.executing_op_hash:  # another has begun it, and what that has done is not known
            connector.forget()
            return
        try:
            _look_ahead(state, host, connector, op_hash)
        except Exception:
            connector.forget()
            logger.debug("Nothing is asked beforehand on %s", host.name, exc_info=True)


_PREFETCH = _Prefetch()


def begin(run: State) -> None:
    """Have the operations of a run, from the next one on, asked beforehand what they will ask."""
    if _PREFETCH not in run.callback_handlers:
        run.add_callback_handler(_PREFETCH)  # type: ignore[no-untyped-call]


def _connector(host: Host) -> Connector | None:
    """Return the host's connection; None where a command costs no round trips."""
    connector = host.connector
    if type(connector) is SSHConnector:
        connector.__class__ = Connector  # pyinfra lets nobody choose it
        assert isinstance(connector, Connector)
        connector.forget()
        connector.changes, connector.ahead = 0, len(host.op_hash_order)
        connector.is_trial = False
    return connector if isinstance(connector, Connector) else None


def _look_ahead(state: State, host: Host, connector: Connector, op_hash: str) -> None:
    """Have the questions of an operation and of those after it answered, unless they are."""
    changes = sum(each.operation_meta.executed for each in state.ops[host].values())
    if changes != connector.changes or time.monotonic() > connector.end:
        connector.forget()
        connector.changes, connector.ahead = changes, min(connector.ahead, 1)
    if op_hash not in connector.questions:
        ahead, connector.ahead = connector.ahead, 0  # unless the host answers
        if ahead > 1:
            connector.ask(_first_questions(state, host, connector, ahead))
        connector.ahead = 2 * ahead
    connector.awaited = connector.questions.get(op_hash)


def _first_questions(
    state: State, host: Host, connector: Connector, ahead: int
) -> dict[str, Question | None]:
    """Try so many operations out, up to the first that would change a thing without a question."""
    coming = (
        (each, state.ops[host][each])
        for each in host.op_hash_order
        if each in state.ops[host] and not state.ops[host][each].operation_meta.is_complete()
    )
    questions: dict[str, Question | None] = {}
    connector.is_trial = True
    try:
        for each, operation in islice(coming, ahead):
            questions[each] = None
            commands = cast(Generator[PyinfraCommand, None, None], operation.command_generator())
            try:
                with closing(commands):
                    if next(commands, None) is not None:
                        break
            except Asked as asked:
                questions[each] = asked.question
            except Exception as error:
                # such as an _if that looks at an operation which is yet to come
                logger.debug("Not known beforehand on %s: %r", host.name, error)
    finally:
        connector.is_trial = False
    return questions
