"""The guide carried out on bare container hosts of both families, from their first run on.

The tests are one story and run in their order: dry run, first run, second run, and what comes
after it in a host's life.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import cloudstack, guide, lab
from tests.lab.distributions import Distribution
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.ports import lets_guests_through
from tests.runs import Run

Deploy = Callable[..., Run]
Hosts = tuple[Node, ...]
# whoever reads rpm's database leaves a mark in its shared memory
FILES = (
    "find /etc /var/lib/dpkg/status /var/lib/rpm /lib/systemd -type f ! -name '*.sqlite-shm' "
    "-exec md5sum {} + 2>/dev/null | sort | md5sum"
)
SHOWN: dict[Distribution, dict[str, str]] = {
    "debian": {
        "/etc/hosts": "192.168.144.",
        "/etc/chrony/chrony.conf": "+ server 192.168.144.1 iburst",
        "/etc/libvirt/libvirtd.conf": "+ listen_tcp = 1",
        "/etc/default/libvirtd": '+ LIBVIRTD_ARGS="--listen"',
        "/etc/apt/sources.list.d/cloudstack.sources": "+ URIs: file:///srv/cloudstack",
        "/etc/cloudstack/agent/agent.properties": "+ guest.cpu.mode=custom",
    },
    "rhel": {
        "/etc/chrony.conf": "+ server 192.168.144.1 iburst",
        "/etc/libvirt/libvirtd.conf": "+ listen_tcp = 1",
        "/etc/libvirt/libvirt.conf": '+ remote_mode = "legacy"',
        "/etc/sysconfig/libvirtd": '+ LIBVIRTD_ARGS="--listen"',
        "/etc/yum.repos.d/cloudstack.repo": "+ gpgcheck=1",
        "/etc/cloudstack/agent/agent.properties": "+ guest.cpu.mode=custom",
    },
}
"""A line that a dry run on a bare host shows, by the file that it is in."""


@pytest.fixture(scope="module")
def hosts(fleet: Fleet) -> Hosts:
    return fleet.hosts


@pytest.fixture(params=["debian", "rhel"])
def alike(hosts: Hosts, request: pytest.FixtureRequest) -> Hosts:
    """Return the hosts of one family."""
    return tuple(host for host in hosts if host.distribution == request.param)


def test_a_dry_run_shows_every_change_and_makes_none(hosts: Hosts, deploy: Deploy) -> None:
    before = [host.run(FILES).stdout for host in hosts]
    dry = deploy("--dry", "--diff")
    assert dry.status == 0, dry.output
    assert [host.run(FILES).stdout for host in hosts] == before
    for distribution, shown in SHOWN.items():
        count = sum(host.distribution == distribution for host in hosts)
        for path, line in shown.items():
            assert dry.output.count(path) >= count, path
            assert dry.output.count(line) >= count, line


def test_one_run_prepares_both_families_as_a_dry_run_has_shown(
    hosts: Hosts, deploy: Deploy
) -> None:
    planned = deploy("--dry", "--json").planned
    first = deploy("-y", "--json")
    assert first.status == 0, first.output
    assert not first.failed
    assert len(first.changed) > 10
    unforeseen = {name for name, changed in first.changed.items() if changed != planned.get(name)}
    assert not unforeseen
    assert {host.name: guide.undone(host) for host in hosts} == {host.name: () for host in hosts}


def test_a_second_run_changes_nothing(hosts: Hosts, deploy: Deploy) -> None:
    second = deploy("-y", "--json")
    assert second.status == 0, second.output
    assert second.changed == {}
    assert second.operations > 20


def test_a_dry_run_after_it_shows_nothing(hosts: Hosts, deploy: Deploy) -> None:
    dry = deploy("--dry", "--diff", "--json")
    assert dry.planned == {}
    assert "Will" not in dry.output


def test_chronyd_ignores_nothing_of_its_file(hosts: Hosts) -> None:
    for host in hosts:
        log = host.run("journalctl --quiet --unit chrony --unit chronyd").stdout
        assert "chronyd version" in log
        assert "ignoring" not in log, host.name


@pytest.mark.parametrize(("how", "most"), [("--dry", 40), ("-y", 7)])
def test_a_run_without_changes_costs_few_commands_a_host(
    hosts: Hosts, deploy: Deploy, how: str, most: int
) -> None:
    """Besides these, a run that may change a host has one that holds the lock."""
    run = deploy("--json", "--debug", how)
    commands = run.commands()
    assert commands.keys() == {host.name for host in hosts}
    assert all(3 < count <= most for count in commands.values()), commands
    assert "repoquery" not in run.output


def test_a_changed_line_is_put_back_and_its_service_restarted(alike: Hosts, deploy: Deploy) -> None:
    host, other = alike[:2]
    started = "systemctl show -p ExecMainStartTimestampMonotonic --value libvirtd"
    before = {node: node.run(started).stdout for node in (host, other)}
    host.run("sed -i 's/^listen_tcp = 1/listen_tcp = 0/' /etc/libvirt/libvirtd.conf")
    run = deploy("-y", "--json")
    assert run.changed == {
        "Libvirt | Have libvirtd listen for TCP connections": [host.name],
        "Libvirt | Run libvirtd": [host.name],
    }
    assert host.run(started).stdout != before[host]
    assert other.run(started).stdout == before[other]


def test_lines_that_are_not_ours_stay(alike: Hosts, deploy: Deploy) -> None:
    host = alike[0]
    properties = "/etc/cloudstack/agent/agent.properties"
    host.run(f"printf '\\n# mine\\nhost.tags=fast\\nguest.cpu.mode=host-model\\n' >> {properties}")
    before = host.run(f"cat {properties}").stdout
    deploy("-y", "--limit", host.name)
    assert host.run(f"cat {properties}").stdout == before.replace(
        "guest.cpu.mode=host-model", "guest.cpu.mode=custom"
    )


def test_limit_touches_only_its_cluster(hosts: Hosts, deploy: Deploy) -> None:
    cluster = [host for host in hosts if host.cluster == "containers"]
    others = [host for host in hosts if host not in cluster]
    services = "systemctl show -p ExecMainStartTimestampMonotonic libvirtd chrony chronyd ssh sshd"
    for node in hosts:
        node.run("sed -i 's/^listen_tcp = 1/listen_tcp = 0/' /etc/libvirt/libvirtd.conf")
    before = [other.run(f"{FILES}; {services}").stdout for other in others]
    assert deploy("-y", "--limit", "cluster_containers").status == 0
    for node in cluster:
        assert node.run("grep ^listen_tcp /etc/libvirt/libvirtd.conf").stdout == "listen_tcp = 1\n"
    assert [other.run(f"{FILES}; {services}").stdout for other in others] == before
    assert deploy("-y").status == 0


def test_a_firewall_that_is_on_lets_only_the_sources_in(hosts: Hosts, deploy: Deploy) -> None:
    host = hosts[0]
    host.run("ufw --force enable")
    cloudstack.open_ports(host)
    try:
        run = deploy("-y", "--json", "--limit", host.name)
        assert run.changed == {"Firewall | Open CloudStack's ports": [host.name]}
        assert deploy("-y", "--json", "--limit", host.name).changed == {}
        assert "--dport 16509" not in host.run("ip6tables-save").stdout
        rules = host.run("iptables-save").stdout
        assert "-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT" in rules
        libvirt = [rule for rule in rules.splitlines() if "--dport 16509" in rule]
        assert libvirt == [
            "-A ufw-user-input -s 192.168.144.0/24 -p tcp -m tcp --dport 16509 -j ACCEPT"
        ]
        literally = deploy("-y", "--data", "firewall_from_anywhere=True", "--limit", host.name)
        assert literally.status == 0
        assert "--dport 16509 -j ACCEPT" in host.run("iptables-save | grep -v -- -s").stdout
        assert deploy("-y", "--limit", host.name).status == 0
        assert "--dport 16509" not in host.run("iptables-save | grep -v -- '-s '").stdout
    finally:
        host.run("ufw --force disable")


ENABLED = ("--data", "firewall_enabled=True", "--data", "network_confirm_timeout=60")


def reaches(node: Node, port: int, there: Node) -> bool:
    """Whether a node gets a connection to another's port."""
    opening = f"timeout 5 bash -c ': </dev/tcp/{there.ssh_hostname}/{port}'"
    return node.run(opening, check=False).returncode == 0


