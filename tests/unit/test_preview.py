"""What an inventory's settings mean, drawn, listed and as the switch's table."""

from textwrap import dedent
from typing import Any

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.preview import files, picture, pictures, switch
from kvmhost.settings import Settings, load
from tests.plan.support import NAME, host_data
from tests.unit.network_examples import (
    KEPT,
    LACP,
    ON_BRIDGE,
    OPENVSWITCH,
    UNTAGGED,
    UPLINKS,
    network,
)

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
        {**ON_BRIDGE, **LACP},
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
    "two bonds, with storage": (
        UPLINKS,
        """\
        switch: VLANs 100, 200
        └── eth0, eth1 ── bond0 (active-backup)
            ├── bond0.100                         management, address, gateway 192.168.42.1
            └── bond0.200 ── cloudbr0             public
        switch: VLANs 50, 300
        └── eth2, eth3 ── bond1 (802.3ad)
            ├── bond1.50                    address
            └── bond1.300 ── cloudbr1       guest
        """,
    ),
    "management kept as it is": (
        KEPT,
        """\
        switch: VLANs 200, 300
        └── eth1
            ├── eth1.200 ── cloudbr0   public
            └── eth1.300 ── cloudbr1   guest
        eth0: kept as it is, with management, address
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


def test_hosts_that_are_alike_are_drawn_once() -> None:
    drawn = pictures(hosts())
    assert drawn.count("switch:") == 1
    assert "  kvm2.lab.example.org  192.168.42.2/24\n" in drawn


def test_hosts_that_differ_in_addresses_alone_are_alike() -> None:
    further = {name: {"eth0.50": f"10.50.0.1{n}/24"} for n, name in enumerate(hosts(), start=1)}
    settings = load(
        {
            name: host_data(n, interfaces=("eth0.50",), addresses=further[name])
            for n, name in enumerate(further, start=1)
        }
    )
    drawn = pictures(settings)
    assert drawn.count("switch:") == 1
    assert "  kvm2.lab.example.org  192.168.42.2/24, eth0.50 10.50.0.12/24\n" in drawn


def test_uplinks_of_different_names_in_one_cluster_are_said() -> None:
    settings = hosts(uplink="enp1s0")
    drawn = pictures(settings)
    assert drawn.count("switch:") == 2
    assert (
        "cluster_a: uplinks differ in their names, enp1s0 on kvm2.lab.example.org; eth0 on "
        "kvm1.lab.example.org: " in " ".join(drawn.split())
    )


def test_names_of_uplinks_do_not_matter_to_open_vswitch() -> None:
    switches = load(
        {
            name: host_data(n, **{**OPENVSWITCH, "management_vlan": ..., "uplink": uplink})
            for n, (name, uplink) in enumerate((("kvm1", "eth0"), ("kvm2", "enp1s0")), start=1)
        }
    )
    assert "differ" not in pictures(switches)


def test_uplinks_of_different_clusters_may_have_different_names() -> None:
    assert "differ" not in pictures(hosts(uplink="enp1s0", cluster="cluster_b"))


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


def test_the_switch_has_a_row_for_each_nic_of_each_uplink() -> None:
    of_second = [row.split() for row in switch(hosts(**UPLINKS)).splitlines()[3:]]
    assert [" ".join(row[1:]) for row in of_second] == [
        "eth0 bond0, active-backup 100, 200 no as it is",
        "eth1 bond0, active-backup 100, 200 no as it is",
        "eth2 bond1, LACP 50, 300 no 9000",
        "eth3 bond1, LACP 50, 300 no 9000",
    ]


def test_the_switch_has_a_row_for_each_nic() -> None:
    settings = hosts(**LACP, mtu=9000, management_vlan=None)
    _, _, *rows = switch(settings).splitlines()
    assert [" ".join(row.split()) for row in rows] == [
        "kvm1.lab.example.org eth0 - 100, 200, 300 no as it is",
        "kvm2.lab.example.org eth0 bond0, LACP 200, 300 yes 9000",
        "kvm2.lab.example.org eth1 bond0, LACP 200, 300 yes 9000",
    ]
