"""netplan: our file, what other files keep, what files mean together."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmhost.network.backends import BACKENDS
from kvmhost.network.backends.netplan.files import OWN_FILE, to_text
from kvmhost.network.backends.netplan.interfaces import parse
from kvmhost.network.backends.netplan.plan import dropped, has_openvswitch, outdated
from kvmhost.network.backends.netplan.render import BOND_OPTIONS, render
from kvmhost.network.change import Present
from kvmhost.network.interfaces import Interface, Options
from kvmhost.network.model import Network, TakenOver
from kvmhost.network.takeover import Resolvers, taken_over
from tests.unit.network_examples import (
    BOND,
    GOLDEN,
    IPV6,
    LACP,
    NETWORKS,
    ON_BRIDGE,
    OPENVSWITCH,
    OPENVSWITCH_UPLINKS,
    UNTAGGED,
    UPLINKS,
    network,
)
from tests.unit.starting_points import StartingPoint
from tests.unit.starting_points.netplan import (
    LEFT_ALONE,
    REFUSED,
    STARTING_POINTS,
    TAKEN_OVER,
)

GOLDENS: dict[str, dict[str, Any]] = {
    "native": {},
    "native-untagged": {**UNTAGGED, "mtu": 9000, "bridge_stp": True},
    "native-bond": BOND,
    "native-ipv6": {**ON_BRIDGE, **IPV6},
    "openvswitch": OPENVSWITCH,
    "openvswitch-bond": {**OPENVSWITCH, **LACP, "mtu": 9000},
    "native-uplinks": UPLINKS,
    "openvswitch-uplinks": OPENVSWITCH_UPLINKS,
}
CLOUD_INIT = "/etc/netplan/50-cloud-init.yaml"
OTHER = "/etc/netplan/90-other.yaml"


DEVICES = {"52:54:00:00:00:02": "eth0", "52:54:00:00:00:03": "eth1"}


def taken(existing: Mapping[str, str], any_network: Network) -> Network:
    return taken_over(any_network, parse(existing, DEVICES), Resolvers())


def rendered(existing: Mapping[str, str], any_network: Network) -> dict[str, str]:
    files = render(taken(existing, any_network), existing, DEVICES)
    return {file.path: file.content for file in files}


def own(any_network: Network) -> set[Interface]:
    """What our file must mean."""
    return {
        replace(
            interface,
            own=True,
            bond_options=(),
            hardware=(*interface.hardware, *bond_options(interface)),
        )
        for interface in any_network.interfaces
    }


def bond_options(bond: Interface) -> Options:
    """Return how a bond's further options are read: as parameters that are kept as they are."""
    said = {BOND_OPTIONS[key]: value for key, value in bond.bond_options}
    return (("parameters", to_text(said)),) if said else ()


@pytest.mark.parametrize(("name", "changed"), GOLDENS.items(), ids=GOLDENS)
def test_golden(name: str, changed: dict[str, Any]) -> None:
    (file,) = render(network(**changed), {})
    assert (file.path, file.mode) == (OWN_FILE, 0o600)
    assert file.content == (GOLDEN / f"netplan-{name}.yaml").read_text()


# The guide has no netplan example; its listing for Ubuntu means this.
def test_the_guides_values_are_where_netplan_wants_them() -> None:
    document = yaml.safe_load(rendered({}, network())[OWN_FILE])["network"]
    management = document["vlans"]["eth0.100"]
    assert (management["id"], management["link"]) == (100, "eth0")
    assert management["addresses"] == ["192.168.42.11/24"]
    assert management["routes"] == [{"to": "default", "via": "192.168.42.1"}]
    assert management["nameservers"] == {
        "addresses": ["8.8.8.8", "8.8.4.4"],
        "search": ["lab.example.org"],
    }
    for bridge, tag in (("cloudbr0", 200), ("cloudbr1", 300)):
        assert document["vlans"][f"eth0.{tag}"]["id"] == tag
        assert document["bridges"][bridge]["interfaces"] == [f"eth0.{tag}"]
        assert document["bridges"][bridge]["parameters"] == {"stp": False, "forward-delay": 5}
        assert "addresses" not in document["bridges"][bridge]


