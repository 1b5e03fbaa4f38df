"""Rules of ufw in every form that it writes, and what it is told to change."""

import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from kvmhost.facts.ufw import DEFAULTS, Rules, Ufw
from kvmhost.firewall import ANYWHERE, SSH, closed
from kvmhost.ufw import Rule, allowing, closing, deciding, opening, parse, wide_open

PORTS = ("1798", "16509", "16514", "5900:6100", "49152:49216")
SOURCE = "192.168.42.0/24"

# captured from ufw 0.36.2, then forms of 0.31: without a direction, and without applications
USER_RULES = """\
### RULES ###

### tuple ### allow any 16509 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 16509 -j ACCEPT
-A ufw-user-input -p udp --dport 16509 -j ACCEPT

### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=612062
### tuple ### allow tcp 80,16500:16600 0.0.0.0/0 any 0.0.0.0/0 in comment=776562
### tuple ### allow any 1798 0.0.0.0/0 any 0.0.0.0/0 in_eth1
### tuple ### allow tcp 80,1798 0.0.0.0/0 any 0.0.0.0/0 Cloud%20Stack - in
### tuple ### allow udp 5905 0.0.0.0/0 any 0.0.0.0/0 Cloud%20Stack - in
### tuple ### allow_log tcp 5900 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### reject tcp 5905 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### deny any any 0.0.0.0/0 any 10.0.0.66 in
### tuple ### route:allow any 16509 0.0.0.0/0 any 0.0.0.0/0 in_eth0!out_eth1
### tuple ### allow any 16509 0.0.0.0/0 any 0.0.0.0/0 out
### tuple ### allow any 16509 0.0.0.0/0 any 0.0.0.0/0 Cloud%20Stack - out_eth0
### tuple ### allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth2
### tuple ### allow tcp 16514 10.0.0.1 53 0.0.0.0/0 in
### tuple ### allow esp any 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow tcp 16509 0.0.0.0/0 any 10.0.0.0/8
### tuple ### allow tcp 1798 0.0.0.0/0 22 0.0.0.0/0 - OpenSSH
### tuple ### allow tcp 99999 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### nonsense
"""
USER6_RULES = """\
### tuple ### allow any 16509 ::/0 any ::/0 in
### tuple ### allow tcp 16514 ::/0 any 2001:db8::/64 in
"""
UNDERSTOOD = [
    "allow from 0.0.0.0/0 to any port 16509",
    "limit proto tcp from 0.0.0.0/0 to any port 22 comment 'a b'",
    "allow proto tcp from 0.0.0.0/0 to any port 80,16500:16600 comment web",
    "allow in on eth1 from 0.0.0.0/0 to any port 1798",
    "allow from 0.0.0.0/0 to any app 'Cloud Stack'",
    "allow from 0.0.0.0/0 to any app 'Cloud Stack'",
    "allow log proto tcp from 0.0.0.0/0 to any port 5900",
    "reject proto tcp from 0.0.0.0/0 to any port 5905",
    "deny from 10.0.0.66 to any",
    "allow in on eth2 from 0.0.0.0/0 to any",
    "allow proto tcp from 0.0.0.0/0 port 53 to 10.0.0.1/32 port 16514",
    "allow proto esp from 0.0.0.0/0 to any",
    "allow proto tcp from 10.0.0.0/8 to any port 16509",
    "allow from 0.0.0.0/0 app OpenSSH to any port 1798",
    "allow from ::/0 to any port 16509",
    "allow proto tcp from 2001:db8::/64 to any port 16514",
]


