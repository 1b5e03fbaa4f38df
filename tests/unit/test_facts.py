"""What facts make of what the programs on a host write."""

import os
import subprocess
from pathlib import Path

import pytest

from kvmhost.facts.firewalld import Firewalld, InterfaceZone, Zone
from kvmhost.facts.network import Network
from kvmhost.facts.packages import Installed, Updates
from kvmhost.facts.selinux import Selinux, Status
from kvmhost.facts.systemd import Unit, Units
from kvmhost.facts.sysvinit import Service, Services

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


def test_the_state_of_services_without_systemd() -> None:
    output = "service ntpd,exists,running,service chronyd,service libvirt-bin,exists,enabled"
    assert Services().process(output.split(",")) == {
        "ntpd": Service(exists=True, enabled=False, running=True),
        "chronyd": Service(),
        "libvirt-bin": Service(exists=True, enabled=True, running=False),
    }


def test_a_network_is_unknown_where_ip_writes_no_json() -> None:
    assert Network().process(["addresses ", "routes "]) is None


def test_selinux_is_enforcing_or_not_there() -> None:
    answer = ["mode Enforcing", "config U0VMSU5VWD1lbmZvcmNpbmcK", "labelled"]
    assert Status().process(answer) == Selinux("enforcing", "SELINUX=enforcing\n", labelled=True)
    assert Status().process(["seen"]) == Selinux(None, None, labelled=False)
