"""Services in whole runs: up and staying up, else their host fails, with the reason."""

import re
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.plan.support import commands, fake_host, inventory
from tests.runs import Run, pyinfra

NTP = "tasks.ntp.ntp"
RUN = "NTP | Run the time service"
STATES = "LoadState,ActiveState"
"""A part of the command that asks for the state of units."""
LOOKED = "does not stay up"
"""A part of the command that looks whether a unit stays up."""
ID = "0123456789abcdef0123456789abcdef"
"""A part of the command with which an operation fails its host."""


def unit(name: str, active: str, restarts: int = 0, put_off: str = "") -> list[str]:
    """Return what the fact about units hears of one that is enabled."""
    states = (f"NRestarts={restarts}", "LoadState=loaded", f"ActiveState={active}")
    return [f"{name}.service", put_off, *states, "UnitFileState=enabled", f"InvocationID={ID}"]


def run(folder: Path, *arguments: str, state: list[str], fall: object = "") -> Run:
    """Run the task on a host whose chrony is in a state, and says `fall` when it is looked at."""
    responses = {
        LOOKED: fall,
        STATES: state,
    }
    hosts = {
        "@fake/kvm1": fake_host(fake_responses=responses),
        "@fake/kvm2": fake_host(2, fake_responses={STATES: unit("chrony", "active")}),
    }
    return pyinfra(inventory(folder, hosts), NTP, "--json", "--debug", *arguments, timeout=60)


def test_a_service_that_is_up_is_left_alone_at_no_further_cost(tmp_path: Path) -> None:
    finished = run(tmp_path, "-y", state=unit("chrony", "active"))
    assert RUN not in finished.changed
    assert commands(finished)["@fake/kvm1"] == commands(finished)["@fake/kvm2"]
    assert LOOKED not in finished.output


@pytest.mark.parametrize("active", ["activating", "failed", "inactive"])
def test_a_service_that_waits_to_be_restarted_does_not_run(active: str, tmp_path: Path) -> None:
    finished = run(tmp_path, "--dry", state=unit("chrony", active, restarts=17))
    assert finished.planned[RUN] == ["@fake/kvm1"]


def test_one_that_goes_down_after_its_start_fails_its_host(tmp_path: Path) -> None:
    fall = {"success": False, "stderr": "Cannot read CA certificate"}
    finished = run(tmp_path, "-y", state=unit("chrony", "activating", 17), fall=fall)
    assert finished.status == 1
    assert finished.failed == {RUN: ["@fake/kvm1"]}
    assert "Cannot read CA certificate" in finished.output


@pytest.mark.parametrize("fall", ["", {"success": False}], ids=["no answer", "failure"])
def test_one_of_which_that_cannot_be_told_fails_its_host(fall: object, tmp_path: Path) -> None:
    finished = run(tmp_path, "-y", state=unit("chrony", "active", 17), fall=fall)
    assert finished.failed == {RUN: ["@fake/kvm1"]}
    assert "whether chrony.service stays up could not be read" in finished.output


def test_one_that_is_seen_to_fall_again_fails_its_host(tmp_path: Path) -> None:
    fall = "chrony.service does not stay up: NRestarts=18"
    finished = run(tmp_path, "-y", state=unit("chrony", "active", 17), fall=fall)
    assert finished.failed == {RUN: ["@fake/kvm1"]}
    assert finished.reasons() == {"@fake/kvm1": fall}


def test_one_that_recovered_is_left_alone(tmp_path: Path) -> None:
    finished = run(tmp_path, "-y", state=unit("chrony", "active", 17), fall="up")
    assert finished.status == 0
    assert RUN not in finished.changed


