"""What a host's definitions say beside the model: taken over, or named and refused."""

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from kvmhost.network.interfaces import Interface, Route
from kvmhost.network.model import Network
from kvmhost.network.takeover import Resolvers, taken_over
from tests.unit.network_examples import IPV6, ON_BRIDGE, network

OTHER_NETWORK = Route(ip_network("10.0.0.0/8"), ip_address("192.168.42.254"), 5)
STORAGE = Route(ip_network("10.9.0.0/16"), ip_address("10.8.0.1"))
LEASE = Resolvers((ip_address("192.168.42.3"),), ("example.org",))
NO_DNS: dict[str, Any] = {"dns_servers": [], "dns_search": []}


def management(**changes: Any) -> Interface:
    """Return eth0.100 as an installer has defined it."""
    values: dict[str, Any] = {
        "name": "eth0.100",
        "kind": "vlan",
        "parent": "eth0",
        "tag": 100,
        "addresses": (ip_interface("192.168.42.11/24"),),
        "gateways": (ip_address("192.168.42.1"),),
    }
    return Interface(**{**values, **changes})


def interface(taken: Network, name: str) -> Interface:
    return next(each for each in taken.interfaces if each.name == name)


def test_nothing_beside_the_model_is_the_model() -> None:
    assert taken_over(network(), [management()], LEASE) == network()


@pytest.mark.parametrize(
    "keys", [{}, {**ON_BRIDGE, "bridges": {"cloudbr0": 100, "cloudbr1": 300}}], ids=str
)
def test_routes_move_with_the_address(keys: dict[str, Any]) -> None:
    taken = taken_over(network(**keys), [management(routes=(OTHER_NETWORK,))], LEASE)
    assert interface(taken, taken.management).routes == (OTHER_NETWORK,)
    assert [each.name for each in taken.interfaces if each.routes] == [taken.management]


def test_a_route_that_no_address_of_ours_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.9\.0\.0/16 via 10\.8\.0\.1 of eth0\.100 would be"):
        taken_over(network(), [management(routes=(STORAGE,))], LEASE)


def test_a_route_of_an_interface_that_is_not_ours_is_left_alone() -> None:
    other = Interface("eth1", "ethernet", routes=(STORAGE,))
    assert taken_over(network(), [other], LEASE) == network()


def test_an_ipv6_route_moves_with_the_ipv6_address() -> None:
    route = Route(ip_network("2001:db8:7::/48"), ip_address("fe80::7"))
    found = management(routes=(route,))
    assert interface(taken_over(network(**IPV6), [found], LEASE), "eth0.100").routes == (route,)
    with pytest.raises(ValueError, match="would be lost"):
        taken_over(network(), [found], LEASE)


def test_name_servers_are_kept_where_the_settings_have_none() -> None:
    found = management(dns_servers=(ip_address("9.9.9.9"),), dns_search=("old.example.org",))
    kept = interface(taken_over(network(**NO_DNS), [found], LEASE), "eth0.100")
    assert kept.dns_servers == (ip_address("9.9.9.9"),)
    assert kept.dns_search == ("old.example.org",)
    ours = interface(taken_over(network(), [found], LEASE), "eth0.100")
    assert ours.dns_servers == (ip_address("8.8.8.8"), ip_address("8.8.4.4"))


def test_after_dhcp_names_are_resolved_as_the_lease_had_it() -> None:
    found = Interface("eth0", "ethernet", dhcp=True)
    kept = interface(taken_over(network(**NO_DNS), [found], LEASE), "eth0.100")
    assert (kept.dns_servers, kept.dns_search) == (LEASE.servers, LEASE.search)
    static = interface(taken_over(network(**NO_DNS), [management()], LEASE), "eth0.100")
    assert (static.dns_servers, static.dns_search) == ((), ())


def test_an_mtu_stays_with_its_device_unless_the_settings_have_one() -> None:
    found = [Interface("eth0", "ethernet", mtu=9000), management(mtu=1400)]
    kept = {each.name: each.mtu for each in taken_over(network(), found, LEASE).interfaces}
    assert kept == {
        "eth0": 9000, "eth0.100": 1400,
        "eth0.200": None, "cloudbr0": None, "eth0.300": None, "cloudbr1": None,
    }  # fmt: skip
    given = taken_over(network(mtu=1500), found, LEASE).interfaces
    assert {each.mtu for each in given} == {1500}


