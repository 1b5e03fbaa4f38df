"""What the guide tells an administrator to type, and what the deploy does on the guide's systems.

Every command and every file of the guide has a row that names its section. Where the deploy does
something else, the row says what, and why.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.plan.support import MACHINE, NAMES, host_data, inventory, machine, names
from tests.runs import Run, pyinfra

PREPARE = "Prepare the Operating System"
AGENT = "Install and configure the Agent"
CPU = "Configure CPU model for KVM guest"
LIBVIRT = "Install and Configure libvirt"
SECURITY = "Configure the Security Policies"
IPTABLES = "Open ports in RHEL/CentOS"
UFW = "Open ports in Ubuntu"

TASKS = {
    PREPARE: ("preflight", "ntp"),
    AGENT: ("cloudstack_agent",),
    CPU: ("cloudstack_agent",),
    LIBVIRT: ("libvirt",),
    SECURITY: ("apparmor_selinux",),
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

    `file` is the file that holds the line; None for a command. `data` is what an administrator
    sets to get it.
    """

    section: str
    group: str
    guide: str
    file: str | None = None
    ours: str | None = None
    why: str | None = None
    data: tuple[tuple[str, str], ...] = ()

    @property
    def expected(self) -> str:
        return self.ours or self.guide


NO_QUESTION = "nobody is there to answer, and another run of it is waited for only so long"
YUM = "until yum -y -q --setopt=exit_on_lock=1 install {}; do"
APT = "--force-confold install {}"
LIBVIRTD = "/etc/libvirt/libvirtd.conf"
PROPERTIES = "/etc/cloudstack/agent/agent.properties"
ONE_LINK = "both links in one command, which may be given again"
ASKS_THE_KERNEL = "the kernel is asked: the package may be there and {} be switched off"
CUSTOM = (("guest_cpu_mode", "custom"), ("guest_cpu_model", "SandyBridge"))
BOTH = ("rhel_6", "ubuntu_1204")

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
        Row(CPU, group, line, PROPERTIES, data=data)
        for group in BOTH
        for line, data in (
            ("guest.cpu.mode=custom", CUSTOM),
            ("guest.cpu.model=SandyBridge", CUSTOM),
            ("guest.cpu.mode=host-model", (("guest_cpu_mode", "host-model"),)),
            ("guest.cpu.mode=host-passthrough", (("guest_cpu_mode", "host-passthrough"),)),
        )
    ),
    *(
        Row(
            CPU,
            group,
            "/usr/share/libvirt/cpu_map.xml",
            ours="virsh --quiet --connect qemu:///system cpu-models x86_64",
            why="libvirt says which models it knows; the file has moved since",
            data=CUSTOM,
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


def text(content: str) -> list[str]:
    """Return what the fact about a file's text hears."""
    return ["exists", b64encode(content.encode()).decode()]


def encoded(content: str) -> str:
    return b64encode(content.encode()).decode()


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
        MACHINE: machine(distribution="centos", release="6.3"),
        NAMES: names(hosts_file="127.0.0.1 localhost\n", qualified=""),
        "libvirtd --version": [
            "libvirt libvirtd (libvirt) 0.9.10",
            "qemu QEMU PC emulator version 0.12.1 (qemu-kvm-0.12.1.2)",
        ],
        "-e /etc/libvirt/libvirtd.conf": text("#listen_tls = 0\n#listen_tcp = 1\n"),
        "-e /etc/sysconfig/libvirtd": text('#LIBVIRTD_ARGS="--listen"\n'),
        "for service in libvirtd": ["service libvirtd", "exists", "enabled", "running"],
        "getenforce": [
            "mode Enforcing",
            f"config {encoded('SELINUX=enforcing' + chr(10) + 'SELINUXTYPE=targeted' + chr(10))}",
        ],
        "service iptables status": [
            "active",
            "-P INPUT ACCEPT",
            "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT",
            "-A INPUT -j REJECT --reject-with icmp-host-prohibited",
            f"saved {encoded(RULES)}",
        ],
    },
    "ubuntu_1204": {
        MACHINE: machine(distribution="ubuntu", release="12.04"),
        NAMES: names(hosts_file="127.0.0.1 localhost\n", qualified=""),
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
        "ufw status": ["installed", "Status: inactive"],
        "-e /etc/default/ufw": text('DEFAULT_FORWARD_POLICY="DROP"\n'),
    },
}
"""What the facts hear from a host of each group, as its installer has left it."""

COMMON: dict[str, Any] = {
    "-e /etc/cloudstack/agent/agent.properties": text("guid=\n"),
    "command -v curl": "/usr/bin/curl",
}


@cache
def carried_out(task: str, group: str, data: tuple[tuple[str, str], ...]) -> Run:
    """Run one task on a host of a group that bars nobody, as the guide has it."""
    host = host_data(
        **dict.fromkeys(DISTRIBUTION_KEYS, ...),
        firewall_from_anywhere=True,
        **dict(data),
    )
    host |= {"fake_responses": ANSWERS[group] | COMMON, "fake_delay": 0, "fake_delay_jitter": 0}
    with TemporaryDirectory() as folder:
        hosts = inventory(Path(folder), {"@fake/kvm1": host})
        Path(hosts).write_text(f"{Path(hosts).read_text()}{group} = ['@fake/kvm1']\n")
        return pyinfra(hosts, f"tasks.{task}.{task}", "-y", "--debug", "--diff", timeout=60)


def commands(run: Run) -> str:
    """Return the commands that a run sends, without what pyinfra says around them."""
    sent = r"simulating command on \S+: (.*?)(?=\n *\[(?:pyinfra\.|@)|\n-->|\Z)"
    return "\n".join(re.findall(sent, run.output, re.DOTALL))


def written(run: Run, path: str) -> list[str]:
    """Return the lines that a run adds to a file."""
    differences = re.findall(
        rf"Will (?:create|modify) {re.escape(path)}\n(.*?)\n *\n", run.output, re.DOTALL
    )
    lines = "\n".join(differences).splitlines()
    return [line.strip()[2:] for line in lines if line.strip().startswith("+ ")]


@pytest.mark.parametrize(
    "row", ROWS, ids=[f"{row.group}: {row.section}: {row.expected}" for row in ROWS]
)
def test_the_deploy_does_what_the_guide_says(row: Row) -> None:
    runs = [carried_out(task, row.group, row.data) for task in TASKS[row.section]]
    assert [run.status for run in runs] == [0] * len(runs)
    if row.file:
        assert row.expected in [line for run in runs for line in written(run, row.file)]
    else:
        assert any(row.expected in commands(run) for run in runs)


def test_a_difference_from_the_guide_is_justified() -> None:
    assert all((row.ours is None) == (row.why is None) for row in ROWS)
