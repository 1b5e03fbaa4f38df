"""The lab's switch, whose ports follow what a machine's network becomes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from tests.lab import lab
from tests.lab.fleet import DEADLINE, Node, wait_until


@contextmanager
def switched(machines: Sequence[Node], untagged: int | None) -> Iterator[None]:
    """Have the switch send a VLAN untagged as soon as a machine has applied its change."""
    seen = {machine: len(lab.console(machine)) for machine in machines}

    def switch(machine: Node) -> None:
        wait_until(
            lambda: over.is_set() or "applied" in lab.console(machine)[seen[machine] :],
            DEADLINE,
            f"{machine.name} to have applied",
        )
        lab.set_trunk(machine, untagged=untagged)

    over = Event()
    with ThreadPoolExecutor() as pool:
        switching = [pool.submit(switch, machine) for machine in machines]
        try:
            yield
        finally:
            over.set()
    for each in switching:
        each.result()
