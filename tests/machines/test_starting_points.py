"""Starting points on machines, one of each back end at once: taken over, undone, booted into.

They are those of tests/unit/starting_points, with the addresses and NICs that the lab has. Where
the address moves into a VLAN or out of it, the switch's port is what is wrong at first; else it is
the gateway.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import ndiff
from posixpath import dirname
from shlex import join, quote

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.network.interfaces import Interface, all_below
from kvmhost.operations.guarded import LOG
from tests.lab import lab
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.machines.switching import switched
from tests.runs import Run
from tests.unit.network_examples import KEPT, network
from tests.unit.starting_points import StartingPoint
from tests.unit.starting_points.__main__ import points

Deploy = Callable[..., Run]
TARGET = "tasks.bridges_native.bridges_native"
POINTS = points()
BACK_ENDS = ("ifupdown", "netplan", "networkmanager", "ifcfg")
ROUNDS = {
    "a bond that stays": (
        "a bond with the old option slaves",
        "an installer's bond as the uplink",
        "the installer's bond, kept as the uplink",
        "a bond, kept as the uplink",
    ),
    "a bond that becomes ours": (
        "a bond that bonds makes ours",
        "an installer's bond, made by us from now on",
        "the installer's bond, with bonds",
        "a bond, ours from now on",
    ),
    "an installer's address": (
        "Debian's installer, static",
        "Ubuntu's installer, static address",
        "the installer's keyfile, with a static address, a route, DNS, MTU and a firewall's zone",
        "EL's installer, static",
    ),
    "an address that moves to a VLAN": (
        "Debian's installer, the address moves to a VLAN of the uplink",
        "cloud-init, match by MAC address only",
        "the management VLAN under another name, vlan100",
        "EL's installer, static, the address moves to a VLAN",
    ),
    "storage, and routes": (
        "a storage VLAN, and static routes on the uplink",
        "storage VLAN on the uplink, MTU 9000, static routes",
        "a storage VLAN on the uplink, with its own address, MTU and route",
        "a storage VLAN with MTU 9000",
    ),
    "routes by policy": (
        "policy routing",
        "policy routing",
        "policy routing on a second NIC",
        "policy routing",
    ),
    "names that differ": (
        "cloud-init, VLANs",
        "the management VLAN as vlan100",
        "the management VLAN becomes a bridge's",
        "vlan100",
    ),
}
# The lab has no switch that speaks LACP, no DHCP server, and NICs that carry no jumbo frames; its
# NetworkManager knows the names of before 1.46, and its machines have no net-tools.
IN_THE_LAB = {
    "up route add -net 10.0.0.0 netmask 255.0.0.0 gw": "up ip route add 10.0.0.0/8 via",
    "down route del -net 10.0.0.0 netmask 255.0.0.0": "down ip route del 10.0.0.0/8",
    "dhcp4: true": "addresses: [192.168.42.11/24]",
    "controller=": "master=",
    "port-type=": "slave-type=",
    "mode=802.3ad": "mode=active-backup",
    "mode: 802.3ad": "mode: active-backup",
    "lacp-rate: fast": "primary-reselect-policy: always",
    " lacp_rate=fast xmit_hash_policy=layer3+4": "",
    "lacp_rate=fast\n": "",
    "xmit_hash_policy=layer3+4\n": "",
    "9000": "1400",
    "ens3": "eth0",
    "enp1s0": "eth0",
    "eno1": "eth0",
    "eno2": "eth1",
}
WRONG_UPLINK = ("--data", 'bridges={"cloudbr0": 200, "cloudbr1": "eth9.300"}')
KEYS_IN_THE_LAB = {"802.3ad": "active-backup", "ens3": "eth0", "enp1s0": "eth0"}
# Metrics of routes and priorities of rules count up in the order in which they were added. The
# kernel's own route for multicast goes with a connection that NetworkManager takes from a NIC.
STATE = (
    "ip -br -4 address | sort; ip rule | cut -d: -f2- | sort;"
    " ip route show table all | grep -v '^multicast ff00::/8' | sed 's/ metric [0-9]*//' | sort;"
    " ip -o link | sed -E 's/^[0-9]+: ([^:@]*).* (mtu [0-9]+).*/\\1 \\2/' | sort"
)
SETTLING = 300
"""Seconds until what a rollback has started has set up what it is told to."""
SOON = ("--data", "network_confirm_timeout=45")
UNTAGGED = 100
"""The VLAN of the management address, where the switch sends it without its tag."""


@dataclass(frozen=True)
class Start:
    """A machine at a starting point; whether its address is in a VLAN there, and afterwards."""

    machine: Node
    point: StartingPoint
    deploy: Deploy
    gateway: str
    files: Mapping[str, str]
    was_tagged: bool
    becomes_tagged: bool

    def go_there(self) -> None:
        """Boot into the starting point, and into nothing else."""
        for path in BACKENDS[self.machine.network_backend].paths:
            self.machine.run(f"find {path} ! -name ifcfg-lo -delete 2>/dev/null", check=False)
        for path, text in self.files.items():
            write = f"umask 077; mkdir -p {quote(dirname(path))}; cat >{quote(path)}"
            self.machine.run(write, stdin=text)
        before = self.machine.boot_id()
        self.machine.run("systemctl reboot", check=False)
        lab.set_trunk(self.machine, untagged=None if self.was_tagged else UNTAGGED)
        wait_until(
            lambda: self.machine.has_booted() and self.machine.boot_id() != before,
            DEADLINE,
            f"{self.machine.name} to boot into {self.point.name}",
        )

    @property
    def wrong(self) -> tuple[str, ...]:
        """Settings with which the host cannot be reached."""
        moves = self.was_tagged != self.becomes_tagged
        return () if moves else ("--data", f"gateway={self.gateway}77")

    def change_wrongly(self, *wrong: str) -> None:
        """Change it so that it is undone, and find it as it was."""
        before = self._state()
        undone = self._run(*SOON, *wrong)
        assert undone.status != 0, undone.output
        assert "Network rolled back: " in undone.output, undone.output
        try:
            wait_until(lambda: self._state() == before, SETTLING, "the network to be as before")
        finally:
            lines = (state.splitlines() for state in (before, self._state()))
            differing = [line for line in ndiff(*lines) if not line.startswith("  ")]
            assert not differing, "\n".join(differing)

    def change(self) -> None:
        """Change it for good, find nothing more to change, and boot into it."""
        with switched([self.machine], None if self.becomes_tagged else UNTAGGED):
            made = self._run()
        assert made.status == 0, made.output
        assert "Network confirmed" in made.output, made.output
        assert self._run().changed == {}
        lab.reboot(self.machine)
        assert self._run().changed == {}

    def _run(self, *more: str) -> Run:
        data = (*settings(self.point), *more)
        return self.deploy("-y", "--json", "--limit", self.machine.name, *data, target=TARGET)

    def definition(self, name: str) -> Interface:
        """Return what the files that the starting point is made of say of an interface by now."""
        files = {path: self.machine.run(f"cat {quote(path)}").stdout for path in self.files}
        found = BACKENDS[self.machine.network_backend].parse(files, {})
        return next(interface for interface in found if interface.name == name)

    def _state(self) -> str:
        return self.machine.run(f"md5sum {join(sorted(self.files))}; {STATE}").stdout


def start_at(point: StartingPoint, machine: Node, fleet: Fleet, deploy: Deploy) -> Start:
    backend = BACKENDS[machine.network_backend]
    files = in_the_lab(point, machine, fleet)
    return Start(
        machine=machine,
        point=point,
        deploy=deploy,
        gateway=subnet(fleet),
        files=files,
        was_tagged=is_tagged(backend.parse(files, {})),
        becomes_tagged=is_tagged(network(**point.keys).interfaces),
    )


def subnet(fleet: Fleet) -> str:
    """Return what the addresses of the management network begin with."""
    return str(fleet.gateway).removesuffix("1")


def in_the_lab(point: StartingPoint, machine: Node, fleet: Fleet) -> Mapping[str, str]:
    """Return the files as they are on a machine."""
    changes = {
        **IN_THE_LAB,
        "192.168.42.11": machine.ssh_hostname,
        "192.168.42.": subnet(fleet),
    }
    for mac, name in point.devices.items():
        nic = IN_THE_LAB.get(name, name)
        address = machine.run(f"cat /sys/class/net/{nic}/address").stdout.strip()
        changes |= {mac: address, mac.upper(): address}
    files = dict(point.files)
    for before, after in changes.items():
        files = {path: text.replace(before, after) for path, text in files.items()}
    return files


def settings(point: StartingPoint) -> list[str]:
    """Return the keys that differ from the lab's, as pyinfra's --data reads them."""
    written = []
    for key, value in point.keys.items():
        text = value if isinstance(value, str) else json.dumps(value)
        written.append(f"--data={key}={KEYS_IN_THE_LAB.get(text, text)}")
    return written


def is_tagged(interfaces: Sequence[Interface]) -> bool:
    """Whether the management address is in a VLAN."""
    with_address = {
        each.name
        for each in interfaces
        for address in each.addresses
        if str(address.ip).startswith("192.168.")
    }
    below = all_below(with_address, interfaces)
    return any(each.kind == "vlan" for each in interfaces if each.name in below)


@pytest.fixture(scope="module", autouse=True)
def machines(fleet: Fleet) -> Iterator[None]:
    """Begin with pristine disks, and leave such."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(make_pristine, fleet.machines))
        yield
        list(pool.map(make_pristine, fleet.machines))


