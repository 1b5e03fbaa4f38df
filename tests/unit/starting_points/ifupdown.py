"""Starting points of hosts with ifupdown; cloud-init's are what its own renderer writes."""

from collections.abc import Mapping
from typing import Any

from kvmhost.network.backends.ifupdown.files import INTERFACES
from tests.unit.network_examples import BOND, IPV6, ON_BRIDGE, UNTAGGED
from tests.unit.starting_points import StartingPoint

CLOUD_INIT = "/etc/network/interfaces.d/50-cloud-init"
LOOPBACK = """\
# This file describes the network interfaces available on your system
# and how to activate them. For more information, see interfaces(5).

source /etc/network/interfaces.d/*

# The loopback network interface
auto lo
iface lo inet loopback
"""
MANAGEMENT = """
auto eth0.100
iface eth0.100 inet static
    address 192.168.42.11/24
    gateway 192.168.42.1
"""
ON_UPLINK: Mapping[str, Any] = {"management_vlan": None}
ON_BOND: Mapping[str, Any] = {"uplink": "bond0"}
ON_TAGGED_BRIDGE: Mapping[str, Any] = {**ON_BRIDGE, "bridges": {"cloudbr0": 100, "cloudbr1": 300}}


def interfaces(*stanzas: str) -> Mapping[str, str]:
    return {INTERFACES: "".join((LOOPBACK, *stanzas))}


def generated(stanzas: str) -> Mapping[str, str]:
    """Return the files of a host that cloud-init has set up."""
    written = (
        "# This file is generated from information provided by the datasource.  Changes\n"
        "# to it will not persist across an instance reboot.\n"
        "auto lo\niface lo inet loopback\n"
    )
    return {**interfaces(), CLOUD_INIT: written + stanzas}


BOND_OF_NICS = generated("""
auto eth0
iface eth0 inet manual
    bond-master bond0
    bond-miimon 100
    bond-mode active-backup

auto eth1
iface eth1 inet manual
    bond-master bond0
    bond-miimon 100
    bond-mode active-backup

auto bond0
iface bond0 inet manual
    bond-miimon 100
    bond-mode active-backup
    bond-slaves none

auto bond0.100
iface bond0.100 inet static
    address 192.168.42.11/24
    gateway 192.168.42.1
    vlan-raw-device bond0
    vlan_id 100
""")
BOND_OLD = interfaces("""
auto bond0
iface bond0 inet manual
    slaves eth0 eth1
    bond_mode 1
    bond_miimon 100

auto bond0.100
iface bond0.100 inet static
    address 192.168.42.11
    netmask 255.255.255.0
    gateway 192.168.42.1
""")
BOND_WITH_UNDERSCORES = interfaces("""
auto bond0
iface bond0 inet static
    address 192.168.42.11/24
    gateway 192.168.42.1
    bond_slaves eth0 eth1
    bond_mode balance-xor
    bond_xmit_hash_policy layer3+4
    bond_miimon 100
""")
INSTALLED = interfaces("""
# The primary network interface
allow-hotplug eth0
iface eth0 inet static
\taddress 192.168.42.11/24
\tgateway 192.168.42.1
\t# dns-* options are implemented by the resolvconf package, if installed
\tdns-nameservers 192.168.42.3
\tdns-search lab.example.org
""")
INSTALLED_WITH_DHCP = interfaces("""
# The primary network interface
allow-hotplug eth0
iface eth0 inet dhcp
# This is an autoconfigured IPv6 interface
iface eth0 inet6 auto
""")
CLOUD = generated("""
auto eth0
iface eth0 inet static
    address 192.168.42.11/24
    dns-nameservers 9.9.9.9 8.8.8.8
    dns-search lab.example.org
    gateway 192.168.42.1
    mtu 9000
    post-up route add -net 10.0.0.0/8 gw 192.168.42.254 || true
    pre-down route del -net 10.0.0.0/8 gw 192.168.42.254 || true

# control-alias eth0
iface eth0 inet6 static
    address 2001:db8::11/64
    gateway fe80::1
""")
CLOUD_ON_VLAN = generated("""
iface eth0 inet manual

auto eth0.100
iface eth0.100 inet static
    address 192.168.42.11/24
    dns-nameservers 9.9.9.9
    gateway 192.168.42.1
    vlan-raw-device eth0
    vlan_id 100
    post-up route add -net 10.0.0.0/8 gw 192.168.42.254 metric 50 || true
    pre-down route del -net 10.0.0.0/8 gw 192.168.42.254 metric 50 || true

auto vlan250
iface vlan250 inet static
    address 10.8.0.11/24
    mtu 9000
    vlan-raw-device eth0
    vlan_id 250
""")
STORAGE_VLAN = interfaces("""
auto eth0
iface eth0 inet static
    address 192.168.42.11
    netmask 255.255.255.0
    network 192.168.42.0
    broadcast 192.168.42.255
    gateway 192.168.42.1
    mtu 9000
    offload-gro off
    up ip route add 172.16.0.0/12 via 192.168.42.254 dev eth0
    up route add -net 10.0.0.0 netmask 255.0.0.0 gw 192.168.42.254
    down route del -net 10.0.0.0 netmask 255.0.0.0

auto eth0.250
iface eth0.250 inet static
    address 10.8.0.11/24
    mtu 9000
    up ip route add 10.9.0.0/16 via 10.8.0.1
""")
SECOND_NIC = """
auto eth1
iface eth1 inet dhcp
"""
POLICY_ROUTING = interfaces(
    MANAGEMENT,
    """\
    up ip rule add from 192.168.42.11 table 100
    up ip route add default via 192.168.42.1 dev eth0.100 table 100
    down ip rule del from 192.168.42.11 table 100

auto eth1
iface eth1 inet static
    address 10.8.0.11/24
    up ip route add default via 10.8.0.1 dev eth1 table 8
    up ip rule add from 10.8.0.11 table 8
    up ip route add default via 10.8.0.1 metric 200
""",
)
OTHER_NAME = interfaces("""
auto eth0
iface eth0 inet manual

auto vlan100
iface vlan100 inet static
    address 192.168.42.11/24
    gateway 192.168.42.1
    vlan-raw-device eth0
    up ip rule add iif $IFACE table 7 || true
""")
PREDICTABLE = interfaces("""
auto enp1s0f0
iface enp1s0f0 inet static
    address 192.168.42.11/24
    gateway 192.168.42.1

auto enp1s0f1
iface enp1s0f1 inet static
    address 10.8.0.11/24
""")
BRIDGE = interfaces("""
auto br0
iface br0 inet static
    address 192.168.42.11/24
    gateway 192.168.42.1
    bridge_ports eth0
    bridge_stp off
    bridge_fd 0
""")

