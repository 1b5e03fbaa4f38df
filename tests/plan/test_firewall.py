"""The firewall's task in whole runs, with each of the three firewalls."""

import re
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kvmhost.iptables import EMPTY
from tests.plan.support import commands, fake_host, inventory
from tests.runs import Run, pyinfra

TASK = "tasks.firewall.firewall"
CAME = "SSH_CONNECTION=10.0.0.9 50000 192.168.42.1 22"
IPV6 = {"management_address6": "2001:db8:42::1/64", "firewall_ports": ["16509"]}
TUPLE = "rule{} {} {} 0.0.0.0/0 any {} in"
ANYONE = TUPLE.format(4, "allow any", "16509", "0.0.0.0/0")
REFUSED = "-A INPUT -j REJECT --reject-with icmp-host-prohibited"
DEFAULTS = 'IPV6=yes\nDEFAULT_FORWARD_POLICY="ACCEPT"\n'


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def run(folder: Path, answers: dict[str, Sequence[str]], **data: Any) -> Run:
    host = fake_host(1, fake_responses=answers, **IPV6 | data)
    return pyinfra(
        inventory(folder, {"@fake/kvm1": host}), TASK, "-y", "--debug", "--diff", timeout=60
    )


def ufw(folder: Path, rules: Sequence[str], defaults: str = DEFAULTS, **data: Any) -> Run:
    answers = {
        "-e /etc/default/ufw ]; then echo exists": ["exists", encoded(defaults)],
        "user.rules": [*rules, *defaults.splitlines(), CAME, "all"],
        "dpkg-query": ["install ok installed ufw 0.36.2"],
    }
    return run(folder, answers, **data)


def iptables(folder: Path, *families: Sequence[str], **data: Any) -> Run:
    lines = [
        line
        for version, family in zip((4, 6), families, strict=True)
        for line in (f"family {version}", *family)
    ]
    return run(folder, {"ip6tables": [*lines, CAME, "all"]}, firewall_backend="iptables", **data)


def firewalld(folder: Path, *zone: str, **data: Any) -> Run:
    listed = ["public", "  interfaces: eth0.100", *zone]
    answer = ["service ssh " + encoded('<service><port protocol="tcp" port="22"/></service>')]
    answer += [CAME, "zone public", "runtime", *listed, "permanent", *listed, "all"]
    return run(folder, {"list-all-zones": answer}, firewall_backend="firewalld", **data)


def said(finished: Run) -> str:
    assert finished.status == 0, finished.output
    return " ".join(finished.output.split())


SSH = TUPLE.format(4, "allow tcp", "22", "{}")


def test_ufw_opens_to_the_sources_of_both_versions_of_ip_and_to_nobody_else(
    tmp_path: Path,
) -> None:
    output = said(ufw(tmp_path, [ANYONE, SSH.format("10.0.0.0/8")]))
    for told in (
        "ufw allow proto tcp from 192.168.42.0/24 to any port 16509",
        "ufw allow proto tcp from 2001:db8:42::/64 to any port 16509",
        "ufw delete allow from 0.0.0.0/0 to any port 16509",
    ):
        assert told in output
    assert "to any port 22" not in output


def test_ufw_is_made_to_mind_ipv6_where_the_host_has_an_address_of_it(tmp_path: Path) -> None:
    assert "+ IPV6=yes" in said(ufw(tmp_path, [], "IPV6=no\n"))
    assert "IPV6=yes" not in said(ufw(tmp_path, [], "IPV6=no\n", management_address6=...))


LEFT = [
    "limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in",
    "limit tcp 22 0.0.0.0/0 any 10.0.0.0/8 in",
    "allow any 22 0.0.0.0/0 any 10.0.0.9 in",
    "deny any 22 0.0.0.0/0 any 10.0.0.9 in",
    "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in",
]


@pytest.mark.parametrize("rule", LEFT)
def test_ufws_rules_for_ssh_stay(tmp_path: Path, rule: str) -> None:
    output = said(ufw(tmp_path, [f"rule4 {rule}"]))
    assert not re.search(r"ufw (allow|delete|prepend) [^&]*port 22\b", output)


@pytest.mark.parametrize("rules", [[], [SSH.format("172.16.0.0/12")]])
def test_ssh_is_opened_to_anyone_where_nothing_lets_the_workstation_in(
    tmp_path: Path, rules: list[str]
) -> None:
    assert "ufw allow proto tcp from any to any port 22" in said(ufw(tmp_path, rules))


def test_ssh_is_opened_to_those_who_are_named_and_what_is_there_stays(tmp_path: Path) -> None:
    sources = {"ssh_sources": ["10.0.0.0/8", "172.16.0.1", "2001:db8::/64"]}
    output = said(ufw(tmp_path, [TUPLE.format(4, "limit tcp", "22", "10.0.0.0/8")], **sources))
    assert "ufw allow proto tcp from 172.16.0.1 to any port 22" in output
    assert "ufw allow proto tcp from 2001:db8::/64 to any port 22" in output
    assert "10.0.0.0/8 to any" not in output


