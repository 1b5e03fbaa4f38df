"""ifupdown: the text against the guide's, what is left alone, what is restarted."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Present
from kvmhost.network.ifupdown import INTERFACES, Changes, changes, merge, parse, render, restart
from kvmhost.network.interfaces import Interface
from kvmhost.network.model import Network
from tests.unit.network_examples import (
    BOND,
    GOLDEN,
    IPV6,
    NATIVE_NETWORKS,
    NETWORKS,
    ON_BRIDGE,
    OPENVSWITCH,
    OPENVSWITCH_NETWORKS,
    UNTAGGED,
    network,
)

LOOPBACK = Interface("lo", "ethernet")
DEBIAN = """\
# This file describes the network interfaces available on your system
source /etc/network/interfaces.d/*

# The loopback network interface
auto lo
iface lo inet loopback

# The primary network interface
allow-hotplug eth0
iface eth0 inet dhcp
# This is an autoconfigured IPv6 interface
iface eth0 inet6 auto
"""

GOLDENS: dict[str, dict[str, Any]] = {
    "native": {},
    "native-untagged": {**UNTAGGED, "mtu": 9000, "bridge_stp": True},
    "native-bond": BOND,
    "native-ipv6": {**ON_BRIDGE, **IPV6},
    "openvswitch": OPENVSWITCH,
    "openvswitch-bond": {**OPENVSWITCH, **BOND, "bond_mode": "802.3ad", "mtu": 9000},
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


def test_other_lines_stay_as_they_are() -> None:
    merged = merge(DEBIAN, network())
    theirs = DEBIAN.replace("allow-hotplug eth0\niface eth0 inet dhcp\n", "")
    theirs = theirs.replace("iface eth0 inet6 auto\n", "")
    assert merged.startswith(theirs)
    assert merged.count("iface lo") == 1


def test_only_our_names_leave_a_line_of_several() -> None:
    text = "auto lo eth0 eth1\nallow-hotplug eth0=home\niface eth0 inet dhcp\nauto eth2\n"
    assert merge(text, network()).startswith("auto lo eth1\nauto eth2\n\n#")


def test_continued_lines_and_mappings_go_with_their_stanza() -> None:
    text = (
        "iface eth0 inet static\n\taddress 10.0.0.1/24\n\tup echo \\\n  iface eth5 \\\n  x\n"
        "mapping eth0\n\tscript /bin/true\n\tmap home\n"
        "iface eth1 inet manual\n\tup echo \\\n  eth0\n"
    )
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


@pytest.mark.parametrize("path", [INTERFACES, "/etc/network/interfaces.d/bond0"])
def test_a_bond_that_is_there_stays_a_bond(path: str) -> None:
    bond = (
        "auto bond0\niface bond0 inet dhcp\n    bond-slaves eth0 eth1\n    bond_mode 802.3ad\n"
        "    hwaddress 52:54:00:00:00:02\n"
    )
    files = {file.path: file.content for file in render(network(uplink="bond0"), {path: bond})}
    assert (
        "iface bond0 inet manual\n    bond-slaves eth0 eth1\n    bond-mode 802.3ad\n"
        "    hwaddress 52:54:00:00:00:02\n\n"
    ) in files[INTERFACES]
    assert "dhcp" not in "".join(files.values())
    again = {file.path: file.content for file in render(network(uplink="bond0"), files)}
    assert again[INTERFACES] == files[INTERFACES]


def test_a_bond_takes_over_what_an_installer_gave_its_nics() -> None:
    existing = {
        INTERFACES: DEBIAN + "auto eth0.100\niface eth0.100 inet dhcp\n",
        "/etc/network/interfaces.d/eth1": "iface eth1 inet static\n address 10.1.0.1/8\n",
        "/etc/network/interfaces.d/bond0": (
            "auto bond0\niface bond0 inet dhcp\n hwaddress 52:54:00:00:00:02\n"
            " bond-slaves eth2 eth3\n bond-mode balance-rr\n bond-primary eth2\n"
        ),
    }
    files = {file.path: file.content for file in render(network(**BOND), existing)}
    assert (
        "iface bond0 inet manual\n    hwaddress 52:54:00:00:00:02\n    bond-slaves eth0 eth1\n"
        "    bond-mode active-backup\n    bond-miimon 100\n\n"
    ) in files[INTERFACES]
    assert files.keys() == existing.keys()
    assert not any(re.search(r"^iface eth|bond-primary", text, re.M) for text in files.values())
    found = changes(existing, files)
    assert set(found.down) == {"bond0", "eth0", "eth0.100", "eth1"}
    assert found.up == ("bond0", "bond0.100", "cloudbr0", "cloudbr1")
    back = changes(files, existing)
    assert back.down == ("cloudbr1", "cloudbr0", "bond0.100", "bond0")
    assert set(back.up) == {"eth0", "eth0.100", "bond0"}


def test_a_nic_that_appears_is_not_deleted_on_the_way_back() -> None:
    change = BACKENDS["ifupdown"].change(network(**BOND), Present())
    assert change is not None
    assert "ip link delete bond0 " in change.back.leave
    assert "eth1" not in change.back.leave


def test_the_vlan_interface_that_goes_with_its_bridge_is_not_mended() -> None:
    links = [
        {"ifname": name, "mtu": 1500, "flags": ["UP"], "addr_info": []}
        for name in ("eth0", "eth0.200", "eth0.300")
    ]
    files = {file.path: file.content for file in render(network(), {})}
    change = BACKENDS["ifupdown"].change(network(mtu=1400), Present(files, links))
    assert change is not None
    assert "ifdown --force cloudbr0" in change.forth.leave
    assert "eth0.200" not in change.forth.enter


def test_sourced_files_let_go_of_our_interfaces() -> None:
    existing = {
        INTERFACES: "source /etc/network/interfaces.d/*\n",
        "/etc/network/interfaces.d/50-cloud-init": "auto eth0\niface eth0 inet dhcp\n# end\n",
        "/etc/network/interfaces.d/eth1": "auto eth1\niface eth1 inet dhcp\n",
    }
    main, *others = render(network(), existing)
    assert (main.path, main.mode) == (INTERFACES, 0o644)
    assert main.content.startswith("source /etc/network/interfaces.d/*\n\n")
    assert [(file.path, file.content) for file in others] == [
        ("/etc/network/interfaces.d/50-cloud-init", "# end\n")
    ]


def test_parse_reads_what_other_people_write() -> None:
    text = (
        "iface br7 inet static\n address 10.7.0.1\n netmask 24\n gateway 10.7.0.254\n"
        " bridge-ports eth2 vlan7\n bridge-stp yes\n bridge-fd 0.5\n"
        "iface vlan7 inet manual\n vlan_raw_device eth3\n"
        "iface eth2 inet dhcp\niface eth2 inet6 static\n address fd00::1/64\n"
        "iface br8 inet manual\n bridge_ports none\n"
        "iface bond8 inet manual\n bond-slaves none\n bond_mode 802.3ad\n"
        "iface eth4 inet manual\n bond-master bond8\n"
    )
    found = {interface.name: interface for interface in parse({INTERFACES: text})}
    assert found.keys() == {"br7", "vlan7", "eth2", "eth3", "br8", "bond8", "eth4"}
    assert found["bond8"] == Interface("bond8", "bond", bond_mode="802.3ad")
    assert found["eth4"] == Interface("eth4", "ethernet")
    assert found["br7"].ports == ("eth2", "vlan7")
    assert found["br7"].stp is True
    assert [str(address) for address in found["br7"].addresses] == ["10.7.0.1/24"]
    assert (found["vlan7"].parent, found["vlan7"].tag) == ("eth3", 7)
    assert found["eth2"].dhcp
    assert [str(address) for address in found["eth2"].addresses] == ["fd00::1/64"]
    assert found["br8"].ports == ()


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


def test_a_restart_takes_what_stands_on_it_along() -> None:
    files = {INTERFACES: merge(DEBIAN, network(mtu=9000))}
    everything = ("eth0", "eth0.100", "cloudbr0", "cloudbr1")
    assert restart(files, {"eth0"}) == Changes(tuple(reversed(everything)), everything)
    assert restart(files, {"cloudbr1"}) == Changes(("cloudbr1",), ("cloudbr1",))


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


@settings(max_examples=1000)
@given(NATIVE_NETWORKS)
def test_rendered_and_read_back_it_is_the_same_network(any_network: Network) -> None:
    assert set(parse({INTERFACES: merge("", any_network)})) == {LOOPBACK, *any_network.interfaces}


@settings(max_examples=300)
@given(OPENVSWITCH_NETWORKS)
def test_open_vswitch_is_left_to_make_the_devices(any_network: Network) -> None:
    devices = {
        replace(each, kind="ethernet", parent=None, tag=None, ports=())
        if each.is_ovs_bridge
        else each
        for each in any_network.interfaces
    }
    assert set(parse({INTERFACES: merge("", any_network)})) == {LOOPBACK, *devices}
