"""Interfaces as data: what is built on what, and what cannot live beside ours."""

from ipaddress import ip_address, ip_interface

import pytest

from kvmhost.network.interfaces import Interface, bottom_up, conflicts, first, with_all_above
from tests.unit.network_examples import BOND, IPV6, network

STACK = (
    Interface("br0", "bridge", ports=("eth0.5",)),
    Interface("eth0.5", "vlan", parent="eth0", tag=5),
    Interface("eth1", "ethernet"),
)


def test_bottom_up_names_each_after_what_it_is_built_on() -> None:
    order = bottom_up(STACK)
    assert sorted(order) == ["br0", "eth0", "eth0.5", "eth1"]
    assert order.index("eth0") < order.index("eth0.5") < order.index("br0")


def test_with_all_above_goes_up_to_the_top() -> None:
    assert with_all_above({"eth0"}, STACK) == {"eth0", "eth0.5", "br0"}
    assert with_all_above({"eth0.5"}, STACK) == {"eth0.5", "br0"}
    assert with_all_above({"eth1"}, STACK) == {"eth1"}


CONFLICTS: dict[str, tuple[Interface, str]] = {
    "a bridge on our uplink": (
        Interface("br0", "bridge", ports=("eth0",)),
        "br0 has eth0 as a port.",
    ),
    "our address": (
        Interface("eth1", "ethernet", addresses=(ip_interface("192.168.42.11/16"),)),
        "eth1 has our address 192.168.42.11.",
    ),
    "another default gateway": (
        Interface("eth1", "ethernet", gateways=(ip_address("10.0.0.1"),)),
        "eth1 has a default gateway of its own, 10.0.0.1: "
        "give it a metric that is higher than ours, or a table of its own.",
    ),
    "a default gateway of a lease": (
        Interface("eth1", "ethernet", dhcp=True, gateway_by_dhcp=True),
        "eth1 takes a default gateway by DHCP, which would be preferred to ours, or "
        "no less than it: give it a metric that is higher.",
    ),
    "a pattern that matches ours": (
        Interface("cloud*", "ethernet", dhcp=True),
        "The definition of cloud* matches cloudbr0 too.",
    ),
}


@pytest.mark.parametrize(("other", "sentence"), CONFLICTS.values(), ids=CONFLICTS)
def test_conflicts(other: Interface, sentence: str) -> None:
    assert sentence in conflicts(network().interfaces, [other])


def test_what_does_not_start_by_itself_is_no_conflict() -> None:
    other = Interface("eth1", "ethernet", gateways=(ip_address("10.0.0.1"),), starts=False)
    assert conflicts(network().interfaces, [other]) == ()


def test_a_default_gateway_for_ipv6_is_no_conflict_where_ours_is_for_ipv4() -> None:
    other = Interface("eth1", "ethernet", gateways=(ip_address("fe80::7"),))
    assert conflicts(network().interfaces, [other]) == ()
    (sentence,) = conflicts(network(**IPV6).interfaces, [other])
    assert sentence.startswith("eth1 has a default gateway of its own, fe80::7")


def test_nothing_is_built_on_what_goes() -> None:
    other = Interface("br0", "bridge", ports=("vlan100",), stp=False)
    assert conflicts(network().interfaces, [other], {"vlan100"}) == (
        "br0 is built on vlan100, which goes.",
    )


def test_what_carries_an_interface_comes_first_in_an_order() -> None:
    order = ["eth1", "eth0", "eth0.5", "br0"]
    assert first({"eth0.5"}, order, STACK) == ["eth0", "eth0.5", "eth1", "br0"]


def test_nothing_is_built_on_a_nic_of_our_bond() -> None:
    other = Interface("storage", "vlan", parent="eth0", tag=7)
    assert conflicts(network(**BOND).interfaces, [other]) == (
        "storage is built on eth0, which bond0 takes.",
    )


def test_no_conflict_with_ourselves_or_with_other_nics() -> None:
    others = [
        *network(management_address="192.168.42.12/24").interfaces,
        Interface("eth1", "ethernet", addresses=(ip_interface("10.0.0.1/24"),)),
        Interface("eth1.100", "vlan", parent="eth1", tag=100),
        Interface("eth0.7", "vlan", parent="eth0", tag=7),
        Interface("br1", "bridge", ports=("eth1.100",)),
    ]
    assert conflicts(network().interfaces, others) == ()
