"""ifupdown: the text against the guide's, what is left alone, what is restarted."""

import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmhost.network.backends import BACKENDS
from kvmhost.network.backends.ifupdown.commands import WITHOUT_IPV6
from kvmhost.network.backends.ifupdown.files import INTERFACES
from kvmhost.network.backends.ifupdown.interfaces import parse
from kvmhost.network.backends.ifupdown.plan import Changes, changes
from kvmhost.network.backends.ifupdown.render import merge, render
from kvmhost.network.change import Present
from kvmhost.network.interfaces import NO_DEVICES, Devices, Interface, Options, Route
from kvmhost.network.model import Network, TakenOver
from kvmhost.network.takeover import Resolvers, taken_over
from tests.unit.network_examples import (
    BOND,
    GOLDEN,
    IPV6,
    LACP,
    NATIVE_NETWORKS,
    NETWORKS,
    ON_BRIDGE,
    OPENVSWITCH,
    OPENVSWITCH_NETWORKS,
    OPENVSWITCH_UPLINKS,
    UNTAGGED,
    UPLINKS,
    network,
)
from tests.unit.starting_points.ifupdown import (
    BOND_OF_NICS,
    BOND_OLD,
    CLOUD,
    CLOUD_INIT,
    CLOUD_ON_VLAN,
    INSTALLED_WITH_DHCP,
    MANAGEMENT,
    ON_BOND,
    OTHER_NAME,
    STORAGE_VLAN,
    interfaces,
)

LOOPBACK = Interface("lo", "ethernet")
DEBIAN = INSTALLED_WITH_DHCP[INTERFACES]
SOURCE = "source /etc/network/interfaces.d/*\n"
FOLDER = "/etc/network/interfaces.d"


def rendered(
    any_network: Network, existing: Mapping[str, str], devices: Devices = NO_DEVICES
) -> dict[str, str]:
    """Return all files as they are after the change."""
    taken = taken_over(any_network, parse(existing, devices), Resolvers())
    return {**existing, **{file.path: file.content for file in render(taken, existing, devices)}}


def stanza(files: Mapping[str, str], name: str) -> str:
    """Return the stanzas of an interface in our block."""
    block = files[INTERFACES].partition("# CloudStack network: begin")[2]
    found = re.findall(rf"^iface {re.escape(name)} .*\n(?:    .*\n)*", block, re.M)
    return "".join(found)


def parsed(text: str, name: str = "eth0") -> Interface:
    """Return what the stanzas in a text say of an interface."""
    return next(each for each in parse({INTERFACES: text}) if each.name == name)


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


@pytest.mark.parametrize(("name", "changed"), GOLDENS.items(), ids=GOLDENS)
def test_golden(name: str, changed: dict[str, Any]) -> None:
    assert merge("", network(**changed)) == (GOLDEN / f"ifupdown-{name}.interfaces").read_text()


# Where we differ from the guide's Ubuntu listing: its value, ours.
DIFFERENCES: dict[tuple[str, str], tuple[str | None, str | None]] = {
    # The guide's text gives the host 192.168.42.11/24, and its RHEL example 255.255.255.0.
    ("eth0.100", "netmask"): ("255.255.255.240", "255.255.255.0"),
    # resolv.conf(5): "domain" is obsolete and takes one name, "search" takes several.
    ("eth0.100", "dns-domain"): ("lab.example.org", None),
    ("eth0.100", "dns-search"): (None, "lab.example.org"),
    # The kernel gives a bridge a link-local address, on which all that listens can be reached.
    **{
        (bridge, key): (None, line)
        for bridge in ("cloudbr0", "cloudbr1")
        for key, line in WITHOUT_IPV6
    },
}


def listing(text: str) -> dict[tuple[str, str], str]:
    """Read a listing without continued lines: the value of each (interface, option)."""
    found: dict[tuple[str, str], str] = {}
    name = ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        key, value = line.split(maxsplit=1)
        if key == "auto":
            found[value, key] = ""
        elif key == "iface":
            name, method = value.split(maxsplit=1)
            found[name, key] = method
        else:
            found[name, key] = value
    return found


def test_key_by_key_as_in_the_guide() -> None:
    guide = listing((GOLDEN / "guide.interfaces").read_text())
    ours = listing(merge("", network()))
    compared = {key: (guide.get(key), ours.get(key)) for key in guide | ours}
    assert {key: pair for key, pair in compared.items() if pair[0] != pair[1]} == DIFFERENCES


def without_ipv6(files: Mapping[str, str]) -> list[str]:
    """Return the interfaces whose stanzas keep them from IPv6."""
    text = "".join(f"    {key} {value}\n" for key, value in WITHOUT_IPV6)
    return [each.name for each in parse(files) if text in stanza(files, each.name)]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ["cloudbr0", "cloudbr1"]),
        (ON_BRIDGE, ["cloudbr1"]),
        ({**UNTAGGED, "bridges": {"cloudbr0": None}, "guest_label": "cloudbr0"}, []),
        (OPENVSWITCH, ["cloudbr", "cloudbr0", "cloudbr1"]),
    ],
)
def test_a_bridge_without_an_address_has_no_ipv6(
    changed: dict[str, Any], expected: list[str]
) -> None:
    files = rendered(network(**changed), {})
    assert without_ipv6(files) == expected
    assert rendered(network(**changed), files) == files


def test_a_bridge_that_gets_an_address_has_ipv6_again() -> None:
    on_mgmt0 = rendered(network(**OPENVSWITCH), {})
    on_cloudbr0 = network(**{**OPENVSWITCH, **ON_BRIDGE})
    assert rendered(on_cloudbr0, on_mgmt0) == rendered(on_cloudbr0, {})
    assert "cloudbr0" not in without_ipv6(rendered(on_cloudbr0, on_mgmt0))


def test_what_somebody_else_says_of_a_bridges_ipv6_counts() -> None:
    theirs = "iface cloudbr1 inet6 auto\n    accept_ra 2\n"
    assert without_ipv6(rendered(network(), {INTERFACES: theirs})) == ["cloudbr0"]


