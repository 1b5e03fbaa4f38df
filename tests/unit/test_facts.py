"""What facts make of what the programs on a host write."""

import os
import subprocess
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from kvmhost.facts.cloudinit import Configuration, Told
from kvmhost.facts.cloudstack import AddedHost
from kvmhost.facts.files import Text
from kvmhost.facts.firewalld import Firewalld, InterfaceZone, Zone
from kvmhost.facts.network import Network
from kvmhost.facts.packages import Installed, Updates
from kvmhost.facts.selinux import Selinux, Status
from kvmhost.facts.systemd import Unit, Units
from kvmhost.facts.sysvinit import Service, Services
from kvmhost.facts.ufw import Allowed, Rules, Ufw
from kvmhost.firewall import ANYWHERE
from kvmhost.network.change import Present
from kvmhost.network.takeover import Resolvers

# captured from firewall-cmd 1.3.3, shortened
FIREWALLD = """\
zone public
runtime
public (active)
  target: default
  interfaces: eth0
  services: dhcpv6-client ssh
  ports: 22/tcp 5900-6100/tcp
  protocols: 
  forward: yes
  source-ports: 
  rich rules: 
\trule family="ipv4" source address="10.0.0.5/32" port port="1798" protocol="tcp" accept
permanent
public (active)
  ports: 
  rich rules: 
"""  # noqa: W291 (as firewall-cmd writes it)

# captured from rpm 4.18
RPM = """\
installed libvirt 9.0.0-1
package qemu-kvm is not installed
"""

# captured from dpkg-query 1.21, then what it writes of a package that was removed
DPKG = """\
install ok installed bash 5.2.15-2+b8
deinstall ok config-files ntp 1:4.2.8p15+dfsg-1
"""

# in the form of dnf 4.14; then what yum does to a name that is too long
CHECK_UPDATE = """\

libvirt.noarch                      9.5.0-1.el9                 appstream
python3.11-libs.x86_64              3.11.7-1.el9                baseos
a-package-with-a-very-long-name-that-does-not-fit.x86_64
                                    1.0-1.el6                   base
"""


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (["none"], Told(False)),
        (["absent"], Told(True)),
        (["exists", "eDogMQo="], Told(True, "x: 1\n")),
    ],
)
def test_cloud_init_may_be_missing_or_be_told_something(output: list[str], told: Told) -> None:
    assert Configuration().process(output) == told


def test_a_kernel_without_ipv6_has_no_routes_for_it() -> None:
    links, route = ['addresses [{"ifname":"lo"}]'], ['routes [{"dst":"default"}]']
    present = Present(addresses=[{"ifname": "lo"}], routes=[{"dst": "default"}])
    assert Network().process([*links, *route, "routes6 "]) == present
    with_ipv6 = Network().process([*links, *route, 'routes6 [{"dst":"fe80::/64"}]'])
    assert with_ipv6 == replace(present, routes6=[{"dst": "fe80::/64"}])


def test_the_zone_of_an_interface_is_read_as_it_is_now_and_as_it_is_kept() -> None:
    rule = 'rule family="ipv4" source address="10.0.0.5/32" port port="1798" protocol="tcp" accept'
    assert InterfaceZone().process(FIREWALLD.splitlines()) == Firewalld(
        running=True,
        iptables=False,
        zone="public",
        runtime=Zone(frozenset(("22/tcp", "5900-6100/tcp")), frozenset((rule,))),
        permanent=Zone(),
    )
    assert InterfaceZone().process(["iptables", "off"]) == Firewalld(running=False, iptables=True)


def test_only_packages_that_are_there_are_installed() -> None:
    assert Installed().process(RPM.splitlines()) == {"libvirt": "9.0.0-1"}
    assert Installed().process(DPKG.splitlines()) == {"bash": "5.2.15-2+b8"}