def test_a_firewall_is_switched_on_and_what_locks_the_workstation_out_is_undone(
    hosts: Hosts, deploy: Deploy
) -> None:
    host, other = hosts[:2]
    limit = ("--limit", host.name)
    host.run("systemd-run --unit=listens python3 -m http.server 8099")
    wait_until(lambda: reaches(other, 8099, host), DEADLINE, "the port that nobody has listed")
    try:
        run = deploy("-y", "--json", *ENABLED, *limit, target="tasks.firewall.firewall")
        assert run.status == 0, run.output
        assert "Firewall confirmed" in run.output
        assert "Status: active" in host.run("ufw status").stdout
        assert not reaches(other, 8099, host)
        assert reaches(other, 16509, host)
        assert lets_guests_through(host)
        host.run("iptables -I FORWARD -j DROP")
        assert not lets_guests_through(host)
        host.run("iptables -D FORWARD -j DROP")
        again = deploy("-y", "--json", *ENABLED, *limit, target="tasks.firewall.firewall")
        assert again.changed == {}

        host.run("ufw --force disable && ufw deny 22/tcp")
        locked_out = deploy("-y", *ENABLED, *limit, target="tasks.firewall.firewall")
        assert locked_out.status != 0
        assert "Firewall rolled back: nobody confirmed in time" in locked_out.output
        assert "Status: inactive" in host.run("ufw status").stdout
        assert "ENABLED=no" in host.run("cat /etc/ufw/ufw.conf").stdout
        assert reaches(other, 8099, host)
    finally:
        host.run("ufw allow 22/tcp; ufw --force disable; systemctl stop listens")


