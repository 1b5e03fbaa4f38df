"""NetworkManager: our profiles, what goes with them, what is activated in which order."""

import re
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from uuid import UUID, uuid3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmhost.network.backends import BACKENDS
from kvmhost.network.backends.networkmanager.interfaces import parse
from kvmhost.network.backends.networkmanager.plan import Changes, changes
from kvmhost.network.backends.networkmanager.render import CONFIGURATION, removed, render
from kvmhost.network.change import Change, Present
from kvmhost.network.interfaces import NO_DEVICES, Devices, Interface, Options, Route
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
from tests.unit.starting_points.networkmanager import (
    NIC,
    NICS,
    RUNTIME_UUID,
    SECOND_UUID,
    STARTING_POINTS,
    STORAGE,
    TAGGED,
    UPLINK_UUID,
    VLAN_UUID,
    active,
)

CONNECTIONS = "/etc/NetworkManager/system-connections"
SCRIPTS = "/etc/sysconfig/network-scripts"
WIRED = f"{CONNECTIONS}/Wired connection 1"
UUID_ = "8f1c3dc6-3d41-4ee3-a2c5-1c0f4a5fbb1a"
OTHER_UUID = "e2a55e0e-6ad1-4c4f-9a9c-6f35c9d9c001"

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


def can_be_had(any_network: Network) -> bool:
    return any_network.bridge_type == "openvswitch" or any_network.forward_delay >= 2


POSSIBLE = NETWORKS.filter(can_be_had)


def own(name: str) -> str:
    return f"{CONNECTIONS}/cloudstack-{name}.nmconnection"


def rendered(any_network: Network, existing: dict[str, str] | None = None) -> dict[str, str]:
    return {file.path: file.content for file in render(any_network, existing or {})}


def taken(any_network: Network, existing: dict[str, str], devices: Devices = NO_DEVICES) -> Network:
    """Return the network with what the present files say besides."""
    return taken_over(any_network, parse(existing, devices), Resolvers())


def after(
    any_network: Network, existing: dict[str, str], devices: Devices = NO_DEVICES
) -> dict[str, str]:
    """Return all files as they are after the change."""
    new = taken(any_network, existing, devices)
    gone = removed(new, existing, devices)
    files = {**existing, **{file.path: file.content for file in render(new, existing, devices)}}
    return {path: text for path, text in files.items() if path not in gone}


@pytest.mark.parametrize(("name", "changed"), GOLDENS.items(), ids=GOLDENS)
def test_golden(name: str, changed: dict[str, Any]) -> None:
    files = rendered(network(**changed)).items()
    text = "\n".join(f"==> {path} <==\n{content}" for path, content in files)
    assert text == (GOLDEN / f"networkmanager-{name}.txt").read_text()


# The guide has no example for NetworkManager; its listings for RHEL mean this.
def test_the_guides_values_are_where_networkmanager_wants_them() -> None:
    files = rendered(network())
    assert "\nid=100\nparent=eth0\n" in files[own("eth0.100")]
    assert "\naddress1=192.168.42.11/24\ngateway=192.168.42.1\n" in files[own("eth0.100")]
    assert "\ndns=8.8.8.8;8.8.4.4\ndns-search=lab.example.org\n" in files[own("eth0.100")]
    for bridge, tag in (("cloudbr0", 200), ("cloudbr1", 300)):
        assert f"\nmaster={bridge}\nslave-type=bridge\n" in files[own(f"eth0.{tag}")]
        assert "\nstp=false\nforward-delay=5\n" in files[own(bridge)]
        assert "\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n" in files[own(bridge)]


def test_only_root_may_read_a_profile() -> None:
    modes = {file.path: file.mode for file in render(network(**OPENVSWITCH), {})}
    assert modes.pop(CONFIGURATION) == 0o644
    assert set(modes.values()) == {0o600}


def test_a_uuid_is_the_same_each_time_and_no_other_profiles() -> None:
    def uuids() -> list[UUID]:
        return [
            UUID(line.partition("=")[2])
            for text in rendered(network()).values()
            for line in text.splitlines()
            if line.startswith("uuid=")
        ]

    assert uuids() == uuids()
    assert len(set(uuids())) == len(network().interfaces)


