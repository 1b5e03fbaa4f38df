"""The fleet's ssh keys: the lab makes them all before the first boot."""

import subprocess
from pathlib import Path

from tests.lab.fleet import Fleet, Node


def make_key(path: Path, comment: str) -> None:
    """Make a key pair at `path` unless it is there."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True
    )


def make_fleet_keys(fleet: Fleet) -> None:
    """Make the login key, a host key a node, and the known_hosts that names them."""
    make_key(fleet.ssh_key, f"lab {fleet.name}")
    for node in fleet.nodes:
        make_key(host_key_path(node), node.name)
    known = "".join(
        f"{node.name},{node.ssh_hostname} {host_key(node)[1].rsplit(' ', 1)[0]}\n"
        for node in fleet.nodes
    )
    fleet.known_hosts.write_text(known)


def host_key_path(node: Node) -> Path:
    """Return where the lab keeps the node's private host key."""
    return node.directory / "ssh_host_ed25519_key"


def host_key(node: Node) -> tuple[str, str]:
    """Return the node's private and public host key."""
    private = host_key_path(node)
    return private.read_text(), private.with_suffix(".pub").read_text()
