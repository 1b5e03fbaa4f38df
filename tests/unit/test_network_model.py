"""The model: what a network consists of, and which settings describe none."""

from ipaddress import IPv4Address, IPv4Interface, ip_address, ip_interface
from typing import Any

import pytest
from hypothesis import given

from kvmhost.network.interfaces import Interface
from kvmhost.network.model import InvalidNetworkError, Network, build
from kvmhost.network.rules import problems
from tests.unit.network_examples import (
    BOND,
    GUIDE,
    IPV6,
    LACP,
    NETWORKS,
    ON_BRIDGE,
    OPENVSWITCH,
    UNTAGGED,
    bonded,
    keys,
    network,
)

LAYER_3: dict[str, Any] = {
    "addresses": (IPv4Interface("192.168.42.11/24"),),
    "gateways": (IPv4Address("192.168.42.1"),),
    "dns_servers": (ip_address("8.8.8.8"), ip_address("8.8.4.4")),
    "dns_search": ("lab.example.org",),
}
NATIVE: dict[str, Any] = {"kind": "bridge", "stp": False, "forward_delay": 5}


def vlan(tag: int, **rest: Any) -> Interface:
    return Interface(f"eth0.{tag}", "vlan", parent="eth0", tag=tag, **rest)


def test_the_guides_example_puts_the_address_on_the_vlan_interface() -> None:
    assert network().interfaces == (
        Interface("eth0", "ethernet"),
        vlan(100, **LAYER_3),
        vlan(200),
        Interface("cloudbr0", ports=("eth0.200",), **NATIVE),
        vlan(300),
        Interface("cloudbr1", ports=("eth0.300",), **NATIVE),
    )
    assert network().labels.management == "eth0.100"


def test_an_untagged_bridge_has_the_uplink_itself_as_its_port() -> None:
    assert network(**UNTAGGED).interfaces == (
        Interface("eth0", "ethernet"),
        Interface("cloudbr0", ports=("eth0",), **NATIVE, **LAYER_3),
        vlan(300),
        Interface("cloudbr1", ports=("eth0.300",), **NATIVE),
    )


def test_ipv6_sits_beside_ipv4() -> None:
    (having,) = (each for each in network(**IPV6).interfaces if each.addresses)
    assert having.name == "eth0.100"
    assert having.addresses == (ip_interface("192.168.42.11/24"), ip_interface("2001:db8::11/64"))
    assert having.gateways == (ip_address("192.168.42.1"), ip_address("fe80::1"))


def test_a_bond_stands_on_its_nics_and_under_all_else() -> None:
    one = network(**LACP, mtu=9000)
    assert one.interfaces[:3] == (
        Interface("eth0", "ethernet", mtu=9000),
        Interface("eth1", "ethernet", mtu=9000),
        Interface("bond0", "bond", ports=("eth0", "eth1"), bond_mode="802.3ad", mtu=9000),
    )
    assert [each.parent for each in one.interfaces if each.kind == "vlan"] == ["bond0"] * 3
    assert one.nics == ("eth0", "eth1")
    assert one.interfaces == network(**bonded("eth1", "eth0", mode="802.3ad"), mtu=9000).interfaces


def test_a_bond_claims_what_its_nics_had() -> None:
    assert network(**BOND).claims >= {"eth0", "eth0.100", "eth1.200", "bond0.300"}


def test_open_vswitch_has_a_fake_bridge_for_each_vlan() -> None:
    with_mtu = network(**OPENVSWITCH, mtu=9000)
    assert with_mtu.interfaces == (
        Interface("eth0", "ethernet", mtu=9000),
        Interface("cloudbr", "bridge", ports=("eth0",), mtu=9000),
        Interface("mgmt0", "bridge", parent="cloudbr", tag=100, mtu=9000, **LAYER_3),
        Interface("cloudbr0", "bridge", parent="cloudbr", tag=200, mtu=9000),
        Interface("cloudbr1", "bridge", parent="cloudbr", tag=300, mtu=9000),
    )
    assert with_mtu.bridge_type == "openvswitch"