def test_the_uplink_stays_the_device_that_its_profile_says_it_is() -> None:
    wired = (
        f"[connection]\nid=Wired connection 1\nuuid={UUID_}\ntype=802-3-ethernet\n"
        "interface-name=eth0\ncontroller=br0\nport-type=bridge\n\n"
        "[802-3-ethernet]\nmac-address=52:54:00:00:00:02\nmtu=1400\n\n"
        "[ethtool]\nfeature-gro=false\n\n[bridge-port]\npriority=7\n\n"
        "[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    )
    files = after(network(), {WIRED: wired})
    assert files[own("eth0")] == (
        "# CloudStack network (what stands here is overwritten)\n"
        f"[connection]\nid=cloudstack-eth0\nuuid={UUID_}\ntype=ethernet\ninterface-name=eth0\n"
        "autoconnect-priority=999\n\n[ethernet]\nmtu=1400\nmac-address=52:54:00:00:00:02\n\n"
        "[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n\n[ethtool]\nfeature-gro=false\n"
    )
    assert WIRED not in files
    assert after(network(), files) == files


def test_a_bond_that_is_there_stays_a_bond() -> None:
    existing = {
        f"{CONNECTIONS}/bond.nmconnection": (
            f"[connection]\nid=bond\nuuid={UUID_}\ntype=bond\ninterface-name=bond0\n\n"
            "[bond]\nmiimon=100\nmode=802.3ad\n\n[ipv4]\nmethod=auto\n"
        ),
        f"{CONNECTIONS}/eth0.nmconnection": (
            f"[connection]\nid=eth0\nuuid={OTHER_UUID}\ntype=ethernet\ninterface-name=eth0\n"
            f"master={UUID_}\nslave-type=bond\n"
        ),
    }
    files = after(network(uplink="bond0"), existing)
    assert f"uuid={UUID_}\ntype=bond\n" in files[own("bond0")]
    assert "[bond]\nmiimon=100\nmode=802.3ad\n" in files[own("bond0")]
    assert after(network(uplink="bond0"), files) == files
    assert (
        files.keys()
        == existing.keys() - {f"{CONNECTIONS}/bond.nmconnection"}
        | rendered(network(uplink="bond0")).keys()
    )
    found = {interface.name: interface for interface in parse(files)}
    assert found["bond0"].ports == ("eth0",)


def test_a_bond_takes_over_what_an_installer_gave_its_nics() -> None:
    existing = {
        WIRED: (
            f"[connection]\nid=Wired connection 1\nuuid={UUID_}\ntype=ethernet\n"
            "interface-name=eth0\n\n[ethernet]\nmac-address=52:54:00:00:00:02\n\n"
            "[ipv4]\nmethod=auto\n"
        ),
        f"{CONNECTIONS}/mgmt": (
            "[connection]\nid=mgmt\ntype=vlan\ninterface-name=eth0.100\n\n"
            "[vlan]\nid=100\nparent=eth0\n"
        ),
        f"{CONNECTIONS}/bond": (
            f"[connection]\nid=bond\nuuid={OTHER_UUID}\ntype=bond\ninterface-name=bond0\n\n"
            "[ethernet]\ncloned-mac-address=52:54:00:00:00:03\n\n"
            "[bond]\nmode=balance-rr\nprimary=eth2\n"
        ),
        f"{SCRIPTS}/ifcfg-eth1": "DEVICE=eth1\nBOOTPROTO=dhcp\n",
    }
    files = after(network(**BOND), existing)
    assert files.keys() == rendered(network(**BOND)).keys()
    assert files[own("eth0")].endswith(
        f"uuid={UUID_}\ntype=ethernet\ninterface-name=eth0\nautoconnect-priority=999\n"
        "master=bond0\nslave-type=bond\n\n[ethernet]\nmac-address=52:54:00:00:00:02\n"
    )
    assert files[own("bond0")].endswith(
        f"uuid={OTHER_UUID}\ntype=bond\ninterface-name=bond0\nautoconnect-priority=999\n\n"
        "[bond]\nmode=active-backup\nmiimon=100\n\n"
        "[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n\n"
        "[ethernet]\ncloned-mac-address=52:54:00:00:00:03\n"
    )
    found = changes(existing, files)
    assert found.gone == ("eth0.100",)
    order = names(found.up, files)
    nics = order.index("eth0"), order.index("eth1")
    assert order.index("bond0") < min(nics)
    assert max(nics) < min(order.index(f"bond0.{tag}") for tag in (100, 200, 300))


def test_a_nic_becomes_the_uplink_again_and_its_bond_goes() -> None:
    before = rendered(network(**BOND))
    then = after(network(), before)
    assert then.keys() == rendered(network()).keys()
    found = changes(before, then)
    assert set(found.gone) == {"bond0", "bond0.100", "bond0.200", "bond0.300"}
    assert set(names(found.up, then)) == network().names


def test_an_ifcfg_file_of_the_uplink_becomes_a_profile() -> None:
    bond = (
        f'TYPE=Bond\nDEVICE=bond0\nUUID="{UUID_}"\nBONDING_OPTS="mode=802.3ad miimon=100"\n'
        "MACADDR=52:54:00:00:00:02\nBOOTPROTO=dhcp\n"
    )
    existing = {
        f"{SCRIPTS}/ifcfg-Bond_connection_1": bond,
        f"{SCRIPTS}/ifcfg-eth0": "DEVICE=eth0\nMASTER=bond0\nSLAVE=yes\n",
    }
    files = after(network(uplink="bond0"), existing)
    assert f"uuid={UUID_}\ntype=bond\n" in files[own("bond0")]
    assert "[ethernet]\ncloned-mac-address=52:54:00:00:00:02\n" in files[own("bond0")]
    assert "[bond]\nmode=802.3ad\nmiimon=100\n" in files[own("bond0")]
    assert f"{SCRIPTS}/ifcfg-Bond_connection_1" not in files
    assert f"{SCRIPTS}/ifcfg-eth0" in files


def test_other_profiles_of_our_interfaces_go_and_those_of_others_stay() -> None:
    profile = "[connection]\nid={0}\ntype=ethernet\ninterface-name={0}\n"
    theirs = {
        f"{CONNECTIONS}/eth1.nmconnection": profile.format("eth1"),
        f"{CONNECTIONS}/eth0.nmconnection~": profile.format("eth0"),
        f"{CONNECTIONS}/any.nmconnection": "[connection]\nid=any\ntype=ethernet\n",
        f"{SCRIPTS}/ifcfg-eth2": "DEVICE=eth2\nBOOTPROTO=dhcp\n",
    }
    of_ours = {
        WIRED: profile.format("eth0"),
        f"{CONNECTIONS}/office": profile.format("cloudbr0"),
        f"{SCRIPTS}/ifcfg-eth0": "DEVICE=eth0\nNM_CONTROLLED=no\n",
    }
    files = after(network(), {**theirs, **of_ours})
    assert files.keys() == theirs.keys() | rendered(network()).keys()
    assert {path: files[path] for path in theirs} == theirs


def test_what_an_earlier_network_had_goes() -> None:
    earlier = rendered(network(**OPENVSWITCH))
    assert CONFIGURATION in earlier
    assert after(network(), earlier) == rendered(network(), earlier)


def test_a_delay_that_networkmanager_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="forward delay of 1 s"):
        render(network(bridge_forward_delay=1), {})


