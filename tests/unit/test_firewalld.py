"""Zones of firewalld: what they let through, and what firewall-cmd is told to change."""

import os
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from kvmhost.facts.firewalld import Firewalld, Zones
from kvmhost.firewall import ANYWHERE, closed
from kvmhost.firewalld import (
    Zone,
    closing,
    decides_on_ssh,
    in_order,
    opening,
    parse_service,
    parse_zones,
    zone_of,
)

PORTS = ("1798", "16509", "5900:6100")
SOURCE = 'rule family="ipv4" source address="10.0.0.5/32" port port="1798" protocol="tcp" accept'
# captured from firewalld 1.3.3, shortened
ALL_ZONES = f"""\
internal (active)
  target: ACCEPT
  icmp-block-inversion: no
  interfaces: 
  sources: 10.9.0.0/16 ipset:bastions 52:54:00:00:00:01
  services: 
  ports: 
  rich rules: 

public (default, active)
  target: default
  icmp-block-inversion: no
  interfaces: eth0
  sources: 
  services: dhcpv6-client libvirt ssh
  ports: 22/tcp 5900-6100/tcp
  protocols: 
  forward: yes
  source-ports: 
  rich rules: 
\t{SOURCE}
\trule service name="vnc-server" accept
"""  # noqa: W291 (as firewall-cmd writes it)
FIREWALL_CMD = """\
#!/bin/sh
case "$*" in
--state) ;;
--get-zone*) exit 2 ;;
--get-default-zone) echo public ;;
--list-all-zones) cat "$ZONES" ;;
"--permanent --list-all-zones") echo public; echo "  ports: 80/tcp" ;;
*) exit 1 ;;
esac
"""
# firewalld's own
LIBVIRT = """\
<?xml version="1.0" encoding="utf-8"?>
<service>
  <short>Virtual Machine Management</short>
  <port protocol="tcp" port="16509"/>
</service>
"""
SERVICES = {
    "libvirt": frozenset(("16509/tcp",)),
    "vdsm": frozenset(("54321/tcp", "5900-6923/tcp")),
    "ssh": frozenset(("22/tcp",)),
}


def test_the_zones_are_read_as_they_are_now_and_as_they_are_kept(tmp_path: Path) -> None:
    (tmp_path / "firewall-cmd").write_text(FIREWALL_CMD)
    (tmp_path / "firewall-cmd").chmod(0o755)
    (tmp_path / "zones").write_text(ALL_ZONES)
    services = tmp_path / "firewalld" / "services"
    services.mkdir(parents=True)
    for name in ("libvirt", "vnc-server"):
        (services / f"{name}.xml").write_text(LIBVIRT.replace("16509", "5900-5903"))
    (services / "libvirt.xml").write_text(LIBVIRT)
    answer = subprocess.run(
        ["sh", "-c", Zones().command("eth0").replace("in /etc /usr/lib;", f"in /none {tmp_path};")],
        env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin", "ZONES": str(tmp_path / "zones")},
        capture_output=True,
        text=True,
        check=True,
    )
    found = Zones().process(answer.stdout.splitlines())
    assert found
    assert (found.running, found.iptables, found.zone) == (True, False, "public")
    assert found.runtime == {
        "internal": Zone(
            target="ACCEPT",
            sources=frozenset(("10.9.0.0/16", "ipset:bastions", "52:54:00:00:00:01")),
        ),
        "public": Zone(
            interfaces=frozenset(("eth0",)),
            services=frozenset(("dhcpv6-client", "libvirt", "ssh")),
            ports=frozenset(("22/tcp", "5900-6100/tcp")),
            rich_rules=frozenset((SOURCE, 'rule service name="vnc-server" accept')),
        ),
    }
    assert found.permanent == {"public": Zone(ports=frozenset(("80/tcp",)))}
    assert found.services == {
        "libvirt": frozenset(("16509/tcp",)),
        "vnc-server": frozenset(("5900-5903/tcp",)),
    }


def test_a_firewall_that_is_off_is_told_from_one_that_did_not_answer() -> None:
    assert Zones().process(["iptables", "off"]) == Firewalld(running=False, iptables=True)
    assert Zones().process(["zone public", "runtime"]) is None


OF_16509 = 'port port="16509" protocol="tcp" accept'


@pytest.mark.parametrize(
    ("source", "is_closed"),
    [
        ("", True),
        (' family="ipv4" source address="0.0.0.0/0"', True),
        (' family="ipv6" source address="::/0"', True),
        (' family="ipv4" source NOT address="10.9.9.9"', True),
        (' family="ipv4" source address="10.9.9.9"', False),
        (' source mac="52:54:00:00:00:01"', False),
        (' source ipset="bastions"', False),
    ],
)
def test_a_rule_for_anyone_or_all_but_a_few_is_closed(source: str, is_closed: bool) -> None:
    rule = f"rule{source} {OF_16509}"
    zone = Zone(rich_rules=frozenset((rule,)))
    expected = [("--remove-rich-rule", rule)] if is_closed else []
    assert [*closing(zone, closed(("16509",)), SERVICES)] == expected