def test_other_lines_stay_as_they_are() -> None:
    merged = merge(DEBIAN, network())
    theirs = DEBIAN.replace("allow-hotplug eth0\niface eth0 inet dhcp\n", "")
    theirs = theirs.replace("iface eth0 inet6 auto\n", "")
    assert merged.startswith(theirs)
    assert merged.count("iface lo") == 1


def test_only_our_names_leave_a_line_of_several() -> None:
    text = "auto lo eth0 eth1\nallow-hotplug eth0:1\niface eth0 inet dhcp\nauto eth2\n"
    assert merge(text, network()).startswith("auto lo eth1\nauto eth2\n\n#")


def test_a_line_without_a_name_is_part_of_its_stanza() -> None:
    text = "iface eth0 inet static\n auto\n address 10.0.0.1/24\niface eth1 inet dhcp\nauto\n"
    assert merge(text, network()).startswith("iface eth1 inet dhcp\nauto\n\n#")
    assert [each.starts for each in parse({INTERFACES: text})] == [True, True]
    assert str(parsed(text).addresses[0]) == "10.0.0.1/24"


def test_what_is_left_alone_when_all_goes_down_stays() -> None:
    text = "no-auto-down eth0\nauto eth0\niface eth0 inet dhcp\n"
    assert merge(text, network()).startswith("no-auto-down eth0\n\n#")


def test_continued_lines_go_with_their_stanza() -> None:
    text = (
        "iface eth0 inet static\n\taddress 10.0.0.1/24\n\tup echo \\\n  iface eth5 \\\n  x\n"
        "iface eth1 inet manual\n\tup echo \\\n  eth0\n"
    )
    assert parsed(text).options == (("up", "echo   iface eth5   x"),)
    merged = merge(text, network())
    assert merged.startswith("iface eth1 inet manual\n\tup echo \\\n  eth0\n\n#")


def test_a_bridge_of_an_earlier_network_goes() -> None:
    before = merge(DEBIAN, network(bridges={"cloudbr0": 200, "cloudbr1": 300, "cloudbr2": 400}))
    assert "cloudbr2" in before
    assert merge(before, network()) == merge(DEBIAN, network())


def test_options_added_below_our_block_go_with_it() -> None:
    added = merge(DEBIAN, network()) + "    mtu 1400\n"
    assert merge(added, network()) == merge(DEBIAN, network())


def test_stanzas_added_below_our_block_stay() -> None:
    merged = merge(merge(DEBIAN, network()) + "iface eth1 inet dhcp\n", network())
    assert "iface eth1 inet dhcp\n" in merged
    assert merge(merged, network()) == merged


def test_half_a_block_takes_nothing_with_it() -> None:
    merged = merge(DEBIAN, network())
    cut = merged.replace("# CloudStack network: end\n", "") + "\niface eth1 inet dhcp\n"
    assert "iface eth1 inet dhcp\n" in merge(cut, network())
    assert merge(merge(cut, network()), network()) == merge(cut, network())


@pytest.mark.parametrize("path", [INTERFACES, f"{FOLDER}/bond0"])
def test_a_bond_that_is_there_stays_a_bond(path: str) -> None:
    bond = (
        "auto bond0\niface bond0 inet dhcp\n    bond-slaves eth0 eth1\n    bond_mode 802.3ad\n"
        "    hwaddress 52:54:00:00:00:02\n"
    )
    uplink = network(uplink="bond0")
    files = rendered(uplink, {INTERFACES: SOURCE, path: bond})
    assert stanza(files, "bond0") == (
        "iface bond0 inet manual\n    bond-slaves eth0 eth1\n    bond_mode 802.3ad\n"
        "    hwaddress 52:54:00:00:00:02\n"
    )
    assert "dhcp" not in "".join(files.values())
    assert rendered(uplink, files) == files


def test_a_bond_takes_over_what_an_installer_gave_its_nics() -> None:
    existing = {
        INTERFACES: DEBIAN + "auto eth0.100\niface eth0.100 inet dhcp\n",
        f"{FOLDER}/eth1": "iface eth1 inet manual\n ethernet-wol g\n",
        f"{FOLDER}/bond0": (
            "auto bond0\niface bond0 inet dhcp\n hwaddress 52:54:00:00:00:02\n"
            " slaves eth2 eth3\n bond_mode balance-rr\n bond-lacp-rate fast\n"
        ),
    }
    files = rendered(network(**BOND), existing)
    assert stanza(files, "bond0") == (
        "iface bond0 inet manual\n    hwaddress 52:54:00:00:00:02\n"
        "    bond-slaves eth0 eth1\n    bond-mode active-backup\n    bond-miimon 100\n"
    )
    assert stanza(files, "eth1") == "iface eth1 inet manual\n    ethernet-wol g\n"
    assert files.keys() == existing.keys()
    assert not any("iface" in text for path, text in files.items() if path != INTERFACES)
    found = changes(existing, files)
    assert set(found.down) == {"bond0", "eth0", "eth0.100", "eth1"}
    assert found.up == ("eth1", "bond0", "bond0.100", "cloudbr0", "cloudbr1")
    back = changes(files, existing)
    assert back.down == ("cloudbr1", "cloudbr0", "bond0.100", "bond0", "eth1")
    assert set(back.up) == {"eth0", "eth0.100", "bond0"}


ALL = {"bond0", "eth0", "eth1"}
OURS = rendered(network(**BOND), BOND_OLD)
BONDS: dict[str, tuple[Mapping[str, Any], Mapping[str, str], set[str]]] = {
    "it is as it was": (ON_BOND, BOND_OF_NICS, set()),
    "its NICs say bond-master": ({**ON_BOND, "mtu": 1400}, BOND_OF_NICS, ALL),
    "it becomes ours": (BOND, BOND_OF_NICS, ALL),
    "the old option slaves": ({**ON_BOND, "mtu": 1400}, BOND_OLD, {"bond0"}),
    "it stops being ours": (ON_BOND, OURS, set()),
    "it goes": ({}, OURS, {"bond0"}),
}


