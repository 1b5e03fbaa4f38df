"""Hosts that CloudStack has added: the deploy that prepared them goes on, and leaves it its own.

The tests are one story and run in their order: deploy, add, deploy, deploy, and so on. CloudStack's
part is a stand-in's.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Interface
from shlex import quote

import pytest

from tests.lab import cloudstack, guide, lab
from tests.lab.fleet import Fleet, Node
from tests.lab.scanner import Scanner, beside_hosts
from tests.runs import Run

Deploy = Callable[..., Run]
Hosts = tuple[Node, ...]
AGENT = "/etc/cloudstack/agent/agent.properties"
OURS = {"host.reserved.mem.mb=2048", "host.tags=ha:fast=1"}
DATA = (
    *("--data", 'agent_properties={"host.reserved.mem.mb": 2048, "host.tags": "ha:fast=1"}'),
    *("--data", "firewall_enabled=True"),
)
KEYS = (
    *("host", "zone", "pod", "cluster", "port", "guid", "keystore.passphrase"),
    *("local.storage.uuid", *(f"{each}.network.device" for each in ("private", "public", "guest"))),
)
OWNED = f"""\
grep -E '^({"|".join(KEYS)})=' {AGENT}
cd /etc/libvirt && cat libvirtd.conf qemu.conf
find /etc/pki /etc/cloudstack/agent/cloud* -ls -type f -exec cat {{}} +
cat /etc/default/libvirtd /etc/sysconfig/libvirtd 2>/dev/null
systemctl list-unit-files --state=masked
"""
"""Shows what CloudStack owns once it has added the host."""
FILES = "find /etc -type f -exec ls -l --full-time {} + | sort"
STARTED = (
    "systemctl show --property=Id,ActiveEnterTimestampMonotonic '*.service' | paste - - - |"
    # what ssh itself starts and ends
    " grep -v -E 'Id=user(-runtime-dir)?@' | sort"
)
PROPERTIES = "CloudStack agent | Set the agent's properties"
RESTART = "CloudStack agent | Enable the agent; CloudStack starts it when it adds the host"
DOMAIN = """
<domain type='qemu'>
  <name>guest1</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
</domain>
"""


@pytest.fixture(scope="module")
def hosts(fleet: Fleet) -> Iterator[Hosts]:
    """Yield two hosts of Debian and one that stands in for EL."""
    debian = [host for host in fleet.hosts if host.distribution == "debian"]
    el = [host for host in fleet.hosts if host.distribution == "rhel"]
    yield (*debian[:2], el[0])
    for host in (*debian[:2], el[0]):
        lab.reset(host)


@pytest.fixture(scope="module")
def run(hosts: Hosts, deploy: Deploy) -> Callable[[], Run]:
    """Run deploy.py against these hosts."""
    limits = [argument for host in hosts for argument in ("--limit", host.name)]
    return lambda: deploy("-y", "--json", *DATA, *limits)


@pytest.fixture
def guest(hosts: Hosts) -> Iterator[None]:
    """Have a guest run on the first host."""
    hosts[0].run("virsh create /dev/stdin", stdin=DOMAIN)
    yield
    hosts[0].run("virsh destroy guest1", check=False)


OUTSIDE = "198.51.100.9"
"""An address that is none of the management network."""
OTHERS = {1798, 5900, 49152, 9999}
LISTEN = f"""\
import signal, socket
sockets = [socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
           for port in {sorted(OTHERS)}]
