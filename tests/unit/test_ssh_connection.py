"""A connection to a server in this process: paramiko's, which answers as a test has it."""

import socket
import threading
import time
from collections.abc import Iterator

import paramiko
import pytest

from kvmhost import ssh


class Server(paramiko.ServerInterface):
    """Lets everyone in, and answers a command with bytes, or not at all."""

    def check_auth_none(self, username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def answer() -> None:
            channel.recv(1)  # ends when the client has heard that its command was begun
            channel.sendall(command)
            channel.sendall_stderr(command)
            channel.send_exit_status(3)
            channel.close()

        if command != b"silence":
            threading.Thread(target=answer, daemon=True).start()
        return True


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ssh.Transport, paramiko.Transport]]:
    """Yield both ends of a connection, of which ours soon asks whether the other is there."""
    monkeypatch.setattr(ssh, "_PAUSE", 0.2)
    monkeypatch.setattr(ssh, "_SILENCE", 1)
    near, far = socket.socketpair()
    server = paramiko.Transport(far)
    server.add_server_key(paramiko.ECDSAKey.generate())
    server.start_server(event=threading.Event(), server=Server())
    client = ssh.Transport(near)
    client.start_client(timeout=10)
    client.auth_none("root")
    yield client, server
    client.close()
    server.close()


def started(client: ssh.Transport, command: bytes) -> paramiko.Channel:
    channel = client.open_session(timeout=10)
    channel.exec_command(command)
    channel.shutdown_write()
    return channel


def test_bytes_that_are_not_utf_8_cost_no_line(
    ends: tuple[ssh.Transport, paramiko.Transport],
) -> None:
    channel = started(ends[0], b"one\ncaf\xe9\nthree \xc3\xa9\n")
    lines = ["one\n", "caf\\xe9\n", "three \N{LATIN SMALL LETTER E WITH ACUTE}\n"]
    assert list(channel.makefile("r", -1)) == lines
    assert list(channel.makefile_stderr("r", -1)) == lines
    assert channel.recv_exit_status() == 3


def test_a_host_that_answers_is_waited_for(
    ends: tuple[ssh.Transport, paramiko.Transport],
) -> None:
    channel = started(ends[0], b"silence")
    time.sleep(2)
    assert ends[0].is_active()
    assert not channel.exit_status_ready()


def test_a_host_that_is_gone_fails_its_command(
    ends: tuple[ssh.Transport, paramiko.Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = started(ends[0], b"silence")
    gone = threading.Event()
    monkeypatch.setattr(ends[1], "_send_message", lambda message: gone.set())
    begun = time.monotonic()
    assert list(channel.makefile("r", -1)) == []
    with pytest.raises(paramiko.SSHException, match="the connection was lost"):
        channel.recv_exit_status()
    assert gone.is_set()
    assert time.monotonic() - begun < 30


def test_the_end_of_a_connection_is_no_eof_error(
    ends: tuple[ssh.Transport, paramiko.Transport],
) -> None:
    ends[0].saved_exception = EOFError()
    assert isinstance(ends[0].get_exception(), paramiko.SSHException)
    ends[1].close()
    with pytest.raises((paramiko.SSHException, OSError)):
        ends[0].open_session(timeout=10)


def test_a_command_that_cannot_be_sent_any_more_is_no_eof_error(
    ends: tuple[ssh.Transport, paramiko.Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(message: paramiko.Message) -> None:
        raise EOFError

    channel = ends[0].open_session(timeout=10)
    monkeypatch.setattr(ends[0].packetizer, "send_message", closed)
    with pytest.raises(paramiko.SSHException, match="the connection was lost"):
        channel.exec_command("true")
    with pytest.raises(paramiko.SSHException, match="the connection was lost"):
        ends[0].open_session(timeout=10)