@pytest.mark.parametrize(("keys", "existing", "restarted"), BONDS.values(), ids=BONDS)
def test_a_bond_has_its_nics_after_the_change_and_after_the_way_back(
    keys: Mapping[str, Any], existing: Mapping[str, str], restarted: set[str]
) -> None:
    after = rendered(network(**keys), existing)
    for old, new in ((existing, after), (after, existing)):
        found = changes(old, new)
        assert {"bond0", "eth0", "eth1"} & {*found.down, *found.up} == restarted
        for bond in (each for each in parse(new) if each.kind == "bond"):
            assert bond.ports == ("eth0", "eth1")
            # where a NIC's own stanza says bond-master, it joins after the bond has been down
            if bond.name in found.up:
                says = {nic for nic in bond.ports if "bond-master" in "".join(new.values())}
                assert says <= {*found.up}
    assert rendered(network(**keys), after) == after


def test_what_the_nics_say_of_their_bond_is_the_bonds() -> None:
    found = {each.name: each for each in parse(BOND_OF_NICS)}
    assert found["eth0"].hardware == (("bond-master", "bond0"),)
    assert found["bond0"].ports == ("eth0", "eth1")
    only_nics = (
        "auto eth0\niface eth0 inet manual\n bond-master bond0\n bond-mode 4\n bond-lacp-rate 1\n"
        "iface bond0 inet manual\n bond-mode 802.3ad\n"
    )
    bond = parsed(only_nics, "bond0")
    assert bond.hardware == (("bond-mode", "802.3ad"), ("bond-lacp-rate", "1"))
    assert bond.bond_mode == "802.3ad"


def test_a_bond_of_all_has_every_eth() -> None:
    text = "iface bond0 inet manual\n slaves all\n bond_mode 5\n"
    devices = {"02:00:00:00:00:01": "eth1", "02:00:00:00:00:02": "eth0", "02::3": "eno1"}
    (bond, *_) = parse({INTERFACES: text}, devices)
    assert (bond.ports, bond.bond_mode) == (("eth0", "eth1"), "balance-tlb")


def test_a_nic_that_appears_is_not_deleted_on_the_way_back() -> None:
    change = BACKENDS["ifupdown"].change(network(**BOND), Present())
    assert change is not None
    assert "ip link delete bond0 " in change.rollback.down
    assert "eth1" not in change.rollback.down


def test_the_vlan_interface_that_goes_with_its_bridge_is_not_mended() -> None:
    links = [
        {"ifname": name, "mtu": 1500, "flags": ["UP"], "addr_info": []}
        for name in ("eth0", "eth0.200", "eth0.300")
    ]
    files = {file.path: file.content for file in render(network(), {})}
    change = BACKENDS["ifupdown"].change(network(mtu=1400), Present(files, links))
    assert change is not None
    assert "ifdown --force cloudbr0" in change.apply.down
    assert "eth0.200" not in change.apply.up


def test_sourced_files_let_go_of_our_interfaces() -> None:
    existing = {
        INTERFACES: SOURCE,
        CLOUD_INIT: "auto eth0\niface eth0 inet dhcp\n# end\n",
        f"{FOLDER}/eth1": "auto eth1\niface eth1 inet dhcp\n",
    }
    main, *others = render(network(), existing)
    assert (main.path, main.mode) == (INTERFACES, 0o644)
    assert main.content.startswith("source /etc/network/interfaces.d/*\n\n")
    assert [(file.path, file.content) for file in others] == [(CLOUD_INIT, "# end\n")]


def test_parse_reads_what_other_people_write() -> None:
    text = (
        "iface br7 inet static\n address 10.7.0.1\n netmask 24\n gateway 10.7.0.254\n"
        " bridge-ports eth2 vlan7\n bridge-stp yes\n bridge-fd 0.5\n"
        "iface vlan7 inet manual\n vlan_raw_device eth3\n"
        "iface eth2 inet dhcp\niface eth2 inet6 static\n address fd00::1/64\n"
        "iface br8 inet manual\n bridge_ports none\n"
        "iface bond8 inet manual\n bond-slaves none\n bond_mode 802.3ad\n"
        "iface ovs inet manual\n ovs_type OVSBridge\n ovs_ports eth5\n"
    )
    found = {interface.name: interface for interface in parse({INTERFACES: text})}
    assert found.keys() == {"br7", "vlan7", "eth2", "eth3", "br8", "bond8", "ovs", "eth5"}
    assert (found["bond8"].kind, found["bond8"].ports) == ("bond", ())
    assert found["br7"].ports == ("eth2", "vlan7")
    assert found["br7"].stp is True
    assert [str(address) for address in found["br7"].addresses] == ["10.7.0.1/24"]
    assert (found["vlan7"].parent, found["vlan7"].tag) == ("eth3", 7)
    assert found["eth2"].dhcp
    assert [str(address) for address in found["eth2"].addresses] == ["fd00::1/64"]
    assert found["br8"].ports == ()
    assert found["ovs"] == Interface("ovs", "bridge", ports=("eth5",), starts=False)


@pytest.mark.parametrize(
    ("options", "address"),
    [
        (" address 10.0.0.2/24\n", "10.0.0.2/24"),
        (" address 10.0.0.2/255.255.255.0\n", "10.0.0.2/24"),
        (" address 10.0.0.2\n netmask 24\n", "10.0.0.2/24"),
        (" address 10.0.0.2/8\n netmask 255.255.255.0\n", "10.0.0.2/24"),
        (" address 10.0.0.2\n", "10.0.0.2/8"),
        (" address 172.16.0.2\n", "172.16.0.2/16"),
        (" address 192.168.42.2\n", "192.168.42.2/24"),
    ],
)
def test_an_address_has_its_netmask_or_that_of_its_class(options: str, address: str) -> None:
    (found,) = parsed(f"iface eth0 inet static\n{options}").addresses
    assert str(found) == address


def test_several_stanzas_and_aliases_are_several_addresses() -> None:
    found = parsed(
        "auto eth0\niface eth0 inet static\n address 10.0.0.1/24\n"
        "iface eth0 inet static\n address 10.0.1.1/24\n up /bin/one\n up /bin/two\n"
        "iface eth0:1 inet static\n address 10.0.2.1/24\n"
    )
    assert [str(address) for address in found.addresses] == [
        "10.0.0.1/24", "10.0.1.1/24", "10.0.2.1/24",
    ]  # fmt: skip
    assert found.options == (("up", "/bin/one"), ("up", "/bin/two"))
    assert found.starts


