"""Where a host with netplan may start from."""

from textwrap import dedent

from tests.unit.network_examples import LACP, ON_BRIDGE
from tests.unit.starting_points import StartingPoint

INSTALLER = "/etc/netplan/00-installer-config.yaml"
CLOUD_INIT = "/etc/netplan/50-cloud-init.yaml"
ADMINISTRATOR = "/etc/netplan/90-local.yaml"
TAKEN_OVER, LEFT_ALONE, REFUSED = "taken over", "left alone", "refused"
MAC, OTHER_MAC = "52:54:00:00:00:02", "52:54:00:00:00:03"

# The management address on its VLAN, as in the guide.
MANAGEMENT = """\
network:
  version: 2
  ethernets:
    eth0: {}
  vlans:
    eth0.100:
      id: 100
      link: eth0
      addresses: [192.168.42.11/24]
      routes:
      - to: default
        via: 192.168.42.1
"""
_NO_DNS = {"dns_servers": [], "dns_search": []}


def _file(text: str) -> str:
    return dedent(text).lstrip()


STARTING_POINTS = (
    StartingPoint(
        "Ubuntu's installer, DHCP",
        {
            INSTALLER: _file("""
                # This is the network config written by 'subiquity'
                network:
                  ethernets:
                    ens3:
                      dhcp4: true
                  version: 2
                """)
        },
        TAKEN_OVER,
        keys={"uplink": "ens3"},
    ),
    StartingPoint(
        "Ubuntu's installer, static address",
        {
            INSTALLER: _file("""
                # This is the network config written by 'subiquity'
                network:
                  ethernets:
                    ens3:
                      addresses:
                      - 192.168.42.11/24
                      nameservers:
                        addresses:
                        - 192.168.42.1
                        search:
                        - example.org
                      routes:
                      - to: default
                        via: 192.168.42.1
                  version: 2
                """)
        },
        TAKEN_OVER,
        keys={"uplink": "ens3", **_NO_DNS},
    ),
    StartingPoint(
        "cloud-init, match and set-name",
        {
            CLOUD_INIT: _file(f"""
                # This file is generated from information provided by the datasource.
                network:
                    ethernets:
                        eth0:
                            dhcp4: true
                            dhcp4-overrides:
                                route-metric: 100
                            dhcp6: false
                            match:
                                macaddress: {MAC}
                            set-name: eth0
                    version: 2
                """)
        },
        TAKEN_OVER,
        devices={MAC: "eth0"},
    ),
    StartingPoint(
        "cloud-init, match by MAC address only",
        {
            CLOUD_INIT: _file("""
                network:
                    version: 2
                    ethernets:
                        id0:
                            match:
                                macaddress: '52:54:00:AA:00:02'
                            addresses: [192.168.42.11/24]
                            gateway4: 192.168.42.1
                    vlans:
                        storage:
                            id: 50
                            link: id0
                            addresses: [10.50.0.11/16]
                """)
        },
        TAKEN_OVER,
        keys={"uplink": "enp1s0"},
        devices={"52:54:00:aa:00:02": "enp1s0"},
    ),
    StartingPoint(
        "a definition of a NIC that is not there any more",
        {
            CLOUD_INIT: _file(f"""
                network:
                  version: 2
                  ethernets:
                    eth0: {{dhcp4: true, match: {{macaddress: {OTHER_MAC}}}, set-name: eth0}}
                """)
        },
        REFUSED,
        f"The definition of eth0 matches the MAC address {OTHER_MAC}, which no NIC here has: "
        "correct it, or restart the host if it is to rename that.",
        devices={MAC: "eth0"},
    ),
    StartingPoint(
        "the uplink's name as the id of another NIC",
        {
            CLOUD_INIT: _file(f"""
                network:
                  version: 2
                  ethernets:
                    eth0: {{dhcp4: true, match: {{macaddress: {OTHER_MAC}}}}}
                """)
        },
        REFUSED,
        f"{CLOUD_INIT} has the id eth0 for eth1: give it another, because ours of eth0 has its "
        "name for its id.",
        devices={MAC: "eth0", OTHER_MAC: "eth1"},
    ),
    StartingPoint(
        "one definition for every NIC",
        {
            CLOUD_INIT: _file("""
                network:
                  version: 2
                  ethernets:
                    all: {match: {name: "e*"}, dhcp4: true}
                """)
        },
        REFUSED,
        "The definition of e* matches eth0 too. The definition of e* matches eth0.100 too. "
        "The definition of e* matches eth0.200 too. The definition of e* matches eth0.300 too.",
    ),
    StartingPoint(
        "renderer NetworkManager",
        {
            INSTALLER: _file("""
                # Let NetworkManager manage all devices on this system
                network:
                  version: 2
                  renderer: NetworkManager
                  ethernets:
                    eth0:
                      addresses: [192.168.42.11/24]
                      routes: [{to: default, via: 192.168.42.1}]
                    eth1: {dhcp4: true}
                """)
        },
        TAKEN_OVER,
    ),
    StartingPoint(
        "NetworkManager's own profile in netplan",
        {
            "/etc/netplan/90-NM-3c1f8e6e.yaml": _file("""
                network:
                  version: 2
                  ethernets:
                    NM-3c1f8e6e:
                      renderer: NetworkManager
                      match: {name: eth0}
                      dhcp4: true
                      networkmanager:
                        uuid: 3c1f8e6e-7d6b-4c9e-9d0a-0d6b1f6f5a11
                        name: Wired connection 1
                        passthrough:
                          connection.timestamp: "1750000000"
                          proxy._: ""
                """)
        },
        TAKEN_OVER,
    ),
    StartingPoint(
        "a profile that says what NetworkManager alone does",
        {
            "/etc/netplan/90-NM-3c1f8e6e.yaml": _file("""
                network:
                  version: 2
                  renderer: NetworkManager
                  ethernets:
                    eth0:
                      networkmanager: {passthrough: {connection.zone: trusted}}
                """)
        },
        REFUSED,
        "What eth0 tells NetworkManager alone would be lost, because systemd-networkd takes its "
        "place: connection.zone trusted.",
    ),
    StartingPoint(
        "an installer's bond as the uplink",
        {
            INSTALLER: _file("""
                network:
                  ethernets:
                    eno1: {}
                    eno2: {}
                  bonds:
                    bond0:
                      interfaces: [eno1, eno2]
                      macaddress: 52:54:00:00:00:02
                      parameters:
                        mode: 802.3ad
                        lacp-rate: fast
                        mii-monitor-interval: 100
                      dhcp4: true
                  version: 2
                """)
        },
        TAKEN_OVER,
        keys={"uplink": "bond0"},
    ),
    StartingPoint(
        "an installer's bond, made by us from now on",
        {
            INSTALLER: _file("""
                network:
                  ethernets:
                    eth0: {optional: true}
                    eth1: {optional: true}
                  bonds:
                    bond0:
                      interfaces: [eth0, eth1]
                      parameters:
                        mode: 802.3ad
                        lacp-rate: fast
                        mii-monitor-interval: 1
                      addresses: [192.168.42.11/24]
                  version: 2
                """)
        },
        TAKEN_OVER,
        keys={**LACP},
    ),
    StartingPoint(
        "storage VLAN on the uplink, MTU 9000, static routes",
        {
            INSTALLER: MANAGEMENT.replace("eth0: {}", "eth0: {mtu: 9000}"),
            ADMINISTRATOR: _file("""
                network:
                  version: 2
                  vlans:
                    storage:
                      id: 50
                      link: eth0
                      mtu: 9000
                      addresses: [10.50.0.11/16]
                      routes: [{to: 10.60.0.0/16, via: 10.50.0.1}]
                """),
        },
        LEFT_ALONE,
    ),
    StartingPoint(
        "storage VLAN in the same file as the uplink",
        {INSTALLER: MANAGEMENT + "    storage: {id: 50, link: eth0, addresses: [10.50.0.11/16]}\n"},
        LEFT_ALONE,
    ),
    StartingPoint(
        "static routes, name servers and a label beside the address",
        {
            INSTALLER: _file("""
                network:
                  version: 2
                  ethernets:
                    eth0: {optional: true, wakeonlan: true}
                  vlans:
                    eth0.100:
                      id: 100
                      link: eth0
                      accept-ra: false
                      link-local: []
                      addresses:
                      - 192.168.42.11/24: {label: "eth0.100:m"}
                      nameservers: {addresses: [192.168.42.2], search: [example.org]}
                      routes:
                      - {to: 0.0.0.0/0, via: 192.168.42.1, on-link: true, metric: 0}
                      - {to: default, via: 192.168.42.3, metric: 200}
                      - {to: 10.0.0.0/8, via: 192.168.42.254, metric: 50}
                      - {to: 172.16.0.0/12, via: 192.168.42.254, mtu: 1400}
                """)
        },
        TAKEN_OVER,
        keys=_NO_DNS,
    ),
    StartingPoint(
        "policy routing",
        {
            INSTALLER: MANAGEMENT
            + _file("""
                      - {to: default, via: 192.168.42.1, table: 101}
                      - {to: 192.168.42.0/24, scope: link, table: 101}
                      routing-policy:
                      - {from: 192.168.42.11, table: 101, priority: 100}
                """)
            .replace("- ", "      - ")
            .replace("routing-policy", "      routing-policy")
        },
        TAKEN_OVER,
    ),
    StartingPoint(
        "policy routing whose address moves to another interface",
        {
            INSTALLER: _file("""
                network:
                  version: 2
                  ethernets:
                    eth0:
                      addresses: [192.168.42.11/24]
                      gateway4: 192.168.42.1
                      routing-policy: [{from: 192.168.42.11, table: 101}]
                """)
        },
        REFUSED,
        "eth0 has no address as eth0, and what it says would be lost: "
        'routing-policy {"from": "192.168.42.11", "table": "101"}.',
    ),
    StartingPoint(
        "a gateway that our address does not reach",
        {
            INSTALLER: MANAGEMENT.replace(
                "via: 192.168.42.1\n",
                "via: 192.168.42.1\n      - {to: 10.0.0.0/8, via: 10.77.0.1, table: 7}\n",
            )
        },
        REFUSED,
        'The route {"to": "10.0.0.0/8", "via": "10.77.0.1", "table": "7"} of eth0.100 would be '
        "lost, because its gateway is not in 192.168.42.0/24.",
    ),
    StartingPoint(
        "second NIC with DHCP",
        {
            INSTALLER: MANAGEMENT,
            ADMINISTRATOR: "network: {version: 2, ethernets: {eth1: {dhcp4: true}}}\n",
        },
        LEFT_ALONE,
    ),
    StartingPoint(
        "second NIC with DHCP that is preferred",
        {
            INSTALLER: MANAGEMENT,
            ADMINISTRATOR: _file("""
                network:
                  version: 2
                  ethernets:
                    eth1: {dhcp4: true, dhcp4-overrides: {route-metric: 0}}
                """),
        },
        REFUSED,
        "eth1 takes a default gateway by DHCP, which would be preferred to ours, or no less than "
        "it: give it a metric that is higher.",
    ),
    StartingPoint(
        "second NIC with a default route of its own table, and one with a higher metric",
        {
            INSTALLER: MANAGEMENT,
            ADMINISTRATOR: _file("""
                network:
                  version: 2
                  ethernets:
                    eth1:
                      addresses: [10.1.0.11/24]
                      routes:
                      - {to: default, via: 10.1.0.1, table: 7}
                      - {to: default, via: 10.1.0.1, metric: 300}
                """),
        },
        LEFT_ALONE,
    ),
    StartingPoint(
        "second NIC with a default route like ours",
        {
            INSTALLER: MANAGEMENT,
            ADMINISTRATOR: _file("""
                network:
                  version: 2
                  ethernets:
                    eth1: {addresses: [10.1.0.11/24], gateway4: 10.1.0.1}
                """),
        },
        REFUSED,
        "eth1 has a default gateway of its own, 10.1.0.1: give it a metric that is higher than "
        "ours, or a table of its own.",
    ),
    StartingPoint(
        "second NIC that does not start by itself",
        {
            INSTALLER: MANAGEMENT,
            ADMINISTRATOR: _file("""
                network:
                  version: 2
                  ethernets:
                    eth1: {activation-mode: manual, addresses: [10.1.0.11/24], gateway4: 10.1.0.1}
                """),
        },
        LEFT_ALONE,
    ),
    StartingPoint(
        "the management VLAN as vlan100",
        {INSTALLER: MANAGEMENT.replace("eth0.100:", "vlan100:")},
        TAKEN_OVER,
    ),
    StartingPoint(
        "the management VLAN as vlan100 under an administrator's bridge",
        {
            INSTALLER: MANAGEMENT.replace("eth0.100:", "vlan100:"),
            ADMINISTRATOR: "network: {version: 2, bridges: {br0: {interfaces: [vlan100]}}}\n",
        },
        REFUSED,
        "br0 is built on vlan100, which goes.",
    ),
    StartingPoint(
        "predictable names",
        {
            INSTALLER: _file("""
                network:
                  version: 2
                  ethernets:
                    enp1s0f0: {addresses: [192.168.42.11/24], gateway4: 192.168.42.1}
                    enp1s0f1: {addresses: [10.1.0.11/24]}
                """)
        },
        TAKEN_OVER,
        keys={"uplink": "enp1s0f0"},
    ),
    StartingPoint(
        "the address on a bridge that is to be ours",
        {
            INSTALLER: _file("""
                network:
                  version: 2
                  ethernets:
                    eth0: {dhcp4: false}
                  bridges:
                    cloudbr0:
                      interfaces: [eth0]
                      addresses: [192.168.42.11/24]
                      gateway4: 192.168.42.1
                      parameters: {stp: true, priority: 4096}
                """)
        },
        TAKEN_OVER,
        keys={**ON_BRIDGE, "bridges": {"cloudbr0": None, "cloudbr1": 300}},
    ),
    StartingPoint(
        "an administrator's bridge on the uplink",
        {
            INSTALLER: _file("""
                network:
                  version: 2
                  ethernets:
                    eth0: {}
                  bridges:
                    br0: {interfaces: [eth0], dhcp4: true}
                """)
        },
        REFUSED,
        "br0 has eth0 as a port.",
    ),
)
