"""ifcfg files: the text against the guide's, what goes with them, what is restarted."""

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmhost.network.backends.ifcfg.files import SYSCTLS
from kvmhost.network.backends.ifcfg.interfaces import parse
from kvmhost.network.backends.ifcfg.plan import Changes, changes, sysctls
from kvmhost.network.backends.ifcfg.render import removed, render
from kvmhost.network.interfaces import Interface
from kvmhost.network.model import Network
from tests.unit.network_examples import (
    BOND,
    GOLDEN,
    IPV6,
    LACP,
    NETWORKS,
    ON_BRIDGE,
    OPENVSWITCH,
    OPENVSWITCH_UPLINKS,
    UNTAGGED,
    UPLINKS,
    bonded,
    network,
    taking_over,
)

SCRIPTS = "/etc/sysconfig/network-scripts"
ETH0 = f"{SCRIPTS}/ifcfg-eth0"
NIC = "DEVICE=eth0\nHWADDR=00:04:xx:xx:xx:xx\nONBOOT=yes\nBOOTPROTO=dhcp\nUUID=0-1\n"

GOLDENS: dict[str, dict[str, Any]] = {
    "native": {},
    "native-untagged": {**UNTAGGED, "mtu": 9000, "bridge_stp": True},
    "native-bond": BOND,
    "native-ipv6": {**ON_BRIDGE, **IPV6},
    "openvswitch": OPENVSWITCH,
    "openvswitch-bond": {**OPENVSWITCH, **LACP, "mtu": 9000},
    "native-uplinks": UPLINKS,
    "openvswitch-uplinks": OPENVSWITCH_UPLINKS,
}


def rendered(any_network: Network, existing: dict[str, str] | None = None) -> dict[str, str]:
    files = existing or {}
    return {
        file.path: file.content for file in render(taking_over(parse, any_network, files), files)
    }


def after(any_network: Network, existing: dict[str, str]) -> dict[str, str]:
    """Return all files as they are after the change."""
    gone = removed(taking_over(parse, any_network, existing), existing)
    files = {**existing, **rendered(any_network, existing)}
    return {path: text for path, text in files.items() if path not in gone}


@pytest.mark.parametrize(("name", "changed"), GOLDENS.items(), ids=GOLDENS)
def test_golden(name: str, changed: dict[str, Any]) -> None:
    files = rendered(network(**changed)).items()
    text = "\n".join(f"==> {path} <==\n{content}" for path, content in files)
    assert text == (GOLDEN / f"ifcfg-{name}.txt").read_text()


# Where we differ from the guide's listings: its value, ours.
_EVERYWHERE: dict[str, tuple[str | None, str | None]] = {
    # On EL 7 and 8 NetworkManager would take the interface too.
    "NM_CONTROLLED": (None, "no"),
}
_MANAGEMENT: dict[str, tuple[str | None, str | None]] = {
    # The guide has name servers in its example for Ubuntu only.
    "DNS1": (None, "8.8.8.8"),
    "DNS2": (None, "8.8.4.4"),
    "DOMAIN": (None, "lab.example.org"),
}
_VLAN: dict[str, tuple[str | None, str | None]] = {
    # It always has its uplink's, and a NIC that is replaced has another.
    "HWADDR": ("00:04:xx:xx:xx:xx", None),
}
_BRIDGE: dict[str, tuple[str | None, str | None]] = {
    # EL 8 takes DELAY for hundredths of a second; before EL 6.4 there is only DELAY.
    "BRIDGING_OPTS": (None, "forward_delay=500"),
}


def _fake(tag: int) -> dict[str, tuple[str | None, str | None]]:
    # ifdown deletes the bridges whenever the network stops, and the guide's files do not say
    # what was deleted: after a restart, its host has bridges without VLAN and uplink.
    return {"OVSREQUIRES": (None, "cloudbr"), "OVS_OPTIONS": (None, f"cloudbr {tag}")}


