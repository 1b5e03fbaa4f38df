"""A change of the network that goes wrong is undone by the hosts themselves, whatever goes wrong.

Each test changes all machines at once, one of each network back end.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from kvmhost.network.change import GUARD
from kvmhost.operations.guarded import LOG
from tests.lab import lab
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.machines.pace import pace
from tests.runs import Run, start

Deploy = Callable[..., Run]
Machines = tuple[Node, ...]
Check = Callable[[], None]

TIMEOUT = 45
"""Seconds within which a change must be confirmed in these tests, where it cannot be."""
ROLLBACK = 30
"""Seconds that a host may take to be as it was, after that, on a machine that is not busy."""
ARMED, AT_BOOT, UNDONE = "armed", "rolling back at boot", "rolled back"
FILES = (
    "md5sum /etc/network/interfaces /etc/netplan/*.yaml"
    " /etc/NetworkManager/system-connections/* /etc/NetworkManager/conf.d/*"
    " /etc/sysconfig/network-scripts/*-* /etc/sysctl.d/* 2>/dev/null; true"
)
# NetworkManager numbers a route's metric by the order of activations; the network scripts' route
# for zeroconf goes with the last address of a bridge, be it a test's
KERNEL = (
    "ip -o link | sed -E 's/^[0-9]+: ([^:@]*).* (mtu [0-9]+).*/\\1 \\2/' | sort; "
    "ip -4 -o address | awk '{print $2, $4}' | sort; "
    "ip -4 route | grep -v ^169.254 | sed 's/ metric [0-9]*//' | sort"
)
UPLINK = "/etc/NetworkManager/system-connections/cloudstack-eth0.nmconnection"
TARGET = "tasks.bridges_native.bridges_native"
SOON = ("--data", f"network_confirm_timeout={TIMEOUT}")
WRONG_VLAN = ("--data", "management_vlan=150")


@pytest.fixture(scope="module")
def machines(fleet: Fleet, deploy: Deploy) -> Machines:
    """Return machines whose network is as modelled."""
    run = deploy("-y", target=TARGET)
    assert run.status == 0, run.output
    return fleet.machines


@pytest.fixture(autouse=True)
def unchanged(machines: Machines) -> Iterator[Check]:
    """Yield a check that files and kernel are as before the test, and the guard is gone."""
    before = {machine: _state(machine) for machine in machines}
    logged = {machine: len(_log(machine)) for machine in machines}

    def check() -> None:
        for machine in machines:
            wait_until(lambda each=machine: is_free(each), DEADLINE, "no guard")  # type: ignore[misc]
        slowness = pace(machines)
        for machine in machines:
            assert _state(machine) == before[machine], machine.name
            assert "cloudstack-network" not in machine.run("ls -R /etc/systemd/system").stdout
            assert_undone_in_time(machine, _log(machine)[logged[machine] :], slowness)

    yield check


def _state(machine: Node) -> tuple[str, str]:
    return machine.run(FILES).stdout, machine.run(KERNEL).stdout


def _log(machine: Node) -> list[str]:
    return machine.run(f"cat {LOG} 2>/dev/null", check=False).stdout.splitlines()


def assert_undone_in_time(machine: Node, log: list[str], slowness: float) -> None:
    """By the host's own clock it is not long; at boot, what counts is the time since then."""
    moments = {
        what: datetime.fromisoformat(moment)
        for moment, _, said in (line.split(" ", 2) for line in log if line.count(" ") > 1)
        for what in (ARMED, AT_BOOT, UNDONE)
        if said.startswith(what)
    }
    for begin, waiting in ((AT_BOOT, 0), (ARMED, TIMEOUT)):
        if begin in moments:
            took = (moments[UNDONE] - moments[begin]).total_seconds()
            print(f"{machine.name}: {UNDONE} {took:.0f} s after {begin}; pace {slowness:.1f}")
            assert took <= waiting + ROLLBACK * slowness, log
            return


def is_free(machine: Node) -> bool:
    """Whether the machine answers, and has no change that is not confirmed."""
    return machine.run(f"test ! -e {GUARD}", check=False).returncode == 0