def test_the_change_takes_the_other_profiles_away() -> None:
    profile = "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n"
    change = BACKENDS["networkmanager"].change(network(), Present(files={WIRED: profile}))
    assert change is not None
    assert change.removed == (WIRED,)
    assert WIRED not in {file.path for file in change.files}
    assert f"nmcli --wait 30 connection up uuid {uuid_of(WIRED)}\n" in change.rollback.up


def test_a_device_that_is_no_longer_ours_is_not_managed_any_more() -> None:
    files = after(network(), rendered(network(**OPENVSWITCH)))
    assert "interface-name:=eth0," in files[CONFIGURATION]
    assert "managed=1" not in files[CONFIGURATION]


def test_parse_reads_what_other_people_write() -> None:
    existing = {
        f"{CONNECTIONS}/wired": (
            "# comment\n[connection]\nid=wired\ntype=802-3-ethernet\n\n"
            "[802-3-ethernet]\nmac-address=52:54:00:00:00:03\nmtu=1400\n"
        ),
        f"{CONNECTIONS}/br7.nmconnection": (
            f"[connection]\nuuid={UUID_}\ntype=bridge\ninterface-name=br7\n[bridge]\n"
            "[ipv4]\nmethod=manual\naddress1=10.7.0.1/24,10.7.0.254\naddresses2=10.7.0.2;16;\n"
            "dns=10.7.0.9;10.7.0.10;\n[ipv6]\nmethod=manual\naddress1=fd00::1/64\n"
            "route1=::/0,fd00::254\ndns-search=a.example;\n"
        ),
        f"{CONNECTIONS}/v7.nmconnection": (
            f"[connection]\nuuid={OTHER_UUID}\ntype=vlan\ninterface-name=v7\ncontroller={UUID_}\n"
            "port-type=bridge\n[vlan]\nid=7\nparent=eth9\n"
        ),
        f"{CONNECTIONS}/v8.nmconnection": (
            "[connection]\ntype=vlan\ninterface-name=v8\n"
            f"[vlan]\nid=8\nparent={OTHER_UUID}\n[ipv4]\nmethod=disabled\n"
        ),
        f"{CONNECTIONS}/ovs": "[connection]\ntype=ovs-bridge\ninterface-name=ovs\n",
        f"{SCRIPTS}/ifcfg-eth5": "DEVICE=eth5\nBOOTPROTO=dhcp\n",
    }
    found = {interface.name: interface for interface in parse(existing)}
    assert found.keys() == {"wired", "br7", "v7", "v8", "ovs", "eth5"}
    mac = (("ethernet.mac-address", "52:54:00:00:00:03"),)
    assert found["wired"] == Interface("wired", "ethernet", mtu=1400, dhcp=True, hardware=mac)
    assert (found["br7"].ports, found["br7"].stp) == (("v7",), True)
    assert list(map(str, found["br7"].addresses)) == ["10.7.0.1/24", "10.7.0.2/16", "fd00::1/64"]
    assert found["br7"].gateways == ()  # a bridge's have metric 425
    assert list(map(str, found["br7"].dns_servers)) == ["10.7.0.9", "10.7.0.10"]
    assert found["v7"] == Interface("v7", "vlan", parent="eth9", tag=7)
    assert found["v8"] == Interface("v8", "vlan", parent="v7", tag=8)
    assert found["ovs"].is_ovs_bridge
    assert found["eth5"].dhcp


BARE = {
    WIRED: "[connection]\nid=Wired connection 1\ntype=ethernet\ninterface-name=eth0\n",
    f"{CONNECTIONS}/eth0.7": (
        "[connection]\nid=seven\ntype=vlan\ninterface-name=eth0.7\n[vlan]\nid=7\nparent=eth0\n"
    ),
}