DIFFERENCES: dict[str, dict[str, dict[str, tuple[str | None, str | None]]]] = {
    "native": {
        "eth0": _EVERYWHERE,
        "eth0.100": _EVERYWHERE | _VLAN | _MANAGEMENT,
        "eth0.200": _EVERYWHERE | _VLAN,
        "eth0.300": _EVERYWHERE | _VLAN,
        "cloudbr0": _EVERYWHERE | _BRIDGE,
        "cloudbr1": _EVERYWHERE | _BRIDGE,
    },
    "openvswitch": {
        "eth0": _EVERYWHERE,
        "cloudbr": {
            **_EVERYWHERE,
            "OVS_EXTRA": (
                None,
                "set port cloudbr trunks=100,200,300 -- --may-exist add-port cloudbr eth0",
            ),
        },
        # The network scripts take every word but bootp and dhcp alike.
        "mgmt0": {**_EVERYWHERE, **_MANAGEMENT, **_fake(100), "BOOTPROTO": ("static", "none")},
        "cloudbr0": _EVERYWHERE | _fake(200),
        "cloudbr1": _EVERYWHERE | _fake(300),
    },
}
# The guide has STP on its bridges for RHEL and none on those for Ubuntu; the settings choose.
AS_IN_THE_GUIDE: dict[str, dict[str, Any]] = {
    "native": {"bridge_stp": True},
    "openvswitch": OPENVSWITCH,
}


def listing(text: str) -> dict[tuple[str, str], str]:
    """Read files in the manner of head(1): the value of each (interface, variable)."""
    found = {}
    for name, body in re.findall(r"==> \S*/ifcfg-(\S+) <==\n((?:(?!==>).*\n?)*)", text):
        for word in shlex.split(body, comments=True):
            key, _, value = word.partition("=")
            found[name, key] = value
    return found


@pytest.mark.parametrize("name", DIFFERENCES)
def test_key_by_key_as_in_the_guide(name: str) -> None:
    guide = listing((GOLDEN / f"guide-{name}-ifcfg.txt").read_text())
    files = rendered(network(**AS_IN_THE_GUIDE[name]), {ETH0: NIC}).items()
    ours = listing("\n".join(f"==> {path} <==\n{text}" for path, text in files))
    compared = {key: (guide.get(key), ours.get(key)) for key in guide | ours}
    differences = {
        (interface, key): pair
        for interface, pairs in DIFFERENCES[name].items()
        for key, pair in pairs.items()
    }
    assert {key: pair for key, pair in compared.items() if pair[0] != pair[1]} == differences


def test_the_uplink_keeps_its_mac_address_and_stays_a_bond() -> None:
    bond = (
        "# mine\nDEVICE=bond0\nTYPE=Bond\nBONDING_MASTER=yes\n"
        "BONDING_OPTS='mode=802.3ad miimon=100'\nMACADDR=52:54:00:00:00:02\nBOOTPROTO=dhcp\n"
    )
    slave = "DEVICE=eth0\nMASTER=bond0\nSLAVE=yes\n"
    existing = {f"{SCRIPTS}/ifcfg-Bond_0": bond, ETH0: slave}
    files = after(network(uplink="bond0"), existing)
    assert "BONDING_OPTS='mode=802.3ad miimon=100'\n" in files[f"{SCRIPTS}/ifcfg-bond0"]
    assert "MACADDR=52:54:00:00:00:02\n" in files[f"{SCRIPTS}/ifcfg-bond0"]
    assert "TYPE=Bond\n" in files[f"{SCRIPTS}/ifcfg-bond0"]
    assert "dhcp" not in files[f"{SCRIPTS}/ifcfg-bond0"]
    assert files[ETH0] == slave
    assert f"{SCRIPTS}/ifcfg-Bond_0" not in files
    (found,) = (each for each in parse(files) if each.name == "bond0")
    assert found.ports == ("eth0",)
    assert after(network(uplink="bond0"), files) == files