def test_a_time_service_that_may_read_its_own_file_alone_checks_a_new_one_on_a_pipe(
    tmp_path: Path,
) -> None:
    """Debian's openntpd: its AppArmor profile has one file of its configuration."""
    responses = {"-e /etc/openntpd/ntpd.conf": text("servers pool.ntp.org\n")}
    data = {"time_service": "openntpd", "ntp_servers": ["10.0.0.1"]}
    hosts = {"@fake/kvm1": fake_host(fake_responses=responses, **data)}
    finished = pyinfra(inventory(tmp_path, hosts), NTP, "-y", "--debug", timeout=60)
    assert '; cat "$new" | /usr/sbin/ntpd -n -f /dev/stdin; ' in finished.output


@pytest.mark.parametrize(("added", "started"), [("bare", False), ("added", True)])
def test_the_agent_has_to_stay_up_once_cloudstack_has_added_the_host(
    added: str, started: bool, tmp_path: Path
) -> None:
    responses = {"cloud.crt": added, STATES: unit("cloudstack-agent", "activating", 17)}
    hosts = {"@fake/kvm1": fake_host(fake_responses=responses)}
    agent = "tasks.cloudstack_agent.cloudstack_agent"
    finished = pyinfra(inventory(tmp_path, hosts), agent, "--json", "--debug", "-y", timeout=60)
    assert finished.status == 0
    assert ("systemctl start cloudstack-agent.service" in finished.output) is started


CPU = "Starting operation: CloudStack agent | Check that this host runs the guests' CPU"
LACK = "incompatible with host CPU: Host CPU does not provide required features: avx"


@pytest.mark.parametrize(
    ("said", "changes", "refused"),
    [
        ("Host CPU is a superset of CPU described in /dev/stdin", {}, None),
        (f"error: the CPU is {LACK}", {}, f"of the guests'.* CPU, Westmere avx: {LACK}"),
        (f"error: the CPU is {LACK}", {"require_hvm": False}, None),
        (f"error: the CPU is {LACK}", {"waived_checks": ["guest CPU"]}, None),
        ("error: Unknown CPU model Westmere", {"require_hvm": False}, "Unknown CPU model Westmere"),
        ("error: failed to connect to the hypervisor", {}, "libvirt does not say whether"),
        ("error: no CPU model for virttype 'qemu'", {"require_hvm": False}, None),
    ],
)
def test_the_agent_is_told_a_cpu_that_its_host_runs(
    said: str, changes: dict[str, Any], refused: str | None, tmp_path: Path
) -> None:
    cpu = {"guest_cpu_mode": "custom", "guest_cpu_model": "Westmere", "guest_cpu_features": ["avx"]}
    responses = {"cloud.crt": "bare", "cpu-compare": said}
    hosts = {"@fake/kvm1": fake_host(fake_responses=responses, **cpu, **changes)}
    agent = "tasks.cloudstack_agent.cloudstack_agent"
    finished = pyinfra(inventory(tmp_path, hosts), agent, "--debug", "-y", timeout=60)
    of_the_cpu = finished.output.split(CPU)[1].split("--> Starting operation")[0]
    refusal = re.search(r"\[@fake/kvm1\] +(libvirt .*)", of_the_cpu)
    assert re.search(refused, refusal[1]) if refusal and refused else refusal is refused


LIBVIRT = "tasks.libvirt.libvirt"
LIBVIRTD = "Libvirt | Run libvirtd"
MASK = "Libvirt | Mask the units that would listen or run in libvirtd's place"
GUESTS = "/var/run/libvirt/qemu"
"""A part of the command that asks for guests."""
SOCKET = ["libvirtd.socket", "", "LoadState=masked", "ActiveState=active", "UnitFileState=masked"]

RIGHT = (
    'listen_tls=0\nlisten_tcp=1\nlisten_addr="192.168.42.1"\n'
    'tls_port="16514"\ntcp_port="16509"\nauth_tcp="none"\nmdns_adv=0\n'
)
"""libvirtd.conf as the task would have it on the first host."""
ADDED = RIGHT.replace("listen_tls=0\nlisten_tcp=1", "listen_tls=1\nlisten_tcp=0")
"""The same, once CloudStack has added that host."""
NONLOCAL = "ip_nonlocal_bind"
FROM_NOW_ON = "sysctl -q -w net.ipv4.ip_nonlocal_bind=1"