def names(profiles: tuple[tuple[str, ...], ...], files: dict[str, str]) -> list[str]:
    """Say which interfaces the words for nmcli are about."""
    by_uuid = {uuid_of(path, text): text for path, text in files.items()}
    texts = (by_uuid[uuid] for _, uuid, *_ in profiles)
    return [text.partition("interface-name=")[2].partition("\n")[0] for text in texts]


def uuid_of(path: str, text: str = "") -> str:
    """Say which UUID a keyfile has, or NetworkManager gives it, as nmcli has shown it."""
    namespace = UUID("b425e9fb-7598-44b4-9e3b-5a2e3aaa4905")
    said = text.partition("\nuuid=")[2].partition("\n")[0]
    return said or str(uuid3(namespace, f"keyfile\0{path}\0"))


def activated(
    before: dict[str, str], then: dict[str, str], soonest: frozenset[str] = frozenset()
) -> list[str]:
    return names(changes(before, then, soonest=soonest).up, then)


def test_nothing_changed_means_nothing_activated() -> None:
    files = rendered(network())
    assert changes(files, files) == Changes()


def test_on_a_bare_host_everything_comes_up_bridges_before_their_ports() -> None:
    order = activated(BARE, after(network(), BARE))
    assert set(order) == {*network().names, "eth0.7"}
    for lower, upper in (("eth0.200", "cloudbr0"), ("eth0.300", "cloudbr1")):
        assert order.index("eth0") < order.index(lower)
        assert order.index(upper) < order.index(lower)


def test_another_tag_leaves_the_other_interfaces_alone() -> None:
    before = rendered(network())
    then = after(network(bridges={"cloudbr0": 200, "cloudbr1": 301}), before)
    found = changes(before, then)
    assert names(found.down, before) == ["eth0.300"]
    assert found.gone == ("eth0.300",)
    assert names(found.up, then) == ["cloudbr1", "eth0.301"]


def test_the_bridge_of_an_untagged_uplink_takes_everything_along() -> None:
    before = rendered(network(**UNTAGGED))
    then = after(network(**UNTAGGED, bridge_stp=True), before)
    order = activated(before, then)
    assert set(order) == network(**UNTAGGED).names
    assert order.index("cloudbr0") < order.index("eth0") < order.index("eth0.300")


def test_what_changes_its_kind_goes_first() -> None:
    before = rendered(network())
    then = after(network(**OPENVSWITCH), before)
    there, back = changes(before, then), changes(then, before)
    assert set(there.gone) == {"eth0.100", "eth0.200", "eth0.300", "cloudbr0", "cloudbr1"}
    assert set(names(there.up, then)) == {"cloudbr", "mgmt0", "cloudbr0", "cloudbr1"}
    assert back.gone == ()
    assert set(names(back.down, then)) == {"cloudbr", "mgmt0", "cloudbr0", "cloudbr1"}
    assert set(names(back.up, before)) == network().names - {"eth0"}


def test_a_profile_that_does_not_start_by_itself_is_not_activated() -> None:
    before = {**BARE, WIRED: BARE[WIRED] + "autoconnect=false\n"}
    assert names(changes(after(network(), before), before).up, before) == ["eth0.7"]


def test_what_is_set_up_anew_takes_its_ports_along() -> None:
    files = rendered(network(**ON_BRIDGE))
    found = changes(files, files, {"cloudbr1"})
    assert (found.down, found.gone) == ((), ())
    assert names(found.up, files) == ["cloudbr1", "eth0.300"]


def links(devices: Devices) -> list[dict[str, Any]]:
    """Return the NICs as iproute2 has them, numbered as NetworkManager's notes have them."""
    return [
        {
            "ifindex": index,
            "ifname": name,
            "address": mac,
            "mtu": 1500,
            "flags": ["UP"],
            "addr_info": [],
        }
        for index, (mac, name) in enumerate(devices.items(), start=2)
    ]


def changed(point: StartingPoint) -> tuple[Change, dict[str, str]]:
    """Return the change that a starting point needs, and all files after it."""
    present = Present(files=point.files, addresses=links(point.devices))
    change = BACKENDS["networkmanager"].change(network(**point.keys), present)
    assert change is not None
    files = {**point.files, **{file.path: file.content for file in change.files}}
    return change, {path: text for path, text in files.items() if path not in change.removed}


@pytest.mark.parametrize("point", STARTING_POINTS, ids=lambda point: point.name)
def test_starting_point(point: StartingPoint) -> None:
    if point.outcome == "refused":
        with pytest.raises(ValueError, match=re.escape(point.sentence)):
            changed(point)
        return
    change, files = changed(point)
    again = BACKENDS["networkmanager"].change(
        network(**point.keys), Present(files=files, addresses=links(point.devices))
    )
    assert again is not None  # the kernel is not there yet
    assert (again.files, again.removed) == ((), ())
    written = {file.path for file in change.files}
    assert not any(path.startswith(("/run/", "/usr/")) for path in (*written, *change.removed))
    started_with = {path for path in point.files if "eth0" not in path or "eth0.250" in path}
    if point.outcome == "left alone":
        assert started_with.isdisjoint(change.removed)
        assert {path: files[path] for path in started_with} == {
            path: point.files[path] for path in started_with
        }


