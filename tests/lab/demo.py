"""Bare machines become hypervisors, before your eyes: `make demo`.

Two Debian machines with a kernel of their own, and a container that stands in for EL.
"""

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
DONE = {True: "done", False: "NOT DONE", None: "-"}
"""A step that is none on a host, such as AppArmor where the kernel does not run it, is `-`."""


def main() -> int:
    """Start the fleet, deploy it twice and show what became of it; return 1 if a step is undone."""
    progress = Progress()
    fleet = lab.up(lab.FleetSpec("demo", el_hosts=1), progress)
    for what, arguments in (
        ("what the deploy would change", ("--dry", "--diff")),
        ("the deploy, on all of them at once", ("-y",)),
        ("the deploy again: no change", ("-y",)),
    ):
        command = ("pyinfra", INVENTORY, "deploy.py", *arguments)
        progress(f"{what}\n\n$ {' '.join(command)}")
        _pyinfra(*command[1:])
    readings = _read(fleet.nodes)
    progress("what other programs see on them\n")
    print(_matrix(readings))
    print(
        "\nThey stay up. Log in: .venv/bin/python -m tests.lab ssh kvm1"
        "\nRemove them:         make demo-down"
    )
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
    """Return one row a host, one column a step of the guide, and what was seen where one lacks."""
    rows = [(node.name, *(DONE[each.done] for each in found)) for node, found in readings.items()]
    lacking = [
        f"{node.name}: {each.step}: {each.seen}"
        for node, found in readings.items()
        for each in found
        if each.done is False
    ]
    return "\n".join([table.render(("host", *guide.STEPS), rows), *lacking])


if __name__ == "__main__":
    sys.exit(main())
