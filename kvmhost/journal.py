"""What a run leaves in the journal of each host: one line, by whom it was, and what it changed."""

import getpass
import os
import socket
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pyinfra.api import Host, State
from pyinfra.api.operation import OperationMeta

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
    """Return the line: version, who, and the operations that changed something or failed."""
    done = list(_done(run, host))
    changed = [name for name, operation in done if operation.did_change()]
    failed = [name for name, operation in done if not operation.did_succeed()]
    said = [f"changed: {'; '.join(changed)}" if changed else "nothing changed"]
    if failed:
        said.append(f"failed: {'; '.join(failed)}")
    return _printable(f"version {version()}, {who()}: {'. '.join(said)}")


def _done(run: State, host: Host) -> Iterator[tuple[str, OperationMeta]]:
    """Yield the operations that came to an end on a host, by name."""
    for each in host.op_hash_order:
        data = run.ops[host].get(each)
        if data is not None and data.operation_meta.is_complete():
            yield ", ".join(sorted(run.op_meta[each].names)), data.operation_meta


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