def test_what_ufw_leaves_open_is_named(tmp_path: Path) -> None:
    wide = said(ufw(tmp_path, ["rule4 allow any any 0.0.0.0/0 any 0.0.0.0/0 in"]))
    assert "open to anyone by ufw's rule: allow from 0.0.0.0/0 to any" in wide
    shut = said(ufw(tmp_path, ["rule4 deny tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"]))
    assert "refused SSH by ufw's rule: deny proto tcp from 0.0.0.0/0 to any port 22" in shut


ACTIVE = ("active", "-P INPUT ACCEPT", REFUSED)


def test_both_iptables_open_to_their_own_sources_and_to_nobody_else(tmp_path: Path) -> None:
    anyone = "-A INPUT -p udp -m udp --dport 16509 -j ACCEPT"
    ipv6 = ("active", anyone, REFUSED, f"saved {encoded(EMPTY)}")
    output = said(iptables(tmp_path, ACTIVE, ipv6))
    for told in (
        "iptables -I INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
        "iptables -I INPUT -s 192.168.42.0/24 -p tcp -m tcp --dport 16509 -j ACCEPT",
        "ip6tables -D INPUT -p udp -m udp --dport 16509 -j ACCEPT && "
        "ip6tables -I INPUT -s 2001:db8:42::/64 -p tcp -m tcp --dport 16509 -j ACCEPT",
        "Will create /etc/sysconfig/iptables",
        "Will modify /etc/sysconfig/ip6tables",
    ):
        assert told in output
    # the workstation has come over IPv4
    assert "ip6tables -I INPUT -p tcp -m tcp --dport 22" not in output


def test_what_iptables_leaves_open_is_named(tmp_path: Path) -> None:
    active = ("active", "-P INPUT ACCEPT", "-A INPUT -p tcp -j ACCEPT")
    output = said(iptables(tmp_path, active, ()))
    assert "open to anyone by a rule of iptables: -p tcp -j ACCEPT" in output
    assert "open to anyone: INPUT of iptables refuses nothing" in output
    assert "open to anyone over IPv6: ip6tables is off" in output


def test_rules_of_iptables_for_ssh_stay(tmp_path: Path) -> None:
    bastion = "-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT"
    saved = f"saved {encoded(EMPTY.replace('COMMIT', f'{bastion}{chr(10)}COMMIT'))}"
    output = said(iptables(tmp_path, ("active", bastion, REFUSED, saved), ()))
    assert "-I INPUT -p tcp -m tcp --dport 22" not in output


def test_a_saved_file_that_is_odd_fails_its_host_alone(tmp_path: Path) -> None:
    odd = (*ACTIVE, f"saved {encoded('*nat' + chr(10) + 'COMMIT' + chr(10))}")
    hosts = {
        f"@fake/kvm{number}": fake_host(
            number,
            firewall_backend="iptables",
            fake_responses={"ip6tables": ["family 4", *answer, "family 6", CAME, "all"]},
        )
        for number, answer in ((1, odd), (2, ACTIVE))
    }
    finished = pyinfra(inventory(tmp_path, hosts), TASK, "-y", "--debug", timeout=60)
    assert "Traceback" not in finished.output
    reason = "/etc/sysconfig/iptables cannot be changed: it has no table filter"
    assert reason in finished.output
    sent = commands(finished)
    assert sent["@fake/kvm2"] > 4


SSH_SERVICE = "  services: ssh"


def test_firewalld_opens_to_the_sources_of_both_versions_of_ip_and_to_nobody_else(
    tmp_path: Path,
) -> None:
    output = said(firewalld(tmp_path, SSH_SERVICE, "  ports: 16509/udp 16000-17000/tcp"))
    rule = 'rule family="ipv{}" source address="{}" port port="16509" protocol="tcp" accept'
    for kept in ("", "--permanent "):
        told = f"firewall-cmd -q {kept}--zone=public"
        ipv4, ipv6 = rule.format(4, "192.168.42.0/24"), rule.format(6, "2001:db8:42::/64")
        assert f"{told} '--add-rich-rule={ipv4}' '--add-rich-rule={ipv6}'" in output
        assert f"{told} --remove-port=16000-17000/tcp --remove-port=16509/udp" in output
        assert f"{told} --add-port=16000-16508/tcp --add-port=16510-17000/tcp" in output
    assert "--add-port=22/tcp" not in output


def test_firewalld_opens_ssh_where_its_zone_says_nothing_of_it(tmp_path: Path) -> None:
    assert "--zone=public --add-port=22/tcp" in said(firewalld(tmp_path))
    bastion = '\trule family="ipv4" source address="10.0.0.0/8" service name="ssh" accept'
    assert "--add-port=22/tcp" not in said(firewalld(tmp_path, bastion))
    named = said(firewalld(tmp_path, SSH_SERVICE, ssh_sources=["::/0"]))
    assert 'rule family="ipv6" port port="22" protocol="tcp" accept' in named


