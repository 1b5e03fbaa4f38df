"""The fleet that the tiers `hosts` and `machines` share: hosts that the lab makes and keeps."""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from kvmhost.operations.network import LOG
from tests.lab import lab
from tests.lab.fleet import Fleet
from tests.runs import Run, pyinfra

FLEET = "test"
SPEC = lab.FleetSpec(
    name=FLEET,
    machines=("ifupdown", "netplan:13", "networkmanager"),
    hosts=3,
    el_hosts=2,
    debian13_hosts=1,
)
if os.environ.get("LAB_NETWORK_SCRIPTS"):
    SPEC = replace(SPEC, machines=(*SPEC.machines, "ifcfg"))


STARTED = pytest.StashKey[Future[Fleet]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the fleet, while those tests run that need none."""
    needed = any("fleet" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and not session.config.option.collectonly:
        pool = ThreadPoolExecutor(max_workers=1)
        session.config.stash[STARTED] = pool.submit(lab.up, SPEC)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the fleet away; KVMHOST_LAB_KEEP=1 leaves it up."""
    if STARTED in session.config.stash:
        wait([session.config.stash[STARTED]])
        if not os.environ.get("KVMHOST_LAB_KEEP"):
            lab.down(FLEET)


@pytest.fixture(scope="session")
def fleet(pytestconfig: pytest.Config) -> Fleet:
    """A machine for each network back end, and container hosts: four of Debian, two for EL.

    One machine and one container host run Debian 13.
    """
    return pytestconfig.stash[STARTED].result()


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


@pytest.fixture(scope="session")
def deploy(fleet: Fleet) -> Callable[..., Run]:
    """Run deploy.py, or what is named instead, against the fleet as an administrator does."""

    def run(*arguments: str, target: str = "deploy.py", **environment: str) -> Run:
        environment["KVMHOST_LAB_FLEET"] = fleet.name
        return pyinfra("inventories/lab.py", target, *arguments, **environment)

    return run