def read(folder: Path, defaults: str = "", user6: str = USER6_RULES) -> Ufw:
    """Return what the fact makes of ufw's files."""
    (folder / "user.rules").write_text(USER_RULES)
    (folder / "user6.rules").write_text(user6)
    (folder / "defaults").write_text(defaults)
    command = Rules().command().replace("/etc/ufw /lib/ufw", f"{folder}/none {folder}")
    answer = subprocess.run(
        ["sh", "-c", command.replace(DEFAULTS, f"{folder}/defaults")],
        env={"SSH_CONNECTION": "10.0.0.9 50000 192.168.42.11 22", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stderr == ""
    return Rules().process(answer.stdout.splitlines())


def rules(*lines: str, version: int = 4) -> list[Rule]:
    found = [parse(line, version) for line in lines]
    assert None not in found
    return [rule for rule in found if rule]


def test_every_form_is_read_and_said_to_ufw_again(tmp_path: Path) -> None:
    found = read(tmp_path, 'IPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\n')
    assert [rule.command() for rule in found.rules] == UNDERSTOOD
    assert (found.ipv6, found.accepts, found.workstation) == (True, False, ip_address("10.0.0.9"))


def test_without_ipv6_ufw_has_no_rules_of_it(tmp_path: Path) -> None:
    found = read(tmp_path, 'IPV6="no"\nDEFAULT_INPUT_POLICY="ACCEPT"\n')
    assert {rule.source.version for rule in found.rules} == {4}
    assert (found.ipv6, found.accepts) == (False, True)


def test_a_host_without_ufw_has_no_rules(tmp_path: Path) -> None:
    command = Rules().command().replace("/etc/ufw /lib/ufw", str(tmp_path))
    answer = subprocess.run(
        ["sh", "-c", command.replace(DEFAULTS, f"{tmp_path}/none")],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout, "pyinfra takes silence for no answer"
    found = Rules().process(answer.stdout.splitlines())
    assert found.rules == ()
    assert found.ipv6


def test_what_opens_a_port_to_anyone_is_closed_and_its_other_ports_are_kept(
    tmp_path: Path,
) -> None:
    assert [*closing(read(tmp_path).rules, closed(PORTS))] == [
        "allow proto tcp from 0.0.0.0/0 to any "
        "port 80,16500:16508,16510:16513,16515:16600 comment web",
        "allow proto tcp from 0.0.0.0/0 to any port 80",
        "delete allow from 0.0.0.0/0 to any port 16509",
        "delete allow proto tcp from 0.0.0.0/0 to any port 80,16500:16600",
        "delete allow in on eth1 from 0.0.0.0/0 to any port 1798",
        "delete allow from 0.0.0.0/0 to any app 'Cloud Stack'",
        "delete allow log proto tcp from 0.0.0.0/0 to any port 5900",
        "delete allow proto tcp from 0.0.0.0/0 port 53 to 10.0.0.1/32 port 16514",
        "delete allow from 0.0.0.0/0 app OpenSSH to any port 1798",
        "delete allow from ::/0 to any port 16509",
    ]


def test_what_names_no_port_is_said_and_left(tmp_path: Path) -> None:
    wide = [rule.command() for rule in wide_open(read(tmp_path).rules, closed(PORTS))]
    assert wide == ["allow in on eth2 from 0.0.0.0/0 to any"]


@pytest.mark.parametrize("port", [SSH, "1:65535"])
def test_rules_for_ssh_are_never_closed(port: str) -> None:
    line = "allow any 22 0.0.0.0/0 any 0.0.0.0/0 in"
    assert [*closing(rules(line), closed((port,)))] == []


def test_a_port_list_longer_than_ufw_takes_becomes_two_rules() -> None:
    shut = closed(tuple(str(port) for port in range(1000, 1020, 2)))
    wide = rules("allow udp 1000:1020 0.0.0.0/0 any 0.0.0.0/0 in")
    assert [*closing(wide, shut)] == [
        "allow proto udp from 0.0.0.0/0 to any port 1001,1003,1005,1007,1009,1011,1013",
        "allow proto udp from 0.0.0.0/0 to any port 1015,1017,1019:1020",
        "delete allow proto udp from 0.0.0.0/0 to any port 1000:1020",
    ]


ALLOWED = f"allow tcp 16509 0.0.0.0/0 any {SOURCE} in"
ADD = f"allow proto tcp from {SOURCE} to any port 16509"


@pytest.mark.parametrize(
    ("present", "told"),
    [
        ([], [ADD]),
        ([ALLOWED], []),
        ([f"{ALLOWED} comment=6869"], []),
        ([ALLOWED, "deny any 16509 0.0.0.0/0 any 0.0.0.0/0 in"], []),
        (["deny any 16509 0.0.0.0/0 any 0.0.0.0/0 in"], [f"prepend {ADD}"]),
        (
            ["reject any any 0.0.0.0/0 any 0.0.0.0/0 in", ALLOWED],
            [f"delete {ADD}", f"prepend {ADD}"],
        ),
        ([f"deny{ALLOWED[5:]}"], [f"delete deny{ADD[5:]}", f"prepend {ADD}"]),
        # what refuses only some of those who are wanted is an administrator's own affair
        (["deny any any 0.0.0.0/0 any 192.168.42.66 in"], [ADD]),
        (["deny any 16509 0.0.0.0/0 any 0.0.0.0/0 in_eth1"], [ADD]),
        (["deny udp 16509 0.0.0.0/0 any 0.0.0.0/0 in"], [ADD]),
    ],
)
def test_what_is_wanted_stands_before_what_refuses_it(present: list[str], told: list[str]) -> None:
    assert opening(rules(*present), allowing("16509", SOURCE)) == told


def test_anyone_is_one_command_for_both_versions_of_ip() -> None:
    told = opening([], allowing("16509", ANYWHERE))
    assert set(told) == {"allow proto tcp from any to any port 16509"}
    lacking = opening(
        rules("allow tcp 16509 ::/0 any ::/0 in", version=6), allowing("16509", "any")
    )
    assert lacking == ["allow proto tcp from any to any port 16509"]
    assert opening([], allowing("16509", "2001:db8::/64")) == [
        "allow proto tcp from 2001:db8::/64 to any port 16509"
    ]


@pytest.mark.parametrize(
    ("present", "who", "decides"),
    [
        (["limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"], "10.0.0.9", 0),
        (["allow any 22 0.0.0.0/0 any 10.0.0.0/8 in"], "10.0.0.9", 0),
        (["allow any 22 0.0.0.0/0 any 10.0.0.0/8 in"], "172.16.0.1", None),
        (["allow any 22 0.0.0.0/0 any 10.0.0.0/8 in"], None, 0),
        (["allow any any 0.0.0.0/0 any 10.0.0.0/8 in"], "10.0.0.9", 0),
        (["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in"], "10.0.0.9", 0),
        (["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in_eth0"], "10.0.0.9", 0),
        (["allow udp 22 0.0.0.0/0 any 0.0.0.0/0 in"], "10.0.0.9", None),
        (["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"], "2001:db8::1", None),
        (
            ["deny tcp 22 0.0.0.0/0 any 10.0.0.9 in", "allow any 22 0.0.0.0/0 any 0.0.0.0/0 in"],
            "10.0.0.9",
            0,
        ),
        (
            [
                "deny any 22 0.0.0.0/0 any 0.0.0.0/0 in_eth1",
                "limit any 22 0.0.0.0/0 any 0.0.0.0/0 in",
            ],
            "10.0.0.9",
            1,
        ),
    ],
)
def test_which_rule_decides_on_ssh(
    present: list[str], who: str | None, decides: int | None
) -> None:
    found = rules(*present)
    rule = deciding(found, SSH, ip_address(who) if who else None)
    assert rule == (None if decides is None else found[decides])
