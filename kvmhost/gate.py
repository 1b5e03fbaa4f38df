"""The gate before anything is changed: either every host of the run passes, or none is changed.

pyinfra prepares each host in a greenlet of its own, and an exception in any of them ends the run
before the first operation. So the first greenlet that comes to the gate looks at all hosts, and
every greenlet gets the same answer.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from gevent import with_timeout
from gevent.lock import BoundedSemaphore
from pyinfra import host, logger
from pyinfra.api import DeployError, FactBase, Host, State
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_config, ctx_host

from kvmhost import checks, inventory, lock, ssh
from kvmhost.facts.libvirt import CommonCpu, HostCpu
from kvmhost.facts.machine import Machine, Traits
from kvmhost.findings import Findings, few, refusal, report
from kvmhost.guest_cpu import described
from kvmhost.settings import Settings

ANSWER_TIME = 60
"""Seconds that a host has to answer."""

_one_greenlet = BoundedSemaphore()
_Answer = TypeVar("_Answer")


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
    machines = _answers(run, Traits, {each: _asked(settings[each.name]) for each in active})
    found = checks.findings(settings, machines)
    for line in (
        *report(checks.NAMES, found),
        *checks.minor_differences(settings, machines),
        *checks.uplink_differences(settings),
        *_not_compared(run, settings, machines),
        *_common_cpus(run, settings, machines, found),
        *_locked(machines),
    ):
        logger.info(line)
    return refusal(found)


def _answers(
    run: State, fact: type[FactBase[_Answer]], asked: Mapping[Host, dict[str, Any]]
) -> dict[str, _Answer | None]:
    """Ask all hosts at once; None stands for a host that did not answer in time.

    The greenlets are those of `fact_pool`: `pool` may be full of greenlets that wait for this.

    asked: the fact's arguments for each host.
    """
    config = ctx_config.get()  # type: ignore[no-untyped-call]

    def ask(each: Host) -> _Answer | None:
        with ctx_config.use(config), ctx_host.use(each):
            return with_timeout(ANSWER_TIME, _ask, run, each, fact, asked[each], timeout_value=None)

    return dict(zip((each.name for each in asked), run.fact_pool.map(ask, asked), strict=True))


def _asked(settings: Settings) -> dict[str, str | None]:
    """Return what the fact about a machine is asked, by its arguments' names."""
    model = settings.agent.guest_cpu_model if settings.preparation.require_hvm else None
    return {
        "outbound_host": settings.preparation.outbound_host,
        "guest_cpu": model and described(model, settings.agent.guest_cpu_features),
    }


def _ask(
    run: State, each: Host, fact: type[FactBase[_Answer]], asked: dict[str, Any]
) -> _Answer | None:
    try:
        answer: _Answer | None = get_fact(run, each, fact, kwargs=asked, apply_failed_hosts=False)
    except Exception as error:
        each.log(f"did not answer: {ssh.reason(error)}", logger.error)
        return None
    return answer


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


def _common_cpus(
    run: State,
    settings: Mapping[str, Settings],
    machines: Mapping[str, Machine | None],
    found: Findings,
) -> Iterator[str]:
    """Yield, for each cluster whose CPUs are refused, the settings of one that all hosts have."""
    clusters: dict[str, list[Host]] = defaultdict(list)
    for each in run.inventory:
        if machines.get(each.name):
            clusters[settings[each.name].preparation.cluster].append(each)
    for cluster, hosts in clusters.items():
        findings = [finding for each in hosts for finding in found[each.name]]
        if any("CPU" in each.check and each.outcome == "fails" for each in findings):
            yield from _common_cpu(run, cluster, hosts)


def _common_cpu(run: State, cluster: str, hosts: Sequence[Host]) -> Iterator[str]:
    yield ""
    cpus = _answers(run, HostCpu, {each: {} for each in hosts})
    if silent := [name for name, cpu in cpus.items() if cpu is None]:
        yield f"{cluster}: the next run says which CPU all of these hosts can give to guests, if"
        yield f"libvirt runs on {few(silent)} by then (tasks.libvirt.libvirt)"
        return
    different = tuple(dict.fromkeys(filter(None, cpus.values())))
    [lines] = _answers(run, CommonCpu, {hosts[0]: {"cpus": different}}).values()
    yield f"{cluster}: a CPU that all of these hosts can give to guests, for the cluster's file:"
    yield from lines or ("libvirt says none",)


def _locked(machines: Mapping[str, Machine | None]) -> Iterator[str]:
    """Yield a line for each host that another run is changing: it fails when its turn comes."""
    for name, machine in machines.items():
        if machine and machine.locked:
            yield f"{name}: {lock.refusal(machine.locked)}"