STARTING_POINTS = (
    StartingPoint("Debian's installer, static", INSTALLED, "taken over", keys=UNTAGGED),
    StartingPoint(
        "Debian's installer, the address moves to a VLAN of the uplink", INSTALLED, "taken over"
    ),
    StartingPoint(
        "Debian's installer, DHCP and allow-hotplug",
        INSTALLED_WITH_DHCP,
        "taken over",
        keys=ON_UPLINK,
    ),
    StartingPoint("cloud-init", CLOUD, "taken over", keys={**UNTAGGED, **IPV6}),
    StartingPoint(
        "cloud-init, with IPv6 that the settings do not have",
        CLOUD,
        "refused",
        "The address 2001:db8::11/64 of eth0 would be lost: make it management_address6",
        keys=UNTAGGED,
    ),
    StartingPoint("cloud-init, VLANs", CLOUD_ON_VLAN, "taken over"),
    StartingPoint("a bond whose NICs say bond-master", BOND_OF_NICS, "taken over", keys=ON_BOND),
    StartingPoint("a bond with the old option slaves", BOND_OLD, "taken over", keys=ON_BOND),
    StartingPoint(
        "a bond with underscores",
        BOND_WITH_UNDERSCORES,
        "taken over",
        keys={**ON_BOND, **UNTAGGED},
    ),
    StartingPoint("a bond that bonds makes ours", BOND_OF_NICS, "taken over", keys=BOND),
    StartingPoint(
        "one NIC of a bond",
        BOND_OF_NICS,
        "refused",
        "bond0 has eth0 as a port.",
        keys={"management_address": "192.168.42.12/24"},
    ),
    StartingPoint(
        "a storage VLAN, and static routes on the uplink",
        STORAGE_VLAN,
        "taken over",
        keys=ON_UPLINK,
    ),
    StartingPoint(
        "a second NIC with DHCP",
        interfaces(MANAGEMENT, SECOND_NIC),
        "refused",
        "eth1 takes a default gateway by DHCP, which would be preferred to ours, or no less than "
        "it: give it a metric that is higher.",
    ),
    StartingPoint(
        "a second NIC with DHCP and a metric",
        interfaces(MANAGEMENT, SECOND_NIC, "    metric 100\n"),
        "left alone",
    ),
    StartingPoint(
        "a second NIC with DHCP that nothing starts",
        interfaces(MANAGEMENT, SECOND_NIC.replace("auto eth1\n", "")),
        "left alone",
    ),
    StartingPoint("policy routing", POLICY_ROUTING, "left alone"),
    StartingPoint(
        "policy routing, the address moves to a bridge",
        interfaces(MANAGEMENT, "    up ip rule add from 192.168.42.11 table 100\n"),
        "taken over",
        keys=ON_TAGGED_BRIDGE,
    ),
    StartingPoint("the management VLAN as vlan100", OTHER_NAME, "taken over"),
    StartingPoint(
        "the management VLAN as vlan100, with a command that says so",
        {INTERFACES: OTHER_NAME[INTERFACES].replace("$IFACE", "vlan100")},
        "refused",
        "vlan100 becomes eth0.100, and would still be named in its line up ip rule add iif vlan100 "
        "table 7 || true: write $IFACE there.",
    ),
    StartingPoint(
        "predictable names",
        PREDICTABLE,
        "taken over",
        keys={"uplink": "enp1s0f0", "management_vlan": None},
    ),
    StartingPoint(
        "a bridge br0 on the uplink", BRIDGE, "refused", "br0 has eth0 as a port.", keys=ON_UPLINK
    ),
    StartingPoint(
        "an alias",
        interfaces(
            MANAGEMENT, "\nauto eth0.100:1\niface eth0.100:1 inet static\n    address 10.0.0.5/24\n"
        ),
        "refused",
        "The address 10.0.0.5/24 of eth0.100 would be lost beside 192.168.42.11/24",
    ),
    StartingPoint(
        "a command beside an address that moves",
        interfaces(MANAGEMENT, "    up /root/firewall\n"),
        "refused",
        "what it says would be lost: up /root/firewall.",
        keys=ON_TAGGED_BRIDGE,
    ),
    StartingPoint(
        "a stanza that a script chooses",
        interfaces(MANAGEMENT, "\nmapping eth*\n    script /usr/local/sbin/where\n"),
        "refused",
        "A script chooses the stanza of eth0 (mapping eth*), which cannot be foreseen",
    ),
    StartingPoint(
        "a file from elsewhere",
        interfaces(MANAGEMENT, "source /etc/network/more/*\n"),
        "refused",
        "/etc/network/interfaces says source /etc/network/more/*, but only files in "
        "/etc/network/interfaces.d are looked at",
    ),
)