def text(content: str) -> list[str]:
    """Return what the fact about a file's text hears."""
    return ["exists", b64encode(content.encode()).decode()]


def in_use(
    folder: Path,
    guests: object,
    *arguments: str,
    conf: str = "",
    put_off: str = "",
    heard: Mapping[str, object] = MappingProxyType({}),
    **data: object,
) -> Run:
    """Run the task of libvirt on a host with guests, and on one without, and nothing to do.

    heard: what else facts hear from the first.
    """

    def host(
        number: int,
        conf: str,
        guests: object,
        put_off: str = "",
        heard: Mapping[str, object] = MappingProxyType({}),
    ) -> dict[str, Any]:
        responses = {
            "libvirtd --version": ["libvirt 9.0.0", "qemu 7.2.0"],
            GUESTS: guests,
            f"echo {SOCKET[0]}": SOCKET,
            STATES: unit("libvirtd", "active", put_off=put_off),
            "-e /etc/libvirt/libvirtd.conf": text(conf),
            "-e /etc/default/libvirtd": text("LIBVIRTD_ARGS=-l\n"),
            NONLOCAL: ["value 1", *text("net.ipv4.ip_nonlocal_bind = 1\n")],
        }
        changes = {"libvirt_masked_units": []} | data
        return fake_host(number, fake_responses=responses | dict(heard), **changes)

    right = RIGHT.replace("192.168.42.1", "192.168.42.2")
    hosts = {
        "@fake/kvm1": host(1, conf, guests, put_off, heard),
        "@fake/kvm2": host(2, right, ["all"]),
    }
    how = ("--json", "--debug", *(arguments or ("-y",)))
    return pyinfra(inventory(folder, hosts), LIBVIRT, *how, timeout=60)


RESTART = "systemctl restart libvirtd.service"
TWO_GUESTS = ["guest i-2-3-VM", "guest r-4-VM", "all"]
WAITS = "To restart libvirtd.service waits, because guests run here: i-2-3-VM, r-4-VM"


def test_libvirtd_is_not_restarted_under_guests_and_what_waits_is_said(tmp_path: Path) -> None:
    finished = in_use(tmp_path, TWO_GUESTS)
    assert finished.status == 0
    assert RESTART not in finished.output
    assert finished.output.count(WAITS) == 1
    assert ">>/run/cloudstack-restarts" in finished.output
    assert LIBVIRTD in in_use(tmp_path, TWO_GUESTS, "--dry").planned


def test_what_waits_is_said_again_and_changes_nothing(tmp_path: Path) -> None:
    finished = in_use(tmp_path, TWO_GUESTS, conf=RIGHT, put_off=f"{'f' * 32} {ID}")
    assert WAITS in finished.output
    assert LIBVIRTD not in finished.changed


def test_what_waited_is_done_when_no_guest_runs(tmp_path: Path) -> None:
    assert RESTART in in_use(tmp_path, ["all"], conf=RIGHT, put_off=ID).output
    restarted_since = in_use(tmp_path, ["all"], conf=RIGHT, put_off="f" * 32)
    assert RESTART not in restarted_since.output
    assert LIBVIRTD not in restarted_since.changed


def test_a_setting_has_it_restarted_under_guests(tmp_path: Path) -> None:
    finished = in_use(tmp_path, TWO_GUESTS, restart_with_guests=True)
    assert RESTART in finished.output
    assert GUESTS not in finished.output


