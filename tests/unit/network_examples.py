"""Networks to test with: the guide's example and any valid one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from kvmhost.network.interfaces import Interface, Vlan
from kvmhost.network.keys import Bond, BridgeType, NetworkKeys
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


def bonded(*nics: str, **said: Any) -> dict[str, Any]:
    """Return the keys with which the uplink is a bond."""
    return {"uplink": "bond0", "bonds": {"bond0": {"nics": nics, **said}}}


BOND = bonded("eth0", "eth1")
LACP = bonded("eth0", "eth1", mode="802.3ad")
BONDS: dict[str, Any] = {
    "uplink": "bond0",
    "bonds": {
        "bond0": {"nics": ("eth0", "eth1")},
        "bond1": {
            "nics": ("eth2", "eth3"),
            "mode": "802.3ad",
            "lacp_rate": "fast",
            "hash_policy": "layer3+4",
        },
    },
    "bridges": {"cloudbr0": 200, "cloudbr1": "bond1.300"},
}
UPLINKS: dict[str, Any] = {
    **BONDS,
    "interfaces": ["bond1.50"],
    "addresses": {"bond1.50": "10.50.0.11/24"},
    "routes": {"10.60.0.0/16": "10.50.0.1"},
    "mtus": {"bond1": 9000},
}
KEPT: dict[str, Any] = {
    "uplink": "eth1",
    "kept_interfaces": ["eth0"],
    "management_interface": "eth0",
    "management_vlan": None,
    "dns_servers": [],
    "dns_search": [],
}
OPENVSWITCH_UPLINKS: dict[str, Any] = {
    **OPENVSWITCH,
    "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": "eth1.300", "storage0": "eth1.50"},
    "addresses": {"storage0": "10.50.0.11/24"},
    "routes": {"10.60.0.0/16": "10.50.0.1"},
    "mtus": {"eth1": 9000},
}


def keys(**changes: Any) -> NetworkKeys:
    """Return the guide's example with some keys changed."""
    merged = {**GUIDE, **changes}
    bonds = {name: Bond(**said) for name, said in merged.pop("bonds", {}).items()}
    return NetworkKeys(**merged, bonds=bonds)


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
        return {"uplink": draw(st.sampled_from(_UPLINKS)), "bonds": {}}
    name = draw(st.sampled_from(["bond0", "bond12"]))
    return {"uplink": name, "bonds": {name: draw(_bonds(tuple(nics)))}}


def _bonds(nics: tuple[str, ...]) -> st.SearchStrategy[Bond]:
    lacp = st.builds(
        Bond,
        nics=st.just(nics),
        mode=st.just("802.3ad"),
        lacp_rate=st.sampled_from([None, "slow", "fast"]),
        hash_policy=st.sampled_from([None, "layer2+3", "layer3+4"]),
    )
    return st.just(Bond(nics=nics)) | lacp


@st.composite
def _further(
    draw: st.DrawFn, tags: list[int | None], is_native: bool, named: dict[str, Any]
) -> dict[str, Any]:
    """Put some bridges on a second uplink, and give further interfaces their addresses."""
    second = draw(st.sampled_from(["eth20", "bond3"]))
    bonds = dict(named["bonds"])
    bridges: dict[str, int | str | None] = dict(named["bridges"])
    for name, tag in named["bridges"].items():
        if draw(st.booleans()):
            bridges[name] = Vlan(second, tag).name
    places = [Vlan(second, tag) for tag in draw(st.lists(st.sampled_from(tags), unique=True))]
    if is_native:
        places += [Vlan(named["uplink"], tag) for tag in draw(st.lists(st.just(tags[0])))[:1]]
    bridged = {
        Vlan(second, tag).name
        if isinstance(bridges[name], str)
        else Vlan(named["uplink"], tag).name
        for name, tag in named["bridges"].items()
    }
    is_switched = not is_native and any(isinstance(value, str) for value in bridges.values())
    interfaces = [
        place.name
        for place in dict.fromkeys(places)
        if place.name not in bridged and not (is_switched and place.uplink == second)
        if len(place.name) <= 15
    ]
    on_bridges = [name for name in bridges if draw(st.booleans())]
    addressed = [
        name for name in (*interfaces, *on_bridges) if name != named["management_interface"]
    ]
    used = any(isinstance(value, str) for value in bridges.values())
    used = used or any(name.startswith(second) for name in interfaces)
    if second == "bond3" and used:
        bonds[second] = draw(_bonds(("eth21", "eth22")))
    return {
        **named,
        "bonds": bonds,
        "bridges": bridges,
        "interfaces": interfaces,
        "addresses": {name: f"172.20.{n}.11/24" for n, name in enumerate(addressed)},
        "routes": draw(
            st.none()
            | st.just({f"172.21.{n}.0/24": f"172.20.{n}.1" for n, _ in enumerate(addressed)})
        ),
        "mtus": draw(st.just({}) | st.just({second: 9216})) if used else {},
    }


@st.composite
def _networks(draw: st.DrawFn, bridge_type: BridgeType) -> Network:
    subnet = draw(_SUBNETS)
    edge = 0 if subnet.prefixlen == 31 else 1
    hosts = st.integers(min_value=edge, max_value=subnet.num_addresses - 1 - edge)
    own, gateway = draw(st.lists(hosts, min_size=2, max_size=2, unique=True))
    names = draw(st.lists(st.sampled_from(_BRIDGES), min_size=1, max_size=5, unique=True))
    tag = st.one_of(st.none(), st.integers(min_value=1, max_value=4094))
    tags = draw(st.lists(tag, min_size=len(names) + 2, max_size=len(names) + 2, unique=True))
    is_native = bridge_type == "native"
    on_bridge = not is_native or draw(st.booleans())
    stp = is_native and draw(st.booleans())
    placed = {
        **draw(_uplinks()),
        "bridges": dict(zip(names, tags, strict=False)),
        "management_interface": draw(st.sampled_from(names)) if on_bridge else None,
    }
    if draw(st.booleans()):
        placed = draw(_further(tags[-2:-1], is_native, placed))
    keys = NetworkKeys(
        **placed,
        mtu=draw(st.none() | st.integers(min_value=1280, max_value=9216)),
        management_vlan=None if on_bridge else tags[-1],
        management_address=f"{subnet[own]}/{subnet.prefixlen}",
        gateway=str(subnet[gateway]),
        **draw(st.just({}) | _ipv6()),
        dns_servers=draw(st.lists(st.ip_addresses().map(str), max_size=3, unique=True)),
        dns_search=draw(st.lists(st.sampled_from(["a.example", "b.example"]), unique=True)),
        bridge_stp=stp,
        bridge_forward_delay=draw(st.integers(min_value=2 if stp else 0, max_value=30)),
        bridge_type=bridge_type,
        public_label=names[0],
        guest_label=names[-1],
    )
    bonds = {name: bond for name, bond in keys.bonds.items() if name in keys.uplinks}
    return build(replace(keys, bonds=bonds))


NATIVE_NETWORKS = _networks("native")
OPENVSWITCH_NETWORKS = _networks("openvswitch")
NETWORKS = st.one_of(NATIVE_NETWORKS, OPENVSWITCH_NETWORKS)