def on_consoles(machines: Machines, text: str, since: dict[Node, int]) -> None:
    """Return when every machine's guard has said this on its console, after what was there."""
    for machine in machines:
        wait_until(
            lambda each=machine: text in lab.console(each)[since[each] :],  # type: ignore[misc]
            DEADLINE,
            f"{text!r} on the console of {machine.name}",
        )


def consoles(machines: Machines) -> dict[Node, int]:
    return {machine: len(lab.console(machine)) for machine in machines}


@pytest.mark.parametrize(
    "wrong",
    [
        WRONG_VLAN,
        pytest.param((*WRONG_VLAN, "--data", "mtu=1400"), marks=pytest.mark.thorough),
        pytest.param(("--data", "gateway=192.168.142.77"), marks=pytest.mark.thorough),
        pytest.param(("--data", "uplink=eth9"), marks=pytest.mark.thorough),
        pytest.param(
            ("--data", 'bridges={"cloudbr0": 200, "cloudbr1": "eth9.300"}'),
            marks=pytest.mark.thorough,
        ),
    ],
    ids=[
        "wrong VLAN tag",
        "wrong VLAN tag, other MTU",
        "wrong gateway",
        "wrong uplink",
        "wrong second uplink",
    ],
)
def test_a_wrong_configuration_is_undone(
    machines: Machines, deploy: Deploy, unchanged: Check, wrong: tuple[str, ...]
) -> None:
    run = deploy("-y", *SOON, *wrong, target=TARGET)
    assert run.status != 0
    assert run.output.partition("--> Failed:")[0].count("rolled back") == len(machines), run.output
    unchanged()


@pytest.mark.thorough
def test_an_address_that_another_host_has_is_undone(
    machines: Machines, deploy: Deploy, unchanged: Check
) -> None:
    one, other, *_ = machines
    taken = ("--limit", one.name, "--data", f"management_address={other.address}")
    run = deploy("-y", *SOON, *taken, target=TARGET)
    assert run.status != 0
    unchanged()


def test_what_the_back_end_refuses_is_not_applied(
    machines: Machines, deploy: Deploy, unchanged: Check
) -> None:
    spoil = {
        "ifupdown": (
            "sed -i '1i iface eth7 inet nonsense' /etc/network/interfaces",
            "sed -i 1d /etc/network/interfaces",
            "unknown or no method",
        ),
        "netplan": (
            "echo 'network: {ethernets: {eth7: {mtu: many}}}' > /etc/netplan/90-eth7.yaml",
            "rm /etc/netplan/90-eth7.yaml",
            "many",
        ),
        "networkmanager": (
            f"cp -a {UPLINK} /root/uplink && printf '#\n[802-1x]\nidentity=nobody\n' >>{UPLINK}",
            f"mv /root/uplink {UPLINK}",
            "802-1x.eap",
        ),
        "ifcfg": (
            "chmod -x /etc/sysconfig/network-scripts/ifup-eth",
            "chmod +x /etc/sysconfig/network-scripts/ifup-eth",
            "install the package network-scripts",
        ),
    }
    seen = consoles(machines)
    for machine in machines:
        machine.run(spoil[machine.network_backend][0])
    try:
        run = deploy("-y", *SOON, "--data", "bridge_forward_delay=7", target=TARGET)
        assert run.status != 0
        for machine in machines:
            assert spoil[machine.network_backend][2] in run.output
        assert not any("armed" in lab.console(each)[seen[each] :] for each in machines)
    finally:
        for machine in machines:
            machine.run(spoil[machine.network_backend][1])
    unchanged()


@pytest.mark.thorough
def test_a_workstation_that_is_killed_is_not_needed(machines: Machines, unchanged: Check) -> None:
    seen = consoles(machines)
    process = start_change(*WRONG_VLAN)
    on_consoles(machines, "applying", seen)
    process.kill()
    process.communicate()
    unchanged()


