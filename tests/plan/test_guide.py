"""What the guide tells an administrator to type, and what the deploy does on the guide's systems.

Every command and every file of the guide has a row that names its section, every line of a network
file too. Where the deploy does something else, the row says what, and why.

The network is planned only: nothing on the guide's systems could undo a change of it, and preflight
refuses them unless `network_backend` is unmanaged.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from kvmhost.facts.network import Network as PresentNetwork
from kvmhost.network.backends import BACKENDS
from kvmhost.network.backends.ifcfg.files import SYSCTLS
from kvmhost.network.backends.ifupdown.commands import WITHOUT_IPV6
from kvmhost.network.change import Change
from kvmhost.settings import Settings, load
from tests.plan.support import (
    MACHINE,
    NAMES,
    group_data,
    host_data,
    inventory,
    machine,
    names,
    others,
)
from tests.runs import CHECKOUT, Run, pyinfra

PREPARE = "Prepare the Operating System"
AGENT = "Install and configure the Agent"
CPU = "Configure CPU model for KVM guest"
LIBVIRT = "Install and Configure libvirt"
SECURITY = "Configure the Security Policies"
NATIVE_EL = "Configure the network bridges, in RHEL or CentOS"
NATIVE_UBUNTU = "Configure the network bridges, in Ubuntu"
NO_NATIVE = "Configure the network using OpenVswitch, Preparing"
OPENVSWITCH = "Configure the network using OpenVswitch, Configure OpenVswitch"
OPENVSWITCH_EL = "Configure the network using OpenVswitch, in RHEL or CentOS"
IPTABLES = "Open ports in RHEL/CentOS"
UFW = "Open ports in Ubuntu"

TASKS = {
    PREPARE: ("preflight", "ntp"),
    AGENT: ("cloudstack_agent",),
    CPU: ("cloudstack_agent",),
    LIBVIRT: ("libvirt",),
    SECURITY: ("apparmor_selinux",),
    NATIVE_EL: ("bridges_native",),
    NATIVE_UBUNTU: ("bridges_native",),
    NO_NATIVE: ("bridges_ovs",),
    OPENVSWITCH: ("bridges_ovs",),
    OPENVSWITCH_EL: ("bridges_ovs",),
    IPTABLES: ("firewall",),
    UFW: ("firewall",),
}
"""The tasks that carry out each section."""

DISTRIBUTION_KEYS = (
    "distribution",
    "releases",
    "package_manager",
    "network_backend",
    "firewall_backend",
    "libvirt_packages",
    "libvirtd_arguments_file",
    "libvirtd_arguments",
)
"""Keys that the hosts of this test have from their group's file, as real ones have."""


@dataclass(frozen=True)
class Row:
    """A line of the guide: where, what, and what the deploy has instead, if it differs, and why.

    `guide` is "" where the guide has no such line, `ours` where the deploy leaves it out. `file` is
    the file that holds the line; None for a command. `example` names what an administrator sets to
    get it, and the host where it is seen.
    """

    section: str
    group: str
    guide: str
    file: str | None = None
    ours: str | None = None
    why: str | None = None
    example: str = "plain"

    @property
    def expected(self) -> str:
        return self.guide if self.ours is None else self.ours


NO_QUESTION = "nobody is there to answer, and another run of it is waited for only so long"
YUM = "until yum -y -q --setopt=exit_on_lock=1 install {}; do"
APT = "--force-confold install {}"
LIBVIRTD = "/etc/libvirt/libvirtd.conf"
PROPERTIES = "/etc/cloudstack/agent/agent.properties"
ONE_LINK = "both links in one command, which may be given again"
ASKS_THE_KERNEL = "the kernel is asked: the package may be there and {} be switched off"
BOTH = ("rhel_6", "ubuntu_1204")