def test_the_uplink_stays_the_device_that_cloud_init_says_it_is() -> None:
    existing = {
        CLOUD_INIT: (
            "# comment\nnetwork:\n  version: 2\n  ethernets:\n    id0:\n      match:\n"
            '        macaddress: "52:54:00:00:00:02"\n      set-name: eth0\n      dhcp4: true\n'
            "      wakeonlan: true\n"
            "    eth1:\n      match: {macaddress: 52:54:00:00:00:03}\n      dhcp4: yes\n"
        )
    }
    files = rendered(existing, network())
    uplink = yaml.safe_load(files[OWN_FILE])["network"]["ethernets"]["eth0"]
    assert uplink["set-name"] == "eth0"
    assert uplink["dhcp4"] is False
    assert (uplink["match"], uplink["wakeonlan"]) == ({"macaddress": "52:54:00:00:00:02"}, "true")
    assert files[CLOUD_INIT] == (
        "network:\n  version: 2\n  ethernets:\n    eth1:\n"
        "      match: {macaddress: '52:54:00:00:00:03'}\n      dhcp4: yes\n"
    )
    assert rendered({**existing, **files}, network()) == {OWN_FILE: files[OWN_FILE]}


def test_a_bond_that_is_there_stays_a_bond() -> None:
    existing = {
        OTHER: (
            "network:\n  ethernets:\n    eth0: {}\n    eth1: {}\n  bonds:\n    bond0:\n"
            "      interfaces: [eth0, eth1]\n      parameters: {mode: 802.3ad}\n      dhcp4: true\n"
        )
    }
    files = rendered(existing, network(uplink="bond0"))
    bond = yaml.safe_load(files[OWN_FILE])["network"]["bonds"]["bond0"]
    assert (bond["interfaces"], bond["parameters"]) == (["eth0", "eth1"], {"mode": "802.3ad"})
    assert bond["dhcp4"] is False
    assert "bonds" not in yaml.safe_load(files[OTHER])["network"]
    assert "ethernets" in yaml.safe_load(files[OTHER])["network"]


def test_a_bond_takes_over_what_an_installer_gave_its_nics() -> None:
    existing = {
        CLOUD_INIT: (
            "network:\n  ethernets:\n    id0:\n      match: {macaddress: 52:54:00:00:00:02}\n"
            "      set-name: eth0\n      dhcp4: true\n    eth1: {wakeonlan: on}\n"
            "    eth2: {}\n  vlans:\n    eth0.100: {id: 100, link: id0, dhcp4: true}\n"
            "  bonds:\n    bond0:\n      macaddress: 52:54:00:00:00:03\n"
            "      interfaces: [eth2]\n      parameters: {mode: balance-rr, lacp-rate: fast}\n"
        )
    }
    files = rendered(existing, network(**BOND))
    ours = yaml.safe_load(files[OWN_FILE])["network"]
    assert ours["ethernets"]["eth0"]["match"] == {"macaddress": "52:54:00:00:00:02"}
    assert ours["bonds"]["bond0"] == {
        "macaddress": "52:54:00:00:00:03",
        "renderer": "networkd",
        "interfaces": ["eth0", "eth1"],
        "parameters": {"mode": "active-backup", "mii-monitor-interval": 100},
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "link-local": [],
    }
    assert files[CLOUD_INIT] == "network:\n  ethernets:\n    eth2: {}\n"
    assert set(outdated(existing, files)) == {"eth0.100", "bond0"}


def test_a_file_that_is_all_ours_keeps_no_definition() -> None:
    existing = {OTHER: "network:\n  version: 2\n  ethernets:\n    eth0: {dhcp4: true}\n"}
    assert rendered(existing, network())[OTHER] == "network:\n  version: 2\n"


def test_a_file_without_our_interfaces_is_not_touched() -> None:
    existing = {
        OTHER: (
            "# mine\nnetwork:\n  renderer: NetworkManager\n  openvswitch: {ports: [[a, b]]}\n"
            "  ethernets:\n    wan:\n      match: {name: enp9*}\n      dhcp4: on\n"
        ),
        "/etc/netplan/empty.yaml": "",
        "/etc/netplan/null.yaml": "network:\n  ethernets:\n",
    }
    assert rendered(existing, network()).keys() == {OWN_FILE}


