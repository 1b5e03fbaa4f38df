"""A change of the network that goes wrong is undone by the host itself, whatever goes wrong."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab import lab
from tests.lab.fleet import Fleet, Node, wait_until
from tests.runs import Run, start

Deploy = Callable[..., Run]
Check = Callable[[], None]

TIMEOUT = 30
"""Seconds within which a change must be confirmed in these tests."""
ROLLBACK = 30
"""Seconds that a host may take to be as it was, after that."""
GUARD = "/var/lib/cloudstack-network"
FILES = "md5sum /etc/network/interfaces /etc/netplan/*.yaml 2>/dev/null; true"
KERNEL = (
    "ip -o link | sed 's/^[0-9]*: //; s/[:@].*//' | sort; "
    "ip -4 -o address | awk '{print $2, $4}' | sort; ip -4 route | sort"
)
TARGET = "tasks.bridges_native.bridges_native"
WRONG_VLAN = ("--data", "management_vlan=150")


@pytest.fixture(scope="module", params=[0, 1], ids=["ifupdown", "netplan"])
def machine(request: pytest.FixtureRequest, fleet: Fleet, deploy: Deploy) -> Node:
    """Return a machine whose network is as modelled."""
    node = fleet.machines[request.param]
    run = deploy("-y", "--limit", node.name, target=TARGET)
    assert run.status == 0, run.output
    return node


@pytest.fixture(autouse=True)
def unchanged(machine: Node) -> Iterator[Check]:
    """Yield a check that files and kernel are as before the test, and the guard is gone."""
    before = machine.run(FILES).stdout, machine.run(KERNEL).stdout

    def check() -> None:
        machine.wait_for_ssh(TIMEOUT + ROLLBACK)
        wait_until(lambda: not guarded(machine), TIMEOUT + ROLLBACK, "the guard to be gone")
        assert machine.run(FILES).stdout == before[0]
        assert machine.run(KERNEL).stdout == before[1]
        assert "cloudstack-network" not in machine.run("ls -R /etc/systemd/system").stdout

    yield check


def guarded(machine: Node) -> bool:
    return machine.run(f"test -e {GUARD}", check=False).returncode == 0


def options(machine: Node, *more: str) -> tuple[str, ...]:
    return "-y", "--limit", machine.name, "--data", f"network_confirm_timeout={TIMEOUT}", *more


def on_console(machine: Node, text: str, deadline: float = 60) -> None:
    """Return when the guard has said this on the machine's console, for the latest change."""

    def said() -> bool:
        return text in lab.console(machine).rpartition("cloudstack-network: armed")[2]

    wait_until(said, deadline, f"{text!r} on the console of {machine.name}")


def armed(machine: Node) -> Callable[[], bool]:
    """Return whether another change has been armed since now."""
    before = lab.console(machine).count("cloudstack-network: armed")
    return lambda: lab.console(machine).count("cloudstack-network: armed") > before


@pytest.mark.parametrize(
    "wrong",
    [
        WRONG_VLAN,
        ("--data", "gateway=192.168.142.77"),
        ("--data", "uplink=eth9"),
    ],
    ids=["wrong VLAN tag", "wrong gateway", "wrong uplink"],
)
def test_a_wrong_configuration_is_undone(
    machine: Node, deploy: Deploy, unchanged: Check, wrong: tuple[str, ...]
) -> None:
    began = time.monotonic()
    run = deploy(*options(machine, *wrong), target=TARGET)
    assert run.status != 0
    assert "rolled back" in run.output
    assert time.monotonic() - began < TIMEOUT + ROLLBACK
    unchanged()


def test_an_address_that_another_host_has_is_undone(
    machine: Node, fleet: Fleet, deploy: Deploy, unchanged: Check
) -> None:
    [other] = [node for node in fleet.machines if node != machine]
    run = deploy(*options(machine, "--data", f"management_address={other.address}"), target=TARGET)
    assert run.status != 0
    unchanged()


def test_what_the_back_end_refuses_is_not_applied(
    machine: Node, deploy: Deploy, unchanged: Check
) -> None:
    spoil, mend = {
        "ifupdown": (
            "sed -i '1i iface eth7 inet nonsense' /etc/network/interfaces",
            "sed -i 1d /etc/network/interfaces",
        ),
        "netplan": (
            "echo 'network: {ethernets: {eth7: {mtu: many}}}' > /etc/netplan/90-eth7.yaml",
            "rm /etc/netplan/90-eth7.yaml",
        ),
    }[machine.network_backend]
    begun = armed(machine)
    machine.run(spoil)
    try:
        run = deploy(*options(machine, "--data", "bridge_forward_delay=7"), target=TARGET)
        assert run.status != 0
        assert "interfaces:1: unknown" in run.output or "eth7" in run.output, run.output
        assert not begun(), "nothing was applied"
    finally:
        machine.run(mend)
    unchanged()


def test_a_workstation_that_is_killed_is_not_needed(machine: Node, unchanged: Check) -> None:
    begun = armed(machine)
    process = start(
        "inventories/lab.py", TARGET, *options(machine, *WRONG_VLAN), KVMHOST_LAB_FLEET="test"
    )
    wait_until(begun, 60, "the change to begin")
    process.kill()
    process.communicate()
    unchanged()


def test_ssh_that_is_blocked_is_not_needed(machine: Node, deploy: Deploy, unchanged: Check) -> None:
    rule = "INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP"
    machine.run(
        f"systemd-run --unit=blocks-ssh sh -c 'while [ ! -e {GUARD}/armed ]; do sleep 0.2; done;"
        f" iptables -I {rule}; while [ -e {GUARD} ]; do sleep 0.2; done; iptables -D {rule}'"
    )
    run = deploy(*options(machine, "--data", "bridge_forward_delay=7"), target=TARGET)
    assert run.status != 0
    unchanged()


@pytest.mark.parametrize("moment", ["applying", "applied", "rolling back"])
def test_a_power_cut_at_any_moment_is_survived(
    machine: Node, unchanged: Check, moment: str
) -> None:
    begun = armed(machine)
    process = start(
        "inventories/lab.py", TARGET, *options(machine, *WRONG_VLAN), KVMHOST_LAB_FLEET="test"
    )
    wait_until(begun, 60, "the change to begin")
    on_console(machine, moment)
    lab.power_cut(machine)
    process.kill()
    process.communicate()
    lab.power_on(machine)
    unchanged()


def test_a_right_configuration_is_confirmed_afterwards(machine: Node, deploy: Deploy) -> None:
    for delay in (7, 5):
        changed = ("--data", f"bridge_forward_delay={delay}")
        run = deploy(*options(machine, *changed), target=TARGET)
        assert run.status == 0, run.output
        seconds = int(machine.run("cat /sys/class/net/cloudbr0/bridge/forward_delay").stdout) // 100
        assert seconds == delay
        assert not guarded(machine)