SCRIPTS = "/etc/sysconfig/network-scripts"
INTERFACES = "/etc/network/interfaces"
NO_BRIDGE = "/etc/modprobe.d/cloudstack-openvswitch.conf"
LISTINGS = CHECKOUT / "tests" / "unit" / "golden" / "network"
"""The network files of the guide, for the unit tests of the back ends too."""

Drift = tuple[str, str | None, str]
"""A line of the guide or "", what the deploy has in its place or "", and why."""
OURS = ("", "# CloudStack network (what stands here is overwritten)", "the next run knows its own")
ALONE = ("", "NM_CONTROLLED=no", "on EL 7 and 8 NetworkManager would take the interface too")
FOLLOWS = (
    "HWADDR=00:04:xx:xx:xx:xx",
    "",
    "a VLAN has the address of its uplink, and a NIC that is replaced has another",
)
CENTISECONDS = (
    "",
    "BRIDGING_OPTS=forward_delay=500",
    "EL 8 takes DELAY for hundredths of a second; before EL 6.4 there is only DELAY",
)
RESOLVER = tuple(
    ("", line, "the guide names servers in its example for Ubuntu only")
    for line in ("DNS1=8.8.8.8", "DNS2=8.8.4.4", "DOMAIN=lab.example.org")
)
NATIVE_EL_DIFFERENCES: Mapping[str, tuple[Drift, ...]] = {
    "ifcfg-eth0": (),
    "ifcfg-eth0.100": (FOLLOWS, *RESOLVER),
    "ifcfg-eth0.200": (FOLLOWS,),
    "ifcfg-eth0.300": (FOLLOWS,),
    "ifcfg-cloudbr0": (CENTISECONDS,),
    "ifcfg-cloudbr1": (CENTISECONDS,),
}


def _made_anew(options: str) -> tuple[Drift, ...]:
    why = "ifdown deletes the bridge, and the guide's file would make one without VLAN and uplink"
    return (("", "OVSREQUIRES=cloudbr", why), ("", f"OVS_OPTIONS='{options}'", why))


OPENVSWITCH_EL_DIFFERENCES: Mapping[str, tuple[Drift, ...]] = {
    "ifcfg-eth0": (),
    "ifcfg-cloudbr": (
        (
            "",
            "OVS_EXTRA='set port cloudbr trunks=100,200,300 -- --may-exist add-port cloudbr eth0'",
            "ifdown deletes the bridge, and the guide's file would make one without its ports",
        ),
    ),
    "ifcfg-mgmt0": (
        ("BOOTPROTO=static", "BOOTPROTO=none", "the scripts take both alike: no bootp, no dhcp"),
        *_made_anew("cloudbr 100"),
        *RESOLVER,
    ),
    "ifcfg-cloudbr0": _made_anew("cloudbr 200"),
    "ifcfg-cloudbr1": _made_anew("cloudbr 300"),
}
UBUNTU_DIFFERENCES: tuple[Drift, ...] = (
    ("", "# CloudStack network: begin (what stands here is overwritten)", OURS[2]),
    ("", "# CloudStack network: end", OURS[2]),
    *(
        ("", f"{key} {command}", "the kernel would give the bridge a link-local address")
        for _ in ("cloudbr0", "cloudbr1")
        for key, command in WITHOUT_IPV6
    ),
    ("# The primary network interface", "# Management network", "all comments name the traffic"),
    ("# Private network", "# Guest network", "the traffic label is called guest"),
    ("netmask 255.255.255.240", "netmask 255.255.255.0", "/24, as the guide's text has it"),
    (
        "dns-domain lab.example.org",
        "dns-search lab.example.org",
        "a list may have more than one domain",
    ),
)


def _lines(
    section: str, example: str, name: str, differences: Mapping[str, tuple[Drift, ...]]
) -> Iterator[Row]:
    """Yield a row for each line of the guide's ifcfg files, and for each line besides."""
    listing = (LISTINGS / name).read_text()
    for path, body in re.findall(r"==> (\S+) <==\n((?:(?!==>).+\n?)*)", listing):
        differing = (OURS, ALONE, *differences[Path(path).name])
        yield from _file(section, "rhel_6", path, body, differing, example)


