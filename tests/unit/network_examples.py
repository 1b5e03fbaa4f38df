"""Networks to test with: the guide's example and any valid one."""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from kvmhost.network.interfaces import Interface
from kvmhost.network.keys import NetworkKeys
from kvmhost.network.model import Network, build
from kvmhost.network.takeover import Resolvers, taken_over

GOLDEN = Path(__file__).parent / "golden" / "network"
GUIDE: dict[str, Any] = {
    "uplink": "eth0",
    "bridges": {"cloudbr0": 200, "cloudbr1": 300},
    "management_vlan": 100,
    "management_address": "192.168.42.11/24",
    "gateway": "192.168.42.1",
    "dns_servers": ["8.8.8.8", "8.8.4.4"],
    "dns_search": ["lab.example.org"],
}
OPENVSWITCH: dict[str, Any] = {
    "bridge_type": "openvswitch",
    "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": 300},
    "management_interface": "mgmt0",
}
ON_BRIDGE: dict[str, Any] = {"management_vlan": None, "management_interface": "cloudbr0"}
UNTAGGED: dict[str, Any] = {**ON_BRIDGE, "bridges": {"cloudbr0": None, "cloudbr1": 300}}
IPV6: dict[str, Any] = {"management_address6": "2001:db8::11/64", "gateway6": "fe80::1"}
BOND: dict[str, Any] = {"uplink": "bond0", "uplink_bond": ["eth0", "eth1"]}


def keys(**changes: Any) -> NetworkKeys:
    """Return the guide's example with some keys changed."""
    return NetworkKeys(**{**GUIDE, **changes})


def network(**changes: Any) -> Network:
    return build(keys(**changes))


def taking_over(
    parse: Callable[[Mapping[str, str]], Iterable[Interface]],
    any_network: Network,
    existing: Mapping[str, str],
) -> Network:
    """Return the network with what a back end reads in the existing files beside it."""
    return taken_over(any_network, parse(existing), Resolvers())


_UPLINKS = ["eth0", "eth12", "ens3", "enp1s0", "eno1", "em1", "p1p2", "bond0", "team0"]
_NICS = ["eth0", "eth1", "eth10", "ens3", "enp1s0", "enp129s0f0np0", "nic-a"]
_BRIDGES = ["cloudbr0", "cloudbr1", "br-public", "guest_net", "mgmt0", "Storage", "a-fifteen-chars"]
_SUBNETS = st.builds(
    lambda bits, prefix: IPv4Network((bits, prefix), strict=False),
    st.integers(min_value=int.from_bytes((10, 0, 0, 0)), max_value=int.from_bytes((126, 0, 0, 0))),
    st.integers(min_value=8, max_value=31),
)


_SUBNETS6 = st.builds(
    lambda bits, prefix: IPv6Network((bits, prefix), strict=False),
    st.integers(min_value=0x2000 << 112, max_value=(0x4000 << 112) - 1),
    st.integers(min_value=32, max_value=127),
)


@st.composite
def _ipv6(draw: st.DrawFn) -> dict[str, Any]:
    subnet = draw(_SUBNETS6)
    edge = 0 if subnet.prefixlen == 127 else 1
    hosts = st.integers(min_value=edge, max_value=subnet.num_addresses - 1)
    own, gateway = draw(st.lists(hosts, min_size=2, max_size=2, unique=True))
    return {
        "management_address6": f"{subnet[own]}/{subnet.prefixlen}",
        "gateway6": draw(st.sampled_from([None, "fe80::1", str(subnet[gateway])])),
    }


@st.composite
def _uplinks(draw: st.DrawFn) -> dict[str, Any]:
    nics = draw(st.lists(st.sampled_from(_NICS), max_size=3, unique=True))
    if not nics:
        return {"uplink": draw(st.sampled_from(_UPLINKS))}
    return {
        "uplink": draw(st.sampled_from(["bond0", "bond12"])),
        "uplink_bond": nics,
        "bond_mode": draw(st.sampled_from(["active-backup", "802.3ad"])),
    }


@st.composite
def _networks(draw: st.DrawFn, bridge_type: str) -> Network:
    subnet = draw(_SUBNETS)
    edge = 0 if subnet.prefixlen == 31 else 1
    hosts = st.integers(min_value=edge, max_value=subnet.num_addresses - 1 - edge)
    own, gateway = draw(st.lists(hosts, min_size=2, max_size=2, unique=True))
    names = draw(st.lists(st.sampled_from(_BRIDGES), min_size=1, max_size=5, unique=True))
    tag = st.one_of(st.none(), st.integers(min_value=1, max_value=4094))
    tags = draw(st.lists(tag, min_size=len(names) + 1, max_size=len(names) + 1, unique=True))
    on_bridge = bridge_type == "openvswitch" or draw(st.booleans())
    stp = bridge_type == "native" and draw(st.booleans())
    return build(
        NetworkKeys(
            **draw(_uplinks()),
            mtu=draw(st.none() | st.integers(min_value=1280, max_value=9216)),
            bridges=dict(zip(names, tags, strict=False)),
            management_vlan=None if on_bridge else tags[-1],
            management_interface=draw(st.sampled_from(names)) if on_bridge else None,
            management_address=f"{subnet[own]}/{subnet.prefixlen}",
            gateway=str(subnet[gateway]),
            **draw(st.just({}) | _ipv6()),
            dns_servers=draw(st.lists(st.ip_addresses().map(str), max_size=3, unique=True)),
            dns_search=draw(st.lists(st.sampled_from(["a.example", "b.example"]), unique=True)),
            bridge_stp=stp,
            bridge_forward_delay=draw(st.integers(min_value=2 if stp else 0, max_value=30)),
            bridge_type="openvswitch" if bridge_type == "openvswitch" else "native",
            public_label=names[0],
            guest_label=names[-1],
        )
    )


NATIVE_NETWORKS = _networks("native")
OPENVSWITCH_NETWORKS = _networks("openvswitch")
NETWORKS = st.one_of(NATIVE_NETWORKS, OPENVSWITCH_NETWORKS)
