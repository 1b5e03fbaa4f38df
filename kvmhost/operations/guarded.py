"""Changes that a host undoes by itself, unless this workstation finds it well and says so.

What is changed is a `Change`; files/network-guard carries it out on the host, and takes it back.
"""

import io
import secrets
import tarfile
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import gevent
from pyinfra.api import FunctionCommand, Host, State, StringCommand
from pyinfra.api.exceptions import ConnectError

from kvmhost import lock, ssh
from kvmhost.network.change import GUARD, Change
from kvmhost.operations.commands import Commands

LOG = "/var/log/cloudstack-network.log"
_GUARD_SCRIPT = Path(__file__).parents[2] / "files" / "network-guard"
# An upload that breaks off leaves nothing, and a power cut empties /run.
START = (
    "set -e; folder=$(mktemp -d /run/cloudstack-network.XXXXXX); trap 'rm -rf \"$folder\"' EXIT; "
    'base64 -d | tar -xz -C "$folder"; sh "$folder/guard" start'
)
_REFUSE = (
    f"if [ -e {GUARD}/armed ]; then sh {GUARD}/guard refuse_beside_another; fi; "
    "echo 'an earlier change has just ended: run this again' >&2; exit 1"
)
"""Fails, and says what becomes of an earlier change; has it undone if nobody is left to do it."""
_PAUSE = 1
"""Seconds between two attempts to reach a host."""
_RESERVE = 5
"""Seconds before the timeout when the workstation gives up: a late confirmation is a race."""
_ROLLBACK = 180
"""Seconds after which a host that has not said how its change ended is given up."""
_ADVICE = f"see its console, or {LOG} there, before the next run"

Stage = Literal["applied", "confirmed", "over"]
"""How far a change is on the host; "over" where its log does not say how it ended."""


class Goal(ABC):
    """What a change is to bring about, and how the workstation sees that it has."""

    name: ClassVar[str]
    """What is changed, as the beginning of a sentence."""

    def destinations(self, host: Host, present: ssh.Destination) -> tuple[ssh.Destination, ...]:
        """Return where the host may answer from now on, and expect its key there."""
        return (present,)

    @abstractmethod
    def difference(self, host: Host) -> str | None:
        """Say what is not as wanted; None if all of it is.

        Raises UnconfirmedError when that cannot be told, ConnectError when the host does not
        answer.
        """

    def check(self, host: Host) -> None:
        """Return if the change may be confirmed through the present connection.

        Raises UnconfirmedError when it may not yet, and as `difference` does.
        """
        difference = self.difference(host)
        if difference is not None:
            raise UnconfirmedError(difference)


@dataclass(frozen=True)
class Pending:
    """A change that the host has begun, and will undo unless it is confirmed in time."""

    goal: Goal
    token: str
    timeout: int

    @property
    def id(self) -> str:
        """What the lines of this change begin with, after the time, in the host's log."""
        return self.token[:8]


def carry_out(change: Change, goal: Goal, timeout: int) -> Commands:
    """Yield the commands that carry a change out, and confirm it once the goal is reached.

    timeout: seconds after which an unconfirmed change is undone.
    """
    token = secrets.token_hex(16)
    yield StringCommand(START, _stdin=package(change, token, timeout))
    yield FunctionCommand(_confirm, (Pending(goal, token, timeout),), {})


def refuse_unconfirmed() -> Commands:
    """Yield the command that fails the host, since an earlier change stands behind its state.

    It says what becomes of that change, and has it undone if nobody is left to do it.
    """
    yield StringCommand(_REFUSE)