ROUTE_COMMANDS: dict[str, str | None] = {
    "ip route add 10.0.0.0/8 via 192.168.42.254": "10.0.0.0/8 via 192.168.42.254",
    "/sbin/ip -4 r replace 10.0.0.0/8 via 192.168.42.254 dev eth0 metric 5 || true": (
        "10.0.0.0/8 via 192.168.42.254 metric 5"
    ),
    "ip ro add to 10.0.0.9 via 192.168.42.254 dev $IFACE 2>/dev/null || :": (
        "10.0.0.9/32 via 192.168.42.254"
    ),
    'ip -6 route add fd00:7::/48 via fe80::7 dev "$IFACE"': "fd00:7::/48 via fe80::7",
    "ip route add 10.0.0.0/8 via 192.168.42.254 table main metric 0": (
        "10.0.0.0/8 via 192.168.42.254"
    ),
    "route add -net 10.0.0.0 netmask 255.0.0.0 gw 192.168.42.254": (
        "10.0.0.0/8 via 192.168.42.254"
    ),
    "/sbin/route add -net 10.0.0.0/8 gw 192.168.42.254 metric 3 dev eth0 || /bin/true": (
        "10.0.0.0/8 via 192.168.42.254 metric 3"
    ),
    "route add -host 10.0.0.9 gw 192.168.42.254 eth0": "10.0.0.9/32 via 192.168.42.254",
    "route add -A inet6 fd00:7::/48 gw fe80::7": "fd00:7::/48 via fe80::7",
    "ip route add 10.0.0.0/8 via 192.168.42.254 table 100": None,
    "ip route add 10.0.0.0/8 via 192.168.42.254 src 192.168.42.11": None,
    "ip route add 10.0.0.0/8 via 192.168.42.254 dev eth1": None,
    "ip route add 10.0.0.0/8 dev eth0": None,
    "ip route add blackhole 10.0.0.0/8": None,
    "ip route add 10.0.0.0/8 via 192.168.42.254; /root/more": None,
    "ip route add 10.0.0.0/8 via": None,
    "ip route": None,
    "ip rule add from 10.0.0.1 table 7": None,
    "route add 10.0.0.0 gw 192.168.42.254": None,
    "route add -net 10.0.0.0/8 reject": None,
    "echo 'unbalanced": None,
}


@pytest.mark.parametrize(("command", "route"), ROUTE_COMMANDS.items())
@pytest.mark.parametrize("key", ["up", "post-up", "pre-up"])
def test_routes_are_read_and_every_other_command_is_kept(
    key: str, command: str, route: str | None
) -> None:
    found = parsed(f"iface eth0 inet static\n address 192.168.42.11/24\n {key} {command}\n")
    assert [str(each) for each in found.routes] == ([] if route is None else [route])
    assert (*found.options, *found.addressing) == (() if route else ((key, command),))


def test_what_takes_down_a_route_goes_with_it() -> None:
    found = parsed(
        "iface eth0 inet static\n address 192.168.42.11/24\n"
        " up ip route add 10.0.0.0/8 via 192.168.42.254\n"
        " down ip route del 10.0.0.0/8 via 192.168.42.254 || true\n"
        " pre-down route del -net 10.0.0.0 netmask 255.0.0.0\n"
        " post-down ip route del 10.0.0.0/8 via 192.168.42.253\n"
        " up ip route del 10.0.0.0/8\n"
    )
    assert found.addressing == (
        ("post-down", "ip route del 10.0.0.0/8 via 192.168.42.253"),
        ("up", "ip route del 10.0.0.0/8"),
    )


@pytest.mark.parametrize(
    ("options", "gateways"),
    [
        (" gateway 10.0.0.1\n", ["10.0.0.1"]),
        (" gateway 10.0.0.1\n metric 0\n", ["10.0.0.1"]),
        (" gateway 10.0.0.1\n metric 10\n", []),
        (" up ip route add default via 10.0.0.1\n", ["10.0.0.1"]),
        (" up route add default gw 10.0.0.1\n", ["10.0.0.1"]),
        (" up route add -net 0.0.0.0 netmask 0.0.0.0 gw 10.0.0.1\n", ["10.0.0.1"]),
        (" up ip route add default via 10.0.0.1 metric 10\n", []),
        (" up ip route add default via 10.0.0.1 table 10\n", []),
    ],
)
def test_a_default_gateway_competes_unless_it_has_a_metric_or_a_table(
    options: str, gateways: list[str]
) -> None:
    found = parsed(f"auto eth1\niface eth1 inet static\n address 10.0.0.2/24\n{options}", "eth1")
    assert [str(gateway) for gateway in found.gateways] == gateways
    # it is not said twice
    assert bool(found.addressing) == ("up" in options and not gateways)
    assert found.options == ()


def test_a_default_gateway_for_ipv6_without_a_metric_has_1024() -> None:
    text = "iface eth1 inet6 static\n address fd00::2/64\n gateway fd00::1\n"
    assert [len(parsed(text + more, "eth1").gateways) for more in ("", " metric 1024\n")] == [1, 1]
    assert parsed(text + " metric 1025\n", "eth1").gateways == ()


def test_a_lease_brings_a_default_gateway_unless_it_has_a_metric() -> None:
    text = "iface eth1 inet dhcp\n hostname kvm1\n"
    assert parsed(text, "eth1") == Interface(
        "eth1", "ethernet", dhcp=True, gateway_by_dhcp=True, starts=False
    )
    assert not parsed(text + " metric 100\n", "eth1").gateway_by_dhcp


@pytest.mark.parametrize(
    ("selection", "starts"),
    [
        ("auto eth1", True),
        ("allow-auto eth1", True),
        ("allow-hotplug eth1", True),
        ("auto /eth*", True),
        ("auto /eth*/1", True),
        ("allow-hotplug mac/02:00:00:00:00:0A", True),
        ("auto mac/02:00:00:00:00:0b", False),
        ("auto eth7=eth1", True),
        ("auto /en*", False),
        ("no-auto-down eth1", False),
        ("# auto eth1", False),
    ],
)
def test_what_starts_by_itself(selection: str, starts: bool) -> None:
    files = {INTERFACES: f"{selection}\niface eth1 inet dhcp\n"}
    (found, *_) = parse(files, {"02:00:00:00:00:0a": "eth1"})
    assert found.starts == starts


