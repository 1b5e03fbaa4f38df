"""What a back end needs before it can have a network."""

from tasks.bridges_native import needed
from tests.unit.network_examples import BOND, OPENVSWITCH, network


def test_a_bond_needs_ifenslave_where_ifupdown_has_to_make_it() -> None:
    assert "ifenslave" not in needed(network(), "ifupdown")
    assert "ifenslave" not in needed(network(uplink="bond0"), "ifupdown")
    assert "ifenslave" in needed(network(**BOND), "ifupdown")
    assert "ifenslave" in needed(network(**OPENVSWITCH, **BOND), "ifupdown")
    for backend in ("netplan", "networkmanager", "ifcfg"):
        assert needed(network(**BOND), backend) == needed(network(), backend)