signal.pause()
"""
"""A program for Python: it listens on every address, on ports that CloudStack uses and another."""


def assert_open(look: Scanner, host: Node, libvirt: int) -> None:
    """Have the ports that are open found at each address of a host, by whom they are open to.

    libvirt: the port on which libvirt listens.
    """
    host.run(f"systemctl stop listens; systemd-run --unit=listens python3 -c {quote(LISTEN)}")
    host.run(f"ip route replace {OUTSIDE}/32 dev eth0")
    neighbour = host.run("ip -j -6 address show dev eth0 scope link")
    local = json.loads(neighbour.stdout)[0]["addr_info"][0]["local"]
    try:
        assert look.open_ports(host.ssh_hostname) == {22, 1798, 5900, 49152, libvirt}
        assert look.open_ports(host.ssh_hostname, OUTSIDE) == {22}
        assert look.open_ports(f"{local}%eth0") == {22}
    finally:
        host.run(f"systemctl stop listens; ip route delete {OUTSIDE}/32 dev eth0")


@pytest.fixture(scope="module")
def look(fleet: Fleet) -> Iterator[Scanner]:
    """Yield what looks at ports from a place beside the hosts."""
    with beside_hosts(fleet) as each:
        each.add_address(IPv4Interface(f"{OUTSIDE}/32"))
        yield each


def said(hosts: Hosts, command: str) -> dict[str, str]:
    return {host.name: host.run(command).stdout for host in hosts}


def names(hosts: Hosts) -> list[str]:
    return sorted(host.name for host in hosts)


def test_a_deploy_opens_what_the_settings_open_and_to_those_alone(
    hosts: Hosts, run: Callable[[], Run], look: Scanner
) -> None:
    prepared = run()
    assert prepared.status == 0, prepared.output
    assert {host.name: guide.undone(host) for host in hosts} == {host.name: () for host in hosts}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: assert_open(look, host, 16509), hosts))


def test_cloudstack_adds_hosts_that_a_deploy_has_prepared(fleet: Fleet, hosts: Hosts) -> None:
    for host in hosts:
        assert set(host.run(f"cat {AGENT}").stdout.splitlines()) >= OURS
        cloudstack.add(fleet, host)
        assert "host.reserved" not in host.run(f"cat {AGENT}").stdout
        assert host.run("systemctl is-active libvirtd cloudstack-agent").stdout.split() == [
            "active",
            "active",
        ]
        listening = host.run("ss -Hltn | grep -o ':165[0-9]*' | sort -u").stdout
        assert listening.split() == [":16514"]


def test_the_first_run_puts_back_what_was_destroyed_and_leaves_what_is_cloudstacks(
    hosts: Hosts, run: Callable[[], Run], look: Scanner
) -> None:
    owned = said(hosts, OWNED)
    libvirtd = said(hosts, f"{STARTED} | grep Id=libvirtd")
    mending = run()
    assert mending.status == 0, mending.output
    changed = {operation: sorted(where) for operation, where in mending.changed.items()}
    assert changed == {
        # the lab's stand-in for EL has firewalld, which iptables' rules do not open
        "Firewall | Open CloudStack's ports": names(hosts[:2]),
        PROPERTIES: names(hosts),
        RESTART: names(hosts),
    }
    for host in hosts:
        assert set(host.run(f"cat {AGENT}").stdout.splitlines()) >= OURS
    assert said(hosts, OWNED) == owned
    assert said(hosts, f"{STARTED} | grep Id=libvirtd") == libvirtd
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: assert_open(look, host, 16514), hosts))


@pytest.mark.usefixtures("guest")
def test_the_runs_after_it_change_no_file_and_restart_no_service(
    hosts: Hosts, run: Callable[[], Run]
) -> None:
    for host in hosts:
        cloudstack.store_properties(host)
        assert r"host.tags=ha\:fast\=1" in host.run(f"cat {AGENT}").stdout
    everything = f"{OWNED}{FILES}; pgrep -f '[g]uest=guest1'; {STARTED}"
    before = said(hosts, everything)
    for _ in range(2):
        again = run()
        assert again.status == 0, again.output
        assert again.changed == {}
    assert said(hosts, everything) == before


@pytest.mark.usefixtures("guest")
def test_under_a_guest_nothing_is_restarted_until_it_has_gone(
    hosts: Hosts, run: Callable[[], Run]
) -> None:
    host = hosts[0]
    started = said(hosts, STARTED)
    host.run(f"sed -i /host.reserved/d {AGENT}")
    waiting = run()
    assert waiting.status == 0, waiting.output
    assert waiting.changed.keys() == {PROPERTIES, RESTART}
    assert "To restart cloudstack-agent.service waits, because guests run here" in waiting.output
    assert "waits, because guests run here" in run().output
    assert said(hosts, STARTED) == started
    host.run("virsh destroy guest1")
    assert run().changed == {RESTART: [host.name]}
    libvirtd = [line for line in started[host.name].splitlines() if "Id=libvirtd" in line]
    assert libvirtd[0] in host.run(STARTED).stdout
    assert run().changed == {}


@pytest.mark.usefixtures("guest")
def test_a_guest_migrates_over_tls_there_and_back(hosts: Hosts) -> None:
    source, target = hosts[:2]
    for here, there in ((source, target), (target, source)):
        address = there.ssh_hostname
        here.run(
            f"virsh migrate --live guest1 qemu+tls://{address}/system --migrateuri tcp://{address}"
        )
        assert there.run("virsh domstate guest1").stdout.strip() == "running"


def test_a_host_that_is_added_once_more_stays_cloudstacks(
    fleet: Fleet, hosts: Hosts, run: Callable[[], Run]
) -> None:
    for host in hosts:
        cloudstack.add(fleet, host)
    owned = said(hosts, OWNED)
    again = run()
    assert again.changed.keys() == {"Firewall | Open CloudStack's ports", PROPERTIES, RESTART}
    assert run().changed == {}
    assert said(hosts, OWNED) == owned
