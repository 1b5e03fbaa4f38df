"""Files of a form that nobody expects fail their own host, with a reason, and no other's run."""

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Present
from tests.unit.network_examples import BOND, network

INTERFACES = "/etc/network/interfaces"
NETPLAN = "/etc/netplan/50-cloud-init.yaml"
KEYFILES = "/etc/NetworkManager/system-connections"
ON_UPLINK = {"management_vlan": None}


@pytest.mark.parametrize(
    "text",
    [
        "network: foo",
        "network: {ethernets: {eth0: {match: eth0}}}",
        "network: {ethernets: {eth0: {match: {macaddress: [a]}}}}",
        "network: {ethernets: {eth0: {dhcp4: [true]}}}",
        "network: {ethernets: {eth0: {routes: [default]}}}",
        "network: {ethernets: {eth0: {routes: [{via: 192.168.42.1}]}}}",
        "network: {ethernets: {eth0: {nameservers: [8.8.8.8]}}}",
        "network: {ethernets: {eth0: {mtu: [1]}}}",
        "network: {ethernets: {eth0: {wakeonlan: '['}}}",
        "network: {bridges: {br0: {interfaces: [[eth1]]}}}",
        "network: &network {ethernets: *network}",
        "network:\n  ethernets: {eth0: {dhcp4: true}}\n  ethernets: {eth1: {dhcp4: true}}\n",
    ],
)
def test_netplan_files(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        BACKENDS["netplan"].change(network(**ON_UPLINK), Present(files={NETPLAN: text}))


@pytest.mark.parametrize("method", ["dhcp", "manual"])
def test_an_address_that_its_method_does_not_heed_is_not_written_twice(method: str) -> None:
    text = (
        f"auto eth0\niface eth0 inet {method}\n"
        "    address 192.168.42.11\n    netmask 255.255.255.0\n    gateway 192.168.42.1\n"
    )
    change = BACKENDS["ifupdown"].change(network(**ON_UPLINK), Present(files={INTERFACES: text}))
    assert change is not None
    for option in ("address", "netmask", "gateway"):
        assert change.files[0].content.count(f" {option} ") == 1
    again = Present(files={INTERFACES: change.files[0].content})
    second = BACKENDS["ifupdown"].change(network(**ON_UPLINK), again)
    assert second is not None
    assert second.files == ()


def test_two_mac_addresses_are_refused() -> None:
    stanza = "iface eth0 inet manual\n    hwaddress 52:54:00:00:00:0"
    text = f"{stanza}1\n{stanza}2\n"
    with pytest.raises(ValueError, match=r"eth0 has hwaddress \S+01 and \S+02: only one"):
        BACKENDS["ifupdown"].change(network(), Present(files={INTERFACES: text}))


def test_a_stanza_that_inherits_ours_is_refused() -> None:
    text = (
        "iface eth0 inet static\n    address 192.168.42.11/24\n"
        "iface eth1 inet static inherits eth0\n    address 10.0.0.5/24\n"
    )
    with pytest.raises(ValueError, match="The stanza of eth1 inherits from eth0"):
        BACKENDS["ifupdown"].change(network(**ON_UPLINK), Present(files={INTERFACES: text}))


def test_a_bond_of_ours_without_a_mode_is_understood() -> None:
    bond = "[connection]\nid=bond0\ntype=bond\ninterface-name=bond0\n[bond]\nprimary=eth0\n"
    files = {f"{KEYFILES}/cloudstack-bond0.nmconnection": bond}
    keys = BOND
    assert BACKENDS["networkmanager"].change(network(**keys), Present(files=files)) is not None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_that_no_file_configures_could_not_be_restored(backend: str) -> None:
    link = {"ifname": "eth0", "flags": ["UP"], "mtu": 1500, "addr_info": []}
    route = {"dst": "default", "gateway": "192.168.42.1", "dev": "eth0"}
    with pytest.raises(ValueError, match="reached through eth0, and none of /etc"):
        BACKENDS[backend].change(network(), Present(addresses=[link], routes=[route]))