@pytest.mark.parametrize("manager", ["dnf", "yum"])
@pytest.mark.parametrize(
    ("status", "packages"),
    [
        (0, set()),
        (
            100,
            {
                "libvirt",
                "python3.11-libs",
                "a-package-with-a-very-long-name-that-does-not-fit",
            },
        ),
        (1, None),
    ],
)
def test_updates_are_told_from_none_and_from_no_answer(
    tmp_path: Path, manager: str, status: int, packages: set[str] | None
) -> None:
    output = CHECK_UPDATE if status == 100 else ""
    program = tmp_path / manager
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}END\nexit {status}\n")
    program.chmod(0o755)
    answer = subprocess.run(
        ["sh", "-c", Updates().command(manager)],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    if packages is None:
        assert answer.returncode == 1
    else:
        assert answer.returncode == 0
        assert Updates().process(answer.stdout.splitlines()).packages == packages


# captured from systemctl 252
UNITS = """\
nope.service ssh.service chronyd.service
LoadState=not-found
ActiveState=inactive
UnitFileState=

LoadState=loaded
ActiveState=active
UnitFileState=enabled

LoadState=masked
ActiveState=inactive
UnitFileState=masked
"""


def test_the_state_of_units_is_told_apart_in_their_order() -> None:
    units = Units().process(UNITS.splitlines())
    assert list(units) == ["nope.service", "ssh.service", "chronyd.service"]
    assert not units["nope.service"].exists
    assert units["ssh.service"] == Unit("loaded", "active", "enabled")
    assert units["chronyd.service"].masked


# in the form of ufw 0.31, which Ubuntu 12.04 has
USER_RULES = """\
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### tuple ### allow tcp 5900:6100 0.0.0.0/0 any 192.168.42.0/24 in
-A ufw-user-input -p tcp -m multiport --dports 5900:6100 -s 192.168.42.0/24 -j ACCEPT

### tuple ### deny tcp 1798 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 1798 -j DROP
"""
SHOWN = "Added user rules (see 'ufw status' for running firewall):\nufw allow 443/tcp"


@pytest.mark.parametrize(
    ("shown", "allowed"),
    [
        (f'echo "{SHOWN}"', {Allowed("443", ANYWHERE)}),
        (
            "echo 'ERROR: Invalid syntax' >&2; exit 1",
            {Allowed("22", ANYWHERE), Allowed("5900:6100", "192.168.42.0/24")},
        ),
    ],
    ids=["ufw 0.33", "ufw 0.31"],
)
def test_the_rules_of_ufw_are_told_by_an_old_one_too(
    shown: str, allowed: set[Allowed], tmp_path: Path
) -> None:
    program = tmp_path / "ufw"
    program.write_text(
        "#!/bin/sh\nif [ $1 = status ]; then echo Status: inactive; exit; fi\n" + shown + "\n"
    )
    program.chmod(0o755)
    (tmp_path / "user.rules").write_text(USER_RULES)
    answer = subprocess.run(
        ["sh", "-c", Rules().command().replace("/lib/ufw/", f"{tmp_path}/")],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = Rules().process(answer.stdout.splitlines())
    assert found == Ufw(installed=True, active=False, allowed=frozenset(allowed))


def test_the_state_of_services_without_systemd() -> None:
    output = "service ntpd,exists,running,service chronyd,service libvirt-bin,exists,enabled"
    assert Services().process(output.split(",")) == {
        "ntpd": Service(exists=True, enabled=False, running=True),
        "chronyd": Service(),
        "libvirt-bin": Service(exists=True, enabled=True, running=False),
    }


def test_what_stands_before_the_state_of_services_means_nothing() -> None:
    output = ["Welcome to kvm1!", "service ntpd", "exists"]
    assert Services().process(output) == {"ntpd": Service(exists=True)}


def test_a_host_is_not_taken_for_a_new_one_for_want_of_an_answer() -> None:
    assert AddedHost().process(["added"])
    assert not AddedHost().process(["bare"])
    with pytest.raises(FactProcessError, match="Welcome"):
        AddedHost().process(["Welcome to kvm1!", "added"])


@pytest.mark.parametrize(
    "output", [["Welcome!", "exists", "Zg=="], ["exists", "Z"], ["exists", "Zg==\N{BELL}"], [""]]
)
def test_a_files_text_is_not_guessed(output: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Text().process(output)


def test_what_names_are_resolved_with_is_read_without_what_other_networks_lack() -> None:
    lines = ["addresses []", "routes []", "resolver nameserver 127.0.0.53"]
    lines += ["resolver nameserver fe80::1%eth0", "resolver nameserver 192.168.42.3"]
    lines += ["resolver search example.org lab.example.org", "resolver domain example.org"]
    present = Network().process(lines)
    assert present is not None
    assert present.resolvers == Resolvers(
        (ip_address("192.168.42.3"),), ("example.org", "lab.example.org")
    )


def test_a_nic_goes_by_its_own_mac_address_and_what_stands_on_it_by_none() -> None:
    bond = {"ifname": "bond0", "address": "52:54:00:00:00:01", "linkinfo": {"info_kind": "bond"}}
    of_bond = {"ifname": "eth0", "address": "52:54:00:00:00:01"}
    other = {"ifname": "eth1", "address": "52:54:00:00:00:01", "permaddr": "52:54:00:00:00:0A"}
    present = Present(addresses=(bond, of_bond, other))
    assert present.devices == {"52:54:00:00:00:01": "eth0", "52:54:00:00:00:0a": "eth1"}


def test_a_network_is_unknown_where_ip_writes_no_json() -> None:
    assert Network().process(["addresses ", "routes "]) is None


def test_selinux_is_enforcing_or_not_there() -> None:
    answer = ["seen", "mode Enforcing", "config U0VMSU5VWD1lbmZvcmNpbmcK", "labelled"]
    assert Status().process(answer) == Selinux("enforcing", "SELINUX=enforcing\n", labelled=True)
    assert Status().process(["seen"]) == Selinux(None, None, labelled=False)