def at(name: str) -> StartingPoint:
    (point,) = (point for point in STARTING_POINTS if point.name.startswith(name))
    return point


def test_what_stands_beside_the_address_goes_with_it_and_what_is_the_devices_stays() -> None:
    change, files = changed(at("the installer's keyfile, with a static address"))
    assert change.removed == (f"{CONNECTIONS}/eth0.nmconnection",)
    assert files[own("eth0")] == (
        "# CloudStack network (what stands here is overwritten)\n"
        f"[connection]\nid=cloudstack-eth0\nuuid={UPLINK_UUID}\ntype=ethernet\n"
        "interface-name=eth0\nautoconnect-priority=999\nmaster=cloudbr0\nslave-type=bridge\n\n"
        "[ethernet]\nmtu=9000\nwake-on-lan=64\n"
    )
    assert files[own("cloudbr0")].partition("uuid=")[2].partition("\n")[2] == (
        "type=bridge\ninterface-name=cloudbr0\nautoconnect-priority=999\nzone=public\n\n"
        "[bridge]\nstp=false\nforward-delay=5\n\n"
        "[ipv4]\nmethod=manual\naddress1=192.168.42.11/24\ngateway=192.168.42.1\n"
        "route-metric=20\nroute1=10.0.0.0/8,192.168.42.254\ndns=8.8.8.8;8.8.4.4\n"
        "dns-search=lab.example.org\ndns-options=rotate;\n\n"
        "[ipv6]\nmethod=ignore\nroute-metric=20\n"
    )


def test_policy_routing_moves_with_the_address() -> None:
    _, files = changed(at("policy routing on the uplink"))
    assert (
        "routing-rule1=priority 7 from 192.168.42.11 table 7\n"
        "route1=0.0.0.0/0,192.168.42.254\nroute1_options=table=7\n"
    ) in files[own("cloudbr0")]


def test_an_ifcfg_file_is_said_in_a_keyfiles_terms() -> None:
    change, files = changed(at("the installer's ifcfg file"))
    assert change.removed == (f"{SCRIPTS}/ifcfg-eth0",)
    assert f"uuid={UPLINK_UUID}\n" in files[own("eth0")]
    assert "\nzone=public\n" in files[own("cloudbr0")]
    assert "address1=192.168.42.11/24\ngateway=192.168.42.1\n" in files[own("cloudbr0")]
    keeps = {**at("the installer's ifcfg file").keys, "dns_servers": [], "dns_search": []}
    kept = after(network(**keeps), dict(at("the installer's ifcfg file").files))
    assert "\ndns=192.168.42.3\ndns-search=example.org;lab.example.org\n" in kept[own("cloudbr0")]


def test_a_bond_of_ours_keeps_the_options_of_its_mode() -> None:
    point = at("the installer's bond, with bonds")
    _, files = changed(point)
    assert (
        "[bond]\nmode=802.3ad\nmiimon=100\nlacp_rate=fast\nxmit_hash_policy=layer3+4\n"
        in files[own("bond0")]
    )
    other = network(**{**point.keys, **BOND})
    assert after(other, files)[own("bond0")].endswith("[bond]\nmode=active-backup\nmiimon=100\n")


def test_a_vlan_interface_of_another_name_ends_and_is_back_on_the_way_back() -> None:
    change, files = changed(at("the management VLAN under another name"))
    assert f"{CONNECTIONS}/mgmt.nmconnection" not in files
    assert "vlan100" not in "".join(files.values())
    end = change.apply.down.splitlines()
    assert f"connection down uuid {VLAN_UUID} || true" in end[0]
    # NetworkManager deletes it too, and may be the first
    assert "ip link delete vlan100 || [ ! -e /sys/class/net/vlan100 ]" in end[1]
    assert f"connection up uuid {VLAN_UUID}\n" in change.rollback.up
    assert "ip link delete eth0.100" in change.rollback.down


def test_what_was_active_at_runtime_alone_is_activated_again_on_the_way_back() -> None:
    for name in ("Wired connection 1, which", "a profile of the initrd"):
        change, files = changed(at(name))
        assert change.removed == ()
        assert f"uuid={RUNTIME_UUID}" not in files[own("eth0")]  # which would be passed over
        assert f"connection up uuid {RUNTIME_UUID}" in change.rollback.up
    assert f"connection up uuid {RUNTIME_UUID} ifname eth0\n" in change.rollback.up


def test_the_way_back_begins_with_what_has_the_address() -> None:
    before = {**TAGGED, f"{CONNECTIONS}/storage.nmconnection": STORAGE}
    addressed = {"family": "inet", "local": "192.168.42.11", "prefixlen": 24}
    present = Present(
        files=before,
        addresses=[
            *links(NIC),
            {
                "ifindex": 4,
                "ifname": "eth0.100",
                "mtu": 1500,
                "flags": [],
                "addr_info": [addressed],
            },
        ],
    )
    change = BACKENDS["networkmanager"].change(network(), present)
    assert change is not None
    up = [line for line in change.rollback.up.splitlines() if "connection up" in line]
    assert [line.split()[-1] for line in up] == [UPLINK_UUID, VLAN_UUID, SECOND_UUID]
    assert all(line.startswith("timeout 60 nmcli --wait 30 ") for line in up)