def test_the_renderer_goes_for_our_interfaces_only() -> None:
    document = yaml.safe_load(rendered({}, network())[OWN_FILE])["network"]
    assert "renderer" not in document
    for section in ("ethernets", "vlans", "bridges"):
        assert {body["renderer"] for body in document[section].values()} == {"networkd"}


def test_a_file_that_is_no_yaml_is_named() -> None:
    with pytest.raises(ValueError, match=rf"{OTHER} is no YAML"):
        render(network(), {OTHER: "network: [\n"})


def test_files_mean_together_what_netplan_makes_of_them() -> None:
    existing = {
        # Sorted by name, not by where it stands here.
        "/etc/netplan/20.yaml": (
            "network:\n  ethernets:\n    eth0:\n"
            "      addresses: [10.0.0.2/24]\n      dhcp4: false\n"
        ),
        "/etc/netplan/10.yaml": (
            "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n      addresses:\n"
            "      - 10.0.0.1/24: {label: 'eth0:1'}\n      gateway4: 10.0.0.254\n"
            "    lan:\n      match: {name: 'enp*'}\n      dhcp6: true\n"
            "    wan:\n      match: {macaddress: 52:54:00:00:00:03}\n      set-name: wan0\n"
            "  vlans:\n    v7:\n      id: 7\n      link: wan\n      mtu: 1400\n"
            "      routes: [{to: 0.0.0.0/0, via: 10.7.0.1}, {to: 10.8.0.0/16, via: 10.7.0.2}]\n"
            "  bridges:\n    br7:\n      interfaces: [v7]\n    br8:\n      openvswitch: {}\n"
        ),
    }
    found = {interface.name: interface for interface in parse(existing)}
    assert found.keys() == {"eth0", "enp*", "wan0", "v7", "br7", "br8"}
    assert [str(each) for each in found["eth0"].addresses] == ["10.0.0.1/24", "10.0.0.2/24"]
    assert [str(each) for each in found["eth0"].gateways] == ["10.0.0.254"]
    assert not found["eth0"].dhcp
    assert found["enp*"].dhcp
    assert (found["v7"].parent, found["v7"].tag, found["v7"].mtu) == ("wan0", 7, 1400)
    assert [str(each) for each in found["v7"].gateways] == ["10.7.0.1"]
    assert found["br7"] == Interface("br7", "bridge", ports=("v7",), stp=True)
    assert found["br8"].is_ovs_bridge


OUTDATED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "what networkd changes by itself": (
        {"mtu": 9000, "dns_search": [], "management_address": "192.168.42.12/24"},
        (),
    ),
    "a VLAN interface that is left out": (ON_BRIDGE, ("eth0.100",)),
    "a bridge that is left out": ({"bridges": {"cloudbr0": 200}}, ("cloudbr1", "eth0.300")),
    "another tag": (
        {"bridges": {"cloudbr0": 200, "cloudbr1": 301}},
        ("cloudbr1", "eth0.300"),
    ),
    "another STP": ({"bridge_stp": True}, ("cloudbr1", "cloudbr0")),
    "an untagged bridge": (UNTAGGED, ("cloudbr0", "eth0.200", "eth0.100")),
    "a bond under all of it": (
        BOND,
        ("cloudbr1", "cloudbr0", "eth0.300", "eth0.200", "eth0.100"),
    ),
    "native bridges where Open vSwitch comes": (
        OPENVSWITCH,
        ("cloudbr1", "cloudbr0", "eth0.300", "eth0.200", "eth0.100"),
    ),
}


@pytest.mark.parametrize(("changed", "expected"), OUTDATED.values(), ids=OUTDATED)
def test_devices_that_networkd_would_leave_as_they_are(
    changed: dict[str, Any], expected: tuple[str, ...]
) -> None:
    labels = (
        {} if "cloudbr1" in changed.get("bridges", ["cloudbr1"]) else {"guest_label": "cloudbr0"}
    )
    before = rendered({}, network())
    assert outdated(before, rendered(before, network(**labels, **changed))) == expected


