"""The guarded change of a host's network."""

import io
import json
import secrets
import tarfile
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.exceptions import ConnectError

from kvmhost import ssh
from kvmhost.facts.network import Network as PresentNetwork
from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Change
from kvmhost.network.model import Network
from kvmhost.operations.commands import Commands, fail, unknown
from kvmhost.operations.files import log_difference

GUARD = "/var/lib/cloudstack-network"
"""Where the guard and its change are, on the host, while they are not confirmed."""
LOG = "/var/log/cloudstack-network.log"
_GUARD_SCRIPT = Path(__file__).parents[2] / "files" / "network-guard"
# An upload that breaks off leaves nothing, and a power cut empties /run.
START = (
    "set -e; folder=$(mktemp -d /run/cloudstack-network.XXXXXX); trap 'rm -rf \"$folder\"' EXIT; "
    'base64 -d | tar -xz -C "$folder"; sh "$folder/guard" start'
)
_PAUSE = 1
"""Seconds between two attempts to reach a host."""
_RESERVE = 5
"""Seconds before the timeout when the workstation gives up: a late confirmation is a race."""
_ROLLBACK = 60
"""Seconds that the host may take to roll back."""


@operation()
def configured(network: Network, backend: str, timeout: int, with_guests: bool) -> Commands:
    """
    Have the network as it is modelled, in its files and in the kernel; nothing is touched if so.

    The host undoes the change by itself, files and kernel state, unless this workstation reaches
    it through the new network in time and finds it as modelled. It needs neither ssh nor the
    workstation for that; a host that loses power in between undoes the change when it starts.

    + network: the model
    + backend: what configures the network: ifupdown, netplan, networkmanager, ifcfg
    + timeout: seconds after which an unconfirmed change is undone
    + with_guests: whether a host with running guests may be changed
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
        return
    if present.guests and not with_guests:
        guests = ", ".join(present.guests)
        yield from fail(f"guests run here: {guests}; network_change_with_guests would allow it")
        return
    for file in change.files:
        log_difference(file.path, present.files.get(file.path), file.content)
    for path in change.removed:
        log_difference(path, present.files[path], "")
    token = secrets.token_hex(16)
    yield StringCommand(START, _stdin=package(change, token, timeout))
    before = frozenset(
        entry["local"] for link in present.addresses for entry in link.get("addr_info", ())
    )
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
        "leave": change.forth.leave,
        "enter": change.forth.enter,
        "leave-back": change.back.leave,
        "enter-back": change.back.enter,
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


class UnconfirmedError(Exception):
    """Why a change cannot be confirmed yet."""


class UndoneError(Exception):
    """The host has undone the change by itself; why, in its own words."""


def _confirm(state: State, host: Host, pending: Pending) -> bool:
    """Confirm the change as soon as the host is reached and is as modelled; see `configured`."""
    ends = time.monotonic() + pending.timeout
    addresses = _addresses(host, pending)
    reason = "the host does not answer"
    try:
        while time.monotonic() < ends - _RESERVE:
            gevent.sleep(_PAUSE)
            for address in addresses:
                try:
                    ssh.reconnect(host, address)
                    _verify(host, pending)
                except (ConnectError, UnconfirmedError) as error:
                    reason = f"{address}: {error}"
                else:
                    if address != addresses[-1]:
                        ssh.remember_at(host, address)
                    host.log_styled(f"Network confirmed, reached at {address}", fg="green")
                    return True
        host.log_styled(f"Network not confirmed ({reason}); the host undoes it", fg="red")
        _wait_until_undone(host, addresses, ends + _ROLLBACK)
    except UndoneError as error:
        host.log_styled(f"Network {error}", fg="red")
    return False


def _addresses(host: Host, pending: Pending) -> tuple[str, ...]:
    """Return where the host may answer from now on: its new address, if any, then the present."""
    present, new = ssh.address(host), str(pending.network.address.ip)
    if ssh.peer(host) in pending.before - {new}:
        ssh.expect_at(host, new)
        return new, present
    return (present,)


def _verify(host: Host, pending: Pending) -> None:
    """Confirm the change if the host is as modelled and sees its gateways.

    Raises UnconfirmedError when it is not so yet, UndoneError when the host has gone back
    already, and ConnectError when it does not answer.
    """
    _raise_if_undone(host)
    rendering = BACKENDS[pending.backend]
    fact = PresentNetwork()
    present = fact.process(_answer(host, fact.command(paths=rendering.paths)))
    if present is None:
        raise UnconfirmedError("its network cannot be read")
    change = rendering.change(pending.network, present)
    if change is not None:
        raise UnconfirmedError(
            " ".join(change.differences) or "its files are not as they were written"
        )
    device, gateways = pending.network.management, pending.network.gateways
    pings = "".join(f"ping -c1 -W1 -I {device} {gateway} >/dev/null; " for gateway in gateways)
    answer = _answer(host, f"{pings}ip -json neigh show dev {device}")
    neighbours: list[Any] = json.loads("".join(answer) or "[]")
    known = {neighbour["dst"] for neighbour in neighbours if "lladdr" in neighbour}
    for gateway in gateways:
        if str(gateway) not in known:
            raise UnconfirmedError(f"the gateway {gateway} does not answer the host")
    _answer(host, f"sh {GUARD}/guard confirm {pending.token}")


def _wait_until_undone(host: Host, addresses: tuple[str, ...], ends: float) -> None:
    """Raise UndoneError as soon as the host says so; log it when the host does not by then."""
    while time.monotonic() < ends:
        gevent.sleep(_PAUSE)
        for address in reversed(addresses):
            try:
                ssh.reconnect(host, address)
                _raise_if_undone(host)
            except ConnectError:
                continue
    host.log_styled("The host has not answered since: see its console", fg="red")


def _raise_if_undone(host: Host) -> None:
    """Raise UndoneError when the host has gone back, UnconfirmedError when it is under way."""
    said = _answer(
        host,
        f"if [ -e {GUARD}/applied ]; then echo applied; "
        f"elif [ -e {GUARD}/armed ]; then echo armed; else tail -n1 {LOG}; fi",
    )
    if said == ["armed"]:
        raise UnconfirmedError("the change is being applied")
    if said != ["applied"]:
        raise UndoneError(said[-1].partition(" ")[2] if said else "undone")


def _answer(host: Host, command: str) -> list[str]:
    """Run a command as the operation would: with its sudo, as its user."""
    given: dict[str, Any] = dict(host.current_op_global_arguments or {})
    return ssh.answer(
        host, command, {key: given[key] for key in CONNECTOR_ARGUMENT_KEYS if key in given}
    )
