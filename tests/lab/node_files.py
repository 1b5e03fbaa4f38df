"""The files that make a node of an image: name, keys, addresses. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from tests.lab.fleet import MANAGEMENT_VLAN, Fleet, Node

VLAN_INTERFACE = f"eth0.{MANAGEMENT_VLAN}"

# As the Debian installer leaves it, which knows nothing of a domain.
INTERFACES_LOOPBACK = """\
# This file describes the network interfaces available on your system
# and how to activate them. For more information, see interfaces(5).

source /etc/network/interfaces.d/*

# The loopback network interface
auto lo
iface lo inet loopback
"""

INTERFACES_MANAGEMENT = """
# The primary network interface
auto {interface}
iface {interface} inet static
\taddress {address}
\tgateway {gateway}
"""

NETPLAN = """\
network:
  version: 2
  ethernets:
    eth0: {{}}
  vlans:
    {interface}:
      id: {vlan}
      link: eth0
      addresses:
      - {address}
      routes:
      - to: default
        via: {gateway}
"""

KEYFILE_UPLINK = """\
[connection]
id=eth0
type=ethernet
interface-name=eth0

[ipv4]
method=disabled

[ipv6]
method=disabled
"""

KEYFILE_MANAGEMENT = """\
[connection]
id={interface}
type=vlan
interface-name={interface}

[vlan]
parent=eth0
id={vlan}

[ipv4]
method=manual
address1={address},{gateway}

[ipv6]
method=disabled
"""

IFCFG_UPLINK = """\
DEVICE=eth0
TYPE=Ethernet
ONBOOT=yes
BOOTPROTO=none
"""

IFCFG_MANAGEMENT = """\
DEVICE={interface}
VLAN=yes
ONBOOT=yes
BOOTPROTO=none
IPADDR={address.ip}
PREFIX={address.network.prefixlen}
GATEWAY={gateway}
"""

HOSTS = """\
127.0.0.1\tlocalhost
{gateway}\tworkstation.{domain}\tworkstation

# The following lines are desirable for IPv6 capable hosts
::1     localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""


@dataclass(frozen=True)
class NodeFile:
    """A file of a node, owned by root."""

    content: str
    mode: int = 0o644


def node_files(
    node: Node, fleet: Fleet, name_servers: Sequence[IPv4Address], host_key: tuple[str, str]
) -> dict[str, NodeFile]:
    """Return the node's own files by path; `host_key` is the private and the public key.

    `hostname --fqdn` fails on such a node: the name is in no file and no DNS.
    """
    servers = "".join(f"nameserver {server}\n" for server in name_servers)
    private, public = host_key
    files = {
        "/etc/machine-id": NodeFile(f"{uuid5(NAMESPACE_DNS, node.name).hex}\n", 0o444),
        "/etc/hostname": NodeFile(f"{node.short_name}\n"),
        "/etc/hosts": NodeFile(HOSTS.format(gateway=fleet.gateway, domain=fleet.domain)),
        "/etc/resolv.conf": NodeFile(servers),
        "/root/.ssh/authorized_keys": NodeFile(
            fleet.ssh_key.with_suffix(".pub").read_text(), 0o600
        ),
        "/etc/ssh/ssh_host_ed25519_key": NodeFile(private, 0o600),
        "/etc/ssh/ssh_host_ed25519_key.pub": NodeFile(public),
    }
    return files | network_files(node, fleet.gateway)


def network_files(node: Node, gateway: IPv4Address) -> dict[str, NodeFile]:
    """Return what the installer left: the management address on its VLAN, no bridge."""
    values = {
        "interface": VLAN_INTERFACE,
        "vlan": MANAGEMENT_VLAN,
        "address": node.address,
        "gateway": gateway,
    }
    match node.network_backend:
        case "ifupdown":
            interfaces = INTERFACES_LOOPBACK + INTERFACES_MANAGEMENT.format(**values)
            return {"/etc/network/interfaces": NodeFile(interfaces)}
        case "netplan":
            return {
                "/etc/network/interfaces": NodeFile(INTERFACES_LOOPBACK),
                "/etc/netplan/50-cloud-init.yaml": NodeFile(NETPLAN.format(**values), 0o600),
            }
        case "networkmanager":
            connections = "/etc/NetworkManager/system-connections"
            return {
                f"{connections}/eth0.nmconnection": NodeFile(KEYFILE_UPLINK, 0o600),
                f"{connections}/{VLAN_INTERFACE}.nmconnection": NodeFile(
                    KEYFILE_MANAGEMENT.format(**values), 0o600
                ),
            }
        case "ifcfg":
            scripts = "/etc/sysconfig/network-scripts"
            management = values | {"address": IPv4Interface(node.address)}
            return {
                "/etc/sysconfig/network": NodeFile("NETWORKING=yes\n"),
                f"{scripts}/ifcfg-eth0": NodeFile(IFCFG_UPLINK),
                f"{scripts}/ifcfg-{VLAN_INTERFACE}": NodeFile(
                    IFCFG_MANAGEMENT.format(**management)
                ),
            }
        case "unmanaged":
            return {}


def write_files(files: Mapping[str, NodeFile], directory: Path) -> None:
    """Write the files below `directory`, which stands for the node's root."""
    for path, file in files.items():
        target = directory / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.touch(mode=file.mode)
        target.write_text(file.content)