def test_what_was_not_active_is_not_waited_for() -> None:
    before = {**TAGGED, f"{CONNECTIONS}/storage.nmconnection": STORAGE}
    before |= active(eth0=UPLINK_UUID)
    found = changes(before, after(network(), before), active={"eth0": UPLINK_UUID})
    assert found.late == (("uuid", SECOND_UUID),)
    assert ("uuid", SECOND_UUID) not in found.up


def test_a_profile_that_neither_starts_nor_is_active_says_nothing() -> None:
    spare = {WIRED: BARE[WIRED] + "autoconnect=false\n[ethernet]\nmtu=1400\n"}
    assert parse(spare) == ()
    assert after(network(), spare)[WIRED] == spare[WIRED]
    by_hand = {
        **spare,
        "/run/NetworkManager/devices/2": f"[device]\nconnection-uuid={uuid_of(WIRED)}\n",
    }
    (found,) = parse(by_hand)
    assert (found.name, found.mtu) == ("eth0", 1400)
    assert WIRED not in after(network(), by_hand)


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ("[ethernet]\nmac-address=52:54:00:00:00:02\n", ["eth0"]),
        ("[ethernet]\nmac-address=82;84;0;0;1;2;\n", ["eth1"]),
        ("[ethernet]\nmac-address=52:54:00:00:00:99\n", []),
        ("[ethernet]\nmac-address-denylist=52:54:00:00:00:02;\n", ["eth1"]),
        ("[match]\ninterface-name=eth*;!eth1;\n", ["eth0"]),
        ("[match]\ninterface-name=&eth?;&!eth0;\n", ["eth1"]),
        ("[match]\ninterface-name=|en*;|eth1;\n", ["eth1"]),
        ("[match]\ninterface-name=en*;\n", []),
        ("[match]\ndriver=virtio_net;\n", ["eth0", "eth1"]),
        ("", ["eth0", "eth1"]),
    ],
)
def test_a_profile_without_an_interface_is_for_what_it_fits(said: str, fits: list[str]) -> None:
    profile = {WIRED: f"[connection]\nid=any\ntype=ethernet\n\n{said}"}
    assert [each.name for each in parse(profile, NICS)] == fits
    gone = removed(network(), profile, NICS)
    assert gone == ((WIRED,) if fits == ["eth0"] else ())


@pytest.mark.parametrize("parent", [UPLINK_UUID, "52:54:00:00:00:02", "eth0"])
def test_a_vlan_interfaces_parent_is_found_by_whatever_it_is_called(parent: str) -> None:
    files = {
        f"{CONNECTIONS}/a": f"[connection]\nid=a\nuuid={UPLINK_UUID}\ntype=ethernet\n"
        "[ethernet]\nmac-address=52:54:00:00:00:02\n",
        f"{CONNECTIONS}/b": f"[connection]\nid=b\ntype=vlan\n[vlan]\nid=100\nparent={parent}\n",
    }
    _, vlan = parse(files, NICS)
    assert (vlan.name, vlan.parent, vlan.tag) == ("eth0.100", "eth0", 100)


def second_nic(ipv4: str, ipv6: str = "method=disabled\n") -> Interface:
    text = (
        f"[connection]\nid=eth1\ntype=ethernet\ninterface-name=eth1\n[ipv4]\n{ipv4}[ipv6]\n{ipv6}"
    )
    (found,) = parse({f"{CONNECTIONS}/eth1": text})
    return found


STATIC = "method=manual\naddress1=10.7.0.2/24,10.7.0.1\n"


@pytest.mark.parametrize(
    ("ipv4", "gateways"),
    [
        (STATIC, []),
        (f"{STATIC}route-metric=-1\n", []),
        (f"{STATIC}route-metric=21\n", []),
        (f"{STATIC}route-metric=20\n", ["10.7.0.1"]),
        (f"{STATIC}route-metric=0\n", ["10.7.0.1"]),
        (f"{STATIC}route-metric=0\nnever-default=true\n", []),
        (f"{STATIC}route-metric=0\nroute-table=254\n", ["10.7.0.1"]),
        (f"{STATIC}route-metric=0\nroute-table=7\n", []),
        (f"{STATIC}route1=0.0.0.0/0,10.7.0.9\n", []),
        (f"{STATIC}route1=0.0.0.0/0,10.7.0.9,5\n", ["10.7.0.9"]),
        (f"{STATIC}route1=0.0.0.0/0,10.7.0.9,5\nroute1_options=table=7\n", []),
    ],
)
def test_a_gateway_counts_where_it_would_be_preferred(ipv4: str, gateways: list[str]) -> None:
    assert list(map(str, second_nic(ipv4).gateways)) == gateways