def test_a_bond_that_is_built_otherwise_goes_with_the_vlan_interfaces_on_it() -> None:
    before = rendered({}, network(**BOND))
    other = rendered(before, network(**LACP))
    vlans = ("bond0.300", "bond0.200", "bond0.100")
    assert outdated(before, other) == (*vlans, "bond0")
    assert outdated(before, rendered(before, network(**BOND, mtu=9000))) == ()


def test_open_vswitchs_bridges_are_dropped_and_no_links() -> None:
    before = rendered({}, network(**OPENVSWITCH))
    fewer = network(
        **{**OPENVSWITCH, "bridges": {"mgmt0": 100, "cloudbr0": 200}, "guest_label": "cloudbr0"}
    )
    assert dropped(before, rendered(before, fewer)) == ("cloudbr1",)
    assert dropped(before, rendered(before, network(**OPENVSWITCH, mtu=1400))) == ()
    native = rendered(before, network())
    assert set(dropped(before, native)) == {"cloudbr", "mgmt0"}
    assert outdated(before, native) == ()
    assert (has_openvswitch(before), has_openvswitch(native)) == (True, False)


IPV6_ROUTES = """\
network:
  ethernets:
    eth1:
      routes:
      - {to: default, via: 2001:db8::1}
      - {to: "::/0", via: 2001:db8::2, metric: 1}
      - {to: default, scope: link}
      - {to: "::/0", scope: link}
      - {to: 10.0.0.0/8, via: 10.1.0.1, table: 254, type: unicast, on-link: no}
      - {to: 10.9.0.7, via: 10.1.0.1}
      gateway6: 2001:db8::3
"""


def test_routes_that_are_preferred_to_ours_or_no_less_than_it() -> None:
    (found,) = parse({OTHER: IPV6_ROUTES})
    assert [str(gateway) for gateway in found.gateways] == ["2001:db8::2", "0.0.0.0", "::"]
    assert [str(route) for route in found.routes] == [
        "10.0.0.0/8 via 10.1.0.1",
        "10.9.0.7/32 via 10.1.0.1",
    ]
    others = [text for _, text in found.options]
    assert others == [
        '{"to": "default", "via": "2001:db8::1"}',
        '{"to": "default", "via": "2001:db8::3"}',
    ]


FOREIGN = st.dictionaries(
    st.sampled_from(["/etc/netplan/00.yaml", CLOUD_INIT, OTHER]),
    st.sampled_from(
        [
            "network: {version: 2}\n",
            "network:\n  renderer: NetworkManager\n  ethernets:\n    wlan9: {dhcp4: true}\n",
            "network:\n  ethernets:\n    eth0: {dhcp4: true}\n    eth9: {dhcp4: true}\n",
            "network:\n  vlans:\n    v9: {id: 9, link: eth9}\n  ethernets: {eth9: {}}\n",
            "network:\n  bridges:\n    cloudbr0: {interfaces: [eth9]}\n  ethernets: {eth9: {}}\n",
        ]
    ),
)


@settings(deadline=None)  # others use this processor too
@given(FOREIGN, NETWORKS)
def test_other_definitions_mean_what_they_meant(
    files: dict[str, str], any_network: Network
) -> None:
    theirs = {each for each in parse(files) if each.name not in any_network.claims}
    ours = taken(files, any_network)
    after = {**files, **rendered(files, any_network)}
    assert set(parse(after)) == theirs | own(ours)
    assert rendered(after, any_network) == {OWN_FILE: after[OWN_FILE]}


@settings(max_examples=1000, deadline=None)
@given(NETWORKS)
def test_rendered_and_read_back_it_is_the_same_network(any_network: Network) -> None:
    assert set(parse(rendered({}, any_network))) == own(any_network)