def _without_ipv6(section: str, example: str, bridges: tuple[str, ...]) -> Iterator[Row]:
    """Yield the rows of the file that the guide does without."""
    why = "with IPV6INIT=no the kernel would give the bridge a link-local address nonetheless"
    lines = (f"net.ipv6.conf.{bridge}.disable_ipv6 = 1" for bridge in bridges)
    for line in (OURS[1], *lines):
        yield Row(section, "rhel_6", "", SYSCTLS, line, why, example)


def _file(
    section: str,
    group: str,
    path: str,
    text: str,
    differences: tuple[Drift, ...],
    example: str,
) -> Iterator[Row]:
    reasons = {guide: (ours, why) for guide, ours, why in differences if guide}
    for line in filter(None, map(str.strip, text.splitlines())):
        ours, why = reasons.get(line, (None, None))
        yield Row(section, group, line, path, ours, why, example)
    for guide, ours, why in differences:
        if not guide:
            yield Row(section, group, guide, path, ours, why, example)


ROWS = (
    *(Row(PREPARE, group, "hostname --fqdn") for group in BOTH),
    *(
        Row(PREPARE, group, "192.168.42.1 kvm1.lab.example.org kvm1", "/etc/hosts")
        for group in BOTH
    ),
    *(
        Row(
            PREPARE,
            group,
            "ping www.cloudstack.org",
            ours='ping -c 1 -W 2 "$address"',
            why="ping alone does not end, and many networks let only HTTP through",
        )
        for group in BOTH
    ),
    Row(PREPARE, "rhel_6", "yum install ntp", ours=YUM.format("ntp"), why=NO_QUESTION),
    Row(
        PREPARE,
        "ubuntu_1204",
        "apt-get install openntpd",
        ours=APT.format("openntpd"),
        why=NO_QUESTION,
    ),
    Row(
        AGENT,
        "rhel_6",
        "yum install cloudstack-agent",
        ours=YUM.format("cloudstack-agent"),
        why=NO_QUESTION,
    ),
    Row(
        AGENT,
        "ubuntu_1204",
        "apt-get install cloudstack-agent",
        ours=APT.format("cloudstack-agent"),
        why=NO_QUESTION,
    ),
    *(
        Row(CPU, group, line, PROPERTIES, example=example)
        for group in BOTH
        for line, example in (
            ("guest.cpu.mode=custom", "custom"),
            ("guest.cpu.model=SandyBridge", "custom"),
            ("guest.cpu.mode=host-model", "host-model"),
            ("guest.cpu.mode=host-passthrough", "host-passthrough"),
        )
    ),
    *(
        Row(
            CPU,
            group,
            "/usr/share/libvirt/cpu_map.xml",
            ours="|| compare=cpu-compare; echo '<cpu",
            why="libvirt says whether the host runs the model; the file has moved since",
            example="custom",
        )
        for group in BOTH
    ),
    *(
        Row(LIBVIRT, group, line, LIBVIRTD)
        for group in BOTH
        for line in (
            "listen_tls = 0",
            "listen_tcp = 1",
            'tcp_port = "16509"',
            'auth_tcp = "none"',
            "mdns_adv = 0",
        )
    ),
    Row(LIBVIRT, "rhel_6", 'LIBVIRTD_ARGS="--listen"', "/etc/sysconfig/libvirtd"),
    Row(LIBVIRT, "ubuntu_1204", 'libvirtd_opts="-d -l"', "/etc/default/libvirt-bin"),
    Row(LIBVIRT, "rhel_6", "service libvirtd restart"),
    Row(LIBVIRT, "ubuntu_1204", "service libvirt-bin restart"),
    Row(
        SECURITY,
        "rhel_6",
        "rpm -qa | grep selinux",
        ours="command -v getenforce",
        why=ASKS_THE_KERNEL.format("SELinux"),
    ),
    Row(SECURITY, "rhel_6", "SELINUX=permissive", "/etc/selinux/config"),
    Row(SECURITY, "rhel_6", "setenforce permissive"),
    Row(
        SECURITY,
        "ubuntu_1204",
        "dpkg --list 'apparmor'",
        ours="cat /sys/module/apparmor/parameters/enabled",
        why=ASKS_THE_KERNEL.format("AppArmor"),
    ),
    *(
        Row(
            SECURITY,
            "ubuntu_1204",
            f"ln -s /etc/apparmor.d/{profile} /etc/apparmor.d/disable/",
            ours="ln -sf /etc/apparmor.d/usr.sbin.libvirtd "
            "/etc/apparmor.d/usr.lib.libvirt.virt-aa-helper /etc/apparmor.d/disable/",
            why=ONE_LINK,
        )
        for profile in ("usr.sbin.libvirtd", "usr.lib.libvirt.virt-aa-helper")
    ),
    *(
        Row(SECURITY, "ubuntu_1204", f"apparmor_parser -R /etc/apparmor.d/{profile}")
        for profile in ("usr.sbin.libvirtd", "usr.lib.libvirt.virt-aa-helper")
    ),
    *_lines(NATIVE_EL, "native", "guide-native-ifcfg.txt", NATIVE_EL_DIFFERENCES),
    *_without_ipv6(NATIVE_EL, "native", ("cloudbr0", "cloudbr1")),
    *_file(
        NATIVE_UBUNTU,
        "ubuntu_1204",
        INTERFACES,
        (LISTINGS / "guide.interfaces").read_text(),
        UBUNTU_DIFFERENCES,
        "native, without STP",
    ),
    Row(NO_NATIVE, "rhel_6", "blacklist bridge", NO_BRIDGE, example="Open vSwitch, made"),
    Row(
        NO_NATIVE,
        "rhel_6",
        "",
        NO_BRIDGE,
        "install bridge /bin/false",
        "a module that needs it, such as br_netfilter, would load it in spite of the blacklist",
        "Open vSwitch, made",
    ),
    Row(
        NO_NATIVE,
        "rhel_6",
        "rmmod bridge",
        ours="if [ -e /sys/module/br_netfilter ]; then rmmod br_netfilter; fi && rmmod bridge",
        why="what uses the module has to go first; EL 6 has it in the module itself",
        example="Open vSwitch, made",
    ),
    *(
        Row(
            NO_NATIVE,
            "rhel_6",
            f"{SCRIPTS}/{script}",
            ours=f"[ -x {SCRIPTS}/ifup-ovs ]",
            why="both come in one package; a host that lacks it is refused",
            example="Open vSwitch",
        )
        for script in ("ifup-ovs", "ifdown-ovs")
    ),
    *(
        Row(
            OPENVSWITCH,
            "rhel_6",
            f"ovs-vsctl {words}",
            ours=f" -- {options}{words}",
            why="one transaction, so that there is never half a switch, which may be given again",
            example="Open vSwitch",
        )
        for options, words in (
            ("--may-exist ", "add-br cloudbr"),
            ("--may-exist ", "add-port cloudbr eth0"),
            ("", "set port cloudbr trunks=100,200,300"),
            ("--may-exist ", "add-br mgmt0 cloudbr 100"),
            ("--may-exist ", "add-br cloudbr0 cloudbr 200"),
            ("--may-exist ", "add-br cloudbr1 cloudbr 300"),
        )
    ),
    *_lines(
        OPENVSWITCH_EL, "Open vSwitch", "guide-openvswitch-ifcfg.txt", OPENVSWITCH_EL_DIFFERENCES
    ),
    *_without_ipv6(OPENVSWITCH_EL, "Open vSwitch", ("cloudbr", "cloudbr0", "cloudbr1")),
    *(
        Row(IPTABLES, "rhel_6", f"iptables -I INPUT -p tcp -m tcp --dport {port} -j ACCEPT")
        for port in ("22", "1798", "16509", "5900:6100", "49152:49216")
    ),
    *(
        Row(
            IPTABLES,
            "rhel_6",
            "iptables-save > /etc/sysconfig/iptables",
            "/etc/sysconfig/iptables",
            f"-A INPUT -p tcp -m tcp --dport {port} -j ACCEPT",
            "only these rules are saved: those of libvirt and of guests are not for the next boot",
        )
        for port in ("22", "1798", "16509", "5900:6100", "49152:49216")
    ),
    *(
        Row(UFW, "ubuntu_1204", f"ufw allow proto tcp from any to any port {port}")
        for port in ("22", "1798", "16509", "5900:6100", "49152:49216")
    ),
)