def test_what_is_of_the_device_of_the_address_and_of_both() -> None:
    of_device = (
        ("hwaddress", "ether 02:00:00:00:00:01"),
        ("offload_gro", "off"),
        ("ethernet-wol", "g"),
        ("link-speed", "1000"),
        ("description", "to the switch"),
        ("up", "ethtool -G eth0 rx 4096 || true"),
        ("post-up", "/sbin/ip link set dev $IFACE txqueuelen 9999"),
    )
    others = (
        ("pre-up", "/root/firewall  'two  spaces'"),
        ("up", "ip route add default via 192.168.42.1 dev eth0 table 7"),
        ("up", "ethtool -G eth1 rx 4096"),
        ("scope", "link"),
        ("dns-sortlist", "10.0.0.0/8"),
        ("broadcast", "192.168.42.7"),
    )
    of_address = (
        ("up", "ip rule add from 192.168.42.11 table 7 || true"),
        ("up", "ip -4 route add default via 192.168.42.1 dev $IFACE table 7"),
        ("post-down", "/sbin/ip rule del from 192.168.42.11 table 7"),
    )
    modelled = (
        ("address", "192.168.42.11/24"),
        ("network", "192.168.42.0"),
        ("broadcast", "+"),
        ("gateway", "192.168.42.1"),
        ("mtu", "1400"),
        ("dns-nameservers", "9.9.9.9"),
        ("dns-nameserver", "8.8.8.8"),
        ("dns-domain", "example.org"),
    )
    said = (*of_device, *modelled, *others, *of_address)
    lines = (f"    {key} {value}\n" for key, value in said)
    found = parsed("iface eth0 inet static\n" + "".join(lines))
    assert found.hardware == of_device
    assert found.options == others
    assert found.addressing == of_address
    assert found.mtu == 1400
    assert [str(server) for server in found.dns_servers] == ["9.9.9.9", "8.8.8.8"]
    assert found.dns_search == ("example.org",)


@pytest.mark.parametrize(
    ("text", "mtu"),
    [
        ("iface eth0 inet manual\n mtu 9000\n", 9000),
        ("iface eth0 inet dhcp\n mtu 9000\n", None),
        ("iface eth0 inet dhcp\n up ip link set dev eth0 mtu 9000\n", 9000),
        ("iface eth0 inet manual\n mtu 9000\n up ifconfig eth0 mtu 1400\n", 1400),
        ("iface eth0 inet manual\n mtu 9000\niface eth0 inet6 manual\n mtu 1280\n", 9000),
    ],
)
def test_an_mtu_is_the_one_that_counts(text: str, mtu: int | None) -> None:
    assert parsed(text).mtu == mtu
    assert parsed(text).options == ()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("iface eth0 inet6 auto\n", ()),
        ("iface eth0 inet6 manual\n", ()),
        ("iface eth0 inet6 auto\n privext 2\n", (("inet6 privext", "2"),)),
        ("iface eth0 inet6 dhcp\n accept_ra 1\n", (("inet6", "dhcp"), ("inet6 accept_ra", "1"))),
        ("iface eth0 inet6 manual\n up x\n", (("inet6", "manual"), ("inet6 up", "x"))),
        (
            "iface eth0 inet6 static\n address fd00::2/64\n accept_ra 0\n up x\n",
            (("inet6 up", "x"),),
        ),
    ],
)
def test_what_a_stanza_for_ipv6_says_stays_in_one(text: str, options: Options) -> None:
    assert parsed(text).options == options
    kept = taken_over(network(management_vlan=None, **IPV6), parse({INTERFACES: text}), Resolvers())
    ours = stanza(rendered(network(management_vlan=None, **IPV6), {INTERFACES: text}), "eth0")
    assert ours.count("inet6") == 1
    assert ("    up x\n" in ours.partition("inet6")[2]) == ("up x" in text)
    if not parsed(text).addresses:
        files = rendered(network(management_vlan=None), {INTERFACES: text})
        assert parsed(stanza(files, "eth0")).options == options
    assert kept.management == "eth0"


def test_a_template_is_part_of_what_inherits_it() -> None:
    text = (
        "iface base inet static\n mtu 1400\n up /bin/one\n"
        "auto eth0\niface eth0 inherits base\n address 10.0.0.1/24\n"
        "iface eth1 inet static inherits base\n address 10.0.1.1/24\n"
        "iface eth2 inet6 static inherits base\n address fd00::1/64\n"
    )
    found = {each.name: each for each in parse({INTERFACES: text})}
    assert [str(found[name].addresses[0]) for name in ("eth0", "eth1")] == [
        "10.0.0.1/24",
        "10.0.1.1/24",
    ]
    assert [found[name].mtu for name in ("base", "eth0", "eth1", "eth2")] == [1400] * 3 + [None]
    assert found["eth1"].options == (("up", "/bin/one"),)


SOURCES: dict[str, tuple[str, list[str]]] = {
    "all": ("source /etc/network/interfaces.d/*\n", ["eth1", "eth2", "eth3", "eth4"]),
    "relative": ("source interfaces.d/*.cfg\n", ["eth4"]),
    "a folder": ("source-directory /etc/network/interfaces.d\n", ["eth1", "eth2", "eth3"]),
    "several": (f"source {FOLDER}/c {FOLDER}/b\n", ["eth3", "eth2"]),
    "each once": (f"source {FOLDER}/b\nsource {FOLDER}/b\nsource interfaces\n", ["eth2"]),
    "nested": (f"source {FOLDER}/a\n", ["eth1", "eth2"]),
    "none": ("", []),
}


