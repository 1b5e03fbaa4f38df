"""The fleets of the tiers `hosts` and `machines`: what the lab makes, and the tests share."""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from kvmhost.operations.guarded import LOG
from tests.lab import lab
from tests.lab.fleet import Fleet
from tests.runs import Run, pyinfra

MACHINES = ("ifupdown", "netplan:13", "networkmanager")
NETWORK_SCRIPTS = ("ifcfg",) if os.environ.get("LAB_NETWORK_SCRIPTS") else ()
FLEETS = {
    "machines": lab.FleetSpec("metal", machines=MACHINES + NETWORK_SCRIPTS),
    "hosts": lab.FleetSpec("hosts", machines=(), hosts=3, el_hosts=2, debian13_hosts=1),
}
"""The fleet of each tier that has one, by the tier's name."""
PARALLEL = ("machines", "unit", "plan", "hosts")
"""The order of the tiers for two processes: the machines keep one of them busy to the end."""

STARTING = pytest.StashKey[dict[str, Future[Fleet]]]()


def tier(nodeid: str) -> str:
    return nodeid.split("/")[1]


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of pytest-xdist's processes that run tests for another."""
    return hasattr(config, "workerinput")


class ByFleet(LoadScopeScheduling):
    """Has one process run the tests of a fleet, in order; others go to whichever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return tier(nodeid) if tier(nodeid) in FLEETS else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFleet:
    config.option.loadscopereorder = False
    return ByFleet(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_worker(config):
        items.sort(key=lambda item: PARALLEL.index(tier(item.nodeid)))


def pytest_collection_finish(session: pytest.Session) -> None:
    if not (is_worker(session.config) or session.config.option.collectonly):
        start_fleets(session.config, (item.nodeid for item in session.items))


def pytest_xdist_node_collection_finished(node: WorkerController, ids: Iterable[str]) -> None:
    start_fleets(node.config, ids)


def start_fleets(config: pytest.Config, nodeids: Iterable[str]) -> None:
    """Start the fleets that the tests need, while those run that need none."""
    needed = {tier(nodeid) for nodeid in nodeids} & FLEETS.keys()
    if needed and STARTING not in config.stash:
        pool = ThreadPoolExecutor(max_workers=1)
        config.stash[STARTING] = {
            name: pool.submit(lab.up, spec) for name, spec in FLEETS.items() if name in needed
        }


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the fleets away; KVMHOST_LAB_KEEP=1 leaves them up."""
    starting = session.config.stash.get(STARTING, {})
    wait(starting.values())
    if not os.environ.get("KVMHOST_LAB_KEEP"):
        for name in starting:
            lab.down(FLEETS[name].name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Iterator[None]:
    """Show with a failed test what the guards of the machines have said: it goes with the fleet."""
    outcome = yield
    report = outcome.get_result()
    fleet = getattr(item, "funcargs", {}).get("fleet")
    if report.failed and fleet is not None:
        for machine in fleet.machines:
            try:
                said = machine.run(f"tail -n 60 {LOG}", check=False, timeout=60).stdout
            except subprocess.TimeoutExpired:
                said = "it does not answer"
            if said:
                report.sections.append((f"the guard's log on {machine.name}", said))


@pytest.fixture(scope="module")
def deploy(fleet: Fleet) -> Callable[..., Run]:
    """Run deploy.py, or what is named instead, against the fleet as an administrator does."""

    def run(*arguments: str, target: str = "deploy.py", **environment: str) -> Run:
        environment["KVMHOST_LAB_FLEET"] = fleet.name
        return pyinfra("inventories/lab.py", target, *arguments, **environment)

    return run
