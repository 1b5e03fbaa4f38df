"""What facts make of what the programs on a host write."""

import os
import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from kvmhost.facts.cloudinit import Configuration, Told
from kvmhost.facts.cloudstack import AddedHost
from kvmhost.facts.files import Text
from kvmhost.facts.libvirt import Guests
from kvmhost.facts.network import Network
from kvmhost.facts.packages import Installed, Updates
from kvmhost.facts.selinux import Selinux, Status
from kvmhost.facts.systemd import Unit, Units
from kvmhost.facts.sysvinit import Service, Services
from kvmhost.network.change import Present
from kvmhost.network.takeover import Resolvers

# captured from rpm 4.18
RPM = """\
installed libvirt 9.0.0-1
installed /usr/bin/ovs-vsctl 3.4.1-5.el9
no package provides qemu-kvm
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


def test_only_packages_that_are_there_are_installed() -> None:
    assert Installed().process(RPM.splitlines()) == {
        "libvirt": "9.0.0-1",
        "/usr/bin/ovs-vsctl": "3.4.1-5.el9",
    }
    assert Installed().process(DPKG.splitlines()) == {"bash": "5.2.15-2+b8"}


SPEC = """\
Name: openvswitch3.4
Version: 3.4.1
Release: 5.el9
Summary: x
License: x
BuildArch: noarch
Provides: /usr/bin/ovs-vsctl, network-switch = 3
%description
%files
"""


@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="there is no rpmbuild here")
def test_a_package_that_provides_a_name_is_installed_by_that_name(tmp_path: Path) -> None:
    (tmp_path / "x.spec").write_text(SPEC)
    database = tmp_path / "rpm"
    database.write_text(f'#!/bin/sh\nexec {shutil.which("rpm")} --dbpath {tmp_path}/db "$@"\n')
    database.chmod(0o755)
    here = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    names = ("openvswitch3.4", "/usr/bin/ovs-vsctl", "network-switch", "openvswitch", "/no/such")
    for command in (
        f"rpmbuild -bb --quiet --define '_topdir {tmp_path}/built' {tmp_path}/x.spec",
        f"rpm --initdb && rpm -i --nodeps {tmp_path}/built/RPMS/noarch/*.rpm",
        Installed().command("dnf", names),
    ):
        answer = subprocess.run(
            ["sh", "-c", command], env=here, capture_output=True, text=True, check=True
        )
    found = Installed().process(answer.stdout.splitlines())
    assert found == dict.fromkeys(names[:3], "3.4.1-5.el9")


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


# in the form of systemctl 252; only services have NRestarts
UNITS = """\
nope.service ssh.service libvirtd.socket libvirtd.service chronyd.service
0123456789abcdef0123456789abcdef
NRestarts=0
LoadState=not-found
ActiveState=inactive
UnitFileState=

NRestarts=0
LoadState=loaded
ActiveState=active
UnitFileState=enabled
InvocationID=0123456789abcdef0123456789abcdef

LoadState=loaded
ActiveState=active
UnitFileState=enabled
InvocationID=f23456789abcdef0123456789abcdef0

NRestarts=17
LoadState=loaded
ActiveState=activating
UnitFileState=enabled
InvocationID=

NRestarts=0
LoadState=masked
ActiveState=inactive
UnitFileState=masked
"""


def test_the_state_of_units_is_told_apart_in_their_order() -> None:
    units = Units().process(UNITS.splitlines())
    assert list(units) == UNITS.splitlines()[0].split()
    assert not units["nope.service"].exists
    assert units["ssh.service"] == Unit("loaded", "active", "enabled", waits=True)
    assert units["libvirtd.socket"] == Unit("loaded", "active", "enabled")
    assert units["libvirtd.service"] == Unit("loaded", "activating", "enabled", restarts=17)
    assert units["libvirtd.service"].running
    assert not units["libvirtd.service"].up
    assert units["chronyd.service"].masked


def test_guests_are_told_from_none_and_from_no_answer() -> None:
    assert Guests().process(["guest i-2-3-VM", "guest r-4-VM", "all"]) == ("i-2-3-VM", "r-4-VM")
    assert Guests().process(["all"]) == ()
    assert Guests().process(["guest i-2-3-VM"]) is None


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


@pytest.mark.parametrize(
    ("lines", "added"),
    [((), None), (("added",), ()), (("added 10.0.0.1 10.0.0.2",), ("10.0.0.1", "10.0.0.2"))],
)
def test_an_added_hosts_network_has_the_addresses_of_its_certificate(
    lines: tuple[str, ...], added: tuple[str, ...] | None
) -> None:
    present = Network().process(["addresses []", "routes []", *lines])
    assert present is not None
    assert present.added == added


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