def test_a_bond_takes_over_what_an_installer_gave_its_nics() -> None:
    existing = {
        f"{SCRIPTS}/ifcfg-Wired_connection_1": NIC,
        f"{SCRIPTS}/ifcfg-eth1": "DEVICE=eth1\nMASTER=bond1\n",
        f"{SCRIPTS}/ifcfg-mgmt": "DEVICE=eth0.100\nVLAN=yes\nBOOTPROTO=dhcp\n",
        f"{SCRIPTS}/ifcfg-Bond_0": (
            "DEVICE=bond0\nTYPE=Bond\nMACADDR=52:54:00:00:00:03\n"
            "BONDING_OPTS='mode=balance-rr primary=eth2'\n"
        ),
    }
    files = after(network(**BOND), existing)
    assert files.keys() == rendered(network(**BOND)).keys()
    both = "ONBOOT=yes\nBOOTPROTO=none\nNM_CONTROLLED=no\nHOTPLUG=no\n"
    slave = "TYPE=Ethernet\nMASTER=bond0\nSLAVE=yes\n"
    assert files[ETH0].endswith(f"DEVICE=eth0\nHWADDR=00:04:xx:xx:xx:xx\n{both}{slave}")
    assert files[f"{SCRIPTS}/ifcfg-eth1"].endswith(f"DEVICE=eth1\n{both}{slave}")
    assert files[f"{SCRIPTS}/ifcfg-bond0"].endswith(
        f"DEVICE=bond0\nMACADDR=52:54:00:00:00:03\n{both}"
        "TYPE=Bond\nBONDING_MASTER=yes\nBONDING_OPTS='mode=active-backup miimon=100'\n"
    )


def test_other_files_of_our_interfaces_go_and_those_of_others_stay() -> None:
    theirs = {
        f"{SCRIPTS}/ifcfg-lo": "DEVICE=lo\nIPADDR=127.0.0.1\n",
        f"{SCRIPTS}/ifcfg-eth1": "DEVICE=eth1\nBOOTPROTO=dhcp\n",
        f"{SCRIPTS}/ifcfg-eth0.bak": NIC,
    }
    of_ours = {
        f"{SCRIPTS}/ifcfg-Wired_connection_1": NIC,
        f"{SCRIPTS}/ifcfg-eth0:1": "DEVICE=eth0:1\n",
        f"{SCRIPTS}/ifcfg-cloudbr0": "TYPE=Bridge\n",
    }
    files = after(network(), {**theirs, **of_ours})
    assert files.keys() == theirs.keys() | rendered(network()).keys()
    assert {path: files[path] for path in theirs} == theirs


def without_ipv6(any_network: Network) -> list[str]:
    """Return the interfaces that sysctl.d(5) is told to have no IPv6."""
    _, *lines = rendered(any_network)[SYSCTLS].splitlines()
    return [
        re.fullmatch(r"net\.ipv6\.conf\.([\w/-]+)\.disable_ipv6 = 1", line)[1] for line in lines
    ]  # type: ignore[index]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ["cloudbr0", "cloudbr1"]),
        (ON_BRIDGE, ["cloudbr1"]),
        ({**UNTAGGED, "bridges": {"cloudbr0": None}, "guest_label": "cloudbr0"}, []),
        (OPENVSWITCH, ["cloudbr", "cloudbr0", "cloudbr1"]),
        (UPLINKS, ["bond1/50", "cloudbr0", "cloudbr1"]),
    ],
)
def test_a_bridge_without_an_address_has_no_ipv6(
    changed: dict[str, Any], expected: list[str]
) -> None:
    assert without_ipv6(network(**changed)) == expected


def test_a_bridge_that_stays_loses_its_ipv6_and_gets_it_back() -> None:
    on_mgmt0 = rendered(network(**OPENVSWITCH))
    on_cloudbr0 = rendered(network(**{**OPENVSWITCH, **ON_BRIDGE}))
    assert sysctls(on_mgmt0, on_mgmt0) == ""
    given_back, applied = sysctls(on_mgmt0, on_cloudbr0).splitlines()
    assert ".cloudbr0.disable_ipv6=$(cat " in given_back
    assert applied == f"sysctl -e -q -p {SYSCTLS}"
    assert sysctls({}, on_mgmt0) == f"{applied}\n"
    assert [line.partition("=")[0] for line in sysctls(on_mgmt0, {}).splitlines()] == [
        f"sysctl -e -q -w net.ipv6.conf.{name}.disable_ipv6"
        for name in ("cloudbr", "cloudbr0", "cloudbr1")
    ]


def test_a_bridge_of_an_earlier_network_goes() -> None:
    earlier = rendered(network(bridges={"cloudbr0": 200, "cloudbr1": 300, "cloudbr2": 400}))
    assert after(network(), earlier) == rendered(network())


