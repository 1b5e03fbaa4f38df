"""The guide carried out on machines with a kernel of their own, one a network back end.

The tests are one story and run in their order.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import guide, lab
from tests.lab.fleet import Fleet, Node
from tests.machines.security import apparmor, selinux
from tests.machines.traffic import assert_vlans_carry_traffic
from tests.ports import PORTS, rules_before_refusal
from tests.runs import Run

Deploy = Callable[..., Run]
Machines = tuple[Node, ...]
FILES = "find /etc /lib/systemd -type f -exec md5sum {} + | sort | md5sum"


@pytest.fixture(scope="module")
def machines(fleet: Fleet) -> Machines:
    """Return the machines as they are after their installation."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(_make_bare, fleet.machines))
    return fleet.machines


def _make_bare(machine: Node) -> None:
    """Take back what a machine has been made, if anything; a boot takes its time."""
    if not {"fully qualified name", "bridges", "agent"} <= {
        reading.step for reading in guide.undone(machine)
    }:
        lab.reset(machine)


@pytest.fixture
def el(machines: Machines) -> Node:
    """Return the machine that stands in for EL with NetworkManager; its kernel runs SELinux."""
    return next(machine for machine in machines if machine.network_backend == "networkmanager")


def test_apparmor_and_selinux_confine_libvirt_before_the_deploy(
    machines: Machines, el: Node
) -> None:
    for machine in machines:
        if machine.distribution == "debian":
            profiles = apparmor(machine)
            assert profiles.get("libvirtd") == "enforce", machine.name
            assert "virt-aa-helper" in profiles, machine.name
    assert selinux(el) == ("Enforcing", "SELINUX=enforcing")
    assert ":sshd_t:" in el.run("ps -eZ | grep sshd").stdout


def test_a_dry_run_shows_what_only_a_kernel_has_and_changes_nothing(
    machines: Machines, el: Node, deploy: Deploy
) -> None:
    before = [machine.run(FILES).stdout for machine in machines]
    dry = deploy("--dry", "--diff")
    assert dry.status == 0, dry.output
    for shown in (
        "+ iface cloudbr0 inet manual",
        "/etc/netplan/60-cloudstack.yaml",
        "/etc/NetworkManager/system-connections/cloudstack-eth0.100.nmconnection",
        "+ SELINUX=permissive",
        "Set SELinux's mode",
    ):
        assert shown in dry.output
    assert [machine.run(FILES).stdout for machine in machines] == before
    assert selinux(el)[0] == "Enforcing"


def test_the_first_run_does_every_step_of_the_guide(
    machines: Machines, el: Node, deploy: Deploy
) -> None:
    first = deploy("-y", "--json")
    assert first.status == 0, first.output
    assert {machine.name: guide.undone(machine) for machine in machines} == {
        machine.name: () for machine in machines
    }
    with_selinux = [machine.name for machine in machines if machine.distribution == "rhel"]
    assert sorted(first.changed["AppArmor and SELinux | Set SELinux's mode"]) == with_selinux
    assert selinux(el) == ("Permissive", "SELINUX=permissive")
    assert ":virtd_t:" in el.run("ps -eZ | grep libvirtd").stdout


def test_a_second_run_changes_nothing(machines: Machines, deploy: Deploy) -> None:
    second = deploy("-y", "--json")
    assert second.status == 0, second.output
    assert second.changed == {}


def test_each_vlan_carries_traffic_between_the_bridges_and_not_across(machines: Machines) -> None:
    assert_vlans_carry_traffic(machines)


def test_a_reboot_keeps_everything(machines: Machines, el: Node, deploy: Deploy) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lab.reboot, machines))
    assert {machine.name: guide.undone(machine) for machine in machines} == {
        machine.name: () for machine in machines
    }
    assert selinux(el) == ("Permissive", "SELINUX=permissive")
    assert_vlans_carry_traffic(machines)
    for machine in machines:
        address = machine.ssh_hostname
        uri = machine.run(f"virsh -c qemu+tcp://{address}/system uri").stdout.strip()
        assert uri == f"qemu+tcp://{address}/system"
    after = deploy("-y", "--json")
    assert after.changed == {}


def test_firewalld_and_networkmanager_know_the_network_after_it(el: Node) -> None:
    zone = el.run("firewall-cmd --get-zone-of-interface=eth0.100").stdout.strip()
    rules = el.run(f"firewall-cmd --zone={zone} --list-rich-rules").stdout
    for port in PORTS:
        assert f'port="{port.replace(":", "-")}"' in rules
    shown = el.run("nmcli -t -f IP4.ADDRESS device show eth0.100").stdout
    assert shown.strip().endswith(f":{el.address}")
    devices = el.run("nmcli -t -f DEVICE,STATE device").stdout.split()
    assert {"cloudbr0:connected", "cloudbr1:connected"} <= set(devices)


def test_management_is_reached_through_vlan_100_alone(machines: Machines) -> None:
    machine = machines[0]
    lab.set_trunk(machine, (200, 300))
    try:
        assert not machine.answers_ssh()
    finally:
        lab.set_trunk(machine, (100, 200, 300))
    machine.wait_for_ssh()


@pytest.mark.thorough
def test_rules_of_iptables_survive_a_reboot(el: Node, deploy: Deploy) -> None:
    el.run("dnf -y -q install iptables-services")
    el.run("systemctl disable --now firewalld && systemctl enable --now iptables")
    run = deploy("-y", "--data", "firewall_backend=iptables", "--limit", el.name)
    assert run.status == 0, run.output
    lab.reboot(el)
    assert rules_before_refusal(el)
    services = el.run("systemctl is-active firewalld iptables", check=False).stdout
    assert services.split() == ["inactive", "active"]
    el.run("systemctl disable --now iptables && systemctl enable --now firewalld")