@pytest.mark.parametrize(
    ("ipv4", "counts"),
    [
        ("method=auto\n", False),
        ("method=auto\nroute-metric=20\n", True),
        ("method=auto\nroute-metric=20\nignore-auto-routes=true\n", False),
        ("method=auto\nroute-metric=20\nnever-default=true\n", False),
        ("method=auto\nroute-metric=20\nroute-table=7\n", False),
    ],
)
def test_a_leases_gateway_counts_where_it_would_be_preferred(ipv4: str, counts: bool) -> None:
    assert second_nic(ipv4).gateway_by_dhcp == counts
    assert second_nic(ipv4).dhcp


def test_a_zero_metric_is_none_for_ipv6() -> None:
    ipv6 = "method=manual\naddress1=fd00::2/64,fd00::1\nroute-metric=0\n"
    assert second_nic("method=disabled\n", ipv6).gateways == ()


@pytest.mark.parametrize(
    ("variables", "gateways", "by_dhcp"),
    [
        ("BOOTPROTO=none\nIPADDR=10.7.0.2\nGATEWAY=10.7.0.1\n", [], False),
        ("BOOTPROTO=none\nIPADDR=10.7.0.2\nGATEWAY=10.7.0.1\nMETRIC=5\n", [], False),
        ("IPADDR=10.7.0.2\nGATEWAY=10.7.0.1\nIPV4_ROUTE_METRIC=5\n", ["10.7.0.1"], False),
        ("IPADDR=10.7.0.2\nGATEWAY=10.7.0.1\nIPV4_ROUTE_METRIC=5\nDEFROUTE=no\n", [], False),
        ("BOOTPROTO=dhcp\nIPV4_ROUTE_METRIC=5\n", [], True),
        ("BOOTPROTO=dhcp\nIPV4_ROUTE_METRIC=5\nPEERROUTES=no\n", [], False),
    ],
)
def test_an_ifcfg_file_means_what_networkmanager_makes_of_it(
    variables: str, gateways: list[str], by_dhcp: bool
) -> None:
    (found,) = parse({f"{SCRIPTS}/ifcfg-eth1": f"DEVICE=eth1\n{variables}"})
    assert list(map(str, found.gateways)) == gateways
    assert found.gateway_by_dhcp == by_dhcp
    assert parse({f"{SCRIPTS}/ifcfg-eth1": f"DEVICE=eth1\nONBOOT=no\n{variables}"}) == ()


def test_an_alias_adds_addresses_to_its_interface() -> None:
    (found,) = parse(
        {
            f"{SCRIPTS}/ifcfg-eth1": "DEVICE=eth1\nIPADDR=10.7.0.2\nPREFIX=24\n",
            f"{SCRIPTS}/ifcfg-eth1:1": "DEVICE=eth1:1\nIPADDR=10.8.0.2\nNETMASK=255.255.0.0\n",
        }
    )
    assert list(map(str, found.addresses)) == ["10.7.0.2/24", "10.8.0.2/16"]


def test_each_thing_that_a_profile_says_has_its_place() -> None:
    said = (
        "[connection]\nid=x\ntype=ethernet\ninterface-name=eth1\nlldp=1\nmetered=1\n"
        "zone=internal\nautoconnect-retries=2\npermissions=user:joe:;\ntimestamp=5\n"
        "wait-device-timeout=5000\n\n"
        "[ethernet]\nmtu=9000\nspeed=1000\ncloned-mac-address=52:54:00:00:00:09\n\n"
        "[ethtool]\nring-rx=4096\n\n[sriov]\ntotal-vfs=4\nvf.0=mac=52:54:00:00:00:0a\n\n"
        "[802-1x]\neap=tls;\n\n[user]\nnote=mine\n\n[match]\ninterface-name=eth*;\n\n"
        "[proxy]\n\n[.nmmeta]\nnm-generated=true\n\n"
        "[ipv4]\nmethod=manual\naddress1=10.7.0.2/24,10.7.0.1\ndhcp-hostname=x\nmay-fail=false\n"
        "dad-timeout=100\ndns=10.7.0.3;1.1.1.1#one.example;\ndns-priority=5\n"
        "route1=10.8.0.0/16,10.7.0.8,7\nroute2=10.9.0.0/16\nroute3=10.10.0.0/16,10.7.0.8\n"
        "route3_options=onlink=true,table=7\nrouting-rule1=priority 5 from 10.7.0.2 table 7\n\n"
        "[ipv6]\nmethod=disabled\n"
    )
    (found,) = parse({f"{CONNECTIONS}/x": said})
    assert found == Interface(
        "eth1",
        "ethernet",
        mtu=9000,
        addresses=(ip_interface("10.7.0.2/24"),),
        spare_gateways=(ip_address("10.7.0.1"),),
        routes=(Route(ip_network("10.8.0.0/16"), ip_address("10.7.0.8"), 7),),
        dns_servers=(ip_address("10.7.0.3"),),
        hardware=(
            ("connection.lldp", "1"),
            ("connection.wait-device-timeout", "5000"),
            ("ethernet.speed", "1000"),
            ("ethernet.cloned-mac-address", "52:54:00:00:00:09"),
            ("ethtool.ring-rx", "4096"),
            ("sriov.total-vfs", "4"),
            ("sriov.vf.0", "mac=52:54:00:00:00:0a"),
            ("802-1x.eap", "tls;"),
        ),
        addressing=(
            ("connection.metered", "1"),
            ("connection.zone", "internal"),
            ("ipv4.dad-timeout", "100"),
            ("ipv4.dns-priority", "5"),
            ("ipv4.dns", "1.1.1.1#one.example"),
            ("ipv4.routing-rule", "priority 5 from 10.7.0.2 table 7"),
            ("ipv4.route", "10.9.0.0/16"),
            ("ipv4.route", "10.10.0.0/16,10.7.0.8 onlink=true,table=7"),
            ("ipv6.method", "disabled"),
        ),
    )
    without = said.replace("method=manual", "method=disabled")
    (trunk,) = parse({f"{CONNECTIONS}/x": without})
    assert trunk.hardware == found.hardware
    assert (trunk.options, trunk.addressing) == (found.addressing[:2], ())