@pytest.mark.parametrize("backend", ["ufw", "iptables", "firewalld"])
def test_a_run_that_changes_nothing_asks_each_thing_once(tmp_path: Path, backend: str) -> None:
    """Two questions, and for ufw those for its package and its defaults besides."""
    networks = ("192.168.42.0/24", "2001:db8:42::/64")
    if backend == "ufw":
        opened = [TUPLE.format(4, "allow tcp", "16509", networks[0])]
        opened += [f"rule6 allow tcp 16509 ::/0 any {networks[1]} in", SSH.format("10.0.0.9")]
        finished = ufw(tmp_path, opened)
    elif backend == "iptables":
        families = []
        for network in networks:
            rules = f"-A INPUT -s {network} -p tcp -m tcp --dport 16509 -j ACCEPT\n"
            rules += f"-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n{REFUSED}"
            saved = EMPTY.replace("COMMIT", f"{rules}\nCOMMIT")
            families.append(("active", *rules.splitlines(), f"saved {encoded(saved)}"))
        finished = iptables(tmp_path, *families)
    else:
        rules = '\trule family="ipv{}" source address="{}" port port="16509" protocol="tcp" accept'
        finished = firewalld(
            tmp_path, SSH_SERVICE, rules.format(4, networks[0]), rules.format(6, networks[1])
        )
    assert finished.status == 0, finished.output
    assert commands(finished) == {"@fake/kvm1": 4 if backend == "ufw" else 2}


VXLAN = {"vxlan_port": 8472, "firewall_ports": []}


def test_ufw_opens_vxlans_port_to_the_hosts_and_to_nobody_else(tmp_path: Path) -> None:
    anyone = TUPLE.format(4, "allow udp", "8472", "0.0.0.0/0")
    output = said(ufw(tmp_path, [anyone], management_servers=["10.0.0.7"], **VXLAN))
    for told in (
        "ufw allow proto udp from 192.168.42.0/24 to any port 8472",
        "ufw allow proto udp from 2001:db8:42::/64 to any port 8472",
        "ufw delete allow proto udp from 0.0.0.0/0 to any port 8472",
    ):
        assert told in output
    assert "10.0.0.7 to any port 8472" not in output


def test_iptables_opens_vxlans_port_to_the_hosts(tmp_path: Path) -> None:
    output = said(iptables(tmp_path, ACTIVE, ACTIVE, **VXLAN))
    rule = "-I INPUT -s {} -p udp -m udp --dport 8472 -j ACCEPT"
    assert f"iptables {rule.format('192.168.42.0/24')}" in output
    assert f"ip6tables {rule.format('2001:db8:42::/64')}" in output


def test_vxlans_port_is_open_to_the_network_of_the_guest_labels_address(tmp_path: Path) -> None:
    tunnels = {"addresses": {"cloudbr1": "10.70.0.11/24"}, "firewall_sources": ["10.71.0.0/24"]}
    output = said(firewalld(tmp_path, SSH_SERVICE, "  ports: 4789/udp", **VXLAN | tunnels))
    assert "--get-zone-of-interface=cloudbr1" in output
    rule = 'rule family="ipv4" source address="{}" port port="8472" protocol="udp" accept'
    for source in ("10.70.0.0/24", "10.71.0.0/24"):
        assert f"'--add-rich-rule={rule.format(source)}'" in output
    assert rule.format("192.168.42.0/24") not in output


def test_vxlans_port_is_open_to_anyone_where_all_are(tmp_path: Path) -> None:
    output = said(firewalld(tmp_path, SSH_SERVICE, firewall_from_anywhere=True, **VXLAN))
    assert "--zone=public --add-port=8472/udp" in output


@pytest.mark.parametrize("backend", ["ufw", "iptables", "firewalld"])
def test_where_vxlans_port_is_open_one_more_question_tells(tmp_path: Path, backend: str) -> None:
    only_ipv4 = {"management_address6": ...}
    if backend == "ufw":
        opened = [TUPLE.format(4, "allow udp", "8472", "192.168.42.0/24"), SSH.format("10.0.0.9")]
        finished = ufw(tmp_path, opened, **VXLAN | only_ipv4)
    elif backend == "iptables":
        rules = "-A INPUT -s 192.168.42.0/24 -p udp -m udp --dport 8472 -j ACCEPT\n"
        rules += f"-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n{REFUSED}"
        saved = EMPTY.replace("COMMIT", f"{rules}\nCOMMIT")
        family = ("active", *rules.splitlines(), f"saved {encoded(saved)}")
        finished = iptables(tmp_path, family, (), **VXLAN | only_ipv4)
    else:
        source = 'family="ipv4" source address="192.168.42.0/24"'
        rule = f'\trule {source} port port="8472" protocol="udp" accept'
        finished = firewalld(tmp_path, SSH_SERVICE, rule, **VXLAN | only_ipv4)
    assert finished.status == 0, finished.output
    assert commands(finished) == {"@fake/kvm1": 5 if backend == "ufw" else 3}