def test_open_vswitch_says_tag_0_for_an_untagged_bridge() -> None:
    bridges = {"mgmt0": None, "cloudbr0": 200, "cloudbr1": 300}
    untagged = network(**{**OPENVSWITCH, "bridges": bridges, "management_vlan": None})
    assert [each.tag for each in untagged.interfaces] == [None, None, 0, 200, 300]


VALID: dict[str, dict[str, Any]] = {
    "the guide's example": {},
    "the address on a bridge": ON_BRIDGE,
    "the tag of the bridge with the address": {
        "management_interface": "cloudbr0",
        "management_vlan": 200,
    },
    "an untagged bridge": UNTAGGED,
    "the address on the uplink": {"management_vlan": None},
    "the VLAN interface by its name": {"management_interface": "eth0.100"},
    "one bridge for all guests": {"bridges": {"cloudbr0": 200}, "guest_label": "cloudbr0"},
    "Open vSwitch": OPENVSWITCH,
    "a bond": BOND,
    "a bond with Open vSwitch": {**OPENVSWITCH, **LACP},
    "a bond of NICs with names of any length": bonded("enp129s0f0np0"),
    "a NIC of nine characters with Open vSwitch": {**OPENVSWITCH, "uplink": "enp0s31f6"},
    "the first and the last tag": {"bridges": {"cloudbr0": 1, "cloudbr1": 4094}},
    "a point-to-point subnet": {"management_address": "10.0.0.0/31", "gateway": "10.0.0.1"},
    "IPv6 with a gateway that is link-local": IPV6,
    "IPv6 with a gateway in its subnet": {**IPV6, "gateway6": "2001:db8::1"},
    "IPv6 with all routers of its subnet for a gateway": {**IPV6, "gateway6": "2001:db8::"},
    "IPv6 without a gateway": {**IPV6, "gateway6": None},
    "IPv6 on a point-to-point link": {"management_address6": "fd00::/127", "gateway6": "fd00::1"},
    "a gateway that ends in 255": {
        "management_address": "10.0.0.1/23",
        "gateway": "10.0.0.255",
    },
}


@pytest.mark.parametrize("changes", VALID.values(), ids=VALID)
def test_valid(changes: dict[str, Any]) -> None:
    assert problems(keys(**changes)) == ()
    assert build(keys(**changes)).management in build(keys(**changes)).names