def test_parse_reads_what_other_people_write() -> None:
    existing = {
        ETH0: "NAME='System eth0'  # comment\nBOOTPROTO=dhcp\nMTU=1400\nBROKEN='\n",
        f"{SCRIPTS}/ifcfg-vlan7": ('VLAN="yes"\nDEVICE=vlan7\nPHYSDEV=eth0\nBRIDGE="br7"\n'),
        f"{SCRIPTS}/ifcfg-br7": (
            "DEVICE=br7\nTYPE=Bridge\nDELAY=0\nIPADDR0=10.7.0.1\nPREFIX0=24\nIPADDR2=10.7.0.2\n"
            "NETMASK2=255.255.0.0\nGATEWAY=10.7.0.254\nDNS2=10.7.0.9\nDNS1=fd00::9\n"
            "IPV6ADDR=fd00::1/64\nIPV6_DEFAULTGW=fd00::254\n"
        ),
        f"{SCRIPTS}/ifcfg-ovs": "DEVICE=ovs\nDEVICETYPE=ovs\nTYPE=OVSBridge\n",
        f"{SCRIPTS}/ifcfg-eth5": "DEVICE=eth5\nTYPE=OVSPort\nOVS_BRIDGE=ovs\n",
    }
    found = {interface.name: interface for interface in parse(existing)}
    assert found["eth0"] == Interface(
        "eth0",
        "ethernet",
        mtu=1400,
        dhcp=True,
        gateway_by_dhcp=True,
        options=(("BROKEN", "'"),),
    )
    assert (found["vlan7"].parent, found["vlan7"].tag) == ("eth0", 7)
    assert (found["br7"].ports, found["br7"].stp, found["br7"].forward_delay) == (
        ("vlan7",),
        False,
        0,
    )
    assert list(map(str, found["br7"].addresses)) == ["10.7.0.1/24", "10.7.0.2/16", "fd00::1/64"]
    assert list(map(str, found["br7"].gateways)) == ["10.7.0.254", "fd00::254"]
    assert list(map(str, found["br7"].dns_servers)) == ["fd00::9", "10.7.0.9"]
    assert found["ovs"] == Interface("ovs", "bridge", ports=("eth5",))


ROUTES: dict[str, dict[str, str]] = {
    "ip-route's lines": {
        f"{SCRIPTS}/route-eth0": (
            "# storage\n\n10.0.0.0/8 via 192.168.42.254 dev eth0\n"
            "  10.9.9.9   via 192.168.42.253 metric 7\ndefault via 192.168.42.1\n"
            "default via 10.7.0.1 metric 500\n172.16.0.0/12 dev eth0 scope link\n"
        ),
        f"{SCRIPTS}/route6-eth0": "fd00:7::/48 via fe80::7 dev eth0\n",
        f"{SCRIPTS}/rule-eth0": "from 192.168.42.11 table 7\n",
    },
    "assignments": {
        f"{SCRIPTS}/route-eth0": (
            "ADDRESS0=10.0.0.0\nNETMASK0=255.0.0.0\nGATEWAY0=192.168.42.254\n"
            "ADDRESS1=172.16.0.0\nNETMASK1=255.240.0.0\n"
            "ADDRESS3=10.10.0.0\nNETMASK3=255.255.0.0\nGATEWAY3=192.168.42.3\n"
        ),
    },
}


def test_routes_and_rules_are_read() -> None:
    found = parse({ETH0: NIC, **ROUTES["ip-route's lines"]})[0]
    assert list(map(str, found.routes)) == [
        "10.0.0.0/8 via 192.168.42.254",
        "10.9.9.9/32 via 192.168.42.253 metric 7",
        "fd00:7::/48 via fe80::7",
    ]
    assert list(map(str, found.gateways)) == ["192.168.42.1"]
    assert found.options == (
        ("route", "default via 10.7.0.1 metric 500"),
        ("route", "172.16.0.0/12 dev eth0 scope link"),
        ("rule", "from 192.168.42.11 table 7"),
    )
    # ifup-routes ends at the first number that is not there
    found = parse({ETH0: NIC, **ROUTES["assignments"]})[0]
    assert list(map(str, found.routes)) == ["10.0.0.0/8 via 192.168.42.254"]
    assert found.options == (("route", "172.16.0.0/12"),)


