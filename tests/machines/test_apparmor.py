"""AppArmor on the machines of Debian, whose kernel runs it."""

from collections.abc import Callable, Iterator

import pytest

from tests.lab.fleet import Fleet, Node
from tests.machines.security import apparmor
from tests.runs import Run

Deploy = Callable[..., Run]
NTP = "tasks.ntp.ntp"
INSTALL = "apt-get install -y -q /srv/time-services/{service}_*.deb"
CONFIGURATION = "/etc/openntpd/ntpd.conf"


@pytest.fixture
def machine(fleet: Fleet, deploy: Deploy) -> Iterator[Node]:
    """Yield a machine with openntpd, which confines itself, in the place of chrony."""
    machine = next(each for each in fleet.machines if each.distribution == "debian")
    machine.run(INSTALL.format(service="openntpd"))
    yield machine
    machine.run(INSTALL.format(service="chrony"))
    run = deploy("-y", "--limit", machine.name, target=NTP)
    assert run.status == 0, run.output


def test_a_service_that_may_read_its_own_file_alone_checks_a_new_one(
    machine: Node, deploy: Deploy
) -> None:
    assert apparmor(machine)["/usr/sbin/ntpd"] == "enforce"
    machine.run(f"cp {CONFIGURATION} {CONFIGURATION}.new")
    refused = machine.run(f"/usr/sbin/ntpd -n -f {CONFIGURATION}.new", check=False)
    assert "Permission denied" in refused.stderr
    machine.run(f"rm {CONFIGURATION}.new")
    wrong = machine.run("echo no such word | /usr/sbin/ntpd -n -f /dev/stdin", check=False)
    assert "syntax error" in wrong.stderr

    openntpd = ("-y", "--json", "--limit", machine.name, "--data", "time_service=openntpd")
    run = deploy(*openntpd, target=NTP)
    assert run.status == 0, run.output
    assert run.changed["NTP | Name the time servers"] == [machine.name]
    assert machine.run("systemctl is-active openntpd").stdout.strip() == "active"
    assert deploy(*openntpd, target=NTP).changed == {}
