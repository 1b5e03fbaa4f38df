"""What a workstation connects to, by pyinfra's reading of ssh_config(5), and a proxy command."""

import time
from pathlib import Path

import paramiko
import pytest
from pyinfra.api import Config, Host, Inventory, State
from pyinfra.connectors.sshuserclient.client import get_ssh_config

from kvmhost import ssh

NAME, OLD, NEW = "kvm1.example.org", "10.0.0.11", "192.168.42.11"
JUMP = """\
Host kvm1.example.org
    HostName 10.0.0.11
    User admin
    Port 2222
    IdentityFile ~/.ssh/kvm
    ProxyJump bastion
"""


def host(folder: Path, config: str | None, **data: object) -> Host:
    """Return a host that is not connected, and whose ssh configuration is this."""
    file = folder / "config"
    if config is not None:
        file.write_text(config)
    inventory = Inventory(([(NAME, {"ssh_config_file": str(file), **data})], {}))
    State(inventory, Config())
    found = inventory.get_host(NAME)
    assert isinstance(found, Host)
    return found


def options(destination: ssh.Destination) -> dict[str, object]:
    """Return what pyinfra reads of a destination."""
    config = get_ssh_config(destination.config_file)
    return dict(config.lookup(destination.name)) if config else {"hostname": destination.name}


@pytest.mark.parametrize("config", [None, "", "Host *\n    User admin\n"])
def test_without_options_of_its_own_it_is_the_new_address_alone(
    tmp_path: Path, config: str | None
) -> None:
    there = host(tmp_path, config)
    assert ssh.destination(there).address == NAME
    file = str(tmp_path / "config")
    assert ssh.destinations_at(there, NEW) == (ssh.Destination(NEW, NEW, file),)


def test_a_hosts_options_go_for_its_new_address_too(tmp_path: Path) -> None:
    folder = tmp_path / "no [pattern]*"
    folder.mkdir()
    there = host(folder, JUMP)
    assert ssh.destination(there).address == OLD
    moved, plain = ssh.destinations_at(there, NEW)
    assert (moved.address, moved.name) == (NEW, NAME)
    assert options(moved) == options(ssh.destination(there)) | {"hostname": NEW}
    assert options(plain) == {"hostname": NEW}


def test_what_there_is_for_the_new_address_comes_second(tmp_path: Path) -> None:
    there = host(tmp_path, JUMP + "Host 192.168.42.*\n    ProxyJump other\n")
    moved, plain = ssh.destinations_at(there, NEW)
    assert options(moved)["proxyjump"] == "bastion"
    assert options(plain)["proxyjump"] == "other"


def test_a_proxy_command_is_told_the_new_address(tmp_path: Path) -> None:
    there = host(tmp_path, JUMP.replace("ProxyJump bastion", "ProxyCommand nc %h %p"))
    assert options(ssh.destination(there))["proxycommand"] == f"nc {OLD} 2222"
    assert options(ssh.destinations_at(there, NEW)[0])["proxycommand"] == f"nc {NEW} 2222"


def test_options_that_go_by_the_name_are_kept(tmp_path: Path) -> None:
    there = host(tmp_path, "Match host *.example.org\n    ProxyJump bastion\n")
    moved = ssh.destinations_at(there, NEW)[0]
    assert options(moved) == {"hostname": NEW, "proxyjump": "bastion"}


def test_a_host_moves_on_from_where_it_was_moved_to(tmp_path: Path) -> None:
    there = host(tmp_path, JUMP)
    moved = ssh.destinations_at(there, NEW)[0]
    there.connector.data["ssh_config_file"] = moved.config_file
    assert ssh.destination(there) == moved
    again = ssh.destinations_at(there, OLD)[0]
    assert options(again) == options(moved) | {"hostname": OLD}


def test_other_hosts_and_included_files_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("Host bastion\n    User gate\n")
    there = host(tmp_path, "ServerAliveInterval 5\nInclude more\n" + JUMP)
    config = get_ssh_config(ssh.destinations_at(there, NEW)[0].config_file)
    assert dict(config.lookup("bastion")) == {
        "hostname": "bastion",
        "user": "gate",
        "serveraliveinterval": "5",
    }


def test_the_name_in_known_hosts_has_the_port(tmp_path: Path) -> None:
    there = host(tmp_path, JUMP)
    known = {}
    for data_port in (None, 22, 2200):
        there.connector.data["ssh_port"] = data_port
        moved, _ = ssh.destinations_at(there, NEW)
        known[data_port] = ssh._known_as(there.connector, options(moved))
    assert known == {None: f"[{NEW}]:2222", 22: NEW, 2200: f"[{NEW}]:2200"}


def test_a_host_of_another_connector_is_not_followed() -> None:
    inventory = Inventory((["@local"], {}))
    State(inventory, Config())
    with pytest.raises(TypeError, match="not reached through ssh"):
        ssh.destination(inventory.get_host("@local"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ssh.ConnectError("Could not connect (timed out)"), "Could not connect (timed out)"),
        (paramiko.SSHException("No existing session"), "No existing session"),
        (EOFError(), "EOFError"),
        (KeyError("dst"), "KeyError: 'dst'"),
    ],
)
def test_an_exception_is_told_in_words(error: Exception, said: str) -> None:
    assert ssh.reason(error) == said


def test_a_proxy_commands_end_is_the_end_of_what_it_says() -> None:
    pipe = ssh.ProxyPipe(paramiko.ProxyCommand("sh -c 'read line; echo $line; sleep 0.2'"))
    pipe.settimeout(10)
    assert pipe.send(b"hello\n") == 6
    assert pipe.recv(100) == b"hello\n"
    assert pipe.recv(100) == b""
    pipe.process.wait()
    pipe.close()
    assert pipe.closed


def test_a_proxy_command_that_is_silent_is_not_waited_for() -> None:
    pipe = ssh.ProxyPipe(paramiko.ProxyCommand("sleep 60"))
    pipe.settimeout(0.1)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        pipe.recv(1)
    assert time.monotonic() - begun < 10
    pipe.close()
    assert pipe.process.wait(10) != 0
