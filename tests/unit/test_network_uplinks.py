"""Several uplinks and addresses: what they mean, which settings describe none, what is kept."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Present
from kvmhost.network.interfaces import Interface, Route
from kvmhost.network.model import Network
from kvmhost.network.observed import differences
from kvmhost.network.ovs import ports
from kvmhost.network.rules import problems
from kvmhost.network.takeover import Resolvers, taken_over
from tests.unit.network_examples import GUIDE, OPENVSWITCH, keys, network

SECOND: dict[str, Any] = {"bridges": {"cloudbr0": 200, "cloudbr1": "eth1"}}
STORAGE: dict[str, Any] = {
    "interfaces": ["eth1.50"],
    "addresses": {"eth1.50": "10.50.0.11/24"},
    "routes": {"10.60.0.0/16": "10.50.0.1"},
    "mtus": {"eth1": 9000},
}
BONDS: dict[str, Any] = {
    "uplink": "bond0",
    "bonds": {
        "bond0": {"nics": ("eth0", "eth1")},
        "bond1": {
            "nics": ("eth2", "eth3"),
            "mode": "802.3ad",
            "lacp_rate": "fast",
            "hash_policy": "layer3+4",
        },
    },
    "bridges": {"cloudbr0": 200, "cloudbr1": "bond1.300"},
}
KEPT: dict[str, Any] = {
    "uplink": "eth1",
    "kept_interfaces": ["eth0"],
    "management_interface": "eth0",
    "management_vlan": None,
    "dns_servers": [],
    "dns_search": [],
}
NATIVE: dict[str, Any] = {"kind": "bridge", "stp": False, "forward_delay": 5}


def named(any_network: Network) -> dict[str, Interface]:
    return {each.name: each for each in any_network.interfaces}


def test_an_untagged_bridge_on_a_second_nic_has_that_for_its_port() -> None:
    found = named(network(**SECOND))
    assert list(found) == ["eth0", "eth1", "eth0.100", "eth0.200", "cloudbr0", "cloudbr1"]
    assert found["cloudbr1"] == Interface("cloudbr1", ports=("eth1",), **NATIVE)
    assert network(**SECOND).nics == ("eth0", "eth1")


def test_storage_has_an_address_a_route_and_an_mtu_of_its_own() -> None:
    found = named(network(**SECOND, **STORAGE))
    assert found["eth1.50"] == Interface(
        "eth1.50",
        "vlan",
        parent="eth1",
        tag=50,
        mtu=9000,
        addresses=(ip_interface("10.50.0.11/24"),),
        routes=(Route(ip_network("10.60.0.0/16"), ip_address("10.50.0.1")),),
    )
    assert {name: each.mtu for name, each in found.items() if each.mtu} == {
        "eth1": 9000,
        "eth1.50": 9000,
        "cloudbr1": 9000,
    }
    assert found["eth0.100"].gateways == (ip_address("192.168.42.1"),)
    assert [name for name, each in found.items() if each.gateways] == ["eth0.100"]


def test_a_vlan_of_a_shared_uplink_may_have_jumbo_frames_alone() -> None:
    shared = {"interfaces": ["eth0.50"], "addresses": {"eth0.50": "10.50.0.11/24"}}
    found = named(network(**shared, mtu=1500, mtus={"eth0": 9000, "eth0.50": 9000}))
    assert {name for name, each in found.items() if each.mtu == 9000} == {"eth0", "eth0.50"}
    assert {each.mtu for each in found.values()} == {1500, 9000}


def test_each_bond_has_its_nics_and_options() -> None:
    found = named(network(**BONDS))
    assert found["bond1"] == Interface(
        "bond1",
        "bond",
        ports=("eth2", "eth3"),
        bond_mode="802.3ad",
        bond_options=(("lacp_rate", "fast"), ("xmit_hash_policy", "layer3+4")),
    )
    assert found["bond0"].bond_options == ()
    assert found["cloudbr1"].ports == ("bond1.300",)


def test_open_vswitch_has_a_bridge_for_each_uplink_that_has_some() -> None:
    keys_ = {**OPENVSWITCH, "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": "eth1.300"}}
    storage = {"interfaces": ["eth2"], "addresses": {"eth2": "10.50.0.11/24"}}
    any_network = network(**{**keys_, **storage})
    found = named(any_network)
    assert found["cloudbr-eth1"].ports == ("eth1",)
    assert (found["cloudbr1"].parent, found["cloudbr1"].tag) == ("cloudbr-eth1", 300)
    assert found["eth2"].addresses == (ip_interface("10.50.0.11/24"),)
    assert [(each.name, each.bridge) for each in ports(any_network)] == [
        ("cloudbr", "cloudbr"),
        ("eth0", "cloudbr"),
        ("mgmt0", "cloudbr"),
        ("cloudbr0", "cloudbr"),
        ("cloudbr-eth1", "cloudbr-eth1"),
        ("eth1", "cloudbr-eth1"),
        ("cloudbr1", "cloudbr-eth1"),
    ]


def test_a_kept_interface_is_none_of_ours_and_claims_nothing() -> None:
    kept = network(**KEPT)
    assert "eth0" not in kept.names | kept.claims
    assert kept.labels.management == "eth0"
    assert all(not each.gateways for each in kept.interfaces)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "two bridges on one VLAN of one uplink": (
        {"bridges": {"cloudbr0": "eth1.200", "cloudbr1": "eth1.200"}},
        "bridges",
        "no other bridge has",
    ),
    "an uplink that CloudStack does not know": (
        {"bridges": {"cloudbr0": 200, "cloudbr1": "wan0"}},
        "bridges",
        "begins with eth",
    ),
    "a long name for a second uplink": (
        {"bridges": {"cloudbr0": 200, "cloudbr1": "enp129s0f0"}},
        "bridges",
        "at most 8 characters",
    ),
    "a VLAN that is none": (
        {"bridges": {"cloudbr0": 200, "cloudbr1": "eth1.5000"}},
        "bridges",
        "1 to 4094",
    ),
    "an interface without an address": (
        {"interfaces": ["eth1.50"]},
        "addresses",
        "an address for eth1.50",
    ),
    "an address on nothing": (
        {"addresses": {"eth9": "10.50.0.11/24"}, "interfaces": ["eth1.50", "eth9.1"]},
        "addresses",
        "eth1.50",
    ),
    "an address without its prefix": (
        {"interfaces": ["eth1"], "addresses": {"eth1": "10.50.0.11"}},
        "addresses",
        "with its prefix",
    ),
    "an address of no host": (
        {"interfaces": ["eth1"], "addresses": {"eth1": "10.50.0.255/24"}},
        "addresses",
        "broadcast",
    ),
    "a second address for management": (
        {"addresses": {"eth0.100": "10.50.0.11/24"}},
        "addresses",
        "another interface than eth0.100",
    ),
    "an address on a bridge's port": (
        {**SECOND, "addresses": {"eth1": "10.50.0.11/24"}},
        "addresses",
        "cloudbr1 instead",
    ),
    "two addresses in one network": (
        {"interfaces": ["eth1"], "addresses": {"eth1": "192.168.42.12/25"}},
        "addresses",
        "outside 192.168.42.0/24",
    ),
    "a route by nobody": (
        {"routes": {"10.60.0.0/16": "10.50.0.1"}},
        "routes",
        "in a network of this host: 192.168.42.0/24",
    ),
    "a default route": (
        {"routes": {"0.0.0.0/0": "192.168.42.1"}},
        "routes",
        "gateway or gateway6",
    ),
    "a route by this host": (
        {"routes": {"10.60.0.0/16": "192.168.42.11"}},
        "routes",
        "this host itself",
    ),
    "a network with a host's bits": (
        {"routes": {"10.60.0.1/16": "192.168.42.1"}},
        "routes",
        "such as 10.60.0.0/16",
    ),
    "a VLAN that is larger than its uplink": (
        {**SECOND, "mtu": 1500, "mtus": {"eth0.200": 9000}},
        "mtus",
        "at most the MTU of eth0, which is 1500",
    ),
    "a VLAN whose uplink's MTU nobody gives": (
        {"mtus": {"eth0.200": 9000}},
        "mtus",
        "not given",
    ),
    "an MTU of nothing": ({"mtus": {"eth7": 9000}}, "mtus", "eth0"),
    "a bond that nothing is on": (
        {"bonds": {"bond1": {"nics": ("eth2",)}}},
        "bonds",
        "that uplink, bridges or interfaces name",
    ),
    "a bond of no NICs": (
        {"uplink": "bond0", "bonds": {"bond0": {"nics": ()}}},
        "bonds",
        "names of the NICs",
    ),
    "a NIC of two bonds": (
        {**BONDS, "bonds": {"bond0": {"nics": ("eth0",)}, "bond1": {"nics": ("eth0",)}}},
        "bonds",
        "in one bond only",
    ),
    "LACP's options without it": (
        {"uplink": "bond0", "bonds": {"bond0": {"nics": ("eth0",), "lacp_rate": "fast"}}},
        "bonds",
        "802.3ad only",
    ),
    "a kept interface that is an uplink": (
        {"kept_interfaces": ["eth0"]},
        "kept_interfaces",
        "that nothing here is",
    ),
    "name servers of a kept interface": (
        {**KEPT, "dns_servers": ["8.8.8.8"]},
        "dns_servers",
        "eth0 is kept",
    ),
    "a VLAN without a bridge on Open vSwitch's uplink": (
        {**OPENVSWITCH, "interfaces": ["eth0.50"], "addresses": {"eth0.50": "10.50.0.11/24"}},
        "interfaces",
        "Open vSwitch has eth0",
    ),
    "an uplink too long for Open vSwitch's bridge": (
        {
            **OPENVSWITCH,
            "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": "enp129s0f0.300"},
        },
        "ovs_bridge",
        "at most 15",
    ),
}


@pytest.mark.parametrize(("changes", "key", "accepted"), REFUSED.values(), ids=REFUSED)
def test_settings_that_describe_no_network(
    changes: dict[str, Any], key: str, accepted: str
) -> None:
    found = [(problem.key, problem.accepted) for problem in problems(keys(**changes))]
    assert [each for each in found if each[0] == key and accepted in each[1]], found
    assert {each for each, _ in found} == {key}


def test_the_guides_own_settings_are_as_short_as_they_were() -> None:
    assert not GUIDE.keys() & {"interfaces", "addresses", "routes", "mtus", "bonds"}
    assert network().uplinks == (network().uplinks[0],)


STORED = Interface(
    "eth1.50",
    "vlan",
    parent="eth1",
    tag=50,
    addresses=(ip_interface("10.50.0.11/24"),),
    routes=(Route(ip_network("10.60.0.0/16"), ip_address("10.50.0.1")),),
    addressing=(("up", "ip rule add from 10.50.0.11 table 7"),),
)


def test_what_goes_with_a_further_address_stays_with_it() -> None:
    asked = network(**SECOND, **{**STORAGE, "routes": None})
    kept = named(taken_over(asked, (STORED,), Resolvers()))
    assert kept["eth1.50"].routes == STORED.routes
    assert kept["eth1.50"].addressing == STORED.addressing
    assert kept["eth0.100"].routes == kept["eth0.100"].addressing == ()


def test_a_further_address_is_lost_where_it_is_asked_for_no_more() -> None:
    with pytest.raises(ValueError, match=r"eth1 would be lost beside 192\.168\.42\.11/24"):
        taken_over(
            network(**SECOND),
            (Interface("eth1", "ethernet", addresses=(ip_interface("10.9.0.1/24"),)),
                     Interface("eth0.100", "vlan", parent="eth0", tag=100,
                               addresses=(ip_interface("192.168.42.11/24"),))),
            Resolvers(),
        )  # fmt: skip


def test_ours_gives_its_further_address_up_with_its_routes() -> None:
    mine = replace(STORED, own=True, addressing=())
    kept = taken_over(network(**SECOND), (mine,), Resolvers())
    assert kept.taken_over.routes == {}


def test_a_route_of_others_has_to_be_named_where_routes_are() -> None:
    asked = network(**SECOND, **{**STORAGE, "routes": {}})
    with pytest.raises(ValueError, match=r"The route 10.60.0.0/16 .* name it in routes"):
        taken_over(asked, (STORED,), Resolvers())


def test_what_we_define_ourselves_cannot_be_kept_as_it_is() -> None:
    mine = Interface("eth0", "ethernet", own=True, addresses=(ip_interface("192.168.42.11/24"),))
    with pytest.raises(ValueError, match="what defines it is an earlier network of ours"):
        taken_over(network(**KEPT), (mine,), Resolvers())


UP = {"mtu": 1500, "flags": ["UP"]}
MANAGEMENT = {"family": "inet", "local": "192.168.42.11", "prefixlen": 24}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("links", "sentence"),
    [
        ([], "eth0 is missing."),
        ([{"ifname": "eth0", "addr_info": [], **UP}], "does not have the address"),
        ([{"ifname": "eth0", "addr_info": [MANAGEMENT], "mtu": 1500, "flags": []}], "is down"),
    ],
)
def test_what_is_kept_has_to_be_as_the_settings_say(
    backend: str, links: list[dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"{sentence}.*for you to set up"):
        BACKENDS[backend].change(network(**KEPT), Present(addresses=links))


def test_a_bonds_options_are_looked_for_in_the_kernel() -> None:
    any_network = network(**BONDS)
    bond = {
        "ifname": "bond1",
        "addr_info": [],
        **UP,
        "linkinfo": {
            "info_kind": "bond",
            "info_data": {
                "mode": "802.3ad",
                "miimon": 100,
                "ad_lacp_rate": "slow",
                "xmit_hash_policy": "layer2",
            },
        },
    }
    said = differences(any_network, [bond], [])
    assert "bond1 has lacp_rate slow instead of fast." in said
    assert "bond1 has xmit_hash_policy layer2 instead of layer3+4." in said