def test_a_power_cut_before_a_firewall_is_confirmed_leaves_it_off(
    hosts: Hosts, deploy: Deploy
) -> None:
    host = hosts[0]
    host.run("ufw deny 22/tcp")
    how = ("-y", *ENABLED[:2], "--data", "network_confirm_timeout=600", "--limit", host.name)
    try:
        with ThreadPoolExecutor() as pool:
            locking_out = pool.submit(deploy, *how, target="tasks.firewall.firewall")
            wait_until(lambda: not host.answers_ssh(), DEADLINE, "nobody to get in")
            lab.power_cut(host)
            lab.power_on(host)
            run = locking_out.result()
        assert run.status != 0
        assert "Firewall rolled back: the host restarted before the change was" in run.output
        assert "Status: inactive" in host.run("ufw status").stdout
        assert "ENABLED=no" in host.run("cat /etc/ufw/ufw.conf").stdout
    finally:
        host.run("ufw allow 22/tcp; ufw --force disable")


DOMAIN = """
<domain type='qemu'>
  <name>guest1</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
</domain>
"""


def test_a_running_guest_migrates_there_and_back(alike: Hosts) -> None:
    source, target = alike[:2]
    for host in (source, target):
        assert host.run("virsh --quiet list --name").stdout.strip() == ""
    source.run("virsh create /dev/stdin", stdin=DOMAIN)
    try:
        for here, there in ((source, target), (target, source)):
            address = there.ssh_hostname
            here.run(
                f"virsh migrate --live guest1 qemu+tcp://{address}/system --migrateuri tcp://{address}"
            )
            assert there.run("virsh domstate guest1").stdout.strip() == "running"
            assert "guest1" not in here.run("virsh list --all --name").stdout
    finally:
        source.run("virsh destroy guest1", check=False)


def test_a_reboot_keeps_everything(alike: Hosts, deploy: Deploy) -> None:
    host = alike[0]
    lab.reboot(host)
    assert guide.undone(host) == ()
    assert deploy("-y", "--json", "--limit", host.name).changed == {}
