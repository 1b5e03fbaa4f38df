"""The gate before anything is changed: either every host of the run passes, or none is changed.

pyinfra prepares each host in a greenlet of its own, and an exception in any of them ends the run
before the first operation. So the first greenlet that comes to the gate looks at all hosts, and
every greenlet gets the same answer.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from gevent import with_timeout
from gevent.lock import BoundedSemaphore
from pyinfra import host, logger
from pyinfra.api import DeployError, Host, State
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_config, ctx_host

from kvmhost import checks, inventory, lock, ssh
from kvmhost.facts.machine import Machine, Traits
from kvmhost.findings import few, refusal, report
from kvmhost.settings import Settings

ANSWER_TIME = 60
"""Seconds that a host has to answer."""

_one_greenlet = BoundedSemaphore()


def pass_all() -> None:
    """Go on if every host of the run may be changed; what was found is logged as one table.

    Hosts are looked at with the privileges that the configuration and their data give (`--sudo`,
    `_sudo`), whatever the arguments of a deploy.

    Raises DeployError, on every host of the run, if a check fails or could not be told.
    """
    with _one_greenlet:
        reason = _refusal(host.state)
    if reason:
        raise DeployError(reason)


@cache
def _refusal(run: State) -> str | None:
    """Return why no host may be changed; the hosts of a run are looked at once."""
    settings = inventory.run_settings(run)
    active = [each for each in run.inventory if each in run.active_hosts]
    logger.info("--> Checking every host before anything is changed...")
    machines = _machines(run, active, settings)
    found = checks.findings(settings, machines)
    for line in (
        *report(checks.NAMES, found),
        *checks.minor_differences(settings, machines),
        *_not_compared(run, settings, machines),
        *_locked(machines),
    ):
        logger.info(line)
    return refusal(found)


def _machines(
    run: State, hosts: Sequence[Host], settings: Mapping[str, Settings]
) -> dict[str, Machine | None]:
    """Look at all hosts at once; None stands for a host that did not answer in time.

    The greenlets are those of `fact_pool`: `pool` may be full of greenlets that wait for this.
    """
    config = ctx_config.get()  # type: ignore[no-untyped-call]

    def look(each: Host) -> Machine | None:
        outbound = settings[each.name].preparation.outbound_host
        with ctx_config.use(config), ctx_host.use(each):
            return with_timeout(ANSWER_TIME, _ask, run, each, outbound, timeout_value=None)

    return dict(zip((each.name for each in hosts), run.fact_pool.map(look, hosts), strict=True))


def _ask(run: State, each: Host, outbound: str | None) -> Machine | None:
    asked = {"outbound_host": outbound}
    try:
        machine: Machine | None = get_fact(
            run, each, Traits, kwargs=asked, apply_failed_hosts=False
        )
    except Exception as error:
        each.log(f"did not answer: {ssh.reason(error)}", logger.error)
        return None
    return machine


def _not_compared(
    run: State, settings: Mapping[str, Settings], machines: Mapping[str, Machine | None]
) -> Iterator[str]:
    """Yield a line for each cluster of this run that has hosts which could not be seen."""
    seen = {settings[name].preparation.cluster for name in machines}
    unseen: dict[str, list[str]] = defaultdict(list)
    for name, cluster in inventory.clusters(run).items():
        if name not in machines and cluster in seen:
            unseen[cluster].append(name)
    for cluster, names in unseen.items():
        yield f"{cluster}: not compared, because not in this run or not reached: {few(names)}"


def _locked(machines: Mapping[str, Machine | None]) -> Iterator[str]:
    """Yield a line for each host that another run is changing: it fails when its turn comes."""
    for name, machine in machines.items():
        if machine and machine.locked:
            yield f"{name}: {lock.refusal(machine.locked)}"