def test_routes_go_with_the_address_and_lines_stay_with_theirs() -> None:
    existing = {
        ETH0: "DEVICE=eth0\nETHTOOL_OPTS='wol g'\n",
        f"{SCRIPTS}/ifcfg-vlan100": (
            "DEVICE=vlan100\nVLAN=yes\nPHYSDEV=eth0\nIPADDR=192.168.42.11\nPREFIX=24\nZONE=mgmt\n"
        ),
        f"{SCRIPTS}/route-vlan100": "10.0.0.0/8 via 192.168.42.254\n",
        f"{SCRIPTS}/rule-vlan100": "from 192.168.42.11 table 7\n",
    }
    files = after(network(), existing)
    assert files[f"{SCRIPTS}/route-eth0.100"].endswith(
        "10.0.0.0/8 via 192.168.42.254 dev eth0.100\n"
    )
    assert files[f"{SCRIPTS}/rule-eth0.100"].endswith("from 192.168.42.11 table 7\n")
    assert "ZONE=mgmt\n" in files[f"{SCRIPTS}/ifcfg-eth0.100"]
    assert "ETHTOOL_OPTS='wol g'\n" in files[ETH0]
    assert not [path for path in files if "vlan100" in path]
    assert after(network(), files) == files
    # a route alone that is changed restarts its interface
    other = {f"{SCRIPTS}/route-eth0.100": "10.0.0.0/8 via 192.168.42.250\n"}
    assert changes(files, {**files, **other}).up == ("eth0.100",)


@pytest.mark.parametrize(
    ("more", "bridge", "nic"),
    [("IPADDR=192.168.42.11\nPREFIX=24\n", "dmz", None), ("", None, "dmz")],
)
def test_a_firewalls_zone_moves_with_the_address(
    more: str, bridge: str | None, nic: str | None
) -> None:
    files = after(network(**UNTAGGED), {ETH0: f"DEVICE=eth0\n{more}ZONE=dmz\n"})
    found = {each.name: each for each in parse(files)}
    assert dict(found["cloudbr0"].addressing).get("ZONE") == bridge
    assert dict(found["eth0"].options).get("ZONE") == nic
    assert after(network(**UNTAGGED), files) == files


@pytest.mark.parametrize(
    ("text", "competes"),
    [
        ("GATEWAY=10.0.0.1\n", True),
        ("GATEWAY=10.0.0.1\nDEFROUTE=no\n", False),
        ("GATEWAY=10.0.0.1\nMETRIC=50\n", False),
        ("BOOTPROTO=dhcp\n", True),
        ("BOOTPROTO=dhcp\nDEFROUTE=no\n", False),
        ("BOOTPROTO=dhcp\nMETRIC=50\n", False),
    ],
)
def test_a_default_gateway_competes_unless_it_is_told_not_to(text: str, competes: bool) -> None:
    found = parse({f"{SCRIPTS}/ifcfg-eth1": f"DEVICE=eth1\n{text}"})[0]
    assert bool(found.gateways or found.gateway_by_dhcp) == competes
    assert found.starts
    assert not parse({f"{SCRIPTS}/ifcfg-eth1": f"DEVICE=eth1\nONBOOT=no\n{text}"})[0].starts


def test_a_file_that_names_no_device_is_the_nics_that_has_its_mac_address() -> None:
    existing = {f"{SCRIPTS}/ifcfg-Auto_1": "HWADDR=52:54:00:AA:00:01\nBOOTPROTO=dhcp\n"}
    devices = {"52:54:00:aa:00:01": "eth0"}
    assert [each.name for each in parse(existing, devices)] == ["eth0"]
    assert removed(network(), existing, devices) == tuple(existing)


def test_what_carries_the_management_address_comes_up_first() -> None:
    before = {
        f"{SCRIPTS}/ifcfg-br9": "DEVICE=br9\nTYPE=Bridge\nBOOTPROTO=dhcp\n",
        ETH0: "DEVICE=eth0\nBRIDGE=br9\n",
        f"{SCRIPTS}/ifcfg-eth0.100": "DEVICE=eth0.100\nVLAN=yes\nIPADDR=192.168.42.11\n",
    }
    found = changes(after(network(), before), before, soonest={"eth0.100"})
    assert found.up == ("eth0", "eth0.100", "br9")


