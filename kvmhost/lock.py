"""The lock on a host: one run at a time changes it, and whoever comes second is told who does.

A process on the host holds flock(1)'s lock as long as it can hear this run, at the other end of a
channel of the host's connection: a run that is killed closes it. When the workstation is gone
without a word, the process is heard no more, and TCP gives up what it says each minute: after a
quarter of an hour (tcp(7), tcp_retries2). A command that a killed run has begun goes on to its
end; those that take long, package managers, have locks of their own.

A connection that is made anew takes the lock over. Until it does, the guard keeps others from
changing the network.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from shlex import join
from typing import Any

import paramiko
from pyinfra.api import Host, State
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.state import BaseStateCallback
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, execute_command_with_sudo_retry

from kvmhost import journal, ssh
from kvmhost.facts.machine import LOCK

_HELD = "held"

# bash, because other shells' `read` has no timeout
_HOLD = r"""
exec 9>>"$1" || exit
if ! flock -n 9; then
    { read -r _; read -r run process; } <"$1"
    [ "$run" != "$3" ] || kill "$process"  # its connection is lost, which it may not know
    flock -w 2 9 || { read -r holder <"$1"; echo "$holder"; exit; }
fi
printf '%s, since %s\n%s %s\n' "$2" "$(date -u +%FT%TZ)" "$3" $$ >"$1"
echo "$4"
until read -r -t 60 line; do
    [ $? -gt 128 ] || exit 0  # the time is not up, the channel is closed
    echo
done
size=  # without one, logger cuts after 1 KiB; before util-linux 2.26 it does neither
! logger --help 2>&1 | grep -q -e --size || size='-S 65536'
logger -t "$5" $size -- "$line"
"""


@dataclass(frozen=True)
class _Holder:
    """The channel to the process that holds a lock, and how that is begun."""

    channel: paramiko.Channel
    arguments: Mapping[str, Any]


_holders: dict[str, _Holder] = {}
"""Those of this run, by the host's name."""


def refusal(holder: str) -> str:
    """Say why a host is left alone: who holds its lock."""
    return f"another run works on this host: {holder}"


def hold(host: Host) -> str | None:
    """Hold the host's lock until the run ends; return why that cannot be, None if it is so.

    It costs one command for each connection. There is no lock where no channel stays open: with
    connectors other than SSH, and with a password for su, which is given in the channel's place.
    """
    arguments = ssh.operations_arguments(host)
    if not isinstance(host.connector, SSHConnector) or arguments.get("_su_password"):
        return None
    return _hold(host, arguments)


def _hold(host: Host, arguments: Mapping[str, Any]) -> str | None:
    holder = _holders.get(host.name)
    if holder and ssh.is_present(host, holder.channel):
        return None
    try:
        channel, said = _begin(host, arguments)
    except Exception as error:
        return f"this host cannot be locked: {ssh.reason(error)}"
    if said != _HELD:
        return refusal(said)
    _holders[host.name] = _Holder(channel, arguments)
    if _END not in host.state.callback_handlers:
        host.state.add_callback_handler(_END)  # type: ignore[no-untyped-call]
    return None


@cache
def _token(name: str) -> str:
    """Return what a run knows its own lock by, on one host."""
    return secrets.token_hex(16)


def _begin(host: Host, arguments: Mapping[str, Any]) -> tuple[paramiko.Channel, str]:
    """Return the channel and the first line: `_HELD`, or who holds the lock.

    Raises ConnectError when there is no such line, and as `ssh.begin` does.
    """
    given: dict[str, Any] = {**arguments, "_shell_executable": "bash"}
    words = join(("set", "--", LOCK, journal.who(), _token(host.name), _HELD, journal.TAG))
    begun: list[paramiko.Channel] = []

    def begin() -> tuple[int, CommandOutput]:
        channel = ssh.begin(host, words + _HOLD, given)
        begun.append(channel)
        first = next(iter(channel.makefile("r")), "").strip()
        if first:
            return 0, CommandOutput([OutputLine("stdout", first)])
        complaint = [OutputLine("stderr", each.strip()) for each in channel.makefile_stderr("r")]
        return channel.recv_exit_status(), CommandOutput(complaint)

    _, output = execute_command_with_sudo_retry(host, given, begin)  # type: ignore[arg-type]
    if not output.stdout_lines:
        raise ConnectError(output.stderr or "its process has ended")
    return begun[-1], output.stdout_lines[0]


class _End(BaseStateCallback):
    """Has each process write the run's line into its host's journal, and end."""

    @staticmethod
    def host_disconnect(state: State, host: Host) -> None:
        if host.name not in _holders:
            return
        try:
            unsaid = _hold(host, _holders[host.name].arguments)
            unsaid = unsaid or _say(_holders[host.name].channel, journal.line(state, host))
        except Exception as error:
            unsaid = ssh.reason(error)
        del _holders[host.name]
        if unsaid:
            host.log_styled(f"Its journal has no line of this run: {unsaid}", fg="yellow")


def _say(channel: paramiko.Channel, line: str) -> str:
    """Give a process its last line, and return what it complains of."""
    channel.sendall(f"{line}\n".encode())
    return "".join(channel.makefile_stderr("r")).strip()


_END = _End()
