"""The fleet that the tiers `hosts` and `machines` share: hosts that the lab makes and keeps."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.lab import lab
from tests.lab.fleet import Fleet
from tests.runs import Run, pyinfra

FLEET = "test"
SPEC = lab.FleetSpec(name=FLEET, machines=("ifupdown", "netplan"), hosts=4)
EL_FLEET = "el"
EL_SPEC = lab.FleetSpec(name=EL_FLEET, machines=("networkmanager",), hosts=1, el_hosts=2)


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """Two machines and four container hosts; KVMHOST_LAB_KEEP=1 leaves them up afterwards."""
    yield lab.up(SPEC)
    if not os.environ.get("KVMHOST_LAB_KEEP"):
        lab.down(FLEET)


@pytest.fixture(scope="session")
def el_fleet() -> Iterator[Fleet]:
    """A machine and two container hosts that stand in for EL, and a Debian host beside them."""
    yield lab.up(EL_SPEC)
    if not os.environ.get("KVMHOST_LAB_KEEP"):
        lab.down(EL_FLEET)


@pytest.fixture(scope="session")
def deploy(fleet: Fleet) -> Callable[..., Run]:
    """Run deploy.py, or what is named instead, against the fleet as an administrator does."""
    return deploys(fleet)


@pytest.fixture(scope="session")
def deploy_el(el_fleet: Fleet) -> Callable[..., Run]:
    """Run deploy.py, like `deploy`, against the fleet with the stand-ins for EL."""
    return deploys(el_fleet)


def deploys(fleet: Fleet) -> Callable[..., Run]:
    def run(*arguments: str, target: str = "deploy.py") -> Run:
        return pyinfra("inventories/lab.py", target, *arguments, KVMHOST_LAB_FLEET=fleet.name)

    return run
