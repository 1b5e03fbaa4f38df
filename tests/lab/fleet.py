"""The fleet that the lab runs: its nodes, and how to reach them."""

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Literal

from tests.lab.distributions import Distribution, group

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".lab"

MANAGEMENT_VLAN = 100
TRUNK = (50, 100, 200, 300)

DEADLINE = 1800
"""Seconds after which something hangs; a slow machine that other work keeps busy takes many."""

# The last number of the first address: the workstation has .1, the switch .2.
FIRST_MACHINE = 11
FIRST_HOST = 51
FIRST_EL_HOST = 101
FIRST_DEBIAN13_HOST = 151

NodeKind = Literal["machine", "host"]
NetworkBackend = Literal["ifupdown", "netplan", "networkmanager", "ifcfg", "unmanaged"]


class LabError(Exception):
    """Something in the lab is not as it must be; the message says what, and what to do."""


class NoFleetError(LabError):
    """No fleet of this name runs."""


def state_directory(fleet: str) -> Path:
    """Return where the lab keeps what belongs to the fleet."""
    return STATE / fleet


def wait_until(
    predicate: Callable[[], bool], deadline: float, what: str, interval: float = 0.5
) -> None:
    """Return as soon as `predicate` is true; raise LabError after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not predicate():
        if time.monotonic() > end:
            raise LabError(f"still waiting for {what} after {deadline:.0f} seconds")
        time.sleep(interval)


@dataclass(frozen=True)
class Node:
    """A machine (own kernel) or a container host.

    `name` is the fully qualified name; `address` the management address with its prefix.
    `image` is the distribution's own that the node is made of; None: the lab has made one, of
    the distribution's `release`.
    """

    name: str
    kind: NodeKind
    fleet: str
    cluster: str
    distribution: Distribution
    release: str
    network_backend: NetworkBackend
    address: str
    ssh_port: int = 22
    image: str | None = None

    @property
    def group(self) -> str:
        """The inventory's group that says how the node's distribution does things."""
        return group(self.image) if self.image else self.distribution

    @property
    def short_name(self) -> str:
        return self.name.split(".")[0]

    @property
    def domain(self) -> str:
        return self.name.split(".", 1)[1]

    @property
    def ssh_hostname(self) -> str:
        return str(IPv4Interface(self.address).ip)

    @property
    def ssh_key(self) -> Path:
        return state_directory(self.fleet) / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return state_directory(self.fleet) / "known_hosts"

    @property
    def directory(self) -> Path:
        """Where the lab keeps what belongs to the node."""
        return state_directory(self.fleet) / self.short_name

    def ssh_command(self, *command: str) -> list[str]:
        """Return the ssh command line that logs in as root, or runs `command` there."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "30",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "20",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "LogLevel": "ERROR",
        }
        flags = [flag for key, value in options.items() for flag in ("-o", f"{key}={value}")]
        login = ["-p", str(self.ssh_port), "-i", str(self.ssh_key), f"root@{self.ssh_hostname}"]
        return ["ssh", "-F", "none", *flags, *login, *command]

    def run(
        self, command: str, check: bool = True, stdin: str | None = None, timeout: float = DEADLINE
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root on the node.

        Raises LabError with what the command wrote if it fails and `check` is set, and
        subprocess.TimeoutExpired after `timeout` seconds.
        """
        result = subprocess.run(
            self.ssh_command(command),
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and result.returncode != 0:
            written = (result.stdout + result.stderr).strip()
            raise LabError(f"{self.name}: {command}: status {result.returncode}\n{written}")
        return result

    def answers_ssh(self) -> bool:
        """Return whether a login works now."""
        try:
            return self.run("true", check=False, timeout=60).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def wait_for_ssh(self, deadline_seconds: float = DEADLINE) -> None:
        """Return as soon as a login works; raise LabError after the deadline."""
        wait_until(self.answers_ssh, deadline_seconds, f"ssh to {self.name}")

    def has_booted(self) -> bool:
        """Return whether a login works and no service is still being started."""
        try:
            state = self.run("systemctl is-system-running", check=False, timeout=60).stdout.strip()
        except subprocess.TimeoutExpired:
            return False
        return state in ("running", "degraded")

    def wait_for_boot(self, deadline_seconds: float = DEADLINE) -> None:
        """Return as soon as the node has booted; raise LabError after the deadline."""
        wait_until(self.has_booted, deadline_seconds, f"{self.name} to boot")

    def boot_id(self) -> str:
        """Return what tells one boot of the node from the next.

        A container shares the kernel's boot_id: there the start time of PID 1 tells.
        """
        return self.run("cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat").stdout


@dataclass(frozen=True)
class Fleet:
    """Nodes on one management network, whose gateway is the workstation."""

    name: str
    subnet: str
    domain: str
    repository_url: str
    nodes: tuple[Node, ...]

    @cached_property
    def network(self) -> IPv4Network:
        return IPv4Network(self.subnet)

    @property
    def gateway(self) -> IPv4Address:
        """The workstation's address in the management network."""
        return self.network[1]

    @property
    def machines(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.kind == "machine")

    @property
    def hosts(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.kind == "host")

    @property
    def ssh_key(self) -> Path:
        return state_directory(self.name) / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return state_directory(self.name) / "known_hosts"

    def node(self, name: str) -> Node:
        """Return the node of this full or short name; raise LabError if there is none."""
        for node in self.nodes:
            if name in (node.name, node.short_name):
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise LabError(f"fleet {self.name} has no node {name}; it has {names}")

    def save(self) -> None:
        """Write the fleet to its file, atomically."""
        path = _fleet_file(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=2) + "\n")
        new.replace(path)

    @classmethod
    def load(cls, name: str) -> "Fleet":
        """Read the running fleet of this name.

        Raises NoFleetError, saying how to start one, if there is none.
        """
        try:
            fields = json.loads(_fleet_file(name).read_text())
        except FileNotFoundError:
            start = shlex.join(["python", "-m", "tests.lab", "up", "--fleet", name])
            how = f"make demo, or {start}" if name == "demo" else start
            raise NoFleetError(f"no fleet {name!r} is running; start it with: {how}") from None
        nodes = tuple(Node(**node) for node in fields.pop("nodes"))
        return cls(nodes=nodes, **fields)


def _fleet_file(fleet: str) -> Path:
    return state_directory(fleet) / "fleet.json"
