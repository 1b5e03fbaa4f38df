"""A host whose network changes is followed, through jump hosts too, and asked how it ended.

A container host has what that takes but for VLANs: its address moves to an untagged bridge.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from textwrap import dedent

import pytest

from kvmhost.operations.guarded import GUARD, LOG
from tests.lab import containers, lab
from tests.lab.engine import connect
from tests.lab.fleet import DEADLINE, Fleet, Node, wait_until
from tests.lab.keys import host_key
from tests.runs import CHECKOUT, Run, pyinfra, start

TARGET = "tasks.bridges_native.bridges_native"
PORT = 2222
NAME = "target.internal"
"""A name of the host that only the jump host knows."""
PREPARE = """\
apt-get update -qq
apt-get install -y -qq bridge-utils ifupdown iptables vlan
printf 'Port 22\\nPort {port}\\n' >/etc/ssh/sshd_config.d/ports.conf
systemctl restart ssh
ip address flush dev eth0
cat >/etc/network/interfaces <<'INTERFACES'
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address {address}
    gateway {gateway}
INTERFACES
ifup eth0
cat >/etc/network/if-up.d/fail <<'HOOK'
#!/bin/sh
# fails once, after so many seconds
[ "$IFACE" = cloudbr0 ] && [ -e /root/fail-after ] || exit 0
seconds=$(cat /root/fail-after)
rm /root/fail-after
sleep "$seconds"
exit 1
HOOK
chmod +x /etc/network/if-up.d/fail
"""


@dataclass(frozen=True)
class Site:
    """A host, the host through which it is reached, and the folder of the workstation's files."""

    fleet: Fleet
    host: Node
    jump: Node
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def addresses(self) -> list[str]:
        """What the host's bridge, or else its NIC, has for addresses, as iproute2 says."""
        shown: list[dict[str, list[dict[str, str]]]] = json.loads(self.on_host("ip -j -4 address"))
        return [entry["local"] for link in shown for entry in link["addr_info"]][1:]

    @property
    def address(self) -> str:
        (address,) = self.addresses
        return address

    @property
    def other_address(self) -> str:
        """The one of the host's two addresses that it does not have at present."""
        first = IPv4Interface(self.host.address).ip
        return str(first + 20 if self.address == str(first) else first)

    def on_host(self, command: str) -> str:
        """Run a shell command on the host, whatever its network."""
        container = containers.get(connect(), self.fleet.name, self.host.short_name)
        return containers.execute(container, "sh", "-euc", command)

    def reach_through(self, way: str, name: str) -> None:
        """Write the workstation's ssh configuration and known hosts."""
        self.config.write_text(
            dedent(f"""\
            Host jump
                HostName {self.jump.ssh_hostname}
                User root
                StrictHostKeyChecking accept-new
            Host {self.host.name}
                HostName {name}
                Port {PORT}
                User root
                {way.format(config=self.config)}
            Host *
                IdentityFile {self.fleet.ssh_key}
                UserKnownHostsFile {self.known_hosts}
            """)
        )
        self.known_hosts.write_text(f"[{name}]:{PORT} {host_key(self.host)[1]}")

    def run(self, target: str = TARGET, **data: object) -> Run:
        """Run pyinfra against the host to the run's end."""
        return pyinfra(self.inventory(**data), target, "-y", KVMHOST_LAB_FLEET=self.fleet.name)

    def inventory(self, **data: object) -> str:
        """Write an inventory that knows the host by its name alone, and return its path."""
        path = self.folder / "lab.py"
        path.write_text(
            dedent(f"""\
            import runpy as _runpy
            _lab = _runpy.run_path({str(CHECKOUT / "inventories/lab.py")!r})
            _data = dict(_lab["debian"])[{self.host.name!r}]
            _kept = {{key: _data[key] for key in _data if not key.startswith("ssh_")}}
            debian = [({self.host.name!r}, _kept | {{
                "ssh_config_file": {str(self.config)!r},
                "ssh_strict_host_key_checking": "yes",
                "network_backend": "ifupdown",
                "management_vlan": None,
                "management_interface": "cloudbr0",
                "management_address": {self.address + "/24"!r},
                "bridges": {{"cloudbr0": None}},
                "guest_label": "cloudbr0",
                "network_confirm_timeout": 60,
            }} | {data!r})]
            cluster_containers = [{self.host.name!r}]
            """)
        )
        return str(path)

    def is_there(self, file: str) -> bool:
        """Whether the guard's folder has a file."""
        return file in self.on_host(f"ls {GUARD} 2>/dev/null || true").split()

    def beside(self, unit: str, script: str) -> None:
        """Have the host run a script beside its change, once that is applied."""
        waits = f"until [ -e {GUARD}/applied ]; do sleep 0.05; done; {script}"
        self.on_host(f"systemd-run --collect --unit={unit} sh -euc '{waits}'")


