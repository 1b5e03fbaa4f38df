"""Two bare machines become hypervisors, before your eyes: `make demo`."""

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from kvmhost import table
from tests.lab import guide, lab
from tests.lab.fleet import CHECKOUT, Node
from tests.lab.progress import Progress

INVENTORY = "inventories/lab.py"
DONE = {True: "done", False: "NOT DONE", None: "does not apply"}


def main() -> int:
    """Start the fleet, deploy it twice and show what became of it; return 1 if a step is undone."""
    progress = Progress()
    fleet = lab.up(lab.FleetSpec("demo"), progress)
    for what, arguments in (
        ("what the deploy would change", ("--dry", "--diff")),
        ("the deploy, on all machines at once", ("-y",)),
        ("the deploy again: no change", ("-y",)),
    ):
        command = ("pyinfra", INVENTORY, "deploy.py", *arguments)
        progress(f"{what}\n\n$ {' '.join(command)}")
        _pyinfra(*command[1:])
    readings = _read(fleet.nodes)
    progress("what other programs see on the machines\n")
    print(_matrix(readings))
    print("\nThe machines stay up: python -m tests.lab ssh kvm1; make demo-down removes them.")
    return 0 if all(each.done is not False for found in readings.values() for each in found) else 1


def _pyinfra(*arguments: str) -> None:
    environment = os.environ | {"KVMHOST_LAB_FLEET": "demo"}
    command = [sys.executable, "-m", "pyinfra", *arguments]
    subprocess.run(command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, check=True)


def _read(nodes: Iterable[Node]) -> dict[Node, tuple[guide.Reading, ...]]:
    nodes = tuple(nodes)
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(nodes, pool.map(guide.read, nodes), strict=True))


def _matrix(readings: dict[Node, tuple[guide.Reading, ...]]) -> str:
    """Return the steps of the guide, one a row, by machine, with what was seen on it."""
    header = ("step of the guide", *(node.name for node in readings))
    rows = [
        (step, *(f"{DONE[found[i].done]}: {found[i].seen}" for found in readings.values()))
        for i, step in enumerate(guide.STEPS)
    ]
    return table.render(header, rows)


if __name__ == "__main__":
    sys.exit(main())
