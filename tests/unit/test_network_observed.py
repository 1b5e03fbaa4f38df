"""A kernel's state against the model, on output captured from machines with a 6.1 kernel."""

import json
from typing import Any

import pytest

from kvmhost.network.model import Network
from kvmhost.network.observed import differences, is_mended_by_links, mending
from tests.unit.network_examples import BOND, GOLDEN, IPV6, OPENVSWITCH, UNTAGGED, network

OBSERVED = GOLDEN / "observed"


def captured(name: str) -> tuple[Any, Any]:
    addresses, routes = (
        json.loads((OBSERVED / f"{name}.{kind}.json").read_text())
        for kind in ("addresses", "routes")
    )
    return addresses, routes


def bonded(mode: str = "active-backup", miimon: int = 100) -> tuple[list[Any], list[Any]]:
    """Return what is captured with a bond in eth0's place, as iproute2's iplink_bond.c has it."""
    captured_links, routes = json.loads(json.dumps(captured("guide")).replace("eth0", "bond0"))
    links = {link["ifname"]: link for link in captured_links}
    nics = [{**links["bond0"], "ifname": nic, "master": "bond0"} for nic in ("eth0", "eth1")]
    data = {"mode": mode, "miimon": miimon, "updelay": 0, "downdelay": 0}
    links["bond0"]["linkinfo"] = {"info_kind": "bond", "info_data": data}
    return [*nics, *captured_links], routes


AS_MODELLED = {
    "guide": network(),  # with a guest's interface in cloudbr0
    "untagged": network(**UNTAGGED, bridge_stp=True),
    "openvswitch": network(**OPENVSWITCH),
}


@pytest.mark.parametrize(("name", "modelled"), AS_MODELLED.items(), ids=AS_MODELLED)
def test_no_difference_on_a_host_that_is_as_modelled(name: str, modelled: Network) -> None:
    addresses, routes = captured(name)
    assert differences(modelled, addresses, routes) == ()
    assert mending(modelled, addresses) == ()


def test_a_bare_host_lacks_everything_but_the_uplink() -> None:
    addresses, routes = captured("bare")
    assert differences(network(), addresses, routes) == (
        "eth0.100 is missing.",
        "eth0.200 is missing.",
        "cloudbr0 is missing.",
        "eth0.300 is missing.",
        "cloudbr1 is missing.",
        "There is no default route via 192.168.42.1 on eth0.100.",
    )
    assert mending(network(), addresses) == ()


def test_what_was_changed_by_hand_is_seen_and_mended() -> None:
    addresses, routes = captured("drifted")
    assert differences(network(), addresses, routes) == (
        "eth0.100 does not have the address 192.168.42.11/24 but 192.168.42.99/24.",
        "cloudbr0 is down.",
        "eth0.200 is no port of cloudbr0.",
        "eth0.300 is VLAN 301 on eth0 instead of VLAN 300 on eth0.",
        "cloudbr1 has STP on.",
        "cloudbr1 has a forward delay of 15 s instead of 5 s.",
        "eth0.999 is a port of cloudbr1 by mistake.",
        "The default route is via 192.168.42.254 on eth0.100, not 192.168.42.1 on eth0.100.",
    )
    assert mending(network(), addresses) == (
        ("delete", "eth0.300"),
        ("set", "cloudbr0", "up"),
        ("set", "eth0.200", "master", "cloudbr0"),
        ("set", "cloudbr1", "type", "bridge", "stp_state", "0"),
        ("set", "cloudbr1", "type", "bridge", "forward_delay", "500"),
        ("set", "eth0.999", "nomaster"),
    )


def test_a_device_that_has_to_be_made_again_is_deleted_and_nothing_else() -> None:
    addresses, _ = captured("drifted")
    (link,) = (link for link in addresses if link["ifname"] == "eth0.300")
    link["flags"].remove("UP")
    del link["master"]
    assert [words for words in mending(network(), addresses) if "eth0.300" in words] == [
        ("delete", "eth0.300")
    ]


def test_no_difference_with_a_bond_that_is_as_modelled() -> None:
    addresses, routes = bonded()
    assert differences(network(**BOND), addresses, routes) == ()


def test_a_bond_takes_its_nics_again_and_lets_others_go() -> None:
    addresses, routes = bonded(miimon=0)
    addresses.append({**addresses[0], "ifname": "eth2"})
    del addresses[1]["master"]
    assert differences(network(**BOND), addresses, routes) == (
        "bond0 looks at its NICs' links every 0 ms instead of 100 ms.",
        "eth1 is no port of bond0.",
        "eth2 is a port of bond0 by mistake.",
    )
    assert mending(network(**BOND), addresses) == (
        ("set", "bond0", "type", "bond", "miimon", "100"),
        ("set", "eth1", "down"),
        ("set", "eth1", "master", "bond0"),
        ("set", "eth2", "nomaster"),
    )
    assert is_mended_by_links(network(**BOND), addresses, routes)


def test_a_nic_that_is_not_there_is_for_no_command_to_mend() -> None:
    addresses, routes = bonded()
    without = [link for link in addresses if link["ifname"] != "eth1"]
    found = differences(network(**BOND), without, routes)
    assert found == ("eth1 is missing.", "eth1 is no port of bond0.")
    assert mending(network(**BOND), without) == ()
    assert not is_mended_by_links(network(**BOND), without, routes)