GUIDE: Mapping[str, tuple[str, ...]] = {
    PREPARE: (
        "hostname --fqdn",
        "/etc/hosts",
        "ping www.cloudstack.org",
        "yum install ntp",
        "apt-get install openntpd",
    ),
    AGENT: ("yum install cloudstack-agent", "apt-get install cloudstack-agent"),
    CPU: (PROPERTIES, "/usr/share/libvirt/cpu_map.xml"),
    LIBVIRT: (
        LIBVIRTD,
        "/etc/sysconfig/libvirtd",
        "/etc/default/libvirt-bin",
        "service libvirtd restart",
        "service libvirt-bin restart",
    ),
    SECURITY: (
        "rpm -qa | grep selinux",
        "/etc/selinux/config",
        "setenforce permissive",
        "dpkg --list 'apparmor'",
        "ln -s /etc/apparmor.d/usr.sbin.libvirtd /etc/apparmor.d/disable/",
        "ln -s /etc/apparmor.d/usr.lib.libvirt.virt-aa-helper /etc/apparmor.d/disable/",
        "apparmor_parser -R /etc/apparmor.d/usr.sbin.libvirtd",
        "apparmor_parser -R /etc/apparmor.d/usr.lib.libvirt.virt-aa-helper",
    ),
    NATIVE_EL: (
        f"{SCRIPTS}/ifcfg-eth0",
        f"{SCRIPTS}/ifcfg-eth0.100",
        f"{SCRIPTS}/ifcfg-eth0.200",
        f"{SCRIPTS}/ifcfg-eth0.300",
        f"{SCRIPTS}/ifcfg-cloudbr0",
        f"{SCRIPTS}/ifcfg-cloudbr1",
    ),
    NATIVE_UBUNTU: (INTERFACES,),
    NO_NATIVE: (NO_BRIDGE, "rmmod bridge", f"{SCRIPTS}/ifup-ovs", f"{SCRIPTS}/ifdown-ovs"),
    OPENVSWITCH: (
        "ovs-vsctl add-br cloudbr",
        "ovs-vsctl add-port cloudbr eth0",
        "ovs-vsctl set port cloudbr trunks=100,200,300",
        "ovs-vsctl add-br mgmt0 cloudbr 100",
        "ovs-vsctl add-br cloudbr0 cloudbr 200",
        "ovs-vsctl add-br cloudbr1 cloudbr 300",
    ),
    OPENVSWITCH_EL: (
        f"{SCRIPTS}/ifcfg-eth0",
        f"{SCRIPTS}/ifcfg-cloudbr",
        f"{SCRIPTS}/ifcfg-mgmt0",
        f"{SCRIPTS}/ifcfg-cloudbr0",
        f"{SCRIPTS}/ifcfg-cloudbr1",
    ),
    IPTABLES: (
        "iptables -I INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
        "iptables -I INPUT -p tcp -m tcp --dport 1798 -j ACCEPT",
        "iptables -I INPUT -p tcp -m tcp --dport 16509 -j ACCEPT",
        "iptables -I INPUT -p tcp -m tcp --dport 5900:6100 -j ACCEPT",
        "iptables -I INPUT -p tcp -m tcp --dport 49152:49216 -j ACCEPT",
        "/etc/sysconfig/iptables",
    ),
    UFW: (
        "ufw allow proto tcp from any to any port 22",
        "ufw allow proto tcp from any to any port 1798",
        "ufw allow proto tcp from any to any port 16509",
        "ufw allow proto tcp from any to any port 5900:6100",
        "ufw allow proto tcp from any to any port 49152:49216",
    ),
}
"""The commands and the files of the guide from its top to its bottom, but for editors (vi) and
what they are told to show. It names no file for the blacklist; this one is the deploy's."""