# What is wrong: the changed keys, the key that the problem names, and part of what is accepted.
INVALID: dict[str, tuple[dict[str, Any], str, str]] = {
    "a NIC that the agent does not know": ({"uplink": "wlan0"}, "uplink", "eth, bond"),
    "the loopback interface": ({"uplink": "lo"}, "uplink", "eth, bond"),
    "a NIC too long for br<nic>-<vlan>": ({"uplink": "enp0s31f6"}, "uplink", "at most 8"),
    "a NIC too long for Linux": (
        {**OPENVSWITCH, "uplink": "enx001122334455a"},
        "uplink",
        "at most 15",
    ),
    "a bond with the name of a NIC": (
        {"bonds": {"eth0": {"nics": ["eth1"]}}},
        "bonds",
        "such as bond0",
    ),
    "a bond in itself": (bonded("bond0"), "bonds", "no uplinks: bond0, lo"),
    "a NIC twice in a bond": (bonded("eth0", "eth0"), "bonds", "in one bond only"),
    "a bond of VLANs": (bonded("eth0.5"), "bonds", "letters, digits"),
    "a NIC that Linux cannot name": (
        bonded("enx001122334455a"),
        "bonds",
        "at most 15",
    ),
    "a bridge named as a NIC of the bond": (
        {**BOND, "bridges": {"eth1": 5}},
        "bridges",
        "the interface eth1",
    ),
    "an MTU too small": ({"mtu": 1279}, "mtu", "1280 to 9216"),
    "an MTU too large": ({"mtu": 9217}, "mtu", "1280 to 9216"),
    "a bridge name with a space": ({"bridges": {"a b": 5}}, "bridges", "letters, digits"),
    "a bridge name with a dot": ({"bridges": {"br0.5": 5}}, "bridges", "letters, digits"),
    "a bridge that looks like a VLAN": ({"bridges": {"vlan5": 5}}, "bridges", "not vlan<N>"),
    "a bridge name too long": ({"bridges": {"sixteen-chars-ab": 5}}, "bridges", "at most 15"),
    "a bridge named as the uplink": ({"bridges": {"eth0": 5}}, "bridges", "the interface eth0"),
    "CloudStack's link-local bridge": ({"bridges": {"cloud0": 5}}, "bridges", "CloudStack makes"),
    "CloudStack's guest bridges": ({"bridges": {"breth0-5": 5}}, "bridges", "breth0-<vlan>"),
    "tag 0": ({"bridges": {"cloudbr0": 0}}, "bridges", "from 1 to 4094"),
    "tag 4095": ({"bridges": {"cloudbr0": 4095}}, "bridges", "from 1 to 4094"),
    "a tag twice": ({"bridges": {"cloudbr0": 7, "cloudbr1": 7}}, "bridges", "no other bridge has"),
    "two untagged bridges": (
        {"bridges": {"cloudbr0": None, "cloudbr1": None}},
        "bridges",
        "only one bridge can be untagged",
    ),
    "a management tag out of range": ({"management_vlan": 4095}, "management_vlan", "1 to 4094"),
    "the management tag on a bridge too": (
        {"management_vlan": 200},
        "management_vlan",
        "management_interface 'cloudbr0'",
    ),
    "address and untagged bridge on the uplink": (
        {**UNTAGGED, "management_interface": None},
        "management_vlan",
        "management_interface 'cloudbr0'",
    ),
    "a management tag other than its bridge's": (
        {"management_interface": "cloudbr0", "management_vlan": 100},
        "management_vlan",
        "None or the tag of cloudbr0, 200",
    ),
    "no such management interface": (
        {"management_interface": "eth1"},
        "management_interface",
        "cloudbr0, cloudbr1), or None for eth0.100",
    ),
    "Open vSwitch with the address beside it": (
        {**OPENVSWITCH, "management_interface": None},
        "management_interface",
        "because Open vSwitch has the uplink",
    ),
    "an address without prefix": (
        {"management_address": "192.168.42.11"},
        "management_address",
        "such as 192.168.42.11/24",
    ),
    "no address": ({"management_address": "kvm1/24"}, "management_address", "an IPv4 address"),
    "the network's own address": (
        {"management_address": "192.168.42.0/24"},
        "management_address",
        "not its network or broadcast",
    ),
    "the broadcast address": (
        {"management_address": "192.168.42.255/24"},
        "management_address",
        "not its network or broadcast",
    ),
    "the broadcast address of four": (
        {"management_address": "10.0.0.3/30", "gateway": "10.0.0.1"},
        "management_address",
        "not its network or broadcast",
    ),
    "a link-local address": (
        {"management_address": "169.254.1.2/16", "gateway": "169.254.1.1"},
        "management_address",
        "not link-local",
    ),
    "a multicast address": (
        {"management_address": "224.1.1.2/16", "gateway": "224.1.1.1"},
        "management_address",
        "unicast",
    ),
    "no gateway address": ({"gateway": "router"}, "gateway", "an IPv4 address"),
    "a gateway elsewhere": ({"gateway": "192.168.43.1"}, "gateway", "in 192.168.42.0/24"),
    "the host as its own gateway": ({"gateway": "192.168.42.11"}, "gateway", "other than"),
    "a broadcasting gateway": ({"gateway": "192.168.42.255"}, "gateway", "a host's address"),
    "an IPv6 address without prefix": (
        {"management_address6": "2001:db8::11"},
        "management_address6",
        "such as 2001:db8::11/64",
    ),
    "an IPv4 address for IPv6": (
        {"management_address6": "192.168.42.11/24"},
        "management_address6",
        "an IPv6 address",
    ),
    "an IPv6 address with an interface": (
        {"management_address6": "fe80::1%eth0/64"},
        "management_address6",
        "an IPv6 address",
    ),
    "a link-local IPv6 address": (
        {"management_address6": "fe80::11/64"},
        "management_address6",
        "not link-local",
    ),
    "an IPv6 address of many": (
        {"management_address6": "ff02::1/64"},
        "management_address6",
        "a unicast address",
    ),
    "an IPv4 address in IPv6's clothes": (
        {"management_address6": "::ffff:10.0.0.1/120"},
        "management_address6",
        "a unicast address",
    ),
    "the IPv6 address of all routers": (
        {"management_address6": "2001:db8::/64"},
        "management_address6",
        "not that of all its routers",
    ),
    "an IPv6 gateway without an address": ({"gateway6": "fe80::1"}, "gateway6", "None without"),
    "no IPv6 gateway": ({**IPV6, "gateway6": "10.0.0.1"}, "gateway6", "an IPv6 address"),
    "an IPv6 gateway with an interface": (
        {**IPV6, "gateway6": "fe80::1%eth0"},
        "gateway6",
        "without %<interface>",
    ),
    "an IPv6 gateway elsewhere": (
        {**IPV6, "gateway6": "2001:db8:1::1"},
        "gateway6",
        "or one in 2001:db8::/64",
    ),
    "the host as its own IPv6 gateway": (
        {**IPV6, "gateway6": "2001:db8::11"},
        "gateway6",
        "other than this host's own",
    ),
    "no DNS address": ({"dns_servers": ["8.8.8.8", "dns"]}, "dns_servers", "an IP address"),
    "no domain": ({"dns_search": ["lab example"]}, "dns_search", "a domain name"),
    "a delay too short for STP": (
        {"bridge_stp": True, "bridge_forward_delay": 1},
        "bridge_forward_delay",
        "2 to 30 seconds with bridge_stp True",
    ),
    "a negative delay": ({"bridge_forward_delay": -1}, "bridge_forward_delay", "0 to 30"),
    "STP with fake bridges": ({**OPENVSWITCH, "bridge_stp": True}, "bridge_stp", "False"),
    "a main bridge named as a fake one": (
        {**OPENVSWITCH, "ovs_bridge": "cloudbr0"},
        "ovs_bridge",
        "no bridge's or NIC's yet",
    ),
    "a management label without the address": (
        {"management_label": "cloudbr0"},
        "management_label",
        "None or eth0.100",
    ),
    "no such public label": ({"public_label": "public"}, "public_label", "cloudbr0, cloudbr1"),
    "no such guest label": ({"guest_label": "eth0.100"}, "guest_label", "cloudbr0, cloudbr1"),
}


