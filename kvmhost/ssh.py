"""The workstation's connections to the hosts: how they are made, and made anew."""

import glob
import logging
import os
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import gevent
import paramiko
from gevent.select import select
from pyinfra.api import Host, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import (
    SSHClient,
    append_hostkey,
    get_host_keys,
    get_ssh_config,
)
from pyinfra.connectors.util import (
    clear_askpass_cache,
    extract_control_arguments,
    make_unix_command_for_host,
)
from typing_extensions import Buffer, override

_CONNECTION = 30
"""Seconds that a connection may take to be made, jump hosts included."""
_PAUSE = 15
"""Seconds between two questions whether a host is still there."""
_SILENCE = 120
"""Seconds that it may take to answer one; a host under load takes its time."""
_ANSWER = 30
"""Seconds that a command may take before its connection counts as dead."""


@dataclass(frozen=True)
class Destination:
    """Where a host may be reached, and how.

    `address` is the address, or the name that has it. `name` is what `config_file`, None for the
    user's own, has the options for: ssh_config(5)'s Host.
    """

    address: str
    name: str
    config_file: str | None


class ProxyPipe(paramiko.ProxyCommand):
    """A running proxy command, as the socket that paramiko wants.

    paramiko's own goes on reading after the command's end, so that a lost connection is never
    noticed, and prints a traceback when the command is gone before it is ended.
    """

    def __init__(self, proxy: paramiko.ProxyCommand) -> None:
        self.cmd, self.process, self.timeout = proxy.cmd, proxy.process, proxy.timeout

    @override
    def send(self, content: Buffer) -> int:
        descriptor = _descriptor(self.process.stdin)
        if not select([], [descriptor], [], self.timeout)[1]:
            raise TimeoutError
        return os.write(descriptor, content)

    @override
    def recv(self, size: int) -> bytes:
        descriptor = _descriptor(self.process.stdout)
        if not select([descriptor], [], [], self.timeout)[0]:
            raise TimeoutError
        return os.read(descriptor, size)

    @override
    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.terminate()


class Output(paramiko.ChannelFile):
    """What a command writes, line by line; a byte that is not UTF-8 is shown as \\xe9 is.

    paramiko's own ends there with an exception that nobody sees, and the rest is lost.
    """

    @override
    def __next__(self) -> str:
        line: bytes = self.readline()
        if not line:
            raise StopIteration
        return line.decode("utf-8", "backslashreplace")


class ErrorOutput(Output, paramiko.channel.ChannelStderrFile):
    """The same of its standard error."""


class Channel(paramiko.Channel):
    """A channel whose command has an exit status, or else raises SSHException."""

    @override
    def makefile(self, *_: Any) -> Output:
        return Output(self, "rb")

    @override
    def makefile_stderr(self, *_: Any) -> ErrorOutput:
        return ErrorOutput(self, "rb")

    @override
    def recv_exit_status(self) -> int:
        status = super().recv_exit_status()
        if status == -1 and not (self.transport and self.transport.is_active()):
            raise paramiko.SSHException("the connection was lost")
        return status


class Transport(paramiko.Transport):
    """A connection that ends when the host is silent, as one with ssh_config(5)'s ServerAlive does.

    By itself TCP notices after a quarter of an hour or more that a host is gone, and behind a jump
    host it never does. A connection that has ended raises SSHException, which pyinfra expects of
    an operation and of a fact; paramiko's EOFError would end the run of all hosts.
    """

    @override
    def start_client(self, *arguments: Any, **options: Any) -> None:
        super().start_client(*arguments, **options)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.is_active():
            time.sleep(_PAUSE)
            if self.is_authenticated():
                given_up = threading.Timer(_SILENCE, self.close)
                given_up.daemon = True
                given_up.start()
                with suppress(EOFError, OSError, paramiko.SSHException):
                    self.global_request("keepalive@openssh.com")
                given_up.cancel()

    @override
    def open_channel(self, *arguments: Any, **options: Any) -> paramiko.Channel:
        channel = super().open_channel(*arguments, **options)
        channel.__class__ = Channel  # paramiko lets nobody choose it
        return channel

    # What every channel sends goes through it; paramiko's stubs do not know it.
    @override
    def _send_user_message(self, data: paramiko.Message) -> None:  # type: ignore[misc]
        try:
            super()._send_user_message(data)  # type: ignore[misc]
        except EOFError:
            raise paramiko.SSHException("the connection was lost") from None

    @override
    def get_exception(self) -> Exception | None:
        error = super().get_exception()
        if isinstance(error, EOFError):
            return paramiko.SSHException("the connection was lost")
        return error


