"""Networks of EL 8 and before, as its network scripts have them."""

from collections.abc import Mapping
from typing import Any

from tests.unit.network_examples import LACP
from tests.unit.starting_points import StartingPoint

SCRIPTS = "/etc/sysconfig/network-scripts"
_STATIC = "BOOTPROTO=none\nIPADDR=192.168.42.11\nPREFIX=24\nGATEWAY=192.168.42.1\nDEFROUTE=yes\n"
# As anaconda writes it, in a file each.
_INSTALLED = (
    "TYPE=Ethernet\nPROXY_METHOD=none\nBROWSER_ONLY=no\nIPV4_FAILURE_FATAL=no\nIPV6INIT=yes\n"
    "IPV6_AUTOCONF=yes\nIPV6_DEFROUTE=yes\nIPV6_FAILURE_FATAL=no\nONBOOT=yes\n"
    "UUID=8d1b5a52-7a1c-4f0e-9a52-3c7e1d4b2f11\n"
)
_NO_DNS: dict[str, Any] = {"dns_servers": [], "dns_search": []}
_ON_UPLINK: dict[str, Any] = {"management_vlan": None}
_MAC = "52:54:00:AA:00:01"


def _eth0(text: str = _STATIC) -> dict[str, str]:
    return {f"{SCRIPTS}/ifcfg-eth0": f"{_INSTALLED}NAME=eth0\nDEVICE=eth0\n{text}"}