HARDWARE = [
    ("wakeonlan", "true"),
    ("optional", "yes"),
    ("optional-addresses", '["dhcp4", "ipv6-ra"]'),
    ("macaddress", "52:54:00:00:00:99"),
    ("tcp-segmentation-offload", "off"),
    ("auth", '{"key-management": "802.1x", "method": "tls", "ca-certificate": "/etc/ca: x"}'),
    ("link", "eth8"),
]
OPTIONS = [
    ("ipv6-privacy", "true"),
    ("ra-overrides", '{"use-dns": "false"}'),
    ("routes", '{"to": "0.0.0.0/0", "on-link": "true", "mtu": "1400"}'),
    ("routes", '{"to": "10.0.0.0/8", "scope": "link"}'),
    ("routes", '{"to": "default", "via": "10.99.0.1", "on-link": "true", "table": "7"}'),
    ("routes", '{"to": "10.0.0.0/8", "type": "blackhole"}'),
    ("routing-policy", '{"from": "10.0.0.0/8", "table": "7"}'),
    ("routing-policy", '{"to": "10.0.0.0/8", "mark": "7", "table": "254"}'),
    ("some-key-to-come", '["x", {"y": "z"}]'),
]


def as_pairs_of_any_order(interfaces: Iterable[Interface]) -> set[Interface]:
    return {
        replace(each, hardware=tuple(sorted(each.hardware)), options=tuple(sorted(each.options)))
        for each in interfaces
    }


@settings(deadline=None)
@given(NETWORKS, st.sets(st.sampled_from(HARDWARE)), st.sets(st.sampled_from(OPTIONS)))
def test_what_is_taken_over_is_read_back_as_it_was(
    any_network: Network, hardware: set[tuple[str, str]], options: set[tuple[str, str]]
) -> None:
    kept = replace(
        any_network,
        taken_over=TakenOver(
            hardware={nic: tuple(hardware) for nic in any_network.nics},
            options={any_network.management: tuple(options)},
        ),
    )
    files = {file.path: file.content for file in render(kept, {})}
    assert as_pairs_of_any_order(parse(files)) == as_pairs_of_any_order(own(kept))
    assert rendered(files, any_network) == files


def slug(point: StartingPoint) -> str:
    return re.sub(r"[^a-z0-9]+", "-", point.name.lower())


def present(point: StartingPoint) -> Present:
    links = [{"ifname": name, "address": mac} for mac, name in point.devices.items()]
    return Present(files=point.files, addresses=[{**link, **DOWN} for link in links])


DOWN: dict[str, Any] = {"mtu": 1500, "flags": [], "addr_info": []}
REFUSED_POINTS = [each for each in STARTING_POINTS if each.outcome == REFUSED]
OTHER_POINTS = [each for each in STARTING_POINTS if each.outcome in (TAKEN_OVER, LEFT_ALONE)]


@pytest.mark.parametrize("point", REFUSED_POINTS, ids=slug)
def test_a_starting_point_is_refused_with_its_sentence(point: StartingPoint) -> None:
    with pytest.raises(ValueError) as refusal:
        BACKENDS["netplan"].change(network(**point.keys), present(point))
    assert str(refusal.value) == point.sentence


@pytest.mark.parametrize("point", OTHER_POINTS, ids=slug)
def test_a_starting_point_is_taken_over_or_left_alone(point: StartingPoint) -> None:
    ours, before = network(**point.keys), present(point)
    change = BACKENDS["netplan"].change(ours, before)
    assert change is not None
    written = {file.path: file.content for file in change.files}
    golden = GOLDEN / "netplan-starting-points" / f"{slug(point)}.yaml"
    assert "".join(f"# {path}\n{text}" for path, text in written.items()) == golden.read_text()
    after = {**point.files, **written}
    found = parse(point.files, point.devices)
    claims = taken_over(ours, found, Resolvers()).claims
    theirs = {each for each in found if each.name not in claims}
    kept = {each for each in parse(after, point.devices) if not each.own}
    assert kept >= theirs
    # what others refer to before ours is read
    for each in kept - theirs:
        assert each.name in ours.names
        assert each == Interface(each.name, each.kind)
    again = BACKENDS["netplan"].change(ours, replace(before, files=after))
    assert again is None or again.files == ()
    assert theirs or point.outcome != LEFT_ALONE