@pytest.mark.parametrize(("text", "names"), SOURCES.values(), ids=SOURCES)
def test_what_is_not_sourced_is_nothing_and_stays(text: str, names: list[str]) -> None:
    files = {
        INTERFACES: text,
        f"{FOLDER}/a": "iface eth1 inet manual\nsource /etc/network/interfaces.d/b\n",
        f"{FOLDER}/b": "iface eth2 inet manual\n",
        f"{FOLDER}/c": "iface eth3 inet manual\n",
        f"{FOLDER}/d.cfg": "iface eth4 inet manual\n",
    }
    assert [each.name for each in parse(files)] == names


@pytest.mark.parametrize(
    "line",
    [
        "source /etc/network/other",
        "source ../other/*",
        "source-directory /run/network/interfaces.d",
        "source /etc/network/interfaces.d/*/*",
        "source $HOME/interfaces",
        "source /etc/network/interfaces.d/.*",
    ],
)
def test_a_file_that_is_not_looked_at_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"only files in /etc/network/interfaces\.d are") as error:
        parse({INTERFACES: f"{line}\n"})
    assert f"/etc/network/interfaces says {line}," in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mapping eth1 cloud*\n script /bin/x\n", "A script chooses the stanza of cloudbr0"),
        ("auto eth0=home\niface home inet dhcp\n", "auto eth0=home has eth0 configured as home"),
        ("allow-hotplug /eth*=eth\n", "allow-hotplug /eth*=eth has eth0 configured as eth:"),
        ("auto mac/02:00:00:00:00:01=x\n", "auto mac/02:00:00:00:00:01=x has eth0 configured"),
        ("rename eth0=lan0\n", "rename eth0=lan0 gives eth0 another name: take it out."),
        ("iface eth1 inet static\n address 10.1\n", "The stanza of eth1 cannot be understood: "),
        ("iface eth1 inet manual\n mtu many\n", "The stanza of eth1 cannot be understood: "),
    ],
)
def test_what_cannot_be_foreseen_is_refused(text: str, sentence: str) -> None:
    link = {"ifname": "eth0", "address": "02:00:00:00:00:01", "flags": [], "addr_info": []}
    with pytest.raises(ValueError, match=re.escape(sentence)):
        BACKENDS["ifupdown"].change(network(), Present({INTERFACES: text}, [link]))


@pytest.mark.parametrize(
    "text",
    ["mapping wlan*\n script x\n", "auto eth1=home\n", "rename eth1=lan0\n", "auto /eth*\n"],
)
def test_what_is_of_others_is_not_refused(text: str) -> None:
    assert merge(text, network()).startswith(text)
    assert render(network(), {INTERFACES: text})


TAKEN: dict[str, tuple[Mapping[str, str], dict[str, Any], dict[str, str]]] = {
    "cloud-init": (
        CLOUD,
        {**UNTAGGED, **IPV6},
        {
            "eth0": "iface eth0 inet manual\n    mtu 9000\n",
            "cloudbr0": (
                "iface cloudbr0 inet static\n    address 192.168.42.11\n"
                "    netmask 255.255.255.0\n    gateway 192.168.42.1\n"
                "    dns-nameservers 8.8.8.8 8.8.4.4\n    dns-search lab.example.org\n"
                "    bridge_ports eth0\n    bridge_fd 5\n    bridge_stp off\n"
                "    bridge_maxwait 1\n"
                "    up ip route replace 10.0.0.0/8 via 192.168.42.254 dev cloudbr0\n"
                "iface cloudbr0 inet6 static\n    address 2001:db8::11/64\n    gateway fe80::1\n"
                "    accept_ra 0\n    autoconf 0\n    dad-attempts 0\n"
            ),
        },
    ),
    "cloud-init, VLANs": (
        CLOUD_ON_VLAN,
        {"dns_servers": [], "dns_search": []},
        {
            "eth0": "",
            "eth0.100": (
                "iface eth0.100 inet static\n    address 192.168.42.11\n"
                "    netmask 255.255.255.0\n    gateway 192.168.42.1\n"
                "    dns-nameservers 9.9.9.9\n"
                "    up ip route replace 10.0.0.0/8 via 192.168.42.254 dev eth0.100 metric 50\n"
            ),
        },
    ),
    "storage VLAN": (
        STORAGE_VLAN,
        {"management_vlan": None},
        {
            "eth0": (
                "iface eth0 inet static\n    offload-gro off\n    address 192.168.42.11\n"
                "    netmask 255.255.255.0\n    gateway 192.168.42.1\n"
                "    dns-nameservers 8.8.8.8 8.8.4.4\n    dns-search lab.example.org\n"
                "    mtu 9000\n"
                "    up ip route replace 172.16.0.0/12 via 192.168.42.254 dev eth0\n"
                "    up ip route replace 10.0.0.0/8 via 192.168.42.254 dev eth0\n"
            ),
            "eth0.250": "",
        },
    ),
    "vlan100": (
        OTHER_NAME,
        {},
        {
            "vlan100": "",
            "eth0.100": (
                "iface eth0.100 inet static\n    address 192.168.42.11\n"
                "    netmask 255.255.255.0\n    gateway 192.168.42.1\n"
                "    dns-nameservers 8.8.8.8 8.8.4.4\n    dns-search lab.example.org\n"
                "    up ip rule add iif $IFACE table 7 || true\n"
            ),
        },
    ),
}


@pytest.mark.parametrize(("existing", "keys", "stanzas"), TAKEN.values(), ids=TAKEN)
def test_what_stood_beside_the_address_is_in_our_stanzas(
    existing: Mapping[str, str], keys: dict[str, Any], stanzas: dict[str, str]
) -> None:
    files = rendered(network(**keys), existing)
    assert {name: stanza(files, name) for name in stanzas} == stanzas


def test_a_vlan_interface_of_another_name_goes_and_comes_back() -> None:
    links = [
        {"ifname": name, "mtu": 1500, "flags": ["UP"], "addr_info": []}
        for name in ("eth0", "vlan100")
    ]
    change = BACKENDS["ifupdown"].change(network(), Present(OTHER_NAME, links))
    assert change is not None
    assert "ifdown --force vlan100\n" in change.apply.down
    # the kernel has one device for each tag of a NIC
    assert "then ip link delete vlan100 || " in change.apply.up
    assert change.apply.up.index("delete vlan100") < change.apply.up.index("ifup eth0.100")
    assert "ifdown --force eth0.100\n" in change.rollback.down
    assert "then ip link delete eth0.100 || " in change.rollback.down
    assert "ifup --ignore-errors vlan100\n" in change.rollback.up
    down, up = (
        change.rollback.up.index(f"{what} vlan100") for what in ("--force", "--ignore-errors")
    )
    assert down < up