_VLAN_100 = f"{_STATIC}VLAN=yes\nONBOOT=yes\n"
_UPLINK = {f"{SCRIPTS}/ifcfg-eth0": f"{_INSTALLED}DEVICE=eth0\nBOOTPROTO=none\n"}
_MANAGEMENT = {**_UPLINK, f"{SCRIPTS}/ifcfg-eth0.100": f"DEVICE=eth0.100\n{_VLAN_100}"}
_BOND: Mapping[str, str] = {
    f"{SCRIPTS}/ifcfg-bond0": (
        "DEVICE=bond0\nTYPE=Bond\nBONDING_MASTER=yes\nONBOOT=yes\n"
        "BONDING_OPTS='mode=802.3ad miimon=100 lacp_rate=fast xmit_hash_policy=layer3+4'\n"
        f"{_STATIC}"
    ),
    **{
        f"{SCRIPTS}/ifcfg-eth{number}": (
            f"DEVICE=eth{number}\nTYPE=Ethernet\nONBOOT=yes\nMASTER=bond0\nSLAVE=yes\n"
        )
        for number in range(2)
    },
}
STARTING_POINTS = (
    StartingPoint("EL's installer, static", _eth0(), "taken over", keys=_ON_UPLINK),
    StartingPoint("EL's installer, static, the address moves to a VLAN", _eth0(), "taken over"),
    StartingPoint(
        "a firewall's zone, the address moves to a VLAN",
        _eth0(f"{_STATIC}ZONE=dmz\n"),
        "taken over",
    ),
    StartingPoint(
        "EL's installer, DHCP", _eth0("BOOTPROTO=dhcp\nDEFROUTE=yes\n"), "taken over", keys=_NO_DNS
    ),
    StartingPoint(
        "cloud-init, by the NIC's MAC address",
        {f"{SCRIPTS}/ifcfg-Wired": f"HWADDR={_MAC}\nTYPE=Ethernet\n{_STATIC}"},
        "taken over",
        keys=_ON_UPLINK,
        devices={_MAC.lower(): "eth0"},
    ),
    StartingPoint("the management VLAN, as in the guide", _MANAGEMENT, "taken over"),
    StartingPoint(
        "vlan100",
        {
            **_UPLINK,
            f"{SCRIPTS}/ifcfg-vlan100": f"DEVICE=vlan100\nPHYSDEV=eth0\n{_VLAN_100}",
        },
        "taken over",
    ),
    StartingPoint("a bond, kept as the uplink", _BOND, "taken over", keys={"uplink": "bond0"}),
    StartingPoint(
        "a bond, ours from now on",
        _BOND,
        "taken over",
        keys=LACP,
    ),
    StartingPoint(
        "a storage VLAN with MTU 9000",
        {
            **_MANAGEMENT,
            f"{SCRIPTS}/ifcfg-eth0": f"{_INSTALLED}DEVICE=eth0\nBOOTPROTO=none\nMTU=9000\n",
            f"{SCRIPTS}/ifcfg-eth0.250": (
                "DEVICE=eth0.250\nVLAN=yes\nBOOTPROTO=none\nIPADDR=10.9.0.11\nPREFIX=16\nMTU=9000\n"
            ),
        },
        "left alone",
    ),
    StartingPoint(
        "static routes",
        {**_MANAGEMENT, f"{SCRIPTS}/route-eth0.100": "10.0.0.0/8 via 192.168.42.254\n"},
        "taken over",
    ),
    StartingPoint(
        "a static route through another network",
        {**_MANAGEMENT, f"{SCRIPTS}/route-eth0.100": "10.0.0.0/8 via 10.9.0.1\n"},
        "refused",
        "The route 10.0.0.0/8 via 10.9.0.1 of eth0.100 would be lost",
    ),
    StartingPoint(
        "policy routing",
        {
            **_MANAGEMENT,
            f"{SCRIPTS}/route-eth0.100": "default via 192.168.42.1 dev eth0.100 table 7\n",
            f"{SCRIPTS}/rule-eth0.100": "from 192.168.42.11 table 7\n",
        },
        "taken over",
    ),
    StartingPoint(
        "policy routing, the address moves",
        {**_eth0(), f"{SCRIPTS}/rule-eth0": "from 192.168.42.11 table 7\n"},
        "refused",
        "eth0 has no address as eth0, and what it says would be lost: "
        "rule from 192.168.42.11 table 7.",
    ),
    StartingPoint(
        "a second NIC with DHCP",
        {**_MANAGEMENT, f"{SCRIPTS}/ifcfg-eth1": "DEVICE=eth1\nBOOTPROTO=dhcp\nONBOOT=yes\n"},
        "refused",
        "eth1 takes a default gateway by DHCP",
    ),
    StartingPoint(
        "a second NIC with DHCP and DEFROUTE=no",
        {
            **_MANAGEMENT,
            f"{SCRIPTS}/ifcfg-eth1": "DEVICE=eth1\nBOOTPROTO=dhcp\nDEFROUTE=no\nONBOOT=yes\n",
        },
        "left alone",
    ),
    StartingPoint(
        "a second NIC that does not start by itself",
        {
            **_MANAGEMENT,
            f"{SCRIPTS}/ifcfg-eth1": f"DEVICE=eth1\nONBOOT=no\n{_STATIC}",
        },
        "left alone",
    ),
    StartingPoint(
        "an alias with a second address",
        {**_MANAGEMENT, f"{SCRIPTS}/ifcfg-eth0.100:1": "DEVICE=eth0.100:1\nIPADDR=10.9.0.1\n"},
        "refused",
        "The address 10.9.0.1/32 of eth0.100 would be lost",
    ),
    StartingPoint(
        "predictable names",
        {
            f"{SCRIPTS}/ifcfg-enp1s0f0": f"{_INSTALLED}NAME=enp1s0f0\nDEVICE=enp1s0f0\n{_STATIC}",
        },
        "refused",
        "enp1s0f0 has our address 192.168.42.11.",
    ),
    StartingPoint(
        "an administrator's bridge on the uplink",
        {
            f"{SCRIPTS}/ifcfg-br0": f"DEVICE=br0\nTYPE=Bridge\nONBOOT=yes\n{_STATIC}",
            f"{SCRIPTS}/ifcfg-eth0": "DEVICE=eth0\nONBOOT=yes\nBRIDGE=br0\n",
        },
        "refused",
        "br0 has our address 192.168.42.11.",
    ),
)
