"""SELinux on a machine that stands in for EL, whose kernel runs it."""

from collections.abc import Callable, Iterator

import pytest

from tests.lab.fleet import Fleet, Node
from tests.machines.security import selinux
from tests.runs import Run

Deploy = Callable[..., Run]
pytestmark = pytest.mark.thorough
SECURITY = "tasks.apparmor_selinux.apparmor_selinux"
ENFORCING = ("--data", "selinux_mode=enforcing")


@pytest.fixture
def machine(fleet: Fleet) -> Iterator[Node]:
    """Yield the machine with a permissive SELinux, as the deploy has left it."""
    machine = next(each for each in fleet.machines if each.distribution == "rhel")
    machine.run("sed -i s/^SELINUX=.*/SELINUX=permissive/ /etc/selinux/config && setenforce 0")
    yield machine
    machine.run("sed -i s/^SELINUX=.*/SELINUX=permissive/ /etc/selinux/config && setenforce 0")


def test_it_keeps_enforcing_when_that_is_asked_for(machine: Node, deploy: Deploy) -> None:
    machine.run("sed -i s/^SELINUX=.*/SELINUX=enforcing/ /etc/selinux/config && setenforce 1")
    run = deploy("-y", "--json", *ENFORCING, "--limit", machine.name, target=SECURITY)
    assert run.status == 0, run.output
    assert run.changed == {}
    assert selinux(machine) == ("Enforcing", "SELINUX=enforcing")


def test_it_enforces_again_when_that_is_asked_for(machine: Node, deploy: Deploy) -> None:
    for mode, shown in (("enforcing", "Enforcing"), ("permissive", "Permissive")):
        data = ("--data", f"selinux_mode={mode}", "--limit", machine.name)
        run = deploy("-y", *data, target=SECURITY)
        assert run.status == 0, run.output
        assert selinux(machine) == (shown, f"SELINUX={mode}")


def test_files_without_labels_are_not_enforced(machine: Node, deploy: Deploy) -> None:
    machine.run("chcon -t unlabeled_t /usr/sbin/sshd")
    try:
        run = deploy("-y", *ENFORCING, "--limit", machine.name, target=SECURITY)
        assert run.status != 0
        assert "touch /.autorelabel" in run.output
        assert selinux(machine) == ("Permissive", "SELINUX=permissive")
    finally:
        machine.run("restorecon /usr/sbin/sshd")