@pytest.mark.thorough
def test_ssh_that_is_blocked_is_not_needed(
    machines: Machines, deploy: Deploy, unchanged: Check
) -> None:
    for machine in machines:
        machine.run(
            "systemd-run --unit=blocks-ssh --collect sh -c '"
            f"while [ ! -e {GUARD}/armed ]; do sleep 0.2; done; systemctl stop ssh;"
            f" while [ -e {GUARD} ]; do sleep 0.2; done; systemctl start ssh'"
        )
    run = deploy("-y", *SOON, "--data", "bridge_forward_delay=7", target=TARGET)
    assert run.status != 0
    unchanged()


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("applying", marks=pytest.mark.thorough),
        "applied",
        pytest.param("rolling back", marks=pytest.mark.thorough),
    ],
)
def test_a_power_cut_at_any_moment_is_survived(
    machines: Machines, unchanged: Check, moment: str
) -> None:
    seen = consoles(machines)
    process = start_change(*WRONG_VLAN)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda each: _cut_power_at(each, moment, seen), machines))
        process.kill()
        process.communicate()
        list(pool.map(lab.power_on, machines))
    unchanged()


def _cut_power_at(machine: Node, moment: str, seen: dict[Node, int]) -> None:
    on_consoles((machine,), moment, seen)
    lab.power_cut(machine)


def start_change(*data: str) -> subprocess.Popen[str]:
    return start("inventories/lab.py", TARGET, "-y", *SOON, *data, KVMHOST_LAB_FLEET="metal")


@pytest.mark.thorough
def test_an_interrupted_run_is_undone(machines: Machines, unchanged: Check) -> None:
    seen = consoles(machines)
    process = start_change(*WRONG_VLAN)
    on_consoles(machines, "applied", seen)
    process.send_signal(signal.SIGINT)
    process.communicate()
    unchanged()


@pytest.mark.thorough
def test_one_host_after_the_other_is_confirmed(machines: Machines, deploy: Deploy) -> None:
    for delay in (7, 5):
        data = ("--data", f"bridge_forward_delay={delay}")
        run = deploy("-y", *data, "--serial", target=TARGET)
        assert run.status == 0, run.output
        assert run.output.count("Network confirmed") == len(machines)


GUEST = """
<domain type='qemu'>
  <name>guest1</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
  <devices><interface type='bridge'><source bridge='cloudbr1'/></interface></devices>
</domain>
"""


@pytest.mark.thorough
def test_a_guest_keeps_its_host_as_it_is_and_its_port_when_that_is_not_wanted(
    machines: Machines, deploy: Deploy
) -> None:
    ports = "ls /sys/class/net/cloudbr1/brif"
    change = ("-y", "--data", 'bridges={"cloudbr0": 200, "cloudbr1": 250}')
    before = {}
    try:
        for machine in machines:
            machine.run("virsh create /dev/stdin", stdin=GUEST)
            before[machine] = machine.run(ports).stdout
            assert "vnet" in before[machine]
        refused = deploy(*change, target=TARGET)
        assert refused.status != 0
        assert refused.output.count("guests run here: guest1") == len(machines)
        assert {machine: machine.run(ports).stdout for machine in machines} == before
        for allowed in (change, ("-y",)):
            data = ("--data", "network_change_with_guests=True")
            run = deploy(*allowed, *data, target=TARGET)
            assert run.status == 0, run.output
            for machine in machines:
                tag = "250" if allowed is change else "300"
                then = before[machine].replace("eth0.300", f"eth0.{tag}")
                assert sorted(machine.run(ports).stdout.split()) == sorted(then.split())
                assert machine.run("virsh domstate guest1").stdout.strip() == "running"
    finally:
        for machine in machines:
            machine.run("virsh destroy guest1", check=False)


def test_a_right_configuration_is_confirmed_afterwards(machines: Machines, deploy: Deploy) -> None:
    run = deploy("-y", "--data", "bridge_forward_delay=7", target=TARGET)
    assert run.status == 0, run.output
    for machine in machines:
        read = "cat /sys/class/net/cloudbr0/bridge/forward_delay"
        assert int(machine.run(read).stdout) == 700
        assert is_free(machine)
