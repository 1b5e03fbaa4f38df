"""NetworkManager: our profiles, what goes with them, what is activated in which order."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Present
from kvmhost.network.interfaces import Interface
from kvmhost.network.model import Network
from kvmhost.network.networkmanager import (
    CONFIGURATION,
    Changes,
    changes,
    parse,
    removed,
    render,
)
from tests.unit.network_examples import (
    BOND,
    GOLDEN,
    IPV6,
    NETWORKS,
    ON_BRIDGE,
    OPENVSWITCH,
    UNTAGGED,
    network,
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
    "openvswitch-bond": {**OPENVSWITCH, **BOND, "bond_mode": "802.3ad", "mtu": 9000},
}


def can_be_had(any_network: Network) -> bool:
    return any_network.ovs_bridge is not None or any_network.forward_delay >= 2


POSSIBLE = NETWORKS.filter(can_be_had)


def own(name: str) -> str:
    return f"{CONNECTIONS}/cloudstack-{name}.nmconnection"


def rendered(any_network: Network, existing: dict[str, str] | None = None) -> dict[str, str]:
    return {file.path: file.content for file in render(any_network, existing or {})}


def after(any_network: Network, existing: dict[str, str]) -> dict[str, str]:
    """Return all files as they are after the change."""
    gone = removed(any_network, existing)
    files = {**existing, **rendered(any_network, existing)}
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
        "autoconnect-priority=999\n\n[ethernet]\nmac-address=52:54:00:00:00:02\n\n"
        "[ethtool]\nfeature-gro=false\n\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n"
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
        "[ethernet]\ncloned-mac-address=52:54:00:00:00:03\n\n"
        "[bond]\nmode=active-backup\nmiimon=100\n\n"
        "[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n"
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
    assert "nmcli --wait 30 connection up id eth0\n" in change.back.enter


def test_a_device_that_is_no_longer_ours_is_not_managed_any_more() -> None:
    files = rendered(network(**OPENVSWITCH))
    change = BACKENDS["networkmanager"].change(network(), Present(files=files))
    assert change is not None
    assert CONFIGURATION in change.removed


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
    assert found["wired"] == Interface("wired", "ethernet", mtu=1400, dhcp=True)
    assert (found["br7"].ports, found["br7"].stp) == (("v7",), True)
    assert list(map(str, found["br7"].addresses)) == ["10.7.0.1/24", "10.7.0.2/16", "fd00::1/64"]
    assert list(map(str, found["br7"].gateways)) == ["10.7.0.254", "fd00::254"]
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


def names(profiles: tuple[tuple[str, str], ...], files: dict[str, str]) -> list[str]:
    """Say which interfaces the words for nmcli are about."""
    found = []
    for kind, value in profiles:
        (text,) = (text for text in files.values() if f"\n{kind}={value}\n" in text)
        found.append(text.partition("interface-name=")[2].partition("\n")[0])
    return found


def activated(before: dict[str, str], then: dict[str, str]) -> list[str]:
    return names(changes(before, then).up, then)


def test_nothing_changed_means_nothing_activated() -> None:
    files = rendered(network())
    assert changes(files, files) == Changes((), (), ())


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
        replace(each, kind="ethernet", parent=None, tag=None, ports=(), mtu=None)
        if each.is_ovs_bridge
        else each
        for each in any_network.interfaces
    )
    return {
        replace(
            each, dns_servers=tuple(sorted(each.dns_servers, key=lambda server: server.version))
        )
        for each in interfaces
    }


@settings(max_examples=300)
@given(FOREIGN, POSSIBLE, POSSIBLE)
def test_other_profiles_stay_and_mean_what_they_meant(
    existing: dict[str, str], old: Network, new: Network
) -> None:
    theirs = {each for each in parse(existing) if each.name not in new.names}
    files = after(new, existing)
    assert set(parse(files)) == theirs | as_profiles_have_it(new)
    assert after(new, files) == files
    once_other = after(new, after(old, existing))
    assert rendered(new, existing).keys() <= once_other.keys() <= files.keys()


@settings(max_examples=300)
@given(POSSIBLE, POSSIBLE)
def test_each_interface_comes_up_after_what_it_needs(old: Network, new: Network) -> None:
    before = rendered(old)
    then = after(new, before)
    order = {name: position for position, name in enumerate(activated(before, then))}
    for interface in new.interfaces:
        for port in () if interface.is_ovs_bridge else interface.ports:
            if interface.name in order:
                assert order[interface.name] < order[port]
        if interface.parent in order and not interface.is_ovs_bridge and interface.name in order:
            assert order[interface.parent] < order[interface.name]


@settings(max_examples=1000)
@given(POSSIBLE)
def test_rendered_and_read_back_it_is_the_same_network(any_network: Network) -> None:
    assert set(parse(rendered(any_network))) == as_profiles_have_it(any_network)
