import pytest

from tests.conftest import FLEETS
from tests.lab import lab
from tests.lab.fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """A machine for each network back end, one of them of Debian 13."""
    return lab.up(FLEETS["machines"])