def test_two_values_of_one_thing_are_refused() -> None:
    zones = (("connection.zone", "public"), ("connection.zone", "internal"))
    both = replace(network(), taken_over=TakenOver(addressing={"eth0.100": zones}))
    with pytest.raises(ValueError, match=r"eth0\.100 would have connection\.zone"):
        render(both, {})


def test_a_file_that_cannot_be_read_is_named() -> None:
    broken = {WIRED: BARE[WIRED] + "[ipv4]\nmethod=manual\naddress1=10.0.0.256/24\n"}
    with pytest.raises(ValueError, match=f"{WIRED}: .*10.0.0.256"):
        parse(broken)


FOREIGN = st.dictionaries(
    st.sampled_from(
        [WIRED, f"{CONNECTIONS}/a.nmconnection", f"{CONNECTIONS}/b~", f"{SCRIPTS}/ifcfg-eth7"]
    ),
    st.sampled_from(
        [
            "",
            "[connection]\ntype=ethernet\ninterface-name=eth7\n\n[ipv4]\nmethod=auto\n",
            "[connection]\ntype=wifi\nid=home\n\n[wifi]\nssid=home\n",
            "[connection]\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\nmethod=auto\n",
            f"[connection]\nuuid={UUID_}\ntype=bridge\ninterface-name=cloudbr0\n",
            "[connection]\ntype=vlan\ninterface-name=v9\n\n[vlan]\nid=9\nparent=eth9\n",
        ]
    ),
)


def as_profiles_have_it(any_network: Network) -> set[Interface]:
    """Return the network's interfaces, with Open vSwitch's bridges as mere devices.

    A profile has the name servers of each address family in a list of their own.
    """
    interfaces = (
        replace(each, kind="ethernet", parent=None, tag=None, ports=(), mtu=None, own=True)
        if each.is_ovs_bridge
        else replace(each, own=True)
        for each in any_network.interfaces
    )
    return {
        replace(
            each,
            dns_servers=tuple(sorted(each.dns_servers, key=lambda server: server.version)),
            bond_options=(),
            hardware=(*bond_options(each), *each.hardware),
        )
        for each in interfaces
    }


def bond_options(bond: Interface) -> Options:
    """Return how a bond's further options are read: with its mode, which few of them go without."""
    if not bond.bond_options:
        return ()
    said = (("mode", str(bond.bond_mode)), *bond.bond_options)
    return tuple((f"bond.{key}", value) for key, value in said)


@settings(max_examples=300, deadline=None)
@given(FOREIGN, POSSIBLE, POSSIBLE)
def test_other_profiles_stay_and_mean_what_they_meant(
    existing: dict[str, str], old: Network, new: Network
) -> None:
    theirs = {each for each in parse(existing) if each.name not in new.names}
    files = after(new, existing)
    assert set(parse(files)) == theirs | as_profiles_have_it(taken(new, existing))
    assert after(new, files) == files
    once_other = after(new, after(old, existing))
    assert rendered(new, existing).keys() <= once_other.keys() <= files.keys()


@settings(max_examples=300, deadline=None)
@given(POSSIBLE, POSSIBLE)
def test_each_interface_comes_up_after_what_it_needs(old: Network, new: Network) -> None:
    before = rendered(old)
    then = after(new, before)
    for soonest in (frozenset[str](), frozenset({new.management})):
        assert_in_order(new, activated(before, then, soonest))


def assert_in_order(new: Network, names: list[str]) -> None:
    order = {name: position for position, name in enumerate(names)}
    for interface in new.interfaces:
        for port in () if interface.is_ovs_bridge else interface.ports:
            if interface.name in order:
                assert order[interface.name] < order[port]
        if interface.parent in order and not interface.is_ovs_bridge and interface.name in order:
            assert order[interface.parent] < order[interface.name]


@settings(max_examples=1000, deadline=None)
@given(POSSIBLE)
def test_rendered_and_read_back_it_is_the_same_network(any_network: Network) -> None:
    assert set(parse(rendered(any_network))) == as_profiles_have_it(any_network)