OTHER_TAG = {"bridges": {"cloudbr0": 200, "cloudbr1": 301}}
BEFORE = {ETH0: NIC, f"{SCRIPTS}/ifcfg-eth0.7": "DEVICE=eth0.7\nVLAN=yes\nONBOOT=no\n"}
OVS_OTHER_TAG = {**OPENVSWITCH, "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": 301}}
BONDED = ("eth0", "eth1", "bond0")
OVS_OTHER_ADDRESS = {**OPENVSWITCH, "management_address": "192.168.42.12/24"}
RESTARTS: dict[str, tuple[dict[str, str], dict[str, str], Changes]] = {
    "nothing": (rendered(network()), rendered(network()), Changes()),
    "a bare host": (
        BEFORE,
        after(network(), BEFORE),
        Changes(
            down=("eth0.7", "eth0"),
            deleted=("cloudbr0", "cloudbr1"),
            up=("eth0", "eth0.100", "eth0.200", "eth0.300", "cloudbr0", "cloudbr1"),
        ),
    ),
    "another tag": (
        rendered(network()),
        rendered(network(**OTHER_TAG)),
        Changes(down=("cloudbr1", "eth0.300"), deleted=("cloudbr1",), up=("eth0.301", "cloudbr1")),
    ),
    "the address moves to a bridge": (
        rendered(network()),
        rendered(network(**ON_BRIDGE)),
        Changes(
            down=("cloudbr0", "eth0.200", "eth0.100"),
            deleted=("cloudbr0",),
            up=("eth0.200", "cloudbr0"),
        ),
    ),
    "another forward delay": (
        rendered(network()),
        rendered(network(bridge_forward_delay=7)),
        Changes(
            down=("cloudbr1", "cloudbr0", "eth0.300", "eth0.200"),
            deleted=("cloudbr0", "cloudbr1"),
            up=("eth0.200", "eth0.300", "cloudbr0", "cloudbr1"),
        ),
    ),
    "from a NIC to a bond": (
        rendered(network()),
        after(network(**BOND), rendered(network())),
        Changes(
            down=("cloudbr1", "cloudbr0", "eth0.300", "eth0.200", "eth0.100", "eth0"),
            deleted=("bond0", "cloudbr0", "cloudbr1"),
            up=(*BONDED, "bond0.100", "bond0.200", "bond0.300", "cloudbr0", "cloudbr1"),
        ),
    ),
    "from a bond to a NIC, with Open vSwitch": (
        rendered(network(**OPENVSWITCH, **BOND)),
        after(network(**OPENVSWITCH), rendered(network(**OPENVSWITCH, **BOND))),
        Changes(
            down=BONDED,
            deleted=("bond0",),
            flushed=("mgmt0", "cloudbr0", "cloudbr1", "cloudbr"),
            up=("eth0", "cloudbr", "mgmt0", "cloudbr0", "cloudbr1"),
        ),
    ),
    "another address on a fake bridge": (
        rendered(network(**OPENVSWITCH)),
        rendered(network(**OVS_OTHER_ADDRESS)),
        Changes(flushed=("mgmt0",), up=("mgmt0",)),
    ),
    "another tag of a fake bridge": (
        rendered(network(**OPENVSWITCH)),
        rendered(network(**OVS_OTHER_TAG)),
        Changes(
            flushed=("mgmt0", "cloudbr0", "cloudbr1", "cloudbr"),
            up=("cloudbr", "mgmt0", "cloudbr0", "cloudbr1"),
        ),
    ),
    "from Open vSwitch to native bridges": (
        rendered(network(**OPENVSWITCH)),
        rendered(network(**ON_BRIDGE)),
        Changes(
            deleted=("cloudbr0", "cloudbr1"),
            flushed=("cloudbr1", "cloudbr0", "mgmt0", "cloudbr"),
            dropped=("cloudbr1", "cloudbr0", "mgmt0", "cloudbr"),
            up=("eth0.200", "eth0.300", "cloudbr0", "cloudbr1"),
        ),
    ),
}