def text(content: str) -> list[str]:
    """Return what the fact about a file's text hears."""
    return ["exists", b64encode(content.encode()).decode()]


def encoded(content: str) -> str:
    return b64encode(content.encode()).decode()


def present(state: str, files: Mapping[str, str]) -> list[str]:
    """Return what the fact about the network hears from a host in a state that was captured."""

    def captured(kind: str) -> str:
        return (LISTINGS / "observed" / f"{state}.{kind}").read_text()

    switch = [f"switch {encoded(captured('state'))}"] if state == "openvswitch" else []
    return [
        *(f"file {path} {encoded(content)}" for path, content in files.items()),
        *(
            f"{kind} {json.dumps(json.loads(captured(f'{kind}.json')))}"
            for kind in ("addresses", "routes")
        ),
        *switch,
    ]


RULES = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
COMMIT
"""
"""What EL 6 has in /etc/sysconfig/iptables, in short."""

ANSWERS: dict[str, dict[str, Any]] = {
    "rhel_6": {
        MACHINE: machine(distribution="centos", release="6.3", systemd="no"),
        NAMES: names(
            hosts_file="127.0.0.1 localhost\n",
            qualified="",
            static_path="/etc/sysconfig/network",
            static_file="NETWORKING=yes\nHOSTNAME=kvm1\n",
        ),
        "ip -json": present(
            "bare",
            {
                f"{SCRIPTS}/ifcfg-eth0": "DEVICE=eth0\nHWADDR=00:04:xx:xx:xx:xx\nONBOOT=yes\n"
                "BOOTPROTO=dhcp\n"
            },
        ),
        "libvirtd --version": [
            "libvirt libvirtd (libvirt) 0.9.10",
            "qemu QEMU PC emulator version 0.12.1 (qemu-kvm-0.12.1.2)",
        ],
        "-e /etc/libvirt/libvirtd.conf": text("#listen_tls = 0\n#listen_tcp = 1\n"),
        "-e /etc/sysconfig/libvirtd": text('#LIBVIRTD_ARGS="--listen"\n'),
        "for service in libvirtd": ["service libvirtd", "exists", "enabled", "running"],
        "getenforce": [
            "seen",
            "mode Enforcing",
            f"config {encoded('SELINUX=enforcing' + chr(10) + 'SELINUXTYPE=targeted' + chr(10))}",
        ],
        "service iptables status": [
            "family 4",
            "active",
            "-P INPUT ACCEPT",
            "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT",
            "-A INPUT -j REJECT --reject-with icmp-host-prohibited",
            f"saved {encoded(RULES)}",
            "all",
        ],
    },
    "ubuntu_1204": {
        MACHINE: machine(distribution="ubuntu", release="12.04", systemd="no"),
        NAMES: names(hosts_file="127.0.0.1 localhost\n", qualified=""),
        "ip -json": present("bare", {INTERFACES: "auto lo\niface lo inet loopback\n"}),
        "libvirtd --version": [
            "libvirt libvirtd (libvirt) 0.9.8",
            "qemu QEMU emulator version 1.0 (qemu-kvm-1.0)",
        ],
        "-e /etc/libvirt/libvirtd.conf": text("#listen_tls = 0\n#listen_tcp = 1\n"),
        "-e /etc/default/libvirt-bin": text('libvirtd_opts="-d"\n'),
        "for service in libvirt-bin": ["service libvirt-bin", "exists", "enabled", "running"],
        "parameters/enabled": [
            "enabled Y",
            "loaded usr.sbin.libvirtd",
            "loaded usr.lib.libvirt.virt-aa-helper",
        ],
        "user.rules": "all",
        "-e /etc/default/ufw": text('DEFAULT_FORWARD_POLICY="DROP"\n'),
    },
}
"""What the facts hear from a host of each group, as its installer has left it."""

COMMON: dict[str, Any] = {
    "ip_nonlocal_bind": ["value 0", "absent"],
    "-e /etc/cloudstack/agent/agent.properties": text("guid=\n"),
    "command -v curl": "/usr/bin/curl",
    "/var/run/libvirt/qemu": "all",
    f"-e {NO_BRIDGE}": "absent",
    "/sys/module/bridge": "loaded",
    "cpu-compare": "Host CPU is a superset of CPU described in /dev/stdin",
}


@dataclass(frozen=True)
class Example:
    """What an administrator sets, and whether the host has a network like that already.

    `network` says that it is about the network: that is the guide's own, of its group's back end.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    network: bool = False
    made: bool = False