@pytest.fixture(scope="module")
def site(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    host, jump = [each for each in fleet.hosts if each.distribution == "debian"][:2]
    lab.reset(host)
    site = Site(fleet, host, jump, tmp_path_factory.mktemp("workstation"))
    site.on_host(PREPARE.format(port=PORT, address=host.address, gateway=fleet.gateway))
    yield site
    lab.reset(host)


@pytest.fixture
def jumped(site: Site) -> Iterator[Site]:
    """The host does not answer the workstation itself, and the jump host knows its name."""
    silence = f"iptables -w -{{}} INPUT -p tcp -m multiport --dports 22,{PORT} -s {{}} -j DROP"
    site.on_host(silence.format("A", site.fleet.gateway))
    site.jump.run(f"cp /etc/hosts /root/hosts; echo {site.address} {NAME} >>/etc/hosts")
    yield site
    site.jump.run("cat /root/hosts >/etc/hosts")
    site.on_host(silence.format("D", site.fleet.gateway))


@pytest.fixture
def reached(site: Site) -> Site:
    site.reach_through("", site.address)
    return site


@pytest.mark.parametrize("way", ["ProxyJump jump", "ProxyCommand ssh -F {config} -W %h:%p jump"])
def test_a_renumbered_host_is_followed_through_its_jump_host(jumped: Site, way: str) -> None:
    jumped.reach_through(way, NAME)
    follow(jumped)


def test_a_renumbered_host_is_followed_with_the_options_of_its_name(reached: Site) -> None:
    follow(reached)


def follow(site: Site) -> None:
    new = site.other_address
    run = site.run(management_address=f"{new}/24")
    assert run.status == 0, run.output
    assert f"Network confirmed, reached at {new}" in run.output
    assert "Traceback" not in run.output
    assert site.addresses == [new]
    last = site.on_host("journalctl -q -o cat -t cloudstack-kvm-host | tail -n 1")
    assert ": changed: Native bridges | " in last
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[{new}]:{PORT}", "-f", site.known_hosts],
        capture_output=True,
        text=True,
        check=True,
    )
    assert host_key(site.host)[1].split()[1] in found.stdout


RECONNECT = """\
import subprocess
from pyinfra import host
from pyinfra.api.exceptions import ConnectError
from pyinfra.operations import python
from kvmhost import ssh

def reconnect():
    present = ssh.destination(host)
    moved, _ = ssh.destinations_at(host, "{refusing}")
    ssh.expect_at(host, (present, moved))
    for _ in range(5):
        try:
            ssh.reconnect(host, moved)
        except ConnectError:
            continue
        raise AssertionError("who is this?")
    ssh.reconnect(host, present)
    subprocess.run("{count}", shell=True, check=True)

python.call(function=reconnect)
"""


