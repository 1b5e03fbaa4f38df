"""The workstation's connections to the hosts: how they are made, and made anew."""

import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
import paramiko
from pyinfra.api import Host, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import SSHClient, append_hostkey

_ANSWER = 15
"""Seconds that a command may take before its connection counts as dead."""


def transport_without_delay(sock: socket.socket, **options: Any) -> paramiko.Transport:
    """Return a transport that sends small packets at once.

    paramiko leaves Nagle's algorithm on, and every remote command then waits some 40 ms for a
    delayed acknowledgement. A proxy command's socket has no such option.
    """
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return paramiko.Transport(sock, **options)


def address(host: Host) -> str:
    """Return the name or address at which the host is being reached."""
    return str(_connector(host).data["ssh_hostname"] or host.name)


def peer(host: Host) -> str | None:
    """Return the IP address that the connection goes to; None where a proxy hides it."""
    client = _connector(host).client
    transport = client.get_transport() if client else None
    if transport is None or not isinstance(transport.sock, socket.socket):
        return None
    return str(transport.getpeername()[0])


def expect_at(host: Host, address: str) -> None:
    """Let the host's present key be known, in this run, at another address too."""
    client, name, key = _key_at(host, address)
    if client.get_host_keys().lookup(name) is None:
        client.get_host_keys().add(name, key.get_name(), key)


def remember_at(host: Host, address: str) -> None:
    """Write the host's key to the known hosts, if there are any, for an address not known yet."""
    client, name, key = _key_at(host, address)
    file = client._host_keys_filename
    if file and Path(file).exists() and paramiko.HostKeys(file).lookup(name) is None:
        append_hostkey(client, name, key)  # type: ignore[no-untyped-call]


def _key_at(host: Host, address: str) -> tuple[SSHClient, str, paramiko.PKey]:
    """Return the host's connection, an address's name in known_hosts, and the host's key."""
    client = _connector(host).client
    transport = client.get_transport() if client else None
    if client is None or transport is None:
        raise ConnectError(f"{host.name} is not connected")
    port = transport.getpeername()[1]
    name = address if port == paramiko.config.SSH_PORT else f"[{address}]:{port}"
    return client, name, transport.get_remote_server_key()


def reconnect(host: Host, address: str) -> None:
    """Drop the host's connection, which may be dead, and make a new one.

    Raises ConnectError when the host does not answer at the address.
    """
    # which would print a traceback for each attempt while the host is out of reach
    logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)
    connector = _connector(host)
    if connector.client is not None:
        connector.client.close()
    connector.disconnect()  # forgets the file transfers of the old connection
    host.connected = False
    connector.data["ssh_hostname"] = address
    connector.connect()
    host.connected = True


def answer(host: Host, command: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return what a command prints on the host.

    Raises ConnectError when it fails, or does not end in time.
    """
    try:
        with gevent.Timeout(_ANSWER, ConnectError(f"no answer within {_ANSWER} s")):
            done, output = host.run_shell_command(StringCommand(command), **arguments)
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise ConnectError(str(error)) from error
    if not done:
        raise ConnectError(output.stderr or "a command failed")
    return list(output.stdout_lines)


def _connector(host: Host) -> SSHConnector:
    connector = host.connector
    if not isinstance(connector, SSHConnector):
        raise TypeError(f"{host.name} is not reached through ssh")
    return connector