@pytest.mark.parametrize(("before", "then", "expected"), RESTARTS.values(), ids=RESTARTS)
def test_only_what_changed_is_restarted(
    before: dict[str, str], then: dict[str, str], expected: Changes
) -> None:
    found = changes(before, then)
    assert found.deleted == expected.deleted
    for part in ("down", "flushed", "dropped", "up"):
        assert sorted(getattr(found, part)) == sorted(getattr(expected, part))


@settings(max_examples=300)
@given(NETWORKS, NETWORKS)
def test_nothing_is_stopped_before_what_stands_on_it(old: Network, new: Network) -> None:
    before = rendered(old)
    then = after(new, before)
    found = changes(before, then)
    for names, interfaces, upwards in (
        (found.down, parse(before), False),
        (found.flushed, parse(before), False),
        (found.up, parse(then), True),
    ):
        order = {name: position for position, name in enumerate(names)}
        for interface in interfaces:
            for lower in set(interface.below) & order.keys() if interface.name in order else ():
                assert (order[lower] < order[interface.name]) == upwards
    for interface in parse(then):
        if interface.stp is not None and interface.name in found.up:
            assert set(interface.ports) <= set(found.up), "a bridge is made anew without its port"


def test_the_network_scripts_are_told_the_file_and_not_the_interface() -> None:
    before = {
        ETH0: NIC,
        f"{SCRIPTS}/ifcfg-eth0:1": "DEVICE=eth0:1\nONPARENT=yes\n",
        f"{SCRIPTS}/ifcfg-mgmt": "DEVICE=eth0.100\nVLAN=yes\nIPADDR=10.0.0.2\nGATEWAY=10.0.0.1\n",
    }
    then = after(network(**OPENVSWITCH), before)
    assert changes(before, then).down == ("mgmt", "eth0")
    assert changes(then, before).up == ("eth0", "mgmt")


def test_what_a_bond_with_another_nic_took_down_is_brought_up_by_the_rollback() -> None:
    """The bond's own file says nothing of its NICs."""
    one = rendered(network(**bonded("eth0")))
    two = after(network(**BOND), one)
    assert set(changes(one, two).down) - {"eth1"} <= set(changes(two, one).up)


def test_what_has_to_be_restarted_takes_along_what_stands_on_it() -> None:
    files = rendered(network())
    found = changes(files, files, {"eth0.300"})
    assert found == Changes(
        down=("cloudbr1", "eth0.300"), deleted=("cloudbr1",), up=("eth0.300", "cloudbr1")
    )


FOREIGN = st.dictionaries(
    st.sampled_from([f"{SCRIPTS}/ifcfg-{name}" for name in ("lo", "eth7", "br9", "a.bak", "x")]),
    st.sampled_from(
        [
            "DEVICE=lo\nIPADDR=127.0.0.1\nNETMASK=255.0.0.0\n",
            "DEVICE=eth7\nBOOTPROTO=dhcp\n",
            "DEVICE=br9\nTYPE=Bridge\nSTP=on\nDELAY=15\n",
            "DEVICE=eth0\nBOOTPROTO=dhcp\n",
            "DEVICE=cloudbr0\nTYPE=Bridge\n",
            "# nothing\n",
        ]
    ),
)


def as_it_is_read(any_network: Network) -> set[Interface]:
    """Return the interfaces without what our own file says of a bond: the settings say it anew."""
    return {replace(each, bond_options=()) for each in any_network.interfaces}


@settings(max_examples=300)
@given(FOREIGN, NETWORKS, NETWORKS)
def test_other_files_stay_and_mean_what_they_meant(
    existing: dict[str, str], old: Network, new: Network
) -> None:
    theirs = {each for each in parse(existing) if each.name not in new.names}
    files = after(new, existing)
    assert set(parse(files)) == theirs | as_it_is_read(new)
    assert after(new, files) == files
    once_other = after(new, after(old, existing))
    routes = {path for path in once_other if "/route-" in path}  # they move with their address
    assert rendered(new, existing).keys() <= once_other.keys() <= files.keys() | routes


@settings(max_examples=1000)
@given(NETWORKS)
def test_rendered_and_read_back_it_is_the_same_network(any_network: Network) -> None:
    assert set(parse(rendered(any_network))) == as_it_is_read(any_network)
