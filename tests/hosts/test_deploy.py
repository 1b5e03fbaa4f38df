"""The guide carried out on bare container hosts, from their first run on.

The tests are one story and run in their order: dry run, first run, second run, and what comes
after it in a host's life.
"""

from collections.abc import Callable

import pytest

from tests.lab import guide
from tests.lab.fleet import Fleet, Node
from tests.runs import Run

Deploy = Callable[..., Run]
ON_HOSTS = ("--limit", "cluster_containers")
FILES = "find /etc /var/lib/dpkg/status /lib/systemd -type f -exec md5sum {} + | sort | md5sum"


@pytest.fixture(scope="module")
def hosts(fleet: Fleet) -> tuple[Node, ...]:
    return fleet.hosts


def test_a_dry_run_shows_every_change_and_makes_none(
    hosts: tuple[Node, ...], deploy: Deploy
) -> None:
    before = [host.run(FILES).stdout for host in hosts]
    dry = deploy("--dry", "--diff", *ON_HOSTS)
    assert dry.status == 0, dry.output
    assert [host.run(FILES).stdout for host in hosts] == before
    for path, line in {
        "/etc/hosts": "192.168.142.",
        "/etc/chrony/chrony.conf": "+ server 192.168.142.1 iburst",
        "/etc/libvirt/libvirtd.conf": "+ listen_tcp = 1",
        "/etc/default/libvirtd": '+ LIBVIRTD_ARGS="--listen"',
        "/etc/apt/sources.list.d/cloudstack.sources": "+ URIs: file:///srv/cloudstack",
        "/etc/cloudstack/agent/agent.properties": "+ guest.cpu.mode=custom",
    }.items():
        assert dry.output.count(path) >= len(hosts), path
        assert dry.output.count(line) >= len(hosts), line


def test_the_run_does_nothing_that_a_dry_run_did_not_show(
    hosts: tuple[Node, ...], deploy: Deploy
) -> None:
    planned = deploy("--dry", "--json", *ON_HOSTS).planned
    first = deploy("-y", "--json", *ON_HOSTS)
    assert first.status == 0, first.output
    assert not first.failed
    assert len(first.changed) > 10
    unforeseen = {name for name, hosts in first.changed.items() if hosts != planned.get(name)}
    assert not unforeseen


def test_every_step_of_the_guide_is_done(hosts: tuple[Node, ...]) -> None:
    for host in hosts:
        undone = [reading for reading in guide.read(host) if reading.done is False]
        assert not undone, host.name


def test_a_second_run_changes_nothing(hosts: tuple[Node, ...], deploy: Deploy) -> None:
    second = deploy("-y", "--json", *ON_HOSTS)
    assert second.status == 0, second.output
    assert second.changed == {}
    assert second.operations > 20


def test_a_dry_run_after_it_shows_nothing(hosts: tuple[Node, ...], deploy: Deploy) -> None:
    dry = deploy("--dry", "--diff", "--json", *ON_HOSTS)
    assert dry.planned == {}
    assert "Will" not in dry.output


@pytest.mark.parametrize("change_detection", [(), ("-y",)], ids=["with detection", "with -y"])
def test_a_run_without_changes_costs_at_most_60_commands_a_host(
    hosts: tuple[Node, ...], deploy: Deploy, change_detection: tuple[str, ...]
) -> None:
    run = deploy("--json", "--debug", *change_detection, *ON_HOSTS)
    commands = run.commands()
    assert commands.keys() == {host.name for host in hosts}
    assert all(10 < count <= 60 for count in commands.values()), commands


def test_a_changed_line_is_put_back_and_its_service_restarted(
    hosts: tuple[Node, ...], deploy: Deploy
) -> None:
    host, other = hosts[0], hosts[1]
    started = "systemctl show -p ExecMainStartTimestampMonotonic --value libvirtd"
    before = {node: node.run(started).stdout for node in (host, other)}
    host.run("sed -i 's/^listen_tcp = 1/listen_tcp = 0/' /etc/libvirt/libvirtd.conf")
    run = deploy("-y", "--json", *ON_HOSTS)
    assert run.changed == {
        "Libvirt | Have libvirtd listen for TCP connections": [host.name],
        "Libvirt | Run libvirtd": [host.name],
    }
    assert host.run(started).stdout != before[host]
    assert other.run(started).stdout == before[other]


def test_lines_that_are_not_ours_stay(hosts: tuple[Node, ...], deploy: Deploy) -> None:
    host = hosts[0]
    properties = "/etc/cloudstack/agent/agent.properties"
    host.run(f"printf '\\n# mine\\nhost.tags=fast\\nguest.cpu.mode=host-model\\n' >> {properties}")
    before = host.run(f"cat {properties}").stdout
    deploy("-y", "--limit", host.name)
    assert host.run(f"cat {properties}").stdout == before.replace(
        "guest.cpu.mode=host-model", "guest.cpu.mode=custom"
    )


def test_limit_touches_only_its_cluster(
    fleet: Fleet, hosts: tuple[Node, ...], deploy: Deploy
) -> None:
    others = fleet.machines
    services = "systemctl show -p ExecMainStartTimestampMonotonic libvirtd chrony ssh"
    for node in hosts:
        node.run("sed -i 's/^listen_tcp = 1/listen_tcp = 0/' /etc/libvirt/libvirtd.conf")
    before = [other.run(f"{FILES}; {services}").stdout for other in others]
    assert deploy("-y", *ON_HOSTS).status == 0
    for node in hosts:
        assert node.run("grep ^listen_tcp /etc/libvirt/libvirtd.conf").stdout == "listen_tcp = 1\n"
    assert [other.run(f"{FILES}; {services}").stdout for other in others] == before


def test_a_firewall_that_is_on_lets_only_the_sources_in(
    hosts: tuple[Node, ...], deploy: Deploy
) -> None:
    host = hosts[0]
    host.run("ufw --force enable")
    try:
        assert deploy("-y", "--json", "--limit", host.name).changed == {}
        rules = host.run("iptables-save").stdout
        assert "-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT" in rules
        libvirt = [rule for rule in rules.splitlines() if "--dport 16509" in rule]
        assert libvirt == [
            "-A ufw-user-input -s 192.168.142.0/24 -p tcp -m tcp --dport 16509 -j ACCEPT"
        ]
        literally = deploy("-y", "--data", "firewall_from_anywhere=True", "--limit", host.name)
        assert literally.status == 0
        assert "--dport 16509 -j ACCEPT" in host.run("iptables-save | grep -v -- -s").stdout
        assert deploy("-y", "--limit", host.name).status == 0
        assert "--dport 16509" not in host.run("iptables-save | grep -v -- '-s '").stdout
    finally:
        host.run("ufw --force disable")


DOMAIN = """
<domain type='qemu'>
  <name>guest1</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
</domain>
"""


def test_a_running_guest_migrates_there_and_back(hosts: tuple[Node, ...]) -> None:
    source, target = hosts[0], hosts[1]
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