def test_a_vlan_interface_of_another_name_is_taken_over() -> None:
    found = management(name="vlan100", mtu=1400, hardware=(("hwaddress", "02:00:00:00:00:01"),))
    taken = taken_over(network(), [found], LEASE)
    assert "vlan100" in taken.claims
    kept = interface(taken, "eth0.100")
    assert (kept.mtu, kept.hardware) == (1400, found.hardware)


def test_a_vlan_interface_on_another_nic_is_left_alone() -> None:
    other = Interface("vlan100", "vlan", parent="eth1", tag=100)
    assert "vlan100" not in taken_over(network(), [other], LEASE).claims


def test_what_the_device_says_stays_and_what_the_address_needs_stays_with_it() -> None:
    hardware, options = (("ethernet-wol", "g"),), (("up", "ip rule add table 7"),)
    uplink = Interface("eth0", "ethernet", hardware=hardware, options=options)
    found = management(options=options)
    kept = taken_over(network(), [uplink, found], LEASE)
    assert interface(kept, "eth0").hardware == hardware
    assert interface(kept, "eth0").options == options
    assert interface(kept, "eth0.100").options == options


def test_what_is_the_addresss_moves_with_it() -> None:
    zone = (("connection.zone", "public"),)
    uplink = Interface("eth0", "ethernet", dhcp=True, addressing=zone)
    taken = taken_over(network(), [uplink, management(addressing=zone)], LEASE)
    assert {each.name: each.addressing for each in taken.interfaces if each.addressing} == {
        "eth0.100": zone
    }


@pytest.mark.parametrize(
    ("found", "keys", "sentence"),
    [
        (
            Interface(
                "eth0",
                "ethernet",
                addresses=(ip_interface("192.168.42.11/24"),),
                hardware=(("ethernet-wol", "g"),),
                options=(("up", "/root/firewall"),),
            ),
            {},
            "eth0 has no address as eth0, and what it says would be lost: up /root/firewall.",
        ),
        (
            management(own=True, hardware=(("hwaddress", "02::1"),), options=(("up", "x"),)),
            {**ON_BRIDGE, "bridges": {"cloudbr0": None, "cloudbr1": 300}},
            "eth0.100 goes, and what it says would be lost: up x.",
        ),
        (
            Interface("eth9", "ethernet", own=True, hardware=(("ethernet-wol", "g"),)),
            {},
            "eth9 goes, and what it says would be lost: ethernet-wol g.",
        ),
    ],
    ids=["its address moves", "it goes", "it is ours no more"],
)
def test_what_has_no_place_is_named(found: Interface, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match="would be lost") as refusal:
        taken_over(network(**keys), [found], LEASE)
    assert str(refusal.value) == sentence


def test_another_address_would_be_lost_and_the_one_that_changes_is_not() -> None:
    old, storage = ip_interface("192.168.42.77/24"), ip_interface("10.8.0.5/24")
    renumbered = management(addresses=(old,))
    assert taken_over(network(), [renumbered], LEASE) == network()
    two = management(addresses=(storage, old))
    with pytest.raises(ValueError, match=r"10\.8\.0\.5/24 of eth0\.100 would be lost") as refusal:
        taken_over(network(), [two], LEASE)
    assert "192.168.42.77" not in str(refusal.value)


def test_an_ipv6_address_would_be_lost_without_one_of_ours() -> None:
    found = management(addresses=(ip_interface("192.168.42.11/24"), ip_interface("fd00::5/64")))
    with pytest.raises(ValueError, match="make it management_address6"):
        taken_over(network(), [found], LEASE)
    assert taken_over(network(**IPV6), [found], LEASE) == network(**IPV6)


def test_what_is_ours_may_change_with_the_settings() -> None:
    found = management(
        own=True, addresses=(ip_interface("10.8.0.5/24"), ip_interface("fd00::5/64"))
    )
    assert taken_over(network(), [found], LEASE) == network()