def package(change: Change, token: str, timeout: int) -> str:
    """Return the guard and its change as a base64 archive; see `files/network-guard`."""
    paths = (*(file.path for file in change.files), *change.removed)
    files = {
        "guard": _GUARD_SCRIPT.read_text(),
        "token": token,
        "timeout": str(timeout),
        "paths": "".join(f"{path}\n" for path in paths),
        "validate": change.validate,
        "save": change.save,
        "down": change.apply.down,
        "up": change.apply.up,
        "rollback-down": change.rollback.down,
        "rollback-up": change.rollback.up,
        "boot": change.boot,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            _add(archive, name, text, 0o600)
        for file in change.files:
            _add(archive, f"new{file.path}", file.content, file.mode)
    return b64encode(buffer.getvalue()).decode()


def _add(archive: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    content = text.encode("utf-8", "surrogateescape")
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


class UnconfirmedError(Exception):
    """Why a change cannot be confirmed yet."""


class UnderWayError(UnconfirmedError):
    """What the host is still doing with the change."""


class EndedError(Exception):
    """How a change ended without a confirmation; `unconfirmed` is why it had none, if known."""

    unconfirmed: str | None = None


class UndoneError(EndedError):
    """The host has undone the change by itself; why, in its own words."""


class UntoldError(EndedError):
    """The change has ended, and the host does not say how; what is known instead."""


def _confirm(state: State, host: Host, pending: Pending) -> bool:
    """Confirm the change as soon as the host is reached and its goal is; see `Goal`.

    Whatever goes wrong meanwhile is a reason why it cannot be confirmed yet. How the change
    ended is said in any case: confirmed, rolled back, or what is known where the host is silent.
    """
    ends = time.monotonic() + pending.timeout
    try:
        present = ssh.destination(host)
        destinations = pending.goal.destinations(host, present)
        try:
            reached = _reach(host, pending, destinations, _verify, ends - _RESERVE)
        except UnconfirmedError as error:
            _say_unconfirmed(host, pending, str(error))
            back = sorted(destinations, key=lambda each: each != present)
            reached = _reach(host, pending, back, _listen, ends + _ROLLBACK)
    except Exception as error:
        if isinstance(error, EndedError) and error.unconfirmed is not None:
            _say_unconfirmed(host, pending, error.unconfirmed)
        undone = isinstance(error, UndoneError)
        how = str(error) if undone else f"in doubt: {_why(error)}; {_ADVICE}"
        host.log_styled(f"{pending.goal.name} {how}", fg="red")
        return False
    if reached.address != present.address:
        _remember(host, reached)
    said = f"{pending.goal.name} confirmed, reached at {reached.address}"
    host.log_styled(said, fg="green")
    return True


def _say_unconfirmed(host: Host, pending: Pending, why: str) -> None:
    host.log_styled(f"{pending.goal.name} not confirmed ({why}); the host undoes it", fg="red")


def _reach(
    host: Host,
    pending: Pending,
    destinations: Sequence[ssh.Destination],
    step: Callable[[Host, Pending], None],
    ends: float,
) -> ssh.Destination:
    """Try the destinations in turn until the step succeeds at one of them, and return it.

    Raises EndedError as soon as the step does, and UnconfirmedError with every destination's
    last reason after `ends`, in seconds of the monotonic clock.
    """
    reasons: dict[ssh.Destination, str] = {}
    said = unconfirmed = None
    while time.monotonic() < ends:
        gevent.sleep(_PAUSE)
        for destination in destinations:
            try:
                ssh.reconnect(host, destination)
                step(host, pending)
            except EndedError as error:
                error.unconfirmed = unconfirmed
                raise
            except Exception as error:
                reasons[destination] = f"{destination.address}: {_why(error)}"
                if isinstance(error, UnconfirmedError):
                    said = str(error)
                    if not isinstance(error, UnderWayError):
                        unconfirmed = reasons[destination]
            else:
                return destination
            if time.monotonic() >= ends:
                break
    text = "; ".join(dict.fromkeys(reasons.values())) or "it was not reached in time"
    if said is not None and said not in text:
        text += f"; when it last answered: {said}"
    raise UnconfirmedError(text)


def _verify(host: Host, pending: Pending) -> None:
    """Confirm the change if its goal is reached.

    Raises UnconfirmedError when it is not so yet, EndedError when the host has gone back
    already, and ConnectError when it does not answer.
    """
    if _stage(host, pending) == "confirmed":
        return
    pending.goal.check(host)
    lock.hold(host)  # from here on it is what keeps others out, and no longer the guard
    try:
        answer(host, f"sh {GUARD}/guard confirm {pending.token}")
    except ConnectError as error:
        # it may be confirmed all the same: the next look at its log will tell
        raise UnconfirmedError(f"asked to confirm: {error}") from error


def _listen(host: Host, pending: Pending) -> None:
    """Return when the host says that the change is confirmed.

    Raises EndedError when it has ended otherwise, UnderWayError when it has not ended.
    """
    if _stage(host, pending) != "confirmed":
        raise UnderWayError("the change is applied, and not undone yet")


def _stage(host: Host, pending: Pending) -> Stage:
    """Ask the host how far the change is; raise as `_understood` does."""
    stage = _understood(answer(host, _question(pending)))
    if stage != "over":
        return stage
    try:
        difference = pending.goal.difference(host)
    except Exception as error:
        now = _why(error)
    else:
        wanted = "is as wanted" if difference is None else f"is not as wanted: {difference}"
        now = f"its {pending.goal.name.lower()} {wanted}"
    raise UntoldError(f"the change is over and {LOG} does not say how it ended; {now}")


def _question(pending: Pending) -> str:
    """Return the command that asks for the stage of this change, and no other's."""
    return (
        f'if [ "$(cat {GUARD}/token 2>/dev/null)" != {pending.token} ]; then echo over; '
        f"elif [ -e {GUARD}/applied ]; then echo applied; else echo armed; fi; "
        f"grep -a '^[^ ]* {pending.id} ' {LOG} 2>/dev/null; true"
    )


def _understood(answer: Sequence[str]) -> Stage:
    """Understand the answer to `_question`: a stage, then the lines of the change in the log.

    Raises UndoneError when the host has gone back, UnderWayError while that or the applying is
    under way.
    """
    stage = next((line for line in answer if line in ("over", "applied", "armed")), None)
    if stage is None:
        raise UnderWayError("it does not say how far the change is")
    said = [line.split(" ", 2)[2] for line in answer[answer.index(stage) + 1 :]]
    for words in reversed(said):
        if words == "confirmed":
            return "confirmed"
        if words.startswith("rolled back"):
            raise UndoneError(words)
    if stage == "over":
        return "over"
    if said and said[-1].startswith("rolling back"):
        raise UnderWayError(f"it is {said[-1]}")
    if stage == "armed":
        raise UnderWayError("the change is being applied")
    return "applied"


def _why(error: Exception) -> str:
    own = isinstance(error, UnconfirmedError | EndedError)
    return str(error) if own else ssh.reason(error)


def _remember(host: Host, destination: ssh.Destination) -> None:
    """Note the host's key at its new address; that this fails makes no change unconfirmed."""
    try:
        ssh.remember_at(host, destination)
    except Exception as error:
        text = f"The key of {destination.address} is not in known_hosts: {_why(error)}"
        host.log_styled(text, fg="yellow")


def answer(host: Host, command: str) -> list[str]:
    """Run a command as the operation would: with its sudo, as its user."""
    return ssh.answer(host, command, ssh.operations_arguments(host))
