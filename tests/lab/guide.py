"""The guide's steps on a node, as programs other than ours read them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Interface

from tests.lab.fleet import Node

PORTS = ("22", "1798", "16509", "5900:6100", "49152:49216")
BRIDGES = {"cloudbr0": 200, "cloudbr1": 300}
PROFILES = ("libvirtd", "virt-aa-helper")
TIME_SERVICES = {
    "debian": "chrony openntpd ntpsec ntp systemd-timesyncd",
    "rhel": "chronyd ntpd systemd-timesyncd",
}
INSTALLED = {
    "debian": "dpkg-query -W -f '${db:Status-Status}\\n'",
    "rhel": "rpm -q --qf 'installed\\n'",
}


@dataclass(frozen=True)
class Reading:
    """Whether a step of the guide is done on a node, and what was seen there.

    done is None where the step does not apply to the node.
    """

    step: str
    done: bool | None
    seen: str


def read(node: Node) -> tuple[Reading, ...]:
    """Read every step of the guide from the node."""
    return tuple(Reading(step, *reader(node)) for step, reader in STEPS.items())


def undone(node: Node) -> tuple[Reading, ...]:
    """Return the steps of the guide that apply to the node and are not done."""
    return tuple(reading for reading in read(node) if reading.done is False)


def _output(node: Node, command: str) -> str:
    return node.run(command, check=False).stdout.strip()


def _hostname(node: Node) -> tuple[bool, str]:
    seen = _output(node, "hostname --fqdn; getent ahostsv4 $(hostname --fqdn) | head -n1")
    return seen.split()[:2] == [node.name, str(IPv4Interface(node.address).ip)], seen


def _time(node: Node) -> tuple[bool, str]:
    services = TIME_SERVICES[node.distribution]
    active = _output(node, f"for unit in {services}; do systemctl is-active $unit; done")
    return active.split().count("active") == 1, active


def _libvirt(node: Node) -> tuple[bool, str]:
    address = IPv4Interface(node.address).ip
    uri = f"qemu+tcp://{address}/system"
    seen = _output(
        node,
        "ss -Hltnp 'sport = :16509' | grep -o '[^ ]*:16509\\|libvirtd';"
        f" virsh --connect {uri} uri;"
        " systemctl is-active libvirtd.socket libvirtd-tcp.socket",
    )
    return seen.split() == [f"{address}:16509", "libvirtd", uri, *["inactive"] * 2], seen


def _apparmor(node: Node) -> tuple[bool | None, str]:
    if _output(node, "cat /sys/module/apparmor/parameters/enabled") != "Y":
        return None, "the kernel does not run AppArmor"
    profiles = json.loads(_output(node, "aa-status --json"))["profiles"]
    loaded = [name for name in profiles if name.split("//")[0] in PROFILES]
    return not loaded, f"{len(profiles)} profiles, of libvirt: {loaded or 'none'}"


def _selinux(node: Node) -> tuple[bool | None, str]:
    mode = _output(node, "getenforce")
    if mode in ("", "Disabled"):
        return None, "the kernel does not run SELinux"
    configured = _output(node, "grep ^SELINUX= /etc/selinux/config")
    return (mode, configured) == ("Permissive", "SELINUX=permissive"), f"{mode}; {configured}"


def _bridges(node: Node) -> tuple[bool | None, str]:
    if node.network_backend == "unmanaged":
        return None, "the network is left as it is"
    links = json.loads(_output(node, "ip -j -d link") or "[]")
    tags = {
        link["master"]: link["linkinfo"]["info_data"]["id"]
        for link in links
        if link.get("linkinfo", {}).get("info_kind") == "vlan" and "master" in link
    }
    # neither has an address, nor may it be reached without one
    ipv6 = [bridge for bridge in BRIDGES if _output(node, f"ip -6 -o address show dev {bridge}")]
    seen = ", ".join(f"{bridge}: VLAN {tag}" for bridge, tag in tags.items())
    return tags == BRIDGES and not ipv6, f"{seen}; IPv6: {ipv6 or 'none'}"


def _firewall(node: Node) -> tuple[bool, str]:
    return _firewalld(node) if node.distribution == "rhel" else _ufw(node)


def _firewalld(node: Node) -> tuple[bool, str]:
    states = [_output(node, f"firewall-cmd {kept} --list-all") for kept in ("", "--permanent")]
    opened = [port for port in PORTS if all(_is_opened(port, state) for state in states)]
    return len(opened) == len(PORTS), f"{' '.join(opened)}; {_output(node, 'firewall-cmd --state')}"


def _is_opened(port: str, state: str) -> bool:
    """Whether a zone opens a port: for SSH, EL's zones have a service."""
    if port == "22" and re.search(r"^  services:.* ssh\b", state, re.MULTILINE):
        return True
    written = port.replace(":", "-")
    return f'port="{written}"' in state or f" {written}/tcp" in state


def _ufw(node: Node) -> tuple[bool, str]:
    rules = _output(node, "cat /etc/ufw/user.rules; ufw status")
    opened = [port for port in PORTS if f"### tuple ### allow tcp {port} " in rules]
    state = rules.splitlines()[-1] if rules else "ufw is not installed"
    return len(opened) == len(PORTS), f"{' '.join(opened)}; {state}"


def _agent(node: Node) -> tuple[bool, str]:
    seen = _output(
        node,
        f"{INSTALLED[node.distribution]} cloudstack-agent;"
        " grep -E '^(guest.cpu.mode|network.bridge.type)=' /etc/cloudstack/agent/agent.properties",
    )
    lines = seen.splitlines()
    return lines[:1] == ["installed"] and "network.bridge.type=native" in lines, " ".join(lines)


STEPS: dict[str, Callable[[Node], tuple[bool | None, str]]] = {
    "fully qualified name": _hostname,
    "one time service": _time,
    "libvirt listens": _libvirt,
    "AppArmor": _apparmor,
    "SELinux": _selinux,
    "bridges": _bridges,
    "firewall": _firewall,
    "agent": _agent,
}