def test_attempts_leave_nothing_open_at_the_jump_host(jumped: Site) -> None:
    jumped.reach_through("ProxyJump jump", NAME)
    sessions, deploy = jumped.folder / "sessions", jumped.folder / "reconnect.py"
    count = f"ss -Htn state established sport = :22 dst {jumped.fleet.gateway} | wc -l"
    ask = f"ssh -F {jumped.config} jump '{count}' >{sessions}"
    deploy.write_text(RECONNECT.format(refusing=jumped.jump.ssh_hostname, count=ask))
    run = jumped.run(str(deploy))
    assert run.status == 0, run.output
    assert int(sessions.read_text()) == 2  # the run's own, and the one that asks
    keys = jumped.known_hosts.read_text().count(host_key(jumped.jump)[1].split()[1])
    assert keys == 1


def test_a_confirmation_whose_answer_is_lost_counts(reached: Site) -> None:
    # the guard waits for its lock while its connection breaks, and confirms then
    reached.beside(
        "loses-the-answer",
        "exec 9>/run/cloudstack-network.lock; flock 9;"
        ' until pgrep -f "[g]uard confirm"; do sleep 0.1; done;'
        ' pkill -KILL -f "^sshd: root"; flock -u 9',
    )
    run = reached.run(bridge_forward_delay=7)
    assert run.status == 0, run.output
    assert f"Network confirmed, reached at {reached.address}" in run.output
    assert reached.on_host(f"grep -c confirmed {LOG}; ls /root").split()[-1] != "fail-after"
    assert reached.on_host("cat /sys/class/net/cloudbr0/bridge/forward_delay").strip() == "700"


def test_files_that_cannot_be_understood_are_a_reason_to_wait(reached: Site) -> None:
    reached.beside(
        "spoils-the-files",
        "cd /etc/network; cp -p interfaces /root/interfaces;"
        ' printf "iface eth7 inet static\\n address nonsense\\n" >>interfaces; sleep 5;'
        " mv /root/interfaces interfaces",
    )
    run = reached.run(bridge_forward_delay=6)
    assert run.status == 0, run.output
    assert f"Network confirmed, reached at {reached.address}" in run.output
    assert "Traceback" not in run.output


def test_how_a_change_ended_is_said_however_long_it_takes(reached: Site) -> None:
    # the workstation gives up 5 s before the timeout, and the applying fails before that ends
    reached.on_host("echo 17 >/root/fail-after")
    run = reached.run(bridge_forward_delay=5, network_confirm_timeout=20)
    assert run.status != 0
    assert "the change is being applied); the host undoes it" in run.output
    assert "Network rolled back: " in run.output
    assert "Traceback" not in run.output
    assert reached.on_host("cat /sys/class/net/cloudbr0/bridge/forward_delay").strip() == "600"


def test_a_host_that_does_not_say_how_it_ended_is_named(reached: Site) -> None:
    reached.on_host(f"mv {LOG} {LOG}.kept; ln -s /dev/null {LOG}; echo 0 >/root/fail-after")
    try:
        run = reached.run(bridge_forward_delay=5)
    finally:
        reached.on_host(f"mv {LOG}.kept {LOG}")
    assert run.status != 0
    assert f"{LOG} does not say how it ended; its network is not as wanted" in run.output
    assert "see its console" in run.output


def test_what_another_run_has_begun_is_not_called_unchanged(reached: Site) -> None:
    keys = {"bridge_forward_delay": 9, "network_confirm_timeout": 600}
    abandoned = start(reached.inventory(**keys), TARGET, "-y", KVMHOST_LAB_FLEET=reached.fleet.name)
    wait_until(lambda: reached.is_there("armed"), DEADLINE, "the change to be armed")
    abandoned.kill()
    abandoned.communicate()
    wait_until(lambda: reached.is_there("applied"), DEADLINE, "the change to be applied")
    beside = reached.run(**keys)
    assert beside.status != 0
    assert "an earlier change is not confirmed yet; the host will soon undo it" in beside.output
    reached.on_host("systemctl stop 'cloudstack-network-rollback-*'")
    stale = reached.run(**keys)
    assert stale.status != 0
    assert "is being undone now: run this again" in stale.output
    wait_until(lambda: not reached.is_there("guard"), DEADLINE, "the change to be undone")
    assert reached.on_host("cat /sys/class/net/cloudbr0/bridge/forward_delay").strip() == "600"
