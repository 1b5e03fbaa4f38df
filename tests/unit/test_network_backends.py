"""What the back ends' plans have in common."""

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Present
from tests.unit.network_examples import OPENVSWITCH, network


@pytest.mark.parametrize("name", BACKENDS)
def test_a_link_gets_its_former_mtu_back(name: str) -> None:
    links = [
        {"ifname": interface, "mtu": mtu, "flags": ["UP"], "addr_info": []}
        for interface, mtu in (("eth0", 1500), ("eth0.7", 1500))
    ]
    change = BACKENDS[name].change(network(mtu=1400), Present(addresses=links))
    assert change is not None
    *_, first, last = change.rollback.up.splitlines()
    assert "ip link set eth0 mtu 1500;" in first
    assert "ip link set eth0.7 mtu 1500;" in last
    unsaid = BACKENDS[name].change(network(), Present(addresses=links))
    assert unsaid is not None
    assert " mtu " not in unsaid.rollback.up


def test_netplan_finds_open_vswitch_corrected() -> None:
    change = BACKENDS["netplan"].change(network(**OPENVSWITCH), Present())
    assert change is not None
    steps = change.apply.up
    order = ["ovs-vsctl ", "netplan generate", "systemctl start $units", "restart systemd-networkd"]
    assert sorted(order, key=steps.index) == order
    assert "netplan apply" not in steps