@pytest.mark.parametrize(("changes", "key", "accepted"), INVALID.values(), ids=INVALID)
def test_invalid(changes: dict[str, Any], key: str, accepted: str) -> None:
    bridges = changes.get("bridges")
    labels = {"public_label": min(bridges), "guest_label": min(bridges)} if bridges else {}
    found = problems(keys(**{**labels, **changes}))
    assert {problem.key for problem in found} == {key}
    assert accepted in found[0].accepted
    assert str(found[0].value).strip("{}") in str({**GUIDE, **changes}[key])


def test_all_problems_are_found_at_once() -> None:
    wrong = keys(
        uplink="wlan0",
        mtu=1,
        bridges={"cloudbr0": 9999},
        management_address="192.168.42.11",
        gateway="router",
        dns_servers=["dns"],
        dns_search=["-"],
        bridge_forward_delay=99,
        management_label="cloudbr0",
        guest_label="guest",
    )
    with pytest.raises(InvalidNetworkError) as raised:
        build(wrong)
    assert [problem.key for problem in raised.value.problems] == [
        "uplink",
        "mtu",
        "bridges",
        "management_address",
        "gateway",
        "dns_servers",
        "dns_search",
        "bridge_forward_delay",
        "management_label",
        "guest_label",
    ]
    assert "9999" in str(raised.value)


@given(NETWORKS)
def test_interfaces_stand_after_what_they_are_built_on(any_network: Network) -> None:
    seen: set[str] = set()
    for interface in any_network.interfaces:
        assert seen.issuperset(interface.below)
        assert len(interface.name) <= 15
        seen.add(interface.name)
    assert len(seen) == len(any_network.interfaces)


@given(NETWORKS)
def test_each_address_is_on_its_interface_and_the_gateways_on_one(any_network: Network) -> None:
    having = {each.name: each for each in any_network.interfaces if each.addresses}
    assert having.keys() == {any_network.management, *any_network.addresses}
    management = having[any_network.management]
    assert set(management.addresses) == {any_network.address, any_network.address6} - {None}
    assert [each.name for each in having.values() if each.gateways] == [any_network.management]
    assert any_network.gateway in any_network.address.network
