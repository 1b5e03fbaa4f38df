"""Runs of pyinfra as an administrator starts them, and what came out."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.lab.fleet import DEADLINE

CHECKOUT = Path(__file__).resolve().parents[1]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Run:
    """A finished run: exit status, what pyinfra printed, and its JSON when that was asked for."""

    status: int
    output: str
    stdout: str

    @cached_property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.stdout)
        return parsed

    @property
    def planned(self) -> dict[str, list[str]]:
        """The hosts that each operation would change, from a dry run; conditionally included."""
        return {
            operation["name"]: [
                *operation["hosts_with_change"],
                *operation["hosts_with_conditional_change"],
            ]
            for operation in self.json["plan"]
            if operation["hosts_with_change"] or operation["hosts_with_conditional_change"]
        }

    @property
    def changed(self) -> dict[str, list[str]]:
        """The hosts that each operation changed."""
        return self._hosts("success")

    @property
    def failed(self) -> dict[str, list[str]]:
        """The hosts on which each operation failed."""
        return self._hosts("error")

    @property
    def operations(self) -> int:
        """How many operations the run had."""
        return len(self.json["results"]["operations"])

    def _hosts(self, outcome: str) -> dict[str, list[str]]:
        return {
            operation["name"]: operation[outcome]
            for operation in self.json["results"]["operations"]
            if operation[outcome]
        }

    def reasons(self) -> dict[str, str]:
        """Return what the table at the run's end says of each host that failed, by its name."""
        table = self.output.partition("--> Failed:")[2].strip("\n").splitlines()
        if not table:
            return {}
        _, rule, *rows = table
        _, step, reason = (column.start() for column in re.finditer("-+", rule))
        found: defaultdict[str, list[str]] = defaultdict(list)
        names = ""
        for row in rows:
            names = row[:step].strip() or names
            for name in names.split(", "):
                found[name].append(row[reason:].strip())
        return {name: " ".join(lines) for name, lines in found.items()}

    def commands(self) -> Counter[str]:
        """Return how many commands each host was sent, from a run with --debug."""
        return Counter(re.findall(r"Running command on (\S+):", self.output))


def pyinfra(inventory: str, *arguments: str, timeout: float = DEADLINE, **environment: str) -> Run:
    """Run pyinfra in the checkout, without a terminal, to its end."""
    process = start(inventory, *arguments, **environment)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Run(process.returncode, _COLOUR.sub("", stderr), stdout)


def start(inventory: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start pyinfra in the checkout, without a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "pyinfra", inventory, *arguments],
        cwd=CHECKOUT,
        env=os.environ | {"PYINFRA_PROGRESS": "off"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """Have Ctrl-C mean what it does at a terminal, also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