@pytest.mark.parametrize("answer", ["", {"success": False}, ["guest i-2-3-VM"]], ids=str)
def test_where_guests_cannot_be_told_nothing_is_restarted(answer: object, tmp_path: Path) -> None:
    finished = in_use(tmp_path, answer)
    assert RESTART not in finished.output
    assert finished.failed == {LIBVIRTD: ["@fake/kvm1"]}
    assert "which guests run could not be read" in finished.output


@pytest.mark.parametrize(("guests", "stopped"), [(TWO_GUESTS, False), (["all"], True)])
def test_a_socket_is_not_stopped_under_guests(
    guests: list[str], stopped: bool, tmp_path: Path
) -> None:
    finished = in_use(tmp_path, guests, conf=RIGHT, libvirt_masked_units=["libvirtd.socket"])
    assert ("@fake/kvm1" in finished.changed[MASK]) is stopped
    assert ("To stop libvirtd.socket waits" in finished.output) is not stopped


def test_what_cloudstack_wrote_is_enough_and_costs_no_restart(tmp_path: Path) -> None:
    finished = in_use(tmp_path, TWO_GUESTS, conf=RIGHT)
    assert not {LIBVIRTD, "Libvirt | Start libvirtd with --listen"} & finished.changed.keys()
    assert GUESTS not in finished.output


MAY_LISTEN = "Libvirt | Let libvirtd listen on an address before the host has it"
LISTENS = "Libvirt | Have libvirtd listen for TCP connections"


@pytest.mark.parametrize(
    "conf",
    [
        RIGHT.replace('listen_addr="192.168.42.1"\n', ""),
        RIGHT.replace("192.168.42.1", "192.168.42.77"),
    ],
    ids=["no address", "a former address"],
)
def test_libvirtd_listens_on_the_management_address_alone(conf: str, tmp_path: Path) -> None:
    finished = in_use(tmp_path, TWO_GUESTS, "-y", "--diff", conf=conf)
    assert finished.changed[LISTENS] == ["@fake/kvm1"]
    assert re.search(r'\+ *listen_addr ?= ?"192\.168\.42\.1"', finished.output)
    assert WAITS in finished.output


@pytest.mark.parametrize("address", ["192.168.42.1", "192.168.42.77"])
def test_how_libvirtd_listens_is_cloudstacks_once_it_has_added_the_host(
    address: str, tmp_path: Path
) -> None:
    conf = ADDED.replace("192.168.42.1", address)
    finished = in_use(tmp_path, TWO_GUESTS, conf=conf, heard={"cloud.crt": "added"})
    assert not {LISTENS, LIBVIRTD} & finished.changed.keys()


@pytest.mark.parametrize(
    ("kept", "value", "written", "told"),
    [
        (text("net.ipv4.ip_nonlocal_bind = 1\n"), "1", False, False),
        (["absent"], "0", True, True),
        (["absent"], "1", True, False),
        (text("net.ipv4.ip_nonlocal_bind = 1\n"), "0", False, True),
    ],
    ids=["as it is to be", "neither", "until the next boot", "from the next boot on"],
)
def test_libvirtd_may_listen_on_an_address_that_is_not_there_yet(
    kept: list[str], value: str, written: bool, told: bool, tmp_path: Path
) -> None:
    heard = {NONLOCAL: [f"value {value}", *kept]}
    finished = in_use(tmp_path, ["all"], conf=RIGHT, heard=heard)
    assert ("readlink -f /etc/sysctl.d/zz-cloudstack-libvirt.conf" in finished.output) is written
    assert (FROM_NOW_ON in finished.output) is told
    assert (MAY_LISTEN in finished.changed) is (written or told)


def test_where_that_cannot_be_told_libvirtd_is_not_touched(tmp_path: Path) -> None:
    heard = {NONLOCAL: ["Welcome"]}
    finished = in_use(tmp_path, ["all"], heard=heard)
    assert (
        "@fake/kvm1"
        in finished.failed["Libvirt | Let libvirtd listen on an address before the host has it"]
    )
    assert LISTENS not in finished.changed