NETWORK = {
    "management_address": "192.168.42.11/24",
    "gateway": "192.168.42.1",
    "dns_servers": ["8.8.8.8", "8.8.4.4"],
    "dns_search": ["lab.example.org"],
}
SWITCH = NETWORK | {
    "bridge_type": "openvswitch",
    "bridges": {"mgmt0": 100, "cloudbr0": 200, "cloudbr1": 300},
    "management_vlan": ...,
    "management_interface": "mgmt0",
}
EXAMPLES = {
    "plain": Example(),
    "custom": Example({"guest_cpu_mode": "custom", "guest_cpu_model": "SandyBridge"}),
    "host-model": Example({"guest_cpu_mode": "host-model"}),
    "host-passthrough": Example({"guest_cpu_mode": "host-passthrough"}),
    "native": Example(NETWORK | {"bridge_stp": True}, network=True),
    "native, without STP": Example(NETWORK, network=True),
    "Open vSwitch": Example(SWITCH, network=True),
    "Open vSwitch, made": Example(SWITCH, network=True, made=True),
}


def data(example: Example) -> dict[str, Any]:
    """Return the data of a host that bars nobody, as the guide has it, without its group's."""
    backend = ... if example.network else "unmanaged"
    keys = dict.fromkeys(DISTRIBUTION_KEYS, ...) | {"network_backend": backend}
    return host_data(**keys, firewall_from_anywhere=True, **example.settings)