def transport_without_delay(sock: socket.socket, **options: Any) -> paramiko.Transport:
    """Return a `Transport` that sends small packets at once, and notices a proxy command's end.

    paramiko leaves Nagle's algorithm on, and every remote command then waits some 40 ms for a
    delayed acknowledgement. A proxy command's socket has no such option.
    """
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    elif isinstance(sock, paramiko.ProxyCommand):
        return Transport(ProxyPipe(sock), **options)
    return Transport(sock, **options)


def peer(host: Host) -> str | None:
    """Return the IP address that the connection goes to; None where a proxy hides it."""
    client = _connector(host).client
    transport = client.get_transport() if client else None
    if transport is None or not isinstance(transport.sock, socket.socket):
        return None
    return str(transport.getpeername()[0])


def destination(host: Host) -> Destination:
    """Return where the host is being reached."""
    data = _connector(host).data
    name, config_file = data["ssh_hostname"] or host.name, data["ssh_config_file"]
    return Destination(_options(name, config_file)["hostname"], name, config_file)


def destinations_at(host: Host, address: str) -> tuple[Destination, ...]:
    """Return how the host may be reached at another address.

    The options that ssh_config(5) has for the host hold there too: jump host, port, user, keys.
    Where it has others for the new address, those come second.
    """
    present = destination(host)
    moved = Destination(address, present.name, _config_with(present, address))
    plain = Destination(address, address, present.config_file)
    options = _options(moved.name, moved.config_file)
    # CanonicalizeHostname would lead to the name after all
    if options["hostname"] != address or options == _options(plain.name, plain.config_file):
        return (plain,)
    return moved, plain


def expect_at(host: Host, destinations: Sequence[Destination]) -> None:
    """Let the host's present key be known, in this run, at these destinations too.

    Raises ConnectError when the host is not connected.
    """
    connector = _connector(host)
    key = _key(connector)
    for each in destinations:
        options = _options(each.name, each.config_file)
        known = get_host_keys(_known_hosts_files(connector, options))
        name = _known_as(connector, options)
        if known.lookup(name) is None:
            known.add(name, key.get_name(), key)
        _reread_known_hosts(each.config_file, options)


def remember_at(host: Host, destination: Destination) -> None:
    """Write the host's key to the known hosts, if there are any, for an address not known yet."""
    connector = _connector(host)
    key = _key(connector)
    name = _known_as(connector, _options(destination.name, destination.config_file))
    file = connector.client and connector.client._host_keys_filename
    if file and Path(file).exists() and paramiko.HostKeys(file).lookup(name) is None:
        append_hostkey(connector.client, name, key)  # type: ignore[no-untyped-call]


def reconnect(host: Host, destination: Destination) -> None:
    """Drop the host's connection, which may be dead, and make a new one.

    Raises ConnectError when the host does not answer at the destination.
    """
    # which would print a traceback for each attempt while the host is out of reach
    logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)
    connector = _connector(host)
    host.connected = False
    connector.data["ssh_hostname"] = destination.name
    connector.data["ssh_config_file"] = destination.config_file  # type: ignore[typeddict-item]
    try:
        with gevent.Timeout(_CONNECTION, ConnectError(f"no connection within {_CONNECTION} s")):
            if connector.client is not None:
                _close(connector.client.get_transport())
            connector.disconnect()  # forgets the file transfers of the old connection
            connector.connect()
    except Exception as error:
        for transport in _left_open(error):
            _close(transport)
        raise ConnectError(reason(error)) from None
    host.connected = True