def make_pristine(machine: Node) -> None:
    lab.set_trunk(machine)
    lab.reset(machine)


@pytest.mark.thorough
@pytest.mark.parametrize("names", ROUNDS.values(), ids=ROUNDS)
def test_it_is_taken_over_and_undone_and_booted_into(
    fleet: Fleet, deploy: Deploy, names: tuple[str, ...]
) -> None:
    chosen = dict(zip(BACK_ENDS, names, strict=True))

    def go(machine: Node) -> None:
        point = POINTS[machine.network_backend, chosen[machine.network_backend]]
        start = start_at(point, machine, fleet, deploy)
        start.go_there()
        start.change_wrongly(*start.wrong)
        start.change()

    on_each(fleet.machines, go)


@pytest.mark.thorough
def test_an_address_on_a_nic_of_its_own_is_kept_as_it_is(fleet: Fleet, deploy: Deploy) -> None:
    chosen = dict(zip(BACK_ENDS, ROUNDS["an installer's address"], strict=True))

    def go(machine: Node) -> None:
        point = replace(POINTS[machine.network_backend, chosen[machine.network_backend]], keys=KEPT)
        start = start_at(point, machine, fleet, deploy)
        start.go_there()
        before = start.definition("eth0")
        start.change_wrongly(*WRONG_UPLINK)
        start.change()
        assert start.definition("eth0") == before

    on_each(fleet.machines, go)


def on_each(machines: Sequence[Node], go: Callable[[Node], None]) -> None:
    """Do it on all machines at once, and say of each where it fails; such one is made pristine."""

    def failure_on(machine: Node) -> str | None:
        try:
            go(machine)
        except Exception as error:
            log = machine.run(f"tail -n 60 {LOG}", check=False).stdout
            make_pristine(machine)
            return f"{machine.network_backend}: {error}\n{log}"
        return None

    with ThreadPoolExecutor() as pool:
        failures = [each for each in pool.map(failure_on, machines) if each is not None]
    assert not failures, "\n\n".join(failures)
