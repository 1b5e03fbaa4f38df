import pytest

from tests.conftest import FLEETS
from tests.lab import lab
from tests.lab.fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """Container hosts: four of Debian, one of them of Debian 13, and two for EL."""
    return lab.up(FLEETS["hosts"])