def settings(group: str, example: Example) -> Settings:
    merged = group_data("all") | group_data(group) | data(example)
    return load({"kvm1": merged}, {"ssh_paramiko_connect_kwargs"})["kvm1"]


def answers(group: str, example: Example) -> dict[str, Any]:
    """Return what the facts hear from a host of this group."""
    made = {}
    if example.made:
        chosen = settings(group, example)
        rendered = BACKENDS[chosen.platform.network_backend].render(chosen.network, {})
        made["ip -json"] = present("openvswitch", {each.path: each.content for each in rendered})
    return others(ANSWERS[group] | COMMON | made)


@cache
def carried_out(task: str, group: str, name: str) -> Run:
    """Run one task on a host of a group; a change of its network is not carried out."""
    example = EXAMPLES[name]
    host = data(example) | {
        "fake_responses": answers(group, example),
        "fake_delay": 0,
        "fake_delay_jitter": 0,
    }
    how = "--dry" if example.network and not example.made else "-y"
    with TemporaryDirectory() as folder:
        hosts = inventory(Path(folder), {"@fake/kvm1": host})
        Path(hosts).write_text(f"{Path(hosts).read_text()}{group} = ['@fake/kvm1']\n")
        return pyinfra(hosts, f"tasks.{task}.{task}", how, "--debug", "--diff", timeout=60)


