"""What an inventory's settings mean, drawn, listed and as the switch's table."""

from textwrap import dedent
from typing import Any

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.preview import files, picture, pictures, switch
from kvmhost.settings import Settings, load
from tests.plan.support import NAME, host_data
from tests.unit.network_examples import BOND, ON_BRIDGE, OPENVSWITCH, UNTAGGED, network

DRAWN: dict[str, tuple[dict[str, Any], str]] = {
    "the guide's": (
        {},
        """\
        switch: VLANs 100, 200, 300
        └── eth0
            ├── eth0.100               management, address, gateway 192.168.42.1
            ├── eth0.200 ── cloudbr0   public
            └── eth0.300 ── cloudbr1   guest
        """,
    ),
    "untagged, on a bridge": (
        UNTAGGED,
        """\
        switch: VLAN 300 and untagged frames
        └── eth0
            ├── cloudbr0               management and public, address, gateway 192.168.42.1
            └── eth0.300 ── cloudbr1   guest
        """,
    ),
    "untagged, on the uplink": (
        {"management_vlan": None},
        """\
        switch: VLANs 200, 300 and untagged frames
        └── eth0                       management, address, gateway 192.168.42.1
            ├── eth0.200 ── cloudbr0   public
            └── eth0.300 ── cloudbr1   guest
        """,
    ),
    "on a bridge, on a bond": (
        {**ON_BRIDGE, **BOND, "bond_mode": "802.3ad"},
        """\
        switch: VLANs 200, 300
        └── eth0, eth1 ── bond0 (802.3ad)
            ├── bond0.200 ── cloudbr0       management and public, address, gateway 192.168.42.1
            └── bond0.300 ── cloudbr1       guest
        """,
    ),
    "Open vSwitch": (
        OPENVSWITCH,
        """\
        switch: VLANs 100, 200, 300
        └── eth0
            └── cloudbr (Open vSwitch)
                ├── mgmt0 (VLAN 100)      management, address, gateway 192.168.42.1
                ├── cloudbr0 (VLAN 200)   public
                └── cloudbr1 (VLAN 300)   guest
        """,
    ),
}


@pytest.mark.parametrize(("changed", "drawn"), DRAWN.values(), ids=DRAWN)
def test_a_network_is_drawn_from_the_switch_to_the_bridges(
    changed: dict[str, Any], drawn: str
) -> None:
    assert picture(network(**changed)) == dedent(drawn)


def hosts(**of_the_second: Any) -> dict[str, Settings]:
    return load(
        {
            NAME.format(number=number): host_data(number, **changed)
            for number, changed in ((1, {}), (2, of_the_second))
        }
    )


def clusters(settings: dict[str, Settings]) -> dict[str, str]:
    return dict.fromkeys(settings, "cluster_a")


def test_hosts_that_are_alike_are_drawn_once() -> None:
    drawn = pictures(hosts(), clusters(hosts()))
    assert drawn.count("switch:") == 1
    assert "  kvm2.lab.example.org  192.168.42.2/24\n" in drawn


def test_uplinks_of_different_names_in_one_cluster_are_said() -> None:
    settings = hosts(uplink="enp1s0")
    drawn = pictures(settings, clusters(settings))
    assert drawn.count("switch:") == 2
    assert "uplinks of different names, enp1s0, eth0" in " ".join(drawn.split())


def test_the_files_are_those_that_the_back_end_renders() -> None:
    settings = hosts(network_backend="ifcfg")
    shown = files(settings)
    for host, backend in (("kvm1", "ifupdown"), ("kvm2", "ifcfg")):
        name = f"{host}.lab.example.org"
        for file in BACKENDS[backend].render(settings[name].network, {}, {}):
            assert f"==> {name}:{file.path} <==\n{file.content}" in shown


def test_an_unmanaged_network_has_no_files() -> None:
    shown = files(hosts(network_backend="unmanaged"))
    assert shown.endswith("==> kvm2.lab.example.org: <==\nits network is unmanaged\n")


def test_the_switch_has_a_row_for_each_nic() -> None:
    settings = hosts(**BOND, bond_mode="802.3ad", mtu=9000, management_vlan=None)
    _, _, *rows = switch(settings).splitlines()
    assert [" ".join(row.split()) for row in rows] == [
        "kvm1.lab.example.org eth0 - 100, 200, 300 no as it is",
        "kvm2.lab.example.org eth0 bond0, LACP 200, 300 yes 9000",
        "kvm2.lab.example.org eth1 bond0, LACP 200, 300 yes 9000",
    ]
