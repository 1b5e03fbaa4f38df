"""The guarded change of a host's network."""

import io
import json
import secrets
import tarfile
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gevent
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, StringCommand
from pyinfra.api.exceptions import ConnectError

from kvmhost import lock, ssh
from kvmhost.facts.cloudstack import ANEW, known_by
from kvmhost.facts.network import Network as PresentNetwork
from kvmhost.masking import masked_reason
from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import GUARD, Change
from kvmhost.network.model import Network
from kvmhost.operations.commands import Commands, fail, operation, unknown
from kvmhost.operations.files import log_difference

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


@operation()
def configured(
    network: Network, backend: str, timeout: int, with_guests: bool, renumber_added: bool
) -> Commands:
    """
    Have the network as it is modelled, in its files and in the kernel; nothing is touched if so,
    unless that is an earlier change's doing which the host may still undo: then it fails.

    The host undoes the change by itself, files and kernel state, unless this workstation reaches
    it through the new network in time and finds it as modelled. It needs neither ssh nor the
    workstation for that; a host that loses power in between undoes the change when it starts.

    + network: the model
    + backend: what configures the network: ifupdown, netplan, networkmanager, ifcfg
    + timeout: seconds after which an unconfirmed change is undone
    + with_guests: whether a host with running guests may be changed
    + renumber_added: whether a host that CloudStack has added may get another address
    """
    rendering = BACKENDS[backend]
    present = host.get_fact(PresentNetwork, paths=rendering.paths)
    if present is None:
        yield from unknown("the network")
        return
    try:
        change = rendering.change(network, present)
    except ValueError as error:
        yield from fail(str(error))
        return
    if change is None:
        if present.unconfirmed:
            yield StringCommand(_REFUSE)
        return
    if present.guests and not with_guests:
        guests = ", ".join(present.guests)
        yield from fail(f"guests run here: {guests}; network_change_with_guests would allow it")
        return
    before = frozenset(
        entry["local"] for link in present.addresses for entry in link.get("addr_info", ())
    )
    address = str(network.address.ip)
    if (
        present.added is not None
        and address not in known_by(present.added, before)
        and not renumber_added
    ):
        yield from fail(f"CloudStack has added this host, so it cannot get {address}: {ANEW}")
        return
    for file in change.files:
        log_difference(file.path, present.files.get(file.path), file.content)
    for path in change.removed:
        log_difference(path, present.files[path], "")
    token = secrets.token_hex(16)
    yield StringCommand(START, _stdin=package(change, token, timeout))
    pending = Pending(network, backend, token, timeout, before)
    yield FunctionCommand(_confirm, (pending,), {})


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


@dataclass(frozen=True)
class Pending:
    """A change that the host has begun, and will undo unless it is confirmed in time.

    `before` are the addresses of the host's interfaces before the change.
    """

    network: Network
    backend: str
    token: str
    timeout: int
    before: frozenset[str]

    @property
    def id(self) -> str:
        """What the lines of this change begin with, after the time, in the host's log."""
        return self.token[:8]


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
    """Confirm the change as soon as the host is reached and is as modelled; see `configured`.

    Whatever goes wrong meanwhile is a reason why it cannot be confirmed yet. How the change
    ended is said in any case: confirmed, rolled back, or what is known where the host is silent.
    """
    ends = time.monotonic() + pending.timeout
    try:
        present = ssh.destination(host)
        destinations = _destinations(host, present, pending)
        try:
            reached = _reach(host, pending, destinations, _verify, ends - _RESERVE)
        except UnconfirmedError as error:
            _say_unconfirmed(host, str(error))
            back = sorted(destinations, key=lambda each: each != present)
            reached = _reach(host, pending, back, _listen, ends + _ROLLBACK)
    except Exception as error:
        if isinstance(error, EndedError) and error.unconfirmed is not None:
            _say_unconfirmed(host, error.unconfirmed)
        undone = isinstance(error, UndoneError)
        how = str(error) if undone else f"in doubt: {_why(error)}; {_ADVICE}"
        host.log_styled(f"Network {how}", fg="red")
        return False
    if reached.address != present.address:
        _remember(host, reached)
    host.log_styled(f"Network confirmed, reached at {reached.address}", fg="green")
    return True


