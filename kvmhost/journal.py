"""What a run leaves in the journal of each host: one line, by whom it was, and what it changed."""

import getpass
import os
import socket
import subprocess
from functools import cache
from pathlib import Path

from pyinfra.api import Host, State

TAG = "cloudstack-kvm-host"
"""What the lines are found by: `journalctl -t cloudstack-kvm-host`."""

_CHECKOUT = Path(__file__).parents[1]


def who() -> str:
    """Return who runs this: user and name of the workstation, and the process there."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return _printable(f"{user}@{socket.gethostname()}, PID {os.getpid()}")


@cache
def version() -> str:
    """Return the version of this repository, as git-describe(1) has it; "unknown" without git."""
    command = ("git", "describe", "--tags", "--always", "--dirty")
    try:
        said = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.stdout.strip() or "unknown"


def line(run: State, host: Host) -> str:
    """Return the line: version, who, and the operations that changed something or failed.

    One that still goes on, because the run was interrupted, is named as well.
    """
    said: dict[str, list[str]] = {"changed": [], "failed": [], "broken off": []}
    for each, data in run.ops[host].items():
        operation, name = data.operation_meta, ", ".join(sorted(run.op_meta[each].names))
        if each == host.executing_op_hash:
            said["broken off"].append(name)
        elif operation.is_complete() and not operation.did_succeed():
            said["failed"].append(name)
        elif operation.is_complete() and operation.did_change():
            said["changed"].append(name)
    what = ". ".join(f"{how}: {'; '.join(names)}" for how, names in said.items() if names)
    return _printable(f"version {version()}, {who()}: {what or 'nothing changed'}")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
