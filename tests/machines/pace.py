"""How slow this workstation is now, so that a limit of time can be held against it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.lab.fleet import Node

REFERENCE = 2.0
"""Seconds that the work takes on each of three machines at once, on two idle cores."""
_WORK = (
    "begin=$(date +%s%N); i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i + 1)); done;"
    " echo $(($(date +%s%N) - begin))"
)


def pace(machines: Iterable[Node]) -> float:
    """Return how many times as long as `REFERENCE` the machines take at once; 1 at the least."""
    machines = tuple(machines)
    with ThreadPoolExecutor(len(machines)) as pool:
        seconds = [int(done.stdout) / 1e9 for done in pool.map(lambda m: m.run(_WORK), machines)]
    return max(1.0, max(seconds) / REFERENCE)
