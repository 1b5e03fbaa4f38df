"""What the back ends' plans have in common."""

import re
from typing import Any

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Present
from tests.unit.network_examples import GOLDEN, OPENVSWITCH, network


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


LINKS = [
    {"ifname": name, "mtu": 1500, "flags": ["UP"], "addr_info": []}
    for name in ("eth0", "cloudbr", "mgmt0", "cloudbr0", "cloudbr1")
]


def present_with(backend: str, **keys: Any) -> Present:
    files = {file.path: file.content for file in BACKENDS[backend].render(network(**keys), {}, {})}
    switch = (GOLDEN / "observed" / "openvswitch.state").read_text()
    return Present(files=files, addresses=LINKS, switch=switch)


@pytest.mark.parametrize(
    ("backend", "brought_up"),
    [("ifupdown", "ifup --ignore-errors {}\n"), ("networkmanager", "connection up uuid {}\n")],
)
def test_a_fake_bridge_that_is_made_anew_gets_its_address_again(
    backend: str, brought_up: str
) -> None:
    present = present_with(backend, **OPENVSWITCH)
    change = BACKENDS[backend].change(network(**{**OPENVSWITCH, "ovs_bridge": "ovsbr"}), present)
    assert change is not None
    assert "del-br mgmt0 -- --may-exist add-br mgmt0 ovsbr" in change.apply.up
    name = "mgmt0"
    if backend == "networkmanager":
        (text,) = (
            text for path, text in present.files.items() if path.endswith("-mgmt0.nmconnection")
        )
        name = re.findall("^uuid=(.*)$", text, re.M)[0]
    for steps, words in (
        (change.apply, brought_up.replace("--ignore-errors ", "")),
        (change.rollback, brought_up),
    ):
        assert words.format(name) in steps.up


def test_bridges_that_netplan_takes_out_of_open_vswitch_are_kept_for_the_rollback() -> None:
    present = present_with("netplan", **OPENVSWITCH)
    other = network(
        uplink="eth1", bridges={"br7": None, "br8": 300}, public_label="br7", guest_label="br8"
    )
    change = BACKENDS["netplan"].change(other, present)
    assert change is not None
    assert "del-br cloudbr" in change.apply.up
    assert "ovsdb-client backup" in change.save
    assert "ovsdb-client restore" in change.rollback.up


def test_netplan_takes_the_addresses_from_a_nic_that_it_no_longer_has() -> None:
    present = present_with("netplan", management_vlan=None)
    change = BACKENDS["netplan"].change(network(management_vlan=None, uplink="eth1"), present)
    assert change is not None
    flush = "ip address flush dev {} scope global"
    assert flush.format("eth0") in change.apply.up
    assert flush.format("eth1") in change.rollback.up


def test_netplan_finds_open_vswitch_corrected() -> None:
    change = BACKENDS["netplan"].change(network(**OPENVSWITCH), Present())
    assert change is not None
    steps = change.apply.up
    order = ["ovs-vsctl ", "netplan generate", "systemctl start $units", "restart systemd-networkd"]
    assert sorted(order, key=steps.index) == order
    assert "netplan apply" not in steps
