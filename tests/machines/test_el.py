"""The guide carried out on a machine that stands in for EL, whose kernel runs SELinux.

The tests are one story and run in their order.
"""

from collections.abc import Callable

import pytest

from tests.lab import guide, lab
from tests.lab.fleet import Fleet, Node
from tests.runs import Run

Deploy = Callable[..., Run]
pytestmark = pytest.mark.thorough
SECURITY = "tasks.apparmor_selinux.apparmor_selinux"
ENFORCING = ("--data", "selinux_mode=enforcing")
PORTS = ("1798", "16509", "16514", "5900:6100", "49152:49216")
REFUSED = "-A INPUT -j REJECT --reject-with icmp-host-prohibited"


@pytest.fixture(scope="module")
def machine(el_fleet: Fleet) -> Node:
    """Return the machine as its installer has left it."""
    machine = el_fleet.machines[0]
    lab.reset(machine)
    return machine


def selinux(machine: Node) -> tuple[str, str]:
    """Return what SELinux does now, and what its configuration says."""
    mode, line = machine.run("getenforce; grep ^SELINUX= /etc/selinux/config").stdout.split()
    return mode, line


def undone(machine: Node) -> list[guide.Reading]:
    return [reading for reading in guide.read(machine) if reading.done is False]


def test_selinux_enforces_before_the_deploy(machine: Node) -> None:
    assert selinux(machine) == ("Enforcing", "SELINUX=enforcing")
    assert ":sshd_t:" in machine.run("ps -eZ | grep sshd").stdout


def test_a_dry_run_shows_selinuxs_change(machine: Node, deploy_el: Deploy) -> None:
    dry = deploy_el("--dry", "--diff", "--limit", machine.name)
    assert dry.status == 0, dry.output
    assert "+ SELINUX=permissive" in dry.output
    assert "Set SELinux's mode" in dry.output
    assert selinux(machine) == ("Enforcing", "SELINUX=enforcing")


def test_selinux_keeps_enforcing_when_that_is_asked_for(machine: Node, deploy_el: Deploy) -> None:
    run = deploy_el("-y", "--json", *ENFORCING, "--limit", machine.name, target=SECURITY)
    assert run.status == 0, run.output
    assert run.changed == {}
    assert selinux(machine) == ("Enforcing", "SELINUX=enforcing")


def test_the_first_run_makes_selinux_permissive_at_once(machine: Node, deploy_el: Deploy) -> None:
    run = deploy_el("-y", "--json", "--limit", machine.name)
    assert run.status == 0, run.output
    assert run.changed["AppArmor and SELinux | Set SELinux's mode"] == [machine.name]
    assert selinux(machine) == ("Permissive", "SELINUX=permissive")
    assert ":virtd_t:" in machine.run("ps -eZ | grep libvirtd").stdout
    assert undone(machine) == []


def test_a_second_run_changes_nothing(machine: Node, deploy_el: Deploy) -> None:
    second = deploy_el("-y", "--json", "--limit", machine.name)
    assert second.status == 0, second.output
    assert second.changed == {}


def test_a_reboot_keeps_everything(machine: Node, deploy_el: Deploy) -> None:
    lab.reboot(machine)
    assert selinux(machine) == ("Permissive", "SELINUX=permissive")
    assert undone(machine) == []
    zone = machine.run("firewall-cmd --get-zone-of-interface=eth0.100").stdout.strip()
    rules = machine.run(f"firewall-cmd --zone={zone} --list-rich-rules").stdout
    for port in PORTS:
        assert f'port="{port.replace(":", "-")}"' in rules
    shown = machine.run("nmcli -t -f IP4.ADDRESS device show eth0.100").stdout
    assert shown.strip().endswith(f":{machine.address}")
    devices = machine.run("nmcli -t -f DEVICE,STATE device").stdout.split()
    assert {"cloudbr0:connected", "cloudbr1:connected"} <= set(devices)
    address = machine.ssh_hostname
    assert machine.run(f"virsh -c qemu+tcp://{address}/system uri").returncode == 0
    after = deploy_el("-y", "--json", "--limit", machine.name)
    assert after.status == 0, after.output
    assert after.changed == {}


def test_files_without_labels_are_not_enforced(machine: Node, deploy_el: Deploy) -> None:
    machine.run("chcon -t unlabeled_t /usr/sbin/sshd")
    try:
        run = deploy_el("-y", *ENFORCING, "--limit", machine.name, target=SECURITY)
        assert run.status != 0
        assert "touch /.autorelabel" in run.output
        assert selinux(machine) == ("Permissive", "SELINUX=permissive")
    finally:
        machine.run("restorecon /usr/sbin/sshd")


def test_selinux_enforces_again_when_that_is_asked_for(machine: Node, deploy_el: Deploy) -> None:
    for mode, shown in (("enforcing", "Enforcing"), ("permissive", "Permissive")):
        data = ("--data", f"selinux_mode={mode}", "--limit", machine.name)
        run = deploy_el("-y", *data, target=SECURITY)
        assert run.status == 0, run.output
        assert selinux(machine) == (shown, f"SELINUX={mode}")


def test_rules_of_iptables_survive_a_reboot(machine: Node, deploy_el: Deploy) -> None:
    machine.run("dnf -y -q install iptables-services")
    machine.run("systemctl disable --now firewalld && systemctl enable --now iptables")
    run = deploy_el("-y", "--data", "firewall_backend=iptables", "--limit", machine.name)
    assert run.status == 0, run.output
    lab.reboot(machine)
    rules = machine.run("iptables -S INPUT").stdout.splitlines()
    before = rules[: rules.index(REFUSED)]
    for port in PORTS:
        ours = f"-A INPUT -s 192.168.143.0/24 -p tcp -m tcp --dport {port} -j ACCEPT"
        assert before.count(ours) == rules.count(ours) == 1
    services = machine.run("systemctl is-active firewalld iptables", check=False).stdout
    assert services.split() == ["inactive", "active"]
