"""What only stand-ins for EL have: firewalld, iptables-services, dnf, modular daemons.

The tests are one story and run in their order.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.lab import cloudstack, guide
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.ports import PORTS, lets_guests_through, rules_before_refusal
from tests.runs import Run

Deploy = Callable[..., Run]
Hosts = tuple[Node, ...]


@pytest.fixture(scope="module")
def hosts(fleet: Fleet, deploy: Deploy) -> Hosts:
    """Return the stand-ins, prepared."""
    run = deploy("-y", "--limit", "rhel")
    assert run.status == 0, run.output
    return tuple(host for host in fleet.hosts if host.distribution == "rhel")


def test_libvirtd_is_the_only_daemon_and_its_sockets_stay_shut(hosts: Hosts) -> None:
    for host in hosts:
        for unit in ("virtqemud.service", "virtqemud.socket", "libvirtd.socket"):
            assert host.run(f"systemctl start {unit}", check=False).returncode != 0
        listening = host.run("ss -Hltnp 'sport = :16509'").stdout
        assert "libvirtd" in listening
        assert host.run("virsh uri").stdout.strip() == "qemu:///system"


def test_firewalld_lets_only_the_sources_in_and_keeps_it_so(hosts: Hosts, deploy: Deploy) -> None:
    host = hosts[0]
    host.run("firewall-cmd --add-port=16509/tcp")  # as for anyone
    run = deploy("-y", "--json", "--limit", host.name)
    assert run.changed == {"Firewall | Open CloudStack's ports in firewalld": [host.name]}
    host.run("firewall-cmd --reload")
    rules = host.run("nft list ruleset").stdout
    libvirt = [line.strip() for line in rules.splitlines() if "dport 16509" in line]
    assert libvirt
    assert all(rule.startswith("ip saddr 192.168.144.0/24 ") for rule in libvirt)
    assert deploy("-y", "--json", "--limit", host.name).changed == {}


def test_a_firewall_that_is_off_stays_off(hosts: Hosts, deploy: Deploy) -> None:
    host = hosts[0]
    host.run("systemctl stop firewalld")
    try:
        for backend in ("firewalld", "iptables"):
            data = ("--data", f"firewall_backend={backend}", "--limit", host.name)
            run = deploy("-y", "--json", *data)
            assert run.status == 0, run.output
            assert run.changed == {}
        services = host.run("systemctl is-active firewalld iptables", check=False).stdout
        assert services.split() == ["inactive", "inactive"]
    finally:
        host.run("systemctl start firewalld")


def test_firewalld_is_switched_on_with_its_ports_open(hosts: Hosts, deploy: Deploy) -> None:
    host = hosts[0]
    data = ("--data", "firewall_enabled=True", "--limit", host.name)
    host.run("systemctl disable --now firewalld")
    try:
        run = deploy("-y", *data, target="tasks.firewall.firewall")
        assert run.status == 0, run.output
        assert "Firewall confirmed" in run.output
        services = host.run("systemctl is-active firewalld; systemctl is-enabled firewalld").stdout
        assert services.split() == ["active", "enabled"]
        rules = host.run("nft list ruleset").stdout
        assert "ip saddr 192.168.144.0/24 tcp dport 16509" in rules
        assert "cloudstack-guests" in host.run("firewall-cmd --get-active-policies").stdout
        assert lets_guests_through(host)
        again = deploy("-y", "--json", *data, target="tasks.firewall.firewall")
        assert again.changed == {}
    finally:
        host.run("systemctl enable --now firewalld")


@pytest.fixture
def with_iptables(hosts: Hosts) -> Iterator[Node]:
    """Yield a host that uses iptables-services, with EL's own rules."""
    host = hosts[1]
    host.run("dnf -y -q install iptables-services")
    host.run("systemctl stop firewalld && systemctl start iptables")
    yield host
    host.run("systemctl stop iptables && systemctl start firewalld")


def test_iptables_lets_the_sources_in_once_before_it_refuses(
    with_iptables: Node, deploy: Deploy
) -> None:
    host = with_iptables
    data = ("--data", "firewall_backend=iptables", "--limit", host.name)
    cloudstack.open_ports(host)
    # what an administrator has added too far down
    host.run("iptables -A INPUT -s 192.168.144.0/24 -p tcp -m tcp --dport 1798 -j ACCEPT")
    for _ in range(2):
        run = deploy("-y", "--json", *data)
        assert run.status == 0, run.output
    assert run.changed == {}
    host.run("systemctl restart iptables")  # which reads what is saved
    before = rules_before_refusal(host)
    assert [rule for rule in before if "--dport 22 " in rule] == [
        "-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT"
    ], "SSH stays as it is"
    assert "-A INPUT -i lo -j ACCEPT" in before, "what was there before stays"