def test_what_was_put_below_our_block_is_said_of_its_last_interface() -> None:
    files = rendered(network(), interfaces(MANAGEMENT))
    added = {INTERFACES: files[INTERFACES] + "    mtu 1400\n    bridge_ageing 7\n"}
    again = rendered(network(), added)
    assert "    bridge_ageing 7\n" in stanza(again, "cloudbr1")
    assert "    mtu 1400\n" in stanza(again, "cloudbr1")
    assert again[INTERFACES].endswith("# CloudStack network: end\n")
    assert rendered(network(), again) == again


@pytest.mark.parametrize("address", ["192.168.42.11", "192.168.42.77"])
def test_the_way_back_begins_with_what_carries_the_management_address(address: str) -> None:
    before = {
        INTERFACES: "auto eth1\niface eth1 inet dhcp\n metric 100\nauto eth0.100\n"
        f"iface eth0.100 inet static\n address {address}/24\n"
        " gateway 192.168.42.1\nauto eth0\niface eth0 inet manual\n"
    }
    links: list[dict[str, Any]] = [
        {"ifname": name, "mtu": 1500, "flags": ["UP"], "addr_info": [{"local": address}]}
        for name, address in (("eth0", ""), ("eth1", "10.0.0.7"), ("eth0.100", address))
    ]
    routes = [
        {"dst": "default", "dev": "eth1", "gateway": "10.0.0.1", "metric": 100},
        {"dst": "default", "dev": "eth0.100", "gateway": "192.168.42.1"},
    ]
    change = BACKENDS["ifupdown"].change(network(**BOND), Present(before, links, routes))
    assert change is not None
    ups = [line.split()[-1] for line in change.rollback.up.splitlines() if " ifup " in line]
    assert ups == ["eth0", "eth0.100", "eth1"]
    # what hangs ends, what fails keeps nothing else from being done
    for line in (*change.rollback.down.splitlines(), *change.rollback.up.splitlines()):
        if " ifup " in line or " ifdown " in line:
            assert line.startswith("timeout --kill-after=10 ")
        if " ifup " in line:
            assert " --ignore-errors " in line and "--force" not in line


def test_what_stands_on_a_bridges_port_is_restarted_with_the_bridge() -> None:
    """bridge-utils sets the port down, which takes the routes of its VLAN interfaces."""
    untagged = {"bridges": {"cloudbr0": None, "cloudbr1": 300}}
    before = {INTERFACES: merge("", network(**untagged))}
    then = {INTERFACES: merge("", network(**untagged, bridge_forward_delay=7))}
    found = changes(before, then)
    assert "eth0.100" in found.down
    assert "eth0.100" in found.up


def test_what_is_missing_comes_up_although_its_stanza_stays() -> None:
    files = {INTERFACES: merge("", network())}
    links = [
        {"ifname": each.name, "mtu": 1500, "flags": ["UP"], "addr_info": []}
        for each in network().interfaces
        if each.name != "cloudbr1"
    ]
    change = BACKENDS["ifupdown"].change(network(mtu=1400), Present(files, links))
    assert change is not None
    renumbered = network(management_address="192.168.42.12/24")
    change = BACKENDS["ifupdown"].change(renumbered, Present(files, links))
    assert change is not None
    assert "ifup cloudbr1\n" in change.apply.up
    assert "ifup cloudbr0\n" not in change.apply.up


RESTARTS: dict[str, tuple[str, str, Changes]] = {
    "nothing": (merge(DEBIAN, network()), merge(DEBIAN, network()), Changes((), ())),
    "a comment": (DEBIAN, DEBIAN + "# more\n", Changes((), ())),
    "a bare host": (
        DEBIAN,
        merge(DEBIAN, network()),
        Changes(("eth0",), ("eth0.100", "cloudbr0", "cloudbr1")),
    ),
    "another tag": (
        merge(DEBIAN, network()),
        merge(DEBIAN, network(bridges={"cloudbr0": 200, "cloudbr1": 301})),
        Changes(("cloudbr1",), ("cloudbr1",)),
    ),
    "the address moves to a bridge": (
        merge(DEBIAN, network()),
        merge(DEBIAN, network(**ON_BRIDGE)),
        Changes(("cloudbr0", "eth0.100"), ("cloudbr0",)),
    ),
    "an uplink with what stands on it, also what is not ours": (
        merge("auto eth0.7\niface eth0.7 inet dhcp\niface eth0.8 inet dhcp\n", network(mtu=9000)),
        merge("auto eth0.7\niface eth0.7 inet dhcp\niface eth0.8 inet dhcp\n", network(mtu=1500)),
        Changes(
            ("cloudbr1", "cloudbr0", "eth0.100", "eth0.8", "eth0.7", "eth0"),
            ("eth0", "eth0.7", "eth0.100", "cloudbr0", "cloudbr1"),
        ),
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), RESTARTS.values(), ids=RESTARTS)
def test_only_what_changed_is_restarted(before: str, after: str, expected: Changes) -> None:
    assert changes({INTERFACES: before}, {INTERFACES: after}) == expected


def test_a_nic_that_a_bridge_takes_down_comes_up_for_open_vswitch() -> None:
    native = rendered(network(**UNTAGGED, mtu=1400), {})
    switched = rendered(network(**{**OPENVSWITCH, **UNTAGGED}), native)
    assert "eth0" in changes(native, switched).up
    assert "eth0" in changes(switched, native).up


def test_a_restart_takes_what_stands_on_it_along() -> None:
    files = {INTERFACES: merge(DEBIAN, network(mtu=9000))}
    everything = ("eth0", "eth0.100", "cloudbr0", "cloudbr1")
    assert changes(files, files, {"eth0"}) == Changes(tuple(reversed(everything)), everything)
    assert changes(files, files, {"cloudbr1"}) == Changes(("cloudbr1",), ("cloudbr1",))
    assert changes(files, files) == Changes((), ())


