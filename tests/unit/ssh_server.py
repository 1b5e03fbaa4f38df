"""An SSH server in this process, whose host is this machine: it carries out what it is sent."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko

_BEGUN = 0.1
"""Seconds within which a client hears that its command was begun: it must not end before."""


class Server(paramiko.ServerInterface):
    """Lets everyone in, and runs commands as sshd does, with some programs before the machine's."""

    def __init__(self, programs: Path) -> None:
        self.environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}

    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Timer(_BEGUN, self.carry_out, (channel, command)).start()
        return True

    def carry_out(self, channel: paramiko.Channel, command: bytes) -> None:
        process = subprocess.Popen(
            ["sh", "-c", command],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        given, said, complained = process.stdin, process.stdout, process.stderr
        assert given and said and complained
        _pass_on(lambda: channel.recv(4096), given.write, given.close)
        outputs = (
            _pass_on(lambda: said.read(4096), channel.sendall, said.close),
            _pass_on(lambda: complained.read(4096), channel.sendall_stderr, complained.close),
        )
        for each in outputs:
            each.join()
        status = process.wait()
        with suppress(OSError, EOFError, paramiko.SSHException):
            channel.send_exit_status(status)
            channel.close()


def _pass_on(
    read: Callable[[], bytes], write: Callable[[bytes], object], close: Callable[[], None]
) -> threading.Thread:
    def pass_on() -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):
            while content := read():
                write(content)
        close()

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    return thread


def reaching(port: int, folder: Path) -> dict[str, object]:
    """Return the data of a host at the server's port, on which no setting of a person's bears.

    folder: where what is known of its key goes.
    """
    return {
        "ssh_hostname": "127.0.0.1",
        "ssh_port": port,
        "ssh_user": "root",
        "ssh_password": "any",
        "ssh_config_file": str(folder / "no_ssh_config"),
        "ssh_known_hosts_file": str(folder / "known_hosts"),
    }


@contextmanager
def listening(programs: Path, kind: Callable[[Path], Server] = Server) -> Iterator[int]:
    """Yield the port of a server on the loopback address.

    programs: a folder of programs that its commands find before those of the machine.
    kind: what a connection is served by.
    """
    key = paramiko.ECDSAKey.generate()
    connections: list[paramiko.Transport] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection = paramiko.Transport(listener.accept()[0])
                connections.append(connection)
                connection.add_server_key(key)
                with suppress(EOFError, paramiko.SSHException):
                    connection.start_server(event=threading.Event(), server=kind(programs))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()
