"""Open vSwitch: the guide's commands, and a switch's captured state against the model."""

from hypothesis import given

from kvmhost.network.model import Network
from kvmhost.network.ovs import Port, corrections, parse, ports
from tests.unit.network_examples import BOND, GOLDEN, OPENVSWITCH, OPENVSWITCH_NETWORKS, network

NETWORK = network(**OPENVSWITCH)


def captured(name: str) -> tuple[Port, ...]:
    return parse((GOLDEN / "observed" / f"{name}.state").read_text())


def commands(any_network: Network, present: tuple[Port, ...]) -> list[str]:
    found = corrections(any_network, present)
    return [" ".join(command) for correction in found for command in correction.commands]


def test_an_empty_switch_gets_the_guides_commands() -> None:
    guide = [
        "add-br cloudbr",
        "set port cloudbr trunks=100,200,300",
        "add-port cloudbr eth0",
        "add-br mgmt0 cloudbr 100",
        "add-br cloudbr0 cloudbr 200",
        "add-br cloudbr1 cloudbr 300",
    ]
    assert [line.removeprefix("--may-exist ") for line in commands(NETWORK, ())] == guide


def test_a_switch_that_is_as_modelled_is_left_alone() -> None:
    # It has a guest's port beside ours.
    assert {port.name for port in captured("openvswitch")} - {p.name for p in ports(NETWORK)} == {
        "vnet0"
    }
    assert corrections(NETWORK, captured("openvswitch")) == ()


def test_what_was_changed_by_hand_is_seen_and_mended() -> None:
    found = corrections(NETWORK, captured("openvswitch-drifted"))
    assert {correction.difference: correction.commands for correction in found} == {
        "eth0 has trunks 100 instead of none.": (("clear", "port", "eth0", "trunks"),),
        "mgmt0 has tag 101 instead of 100.": (("set", "port", "mgmt0", "tag=100"),),
        "cloudbr0 is a bridge of its own, not a fake bridge on cloudbr.": (
            ("del-br", "cloudbr0"),
            ("--may-exist", "add-br", "cloudbr0", "cloudbr", "200"),
        ),
        "cloudbr1 is missing in Open vSwitch.": (
            ("--may-exist", "add-br", "cloudbr1", "cloudbr", "300"),
        ),
    }


def test_a_bridge_keeps_its_ports_when_its_tag_changes() -> None:
    guests = Port("vnet1", "cloudbr", 200), Port("vnet2", "cloudbr", 300)
    swapped = network(
        **{**OPENVSWITCH, "bridges": {"mgmt0": 100, "cloudbr0": 300, "cloudbr1": 200}}
    )
    assert commands(swapped, (*captured("openvswitch"), *guests)) == [
        "set port cloudbr0 tag=300",
        "set port cloudbr1 tag=200",
        "set port vnet1 tag=300",
        "set port vnet2 tag=200",
    ]


def test_an_uplink_in_another_bridge_moves() -> None:
    assert commands(NETWORK, captured("openvswitch-other"))[:5] == [
        "--may-exist add-br cloudbr",
        "set port cloudbr trunks=100,200,300",
        "del-port eth0",
        "--may-exist add-port cloudbr eth0",
        "--may-exist add-br mgmt0 cloudbr 100",
    ]


def test_a_nic_leaves_the_switch_before_its_bond_comes() -> None:
    assert commands(network(**OPENVSWITCH, **BOND), captured("openvswitch")) == [
        "--if-exists del-port eth0",
        "--may-exist add-port cloudbr bond0",
    ]


def test_an_mtu_is_asked_for_on_every_port() -> None:
    with_mtu = network(**OPENVSWITCH, mtu=1400)
    assert commands(with_mtu, captured("openvswitch")) == [
        f"set interface {name} mtu_request=1400"
        for name in ("cloudbr", "eth0", "mgmt0", "cloudbr0", "cloudbr1")
    ]


def test_an_untagged_bridge_is_a_fake_bridge_with_tag_0() -> None:
    bridges = {"mgmt0": None, "cloudbr0": 200, "cloudbr1": 300}
    untagged = network(**{**OPENVSWITCH, "bridges": bridges, "management_vlan": None})
    found = commands(untagged, captured("openvswitch"))
    assert found == ["set port cloudbr trunks=0,200,300", "set port mgmt0 tag=0"]


def test_native_bridges_are_nothing_for_open_vswitch() -> None:
    assert ports(network()) == ()


@given(OPENVSWITCH_NETWORKS)
def test_what_is_modelled_needs_no_correction(any_network: Network) -> None:
    assert corrections(any_network, ports(any_network)) == ()
    mains = [uplink for uplink in any_network.uplinks if uplink.ovs_bridge is not None]
    assert len(corrections(any_network, ())) == 2 * len(mains) + len(any_network.bridges)