def answer(host: Host, command: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return what a command prints on the host.

    Raises ConnectError when it fails, or does not end in time.
    """
    try:
        with gevent.Timeout(_ANSWER, ConnectError(f"no answer within {_ANSWER} s")):
            done, output = host.run_shell_command(StringCommand(command), **arguments)
    except Exception as error:
        raise ConnectError(reason(error)) from error
    if not done:
        clear_askpass_cache(host)  # a host that was restarted does not have sudo's helper any more
        raise ConnectError(output.stderr or "a command failed")
    return list(output.stdout_lines)


def begin(host: Host, command: str, arguments: Mapping[str, Any]) -> paramiko.Channel:
    """Begin a command on the host that hears what is sent on the channel, until that is closed.

    Raises ConnectError when the host is not connected, SSHException when it does not answer.
    """
    given: dict[str, Any] = dict(arguments)
    with_terminal = extract_control_arguments(given).get("_get_pty")  # type: ignore[arg-type]
    line = make_unix_command_for_host(host.state, host, StringCommand(command), **given)
    channel = _transport(_connector(host)).open_session(timeout=_ANSWER)
    channel.settimeout(_ANSWER)
    if with_terminal:
        channel.get_pty()
    channel.exec_command(line.get_raw_value())
    return channel


def is_present(host: Host, channel: paramiko.Channel) -> bool:
    """Whether a channel is one of the host's present connection, and its command goes on."""
    client = _connector(host).client
    ended = channel.closed or channel.exit_status_ready()
    return client is not None and channel.get_transport() is client.get_transport() and not ended


def operations_arguments(host: Host) -> dict[str, Any]:
    """Return how the present operation runs its commands: with its sudo, as its user."""
    given: dict[str, Any] = dict(host.current_op_global_arguments or {})
    return {key: given[key] for key in CONNECTOR_ARGUMENT_KEYS if key in given}


def reason(error: Exception) -> str:
    """Return what an exception says, or at least what it is."""
    said = str(error)
    if isinstance(error, ConnectError | OSError | paramiko.SSHException | ValueError) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _connector(host: Host) -> SSHConnector:
    connector = host.connector
    if not isinstance(connector, SSHConnector):
        raise TypeError(f"{host.name} is not reached through ssh")
    return connector


def _options(name: str, config_file: str | None) -> Mapping[str, Any]:
    """Return what ssh_config(5) has for a name; its "hostname" is always there."""
    config = get_ssh_config(config_file)
    return config.lookup(name) if config else {"hostname": name}


def _config_with(present: Destination, address: str) -> str:
    """Write the configuration anew, with another address for one name; return its path."""
    moved = f"Host {present.name}\n    HostName {address}\n"
    file = Path(present.config_file or "~/.ssh/config")
    file = (file if present.config_file else file.expanduser()).absolute()
    others = f"Host *\nInclude {glob.escape(str(file))}\n" if file.exists() else ""
    # the first HostName counts; as long as there is none, Match host looks at the name
    parts = (others, moved) if present.address == present.name else (moved, others)
    handle, path = tempfile.mkstemp(dir=_folder().name)
    with os.fdopen(handle, "w") as config:
        config.writelines(parts)
    return path


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """Make the folder for configurations of this run, which goes at its end."""
    return tempfile.TemporaryDirectory(prefix="kvmhost-ssh-")


def _known_as(connector: SSHConnector, options: Mapping[str, Any]) -> str:
    """Return a destination's name in known_hosts, as paramiko looks it up."""
    port = int(connector.data["ssh_port"] or options.get("port", paramiko.config.SSH_PORT))
    address = str(options["hostname"])
    return address if port == paramiko.config.SSH_PORT else f"[{address}]:{port}"


def _known_hosts_files(
    connector: SSHConnector | None, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the files with the keys of a destination, as `SSHClient.connect` names them."""
    file = connector.data["ssh_known_hosts_file"] if connector else None
    files = [file] if file else options.get("userknownhostsfile", "~/.ssh/known_hosts").split()
    return tuple(os.path.expanduser(each) for each in files)  # noqa: PTH111 (is to be the same text)


def _reread_known_hosts(config_file: str | None, options: Mapping[str, Any]) -> None:
    """Let the jump hosts' keys be known that were accepted when the run began.

    pyinfra writes an accepted key to the file alone, and would ask again.
    """
    for hop in filter(None, options.get("proxyjump", "").split(",")):
        config = get_ssh_config(config_file)
        name, _ = SSHClient.derive_shorthand(config, hop)  # type: ignore[no-untyped-call]
        hops_options = _options(name, config_file)
        files = _known_hosts_files(None, hops_options)
        known = get_host_keys(files)
        for file in files:
            with suppress(Exception):  # pyinfra has warned of what cannot be read
                known.load(file)
        _reread_known_hosts(config_file, hops_options)


def _descriptor(pipe: IO[bytes] | None) -> int:
    assert pipe is not None  # paramiko asks for both
    return pipe.fileno()


def _key(connector: SSHConnector) -> paramiko.PKey:
    """Return the host's key; raise ConnectError when the host is not connected."""
    return _transport(connector).get_remote_server_key()


def _transport(connector: SSHConnector) -> paramiko.Transport:
    transport = connector.client.get_transport() if connector.client else None
    if transport is None or not transport.is_active():
        raise ConnectError(f"{connector.host.name} is not connected")
    return transport


def _left_open(error: BaseException | None) -> Iterator[paramiko.Transport]:
    """Find the connections to jump hosts that a failed attempt has left open.

    pyinfra keeps them nowhere but in the variables of the functions that failed.
    """
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            for value in list(frame.f_locals.values()):
                if isinstance(value, paramiko.SSHClient | paramiko.Channel):
                    transport = value.get_transport()
                    if transport is not None:
                        yield transport
        error = error.__context__


def _close(transport: paramiko.Transport | None) -> None:
    """Close a connection and those to the jump hosts below it, whatever state they are in."""
    while transport is not None:
        with suppress(Exception):
            transport.close()
        sock = transport.sock
        transport = sock.get_transport() if isinstance(sock, paramiko.Channel) else None