def _say_unconfirmed(host: Host, why: str) -> None:
    host.log_styled(f"Network not confirmed ({why}); the host undoes it", fg="red")


def _destinations(
    host: Host, present: ssh.Destination, pending: Pending
) -> tuple[ssh.Destination, ...]:
    """Return where the host may answer from now on, and expect its key there."""
    new = str(pending.network.address.ip)
    addresses = _addresses(present.address, ssh.peer(host), new, pending.before)
    destinations: list[ssh.Destination] = []
    for address in addresses:
        if address == present.address:
            destinations.append(present)
        else:
            destinations.extend(ssh.destinations_at(host, address))
    try:
        ssh.expect_at(host, destinations)
    except ConnectError:
        return (present,)  # elsewhere any host could claim to be this one
    return tuple(destinations)


def _addresses(present: str, peer: str | None, new: str, before: frozenset[str]) -> tuple[str, ...]:
    """Return where a host may answer from now on, the likeliest first.

    It is reached at `present`, a name or an address, and will have the address `new`; it had
    those in `before`. `peer` is what the workstation is connected to, None if a proxy hides it.
    """
    if new in (present, peer):
        return (present,)
    if peer in before or new not in before:
        return new, present
    return present, new  # behind a proxy or a NAT, by an address that may stay or go


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
    """Confirm the change if the host is as modelled and sees its gateways.

    Raises UnconfirmedError when it is not so yet, EndedError when the host has gone back
    already, and ConnectError when it does not answer.
    """
    if _stage(host, pending) == "confirmed":
        return
    difference = _difference(host, pending)
    if difference is not None:
        raise UnconfirmedError(difference)
    device, gateways = pending.network.management, pending.network.gateways
    pings = "".join(f"ping -c1 -W1 -I {device} {gateway} >/dev/null; " for gateway in gateways)
    answer = _answer(host, f"{pings}ip -json neigh show dev {device}")
    neighbours: list[Any] = json.loads("".join(answer) or "[]")
    known = {neighbour["dst"] for neighbour in neighbours if "lladdr" in neighbour}
    for gateway in gateways:
        if str(gateway) not in known:
            raise UnconfirmedError(f"the gateway {gateway} does not answer the host")
    lock.hold(host)  # from here on it is what keeps others out, and no longer the guard
    try:
        _answer(host, f"sh {GUARD}/guard confirm {pending.token}")
    except ConnectError as error:
        # it may be confirmed all the same: the next look at its log will tell
        raise UnconfirmedError(f"asked to confirm: {error}") from error


def _listen(host: Host, pending: Pending) -> None:
    """Return when the host says that the change is confirmed.

    Raises EndedError when it has ended otherwise, UnderWayError when it has not ended.
    """
    if _stage(host, pending) != "confirmed":
        raise UnderWayError("the change is applied, and not undone yet")


def _difference(host: Host, pending: Pending) -> str | None:
    """Say what is not as modelled; None if all of it is.

    Raises UnconfirmedError when that cannot be told, ConnectError when the host does not answer.
    """
    rendering = BACKENDS[pending.backend]
    fact = PresentNetwork()
    answer = _answer(host, fact.command(paths=rendering.paths))
    try:
        present = fact.process(answer)
        if present is None:
            raise UnconfirmedError("its network cannot be read")
        change = rendering.change(pending.network, present)
    except ValueError as error:
        reason = masked_reason(str(error))
        raise UnconfirmedError(f"its network cannot be understood: {reason}") from error
    if change is None:
        return None
    return " ".join(change.differences) or "its files are not as they were written"


def _stage(host: Host, pending: Pending) -> Stage:
    """Ask the host how far the change is; raise as `_understood` does."""
    stage = _understood(_answer(host, _question(pending)))
    if stage != "over":
        return stage
    try:
        difference = _difference(host, pending)
    except Exception as error:
        now = _why(error)
    else:
        modelled = "is as modelled" if difference is None else f"is not as modelled: {difference}"
        now = f"its network {modelled}"
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


def _answer(host: Host, command: str) -> list[str]:
    """Run a command as the operation would: with its sudo, as its user."""
    return ssh.answer(host, command, ssh.operations_arguments(host))