def test_a_bond_in_another_mode_is_made_anew_with_all_that_is_on_it() -> None:
    addresses, routes = bonded(mode="balance-rr")
    links = {link["ifname"]: link for link in addresses}
    del links["eth1"]["master"]
    links["bond0.200"]["flags"].remove("UP")
    links["cloudbr0"]["flags"].remove("UP")
    assert differences(network(**BOND), addresses, routes) == (
        "bond0 is a bond in mode balance-rr, not one in mode active-backup.",
        "bond0.200 is down.",
        "cloudbr0 is down.",
    )
    assert mending(network(**BOND), addresses) == (
        ("delete", "bond0"),
        ("set", "cloudbr0", "up"),
    )
    assert not is_mended_by_links(network(**BOND), addresses, routes)


def test_what_goes_with_a_bond_is_deleted_before_it() -> None:
    addresses, _ = bonded(mode="balance-rr")
    (vlan,) = (link for link in addresses if link["ifname"] == "bond0.300")
    vlan["linkinfo"]["info_data"]["id"] = 301
    assert mending(network(**BOND), addresses) == (("delete", "bond0.300"), ("delete", "bond0"))


def with_ipv6() -> tuple[list[Any], list[Any], list[Any]]:
    """Return what is captured with the addresses and routes of IPv6, as iproute2 prints them."""
    addresses, routes = captured("guide")
    own = {"family": "inet6", "local": "2001:db8::11", "prefixlen": 64, "scope": "global"}
    (link,) = (link for link in addresses if link["ifname"] == "eth0.100")
    link["addr_info"].insert(1, own)
    subnet = {"dst": "2001:db8::/64", "dev": "eth0.100", "protocol": "kernel", "metric": 256}
    default = {"dst": "default", "gateway": "fe80::1", "dev": "eth0.100", "metric": 1024}
    return addresses, routes, [subnet, default]


def test_ipv6_is_looked_at_when_it_is_modelled() -> None:
    addresses, routes, routes6 = with_ipv6()
    modelled = network(**IPV6)
    assert differences(modelled, addresses, routes, routes6) == ()
    assert is_mended_by_links(modelled, addresses, routes, routes6)
    assert differences(network(), addresses, routes) == ()
    assert differences(modelled, addresses, routes, routes6[:1]) == (
        "There is no default route via fe80::1 on eth0.100.",
    )
    assert not is_mended_by_links(modelled, addresses, routes, routes6[:1])
    preferred = {**routes6[1], "gateway": "fe80::2", "metric": 100}
    assert differences(modelled, addresses, routes, [*routes6, preferred]) == (
        "The default route is via fe80::2 on eth0.100, not fe80::1 on eth0.100.",
    )


def test_an_ipv6_address_that_is_missing_or_not_ours_alone_is_seen() -> None:
    addresses, routes, routes6 = with_ipv6()
    found = differences(network(**IPV6), captured("guide")[0], routes, routes6)
    assert found == ("eth0.100 does not have the address 2001:db8::11/64.",)
    (entry,) = (
        entry
        for link in addresses
        for entry in link["addr_info"]
        if entry["local"] == "2001:db8::11"
    )
    entry["dadfailed"] = True
    assert differences(network(**IPV6), addresses, routes, routes6) == found
    entry.update(local="2001:db8::12", dadfailed=False)
    assert differences(network(**IPV6), addresses, routes, routes6) == (
        "eth0.100 does not have the address 2001:db8::11/64 but 2001:db8::12/64.",
    )


def test_an_mtu_counts_when_it_is_modelled() -> None:
    addresses, routes = captured("guide")
    modelled = network(mtu=1400)
    found = differences(modelled, addresses, routes)
    assert [sentence.split(" has ")[0] for sentence in found] == [
        interface.name for interface in modelled.interfaces
    ]
    assert found[0] == "eth0 has MTU 9000 instead of 1400."
    assert mending(modelled, addresses)[0] == ("set", "eth0", "mtu", "1400")


def test_native_bridges_are_not_open_vswitchs() -> None:
    addresses, routes = captured("guide")
    found = differences(network(**OPENVSWITCH), addresses, routes)
    assert "cloudbr0 is a native bridge, not Open vSwitch's." in found
    assert ("delete", "cloudbr0") in mending(network(**OPENVSWITCH), addresses)


def test_open_vswitchs_bridges_are_not_native_and_go_by_its_database_only() -> None:
    addresses, routes = captured("openvswitch")
    assert "cloudbr0 is no native bridge." in differences(network(), addresses, routes)
    assert mending(network(), addresses) == ()


def test_the_preferred_default_route_counts() -> None:
    addresses, routes = captured("guide")
    other = {"dst": "default", "gateway": "10.0.0.1", "dev": "eth1"}
    assert differences(network(), addresses, [{**other, "metric": 1024}, *routes]) == ()
    preferred = [{**route, "metric": 100} for route in routes] + [other]
    assert differences(network(), addresses, preferred) == (
        "The default route is via 10.0.0.1 on eth1, not 192.168.42.1 on eth0.100.",
    )