@cache
def network_change(group: str, name: str) -> Change | None:
    """Return what the guard is given to carry out on a host of a group."""
    example = EXAMPLES[name]
    chosen = settings(group, example)
    found = PresentNetwork().process(answers(group, example)["ip -json"])
    assert found
    return BACKENDS[chosen.platform.network_backend].change(chosen.network, found)


def guarded(group: str, name: str) -> list[str]:
    """Return the scripts that the guard runs on the way to the new network."""
    change = network_change(group, name) if EXAMPLES[name].network else None
    return [change.validate, change.apply.down, change.apply.up] if change else []


def commands(run: Run) -> str:
    """Return the commands that a run sends, without what pyinfra says around them."""
    sent = r"simulating command on \S+: (.*?)(?=\n *\[(?:pyinfra\.|@)|\n-->|\Z)"
    return "\n".join(re.findall(sent, run.output, re.DOTALL))


def written(run: Run, path: str) -> list[str]:
    """Return the lines of a file that a run writes, as far as its difference shows them."""
    differences = re.findall(
        rf"Will (?:create|modify) {re.escape(path)}\n(.*?)\n *\n", run.output, re.DOTALL
    )
    lines = [line.strip() for difference in differences for line in difference.splitlines()]
    kept = [line for line in lines if not line.startswith(("- ", "@@"))]
    return [line.removeprefix("+").strip() for line in kept]


@pytest.mark.parametrize(
    "row", ROWS, ids=[f"{row.group}: {row.section}: {row.guide or row.ours}" for row in ROWS]
)
def test_the_deploy_does_what_the_guide_says(row: Row) -> None:
    runs = [carried_out(task, row.group, row.example) for task in TASKS[row.section]]
    assert [run.status for run in runs] == [0] * len(runs)
    if row.file:
        lines = [line for run in runs for line in written(run, row.file)]
        assert (row.expected in lines) if row.expected else (row.guide not in lines)
    else:
        sent = [*map(commands, runs), *guarded(row.group, row.example)]
        assert any(row.expected in each for each in sent)


def test_a_difference_from_the_guide_is_justified() -> None:
    assert all((row.ours is None) == (row.why is None) for row in ROWS)


@pytest.mark.parametrize("section", TASKS)
def test_every_command_and_every_file_of_the_guide_has_a_row(section: str) -> None:
    rows = [row for row in ROWS if row.section == section]
    assert {row.file or row.guide for row in rows if row.guide} == set(GUIDE[section])


@pytest.mark.parametrize(
    ("group", "name"),
    [("rhel_6", "native"), ("rhel_6", "Open vSwitch"), ("ubuntu_1204", "native, without STP")],
)
def test_every_line_of_a_network_file_has_a_row(group: str, name: str) -> None:
    change = network_change(group, name)
    assert change
    files = {file.path: file.content for file in change.files}
    expected: dict[str, list[str]] = {path: [] for path in files}
    for row in ROWS:
        if (row.group, row.example) == (group, name) and row.file and row.expected:
            expected[row.file].append(row.expected)
    for path, content in files.items():
        lines = [line.strip() for line in content.splitlines() if line.strip()]
        assert sorted(lines) == sorted(expected[path])


@pytest.mark.parametrize("group", BOTH)
def test_a_network_that_could_not_be_put_back_is_refused_beforehand(
    group: str, tmp_path: Path
) -> None:
    host = data(Example(network=True)) | {"fake_responses": ANSWERS[group], "fake_delay": 0}
    hosts = inventory(tmp_path, {"@fake/kvm1": host})
    Path(hosts).write_text(f"{Path(hosts).read_text()}{group} = ['@fake/kvm1']\n")
    run = pyinfra(hosts, "tasks.preflight.preflight", "-y", timeout=60)
    assert run.status == 1
    assert "no systemd runs here to undo a change of the network" in run.output
    assert "1 of 1 host did not pass every check, so no host was changed" in run.output