def test_iptables_is_switched_on_and_lets_guests_through(
    with_iptables: Node, deploy: Deploy
) -> None:
    host = with_iptables
    data = ("--data", "firewall_backend=iptables", "--data", "firewall_enabled=True")
    how = (*data, "--limit", host.name)
    host.run("systemctl stop iptables")
    try:
        run = deploy("-y", *how, target="tasks.firewall.firewall")
        assert run.status == 0, run.output
        assert "Firewall confirmed" in run.output
        for asked in ("is-active", "is-enabled"):
            said = host.run(f"systemctl {asked} iptables ip6tables").stdout.split()
            assert said == [asked.removeprefix("is-")] * 2
        assert lets_guests_through(host)
        again = deploy("-y", "--json", *how, target="tasks.firewall.firewall")
        assert again.changed == {}
    finally:
        host.run("systemctl disable --now iptables ip6tables")


def test_iptables_is_open_to_anyone_when_that_is_asked_for(
    with_iptables: Node, deploy: Deploy
) -> None:
    host = with_iptables
    literally = ("--data", "firewall_backend=iptables", "--data", "firewall_from_anywhere=True")
    run = deploy("-y", *literally, "--limit", host.name)
    assert run.status == 0, run.output
    for rules in ("iptables -S INPUT", "cat /etc/sysconfig/iptables"):
        text = host.run(rules).stdout
        for port in PORTS:
            assert f"-A INPUT -p tcp -m tcp --dport {port} -j ACCEPT" in text


def test_the_other_firewall_is_a_mistake_that_is_said(
    with_iptables: Node, hosts: Hosts, deploy: Deploy
) -> None:
    run = deploy("-y", "--json", "--limit", with_iptables.name)
    assert run.status != 0 or run.failed
    assert "the service iptables is on" in run.output
    wrong = ("--data", "firewall_backend=iptables", "--limit", hosts[0].name)
    run = deploy("-y", "--json", *wrong)
    assert run.status != 0 or run.failed
    assert "firewalld is on" in run.output


def test_a_host_in_the_wrong_group_stops_the_run_before_anything_is_changed(
    hosts: Hosts, deploy: Deploy
) -> None:
    host = hosts[0]
    host.run("sed -i 's/^listen_tcp = 1/listen_tcp = 0/' /etc/libvirt/libvirtd.conf")
    for wrong, said in (
        ("distribution=debian", "it is rhel, but its group's distribution is debian"),
        ('releases=["10"]', "is 9.0, supported is 10"),
    ):
        run = deploy("-y", "--data", wrong, "--limit", host.name)
        assert run.status != 0
        assert said in " ".join(run.output.split())
        assert "listen_tcp = 0" in host.run("grep ^listen_tcp /etc/libvirt/libvirtd.conf").stdout
    assert deploy("-y", "--limit", host.name).status == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("cloudstack_repository=file:///srv/nothing", "repo 'cloudstack'"),
        (
            "cloudstack_key=file:///srv/cloudstack-el/RPM-GPG-KEY-of-nobody",
            "GPG check FAILED",
        ),
        ("cloudstack_key=file:///srv/nothing", "file:///srv/nothing"),
    ],
    ids=["a missing repository", "a key that signed nothing", "a missing key"],
)
def test_a_repository_that_cannot_be_used_is_said_and_mended(
    hosts: Hosts, deploy: Deploy, wrong: str, said: str
) -> None:
    host = hosts[0]
    host.run("dnf -y -q remove cloudstack-agent && dnf -q clean all")
    host.run("rpm -e $(rpm -q gpg-pubkey)")
    run = deploy("-y", "--data", wrong, "--limit", host.name)
    assert run.status != 0
    assert said in run.output
    assert host.run("rpm -q cloudstack-agent", check=False).returncode != 0
    mended = deploy("-y", "--limit", host.name)
    assert mended.status == 0, mended.output
    assert guide.undone(host) == ()


def test_dnf_is_waited_for_only_so_long(hosts: Hosts, deploy: Deploy) -> None:
    host = hosts[0]
    host.run("dnf -y -q remove cloudstack-agent")
    host.run(
        "systemd-run --unit=holds-dnf-lock python3 -c 'import dnf, time;"
        " base = dnf.Base();"
        " dnf.lock.build_metadata_lock(base.conf.cachedir, True).__enter__();"
        " time.sleep(3600)'"
    )
    try:
        wait_until(
            lambda: host.run("ls /var/cache/dnf/*.pid", check=False).returncode == 0,
            DEADLINE,
            "the lock",
        )
        run = deploy("-y", "--data", "package_lock_timeout=2", "--limit", host.name)
        assert run.status != 0
        assert "already locked" in run.output
    finally:
        host.run("systemctl stop holds-dnf-lock; rm -f /var/cache/dnf/*.pid")
    assert deploy("-y", "--limit", host.name).status == 0