def test_a_service_that_cannot_be_read_opens_nothing() -> None:
    assert parse_service("<service>") == frozenset()
    unread = Zones().process(
        ["zone public", "service empty ", "service", "", "runtime", "\trule", "permanent", "all"]
    )
    assert unread
    assert (unread.services, unread.runtime) == ({"empty": frozenset()}, {})


def test_sources_get_a_rule_each_in_their_version_of_ip() -> None:
    zone = parse_zones(ALL_ZONES.splitlines())["public"]
    sources = ("10.0.0.5/32", "2001:db8::/64")
    ipv6 = 'rule family="ipv6" source address="2001:db8::/64" port port="{}" protocol="tcp" accept'
    assert [*opening(zone, ("1798",), sources)] == [("--add-rich-rule", ipv6.format("1798"))]
    assert [*opening(Zone(), ("22",), ("::/0",))] == [
        ("--add-rich-rule", 'rule family="ipv6" port port="22" protocol="tcp" accept')
    ]


@pytest.mark.parametrize(
    ("ports", "added"),
    [
        (("22/tcp", "5900-6100/tcp", "1798/udp"), ["1798/tcp", "16509/tcp"]),
        # firewalld joins what adjoins
        (("1-2000/tcp", "5800-5999/tcp", "6000-20000/tcp"), []),
    ],
)
def test_anyone_gets_the_ports_that_are_not_open_already(
    ports: tuple[str, ...], added: list[str]
) -> None:
    zone = Zone(ports=frozenset(ports))
    assert [value for _, value in opening(zone, PORTS, (ANYWHERE,))] == added


def test_what_opens_a_port_to_anyone_is_closed_and_its_other_ports_are_kept() -> None:
    narrow = (
        SOURCE,
        'rule priority="-5" family="ipv4" source NOT address="10.0.0.1" '
        'port port="1798" protocol="tcp" reject',
        'rule service name="libvirt" reject',
        'rule source-port port="5900" protocol="tcp" accept',
        'rule protocol value="gre" accept',
    )
    zone = Zone(
        services=frozenset(("libvirt", "vdsm", "ssh", "unknown")),
        ports=frozenset(("22/tcp", "16000-17000/udp", "1798/tcp", "1798/sctp", "80/tcp")),
        rich_rules=frozenset(
            (
                *narrow,
                'rule port port="16508-16509" protocol="tcp" accept',
                'rule family="ipv6" service name="libvirt" log prefix="a b" accept',
            )
        ),
    )
    assert dict(in_order(closing(zone, closed((*PORTS, "22")), SERVICES))) == {
        "--add-rich-rule": ['rule port port="16508" protocol="tcp" accept'],
        "--remove-rich-rule": [
            'rule family="ipv6" service name="libvirt" log prefix="a b" accept',
            'rule port port="16508-16509" protocol="tcp" accept',
        ],
        "--remove-service": ["libvirt", "vdsm"],
        "--remove-port": ["16000-17000/udp", "1798/tcp"],
        "--add-port": ["16000-16508/udp", "16510-17000/udp", "54321/tcp", "6101-6923/tcp"],
    }


@pytest.mark.parametrize(
    ("zone", "who", "decided"),
    [
        (Zone(), "10.0.0.9", False),
        (Zone(target="ACCEPT"), "10.0.0.9", True),
        (Zone(services=frozenset(("ssh",))), "10.0.0.9", True),
        (Zone(ports=frozenset(("20-30/tcp",))), "10.0.0.9", True),
        (Zone(ports=frozenset(("22/udp",))), "10.0.0.9", False),
        (Zone(rich_rules=frozenset(('rule service name="ssh" accept',))), "10.0.0.9", True),
        (
            Zone(
                rich_rules=frozenset(
                    ('rule family="ipv4" source address="10.0.0.0/8" service name="ssh" accept',)
                )
            ),
            "172.16.0.1",
            False,
        ),
        (
            Zone(
                rich_rules=frozenset(
                    ('rule family="ipv4" source address="10.0.0.0/8" service name="ssh" accept',)
                )
            ),
            None,
            True,
        ),
        (
            Zone(rich_rules=frozenset(('rule source ipset="bastions" service name="ssh" accept',))),
            "10.0.0.9",
            True,
        ),
        (
            Zone(
                rich_rules=frozenset(
                    ('rule family="ipv4" source NOT address="10.0.0.9" service name="ssh" drop',)
                )
            ),
            "10.0.0.9",
            False,
        ),
        (
            Zone(rich_rules=frozenset(('rule family="ipv4" source address="10.0.0.9" accept',))),
            "10.0.0.9",
            True,
        ),
        (Zone(rich_rules=frozenset(('rule service name="libvirt" accept',))), None, False),
    ],
)
def test_whether_a_zone_decides_on_ssh(zone: Zone, who: str | None, decided: bool) -> None:
    assert decides_on_ssh(zone, SERVICES, ip_address(who) if who else None) is decided


def test_somebodys_zone_is_that_of_the_address_before_that_of_the_interface() -> None:
    zones = parse_zones(ALL_ZONES.splitlines())
    assert zone_of(zones, ip_address("10.9.0.1"), "public") == "internal"
    assert zone_of(zones, ip_address("10.8.0.1"), "public") == "public"
    assert zone_of(zones, None, "public") == "public"