def test_a_restart_takes_aliases_and_what_goes_down_with_it_along() -> None:
    text = (
        "auto eth1.7 eth1.7:1 br9 eth1.9\niface eth1.7 inet static\n address 10.7.0.1/24\n"
        "iface eth1.7:1 inet static\n address 10.7.1.1/24\n"
        "iface br9 inet manual\n bridge_ports eth1.9\niface eth1.9 inet manual\n mtu 1400\n"
    )
    files = {INTERFACES: text}
    assert changes(files, files, {"eth1.7"}).up == ("eth1.7", "eth1.7:1")
    # bridge-utils deletes eth1.9 with br9, and would make it again without its MTU
    assert changes(files, files, {"br9"}).up == ("eth1.9", "br9")


FOREIGN = st.lists(
    st.sampled_from(
        [
            "# a comment\n",
            "\n",
            "auto lo\niface lo inet loopback\n",
            "source /etc/network/interfaces.d/*\n",
            "auto eth7\niface eth7 inet static\n\taddress 10.7.0.1/24\n\tup echo \\\n\t\tx\n",
            "allow-hotplug wlan0\niface wlan0 inet dhcp\n    wpa-ssid home\n",
            "iface br9 inet manual\n    bridge_ports eth7\n    # inside\n    bridge_stp on\n",
            "mapping eth8\n    script /bin/true\n",
        ]
    )
).map("".join)


@given(FOREIGN, NETWORKS, NETWORKS)
def test_merging_adds_ours_and_keeps_theirs(text: str, old: Network, new: Network) -> None:
    merged = merge(text, new)
    assert merged.startswith(text)
    assert merge(merged, new) == merged
    once_other = merge(merge(text, old), new)
    assert [line for line in once_other.splitlines() if line] == [
        line for line in merged.splitlines() if line
    ]


def as_it_is_read(any_network: Network) -> set[Interface]:
    """Return the interfaces with what makes a bond of one: it stays one that is not ours."""
    return {
        replace(each, bond_options=(), hardware=(*each.hardware, *bond_options(each)))
        if each.kind == "bond"
        else each
        for each in any_network.interfaces
    }


def bond_options(bond: Interface) -> Options:
    return (
        ("bond-slaves", " ".join(bond.ports)),
        ("bond-mode", str(bond.bond_mode)),
        ("bond-miimon", "100"),
        *((f"bond-{key.replace('_', '-')}", value) for key, value in bond.bond_options),
    )


@settings(max_examples=1000, deadline=None)
@given(NATIVE_NETWORKS)
def test_rendered_and_read_back_it_is_the_same_network(any_network: Network) -> None:
    files = {INTERFACES: merge("", any_network)}
    found = parse(files)
    assert set(found) == {LOOPBACK, *as_it_is_read(any_network)}
    assert {each.name for each in found if each.own} == {
        each.name for each in found if f"iface {each.name} " in files[INTERFACES]
    } - {"lo"}
    assert rendered(any_network, files) == files


HARDWARE = [
    ("hwaddress", "02:00:00:00:00:01"),
    ("ethernet-wol", "g"),
    ("up", "ethtool -K $IFACE gro off"),
]
OPTIONS = [
    ("up", "ip route add default via 10.1.2.3 dev eth9 table 7"),
    ("pre-up", "/root/firewall 'two  words'"),
    ("scope", "link"),
]
OF_ADDRESS = [
    ("up", "ip rule add from 10.1.2.3 table 7"),
    ("up", "ip route add default via 10.1.2.3 table 7"),
    ("down", "ip rule del from 10.1.2.3 table 7"),
]
OF_IPV6 = [("inet6 privext", "2"), ("inet6 up", "/root/firewall6")]


@st.composite
def taken(draw: st.DrawFn) -> Network:
    """Return a network with what might have stood beside it."""
    plain = draw(NATIVE_NETWORKS)
    names = [each.name for each in plain.interfaces]
    some = st.lists(st.sampled_from(names), unique=True)
    management, via = plain.management, plain.address.network[1]
    routed = draw(st.lists(st.sampled_from(["10.0.0.0/8", "172.16.0.0/12"]), unique=True))
    routes = tuple(
        Route(ip_network(route), via, draw(st.none() | st.integers(1, 99))) for route in routed
    )
    return replace(
        plain,
        taken_over=TakenOver(
            routes={management: routes},
            mtus={name: draw(st.integers(1280, 9216)) for name in draw(some)},
            addressing={management: chosen(draw, OF_ADDRESS)},
            hardware={name: chosen(draw, HARDWARE) for name in draw(some)},
            options={name: chosen(draw, [*OPTIONS, *OF_IPV6]) for name in draw(some)},
        ),
    )


def chosen(draw: st.DrawFn, options: list[tuple[str, str]]) -> Options:
    """Return some of the options, those for IPv6 last, where they stand."""
    found = draw(st.lists(st.sampled_from(options), unique=True))
    return tuple(sorted(found, key=lambda option: option[0].startswith("inet6")))


@settings(max_examples=300, deadline=None)
@given(taken())
def test_what_was_taken_over_is_rendered_and_read_back_too(any_network: Network) -> None:
    files = {INTERFACES: merge("", any_network)}
    found = {each.name: each for each in parse(files)}
    below = {port for each in any_network.interfaces for port in each.ports}
    for wanted in as_it_is_read(any_network):
        mtu = wanted.mtu
        if wanted.name in below and mtu is None:
            mtu = found[wanted.name].mtu  # what is on it gives it its own
        assert found[wanted.name] == replace(wanted, mtu=mtu)
    again = rendered(any_network, files)
    assert rendered(any_network, again) == again


@settings(max_examples=300, deadline=None)
@given(OPENVSWITCH_NETWORKS)
def test_open_vswitch_is_left_to_make_the_devices(any_network: Network) -> None:
    devices = {
        replace(each, kind="ethernet", parent=None, tag=None, ports=())
        if each.is_ovs_bridge
        else each
        for each in as_it_is_read(any_network)
    }
    assert set(parse({INTERFACES: merge("", any_network)})) == {LOOPBACK, *devices}
