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
from kvmhost.network.ovs import corrections, ports
from kvmhost.network.rules import problems
from kvmhost.network.takeover import Resolvers, taken_over
from tests.unit.network_examples import BONDS, GUIDE, KEPT, OPENVSWITCH, keys, network

SECOND: dict[str, Any] = {"bridges": {"cloudbr0": 200, "cloudbr1": "eth1"}}
STORAGE: dict[str, Any] = {
    "interfaces": ["eth1.50"],
    "addresses": {"eth1.50": "10.50.0.11/24"},
    "routes": {"10.60.0.0/16": "10.50.0.1"},
    "mtus": {"eth1": 9000},
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
    "a VLAN with a nought before it": (
        {"interfaces": ["eth1.050"], "addresses": {"eth1.050": "10.50.0.11/24"}},
        "interfaces",
        "a VLAN, as in eth1.300",
    ),
    "a VLAN of a VLAN": (
        {"interfaces": ["eth1.50.60"], "addresses": {"eth1.50.60": "10.50.0.11/24"}},
        "interfaces",
        "a VLAN, as in eth1.300",
    ),
    "an interface that is the kernel's own": (
        {"interfaces": ["lo"], "addresses": {"lo": "10.50.0.11/24"}},
        "interfaces",
        "an interface such as eth1",
    ),
    "two gateways of one network": (
        {"routes": {"10.60.0.0/16": "192.168.42.2", "10.60.0.0/255.255.0.0": "192.168.42.3"}},
        "routes",
        "one gateway for each network",
    ),
    "a kept interface with the name of Open vSwitch's bridge": (
        {**OPENVSWITCH, "kept_interfaces": ["cloudbr"]},
        "kept_interfaces",
        "that nothing here is",
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


def ethernet(name: str, *addresses: str, **said: Any) -> Interface:
    return Interface(name, "ethernet", addresses=tuple(map(ip_interface, addresses)), **said)


ON_UPLINK: dict[str, Any] = {"management_vlan": None}
MINE = ethernet("eth0", "192.168.42.11/24", gateways=(ip_address("192.168.42.1"),))
ZONE = (("connection.zone", "drop"),)


def test_what_another_nics_lease_had_does_not_move_to_the_management_address() -> None:
    asked = network(**ON_UPLINK, **SECOND)
    found = (MINE, Interface("eth1", "ethernet", dhcp=True, addressing=ZONE))
    assert taken_over(asked, found, Resolvers()).taken_over.addressing == {}


def test_what_our_further_interface_had_does_not_move_to_the_management_address() -> None:
    mine = replace(STORED, own=True)
    kept = taken_over(network(**ON_UPLINK), (replace(MINE, own=True), mine), Resolvers())
    assert kept.taken_over.addressing == kept.taken_over.routes == {}


LOST: dict[str, tuple[dict[str, Any], tuple[Interface, ...], str]] = {
    "a lease that is in use": (
        SECOND,
        (MINE, Interface("eth1", "ethernet", dhcp=True)),
        "The address that eth1 has by DHCP would be lost",
    ),
    "an address beside a lease with the gateway": (
        SECOND,
        (
            Interface("eth0", "ethernet", dhcp=True, gateway_by_dhcp=True),
            ethernet("eth1", "10.50.0.12/24"),
        ),
        "The address 10.50.0.12/24 of eth1 would be lost",
    ),
    "a second address of an interface that keeps one": (
        {"interfaces": ["eth1"], "addresses": {"eth1": "10.50.0.11/24"}},
        (MINE, ethernet("eth1", "10.50.0.11/24", "10.52.0.99/24")),
        "The address 10.52.0.99/24 of eth1 would be lost",
    ),
    "IPv6 of an interface that is not the management's": (
        {**SECOND, "management_address6": "2001:db8::11/64"},
        (MINE, ethernet("eth1", "2001:db8:50::12/64")),
        "The address 2001:db8:50::12/64 of eth1 would be lost",
    ),
    "a default gateway to which ours is preferred": (
        {"interfaces": ["eth1"], "addresses": {"eth1": "10.50.0.11/24"}},
        (MINE, ethernet("eth1", "10.50.0.11/24", spare_gateways=(ip_address("10.50.0.1"),))),
        "The default gateway 10.50.0.1 of eth1 would be lost",
    ),
}


@pytest.mark.parametrize(("changes", "found", "sentence"), LOST.values(), ids=LOST)
def test_nothing_of_a_second_nic_is_lost_without_a_word(
    changes: dict[str, Any], found: tuple[Interface, ...], sentence: str
) -> None:
    with pytest.raises(ValueError) as refusal:  # its text is compared
        taken_over(network(**{**ON_UPLINK, **changes}), found, Resolvers(), {"eth0", "eth1"})
    assert sentence in str(refusal.value)


def test_an_idle_lease_is_nothing_to_lose() -> None:
    found = (MINE, Interface("eth1", "ethernet", dhcp=True))
    taken_over(network(**ON_UPLINK, **SECOND), found, Resolvers(), {"eth0"})


def test_a_renumbered_further_interface_gets_its_new_address() -> None:
    asked = network(**ON_UPLINK, interfaces=["eth1"], addresses={"eth1": "10.50.0.11/24"})
    kept = named(taken_over(asked, (MINE, ethernet("eth1", "10.50.0.99/24")), Resolvers()))
    assert kept["eth1"].addresses == (ip_interface("10.50.0.11/24"),)


def test_an_mtu_stays_with_what_an_interface_is_built_on() -> None:
    def found(port: str) -> Interface:
        return Interface("cloudbr0", ports=(port,), mtu=9000, own=True, **NATIVE)

    moved = taken_over(network(), (found("eth1.200"),), Resolvers())
    assert named(moved)["cloudbr0"].mtu is None
    same = taken_over(network(), (found("eth0.200"),), Resolvers())
    assert named(same)["cloudbr0"].mtu == 9000


def test_a_bond_and_its_nics_have_one_mtu() -> None:
    found = (ethernet("eth0", own=True, mtu=1400), ethernet("eth1", own=True))
    kept = named(taken_over(network(**BONDS), found, Resolvers()))
    assert {name: kept[name].mtu for name in ("eth0", "eth1", "bond0", "eth2", "bond1")} == {
        **dict.fromkeys(("eth0", "eth1", "bond0"), 1400),
        **dict.fromkeys(("eth2", "bond1")),
    }


def test_a_link_local_gateway_stays_on_its_link() -> None:
    route = Route(ip_network("2001:db8:9::/48"), ip_address("fe80::1"))
    asked = network(
        **ON_UPLINK,
        management_address6="2001:db8::11/64",
        interfaces=["eth1"],
        addresses={"eth1": "2001:db8:50::11/64"},
    )
    found = (MINE, ethernet("eth1", "2001:db8:50::11/64", routes=(route,)))
    kept = named(taken_over(asked, found, Resolvers()))
    assert kept["eth1"].routes == (route,)
    assert kept["eth0"].routes == ()


def test_from_ours_to_a_kept_interface_the_name_servers_are_ours_to_give_up() -> None:
    mine = replace(MINE, name="eth1", own=True, dns_servers=(ip_address("8.8.8.8"),))
    taken_over(network(**KEPT), (mine,), Resolvers())
    with pytest.raises(ValueError, match=r"would be lost: name server 8\.8\.8\.8"):
        taken_over(network(**KEPT), (replace(mine, own=False, addresses=()),), Resolvers())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bond_of_ours_is_not_left_without_its_nics(backend: str) -> None:
    one = BACKENDS[backend]
    files = {file.path: file.content for file in one.render(network(**BONDS), {}, {})}
    unnamed = network(**{**BONDS, "bonds": {"bond1": BONDS["bonds"]["bond1"]}})
    if backend == "ifupdown":  # whose stanza says it all, whoever wrote it
        change = one.change(unnamed, Present(files=files))
        assert change is not None
        then = {**files, **{file.path: file.content for file in change.files}}
        assert "bond-slaves eth0 eth1\n" in then["/etc/network/interfaces"]
        return
    with pytest.raises(ValueError, match="bond0 is a bond that was made here, of eth0, eth1"):
        one.change(unnamed, Present(files=files))


def test_what_is_kept_is_not_built_on_what_is_ours() -> None:
    text = (
        "auto eth0\niface eth0 inet static\n address 192.168.42.11/24\n gateway 192.168.42.1\n"
        "auto eth1.70\niface eth1.70 inet manual\n"
    )
    kept = network(**{**KEPT, "kept_interfaces": ["eth0", "eth1.70"]})
    with pytest.raises(ValueError, match=r"eth1\.70 cannot be kept as it is"):
        BACKENDS["ifupdown"].change(kept, Present(files={"/etc/network/interfaces": text}))


def test_an_ifcfg_file_of_a_kept_interface_is_not_replaced() -> None:
    folder = "/etc/sysconfig/network-scripts"
    files = {f"{folder}/ifcfg-eth1": "DEVICE=eth0\nIPADDR=192.168.42.11\nPREFIX=24\n"}
    with pytest.raises(ValueError, match="ifcfg-eth1 is for eth0"):
        BACKENDS["ifcfg"].change(network(**KEPT), Present(files=files))


def test_the_way_back_begins_with_the_management_address() -> None:
    text = (
        "auto eth1\niface eth1 inet static\n address 10.50.0.11/24\n"
        "auto eth0\niface eth0 inet static\n address 192.168.42.11/24\n gateway 192.168.42.1\n"
    )
    links = [
        {"ifname": name, "addr_info": [{"local": address, "scope": "global"}], **UP}
        for name, address in (("eth1", "10.50.0.11"), ("eth0", "192.168.42.11"))
    ]
    asked = network(interfaces=["eth1"], addresses={"eth1": "10.50.0.11/24"})
    present = Present(files={"/etc/network/interfaces": text}, addresses=links)
    change = BACKENDS["ifupdown"].change(asked, present)
    assert change is not None
    up = [line for line in change.rollback.up.splitlines() if "ifup" in line]
    assert up[0].endswith(" eth0")


def test_a_nic_is_up_or_down_after_a_rollback_as_it_was() -> None:
    text = "auto eth0\niface eth0 inet static\n address 192.168.42.11/24\n gateway 192.168.42.1\n"
    eth0 = {"ifname": "eth0", "addr_info": [MANAGEMENT], **UP}
    route = {"dst": "default", "gateway": "192.168.42.1", "dev": "eth0"}
    for flags, state in (([], "down"), (["UP"], "up")):
        eth1 = {"ifname": "eth1", "addr_info": [], "mtu": 1500, "flags": flags}
        present = Present(
            files={"/etc/network/interfaces": text}, addresses=[eth0, eth1], routes=[route]
        )
        change = BACKENDS["ifupdown"].change(network(**KEPT), present)
        assert change is not None
        assert f"ip link set eth1 {state};" in change.rollback.up
        assert "eth0" not in change.rollback.up


def test_a_profile_that_names_ours_by_its_uuid_does_not_lose_it() -> None:
    connections = "/etc/NetworkManager/system-connections"
    theirs = {
        f"{connections}/e1": "[connection]\nid=e1\nuuid=22222222-2222-4222-8222-222222222222\n"
        "type=ethernet\ninterface-name=eth1\n[ipv4]\nmethod=disabled\n",
        f"{connections}/v": "[connection]\nid=v\nuuid=33333333-3333-4333-8333-333333333333\n"
        "type=vlan\ninterface-name=eth1.70\n[vlan]\nid=70\n"
        "parent=22222222-2222-4222-8222-222222222222\n",
    }
    backend = BACKENDS["networkmanager"]
    change = backend.change(network(**SECOND), Present(files=theirs))
    assert change is not None
    then = {**theirs, **{file.path: file.content for file in change.files}}
    then = {path: text for path, text in then.items() if path not in change.removed}
    with pytest.raises(ValueError, match=r"eth1\.70 is built on eth1, which goes"):
        backend.change(network(), Present(files=then))


def test_open_vswitch_keeps_no_bridge_that_only_an_earlier_network_of_ours_had() -> None:
    both = network(
        **{**OPENVSWITCH, "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": "eth1.300"}}
    )
    one = network(**OPENVSWITCH)
    found = corrections(one, ports(both), former=frozenset({"cloudbr-eth1", "eth1"}))
    assert ("--if-exists", "del-br", "cloudbr-eth1") in found[0].commands
    assert not any("eth1" in command[2:] for each in found[1:] for command in each.commands)


def test_networkmanager_has_no_ipv4_where_there_is_no_address_of_it() -> None:
    asked = network(interfaces=["eth1"], addresses={"eth1": "2001:db8:50::11/64"})
    (profile,) = (
        file.content
        for file in BACKENDS["networkmanager"].render(asked, {}, {})
        if file.path.endswith("-eth1.nmconnection")
    )
    assert "[ipv4]\nmethod=disabled\n" in profile
    assert "[ipv6]\nmethod=manual\n" in profile


def test_a_kept_management_interface_needs_the_hosts_default_route() -> None:
    link = {"ifname": "eth0", "addr_info": [MANAGEMENT], **UP}
    other = {"dst": "default", "gateway": "192.168.43.254", "dev": "eth5"}
    with pytest.raises(ValueError, match=r"The default route is via 192\.168\.43\.254 on eth5"):
        BACKENDS["netplan"].change(network(**KEPT), Present(addresses=[link], routes=[other]))
