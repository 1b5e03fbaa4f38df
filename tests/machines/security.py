"""AppArmor and SELinux as a machine's own programs see them."""

import json

from tests.lab.fleet import Node


def selinux(machine: Node) -> tuple[str, str]:
    """Return what SELinux does now, and what its configuration says."""
    mode, line = machine.run("getenforce; grep ^SELINUX= /etc/selinux/config").stdout.split()
    return mode, line


def apparmor(machine: Node) -> dict[str, str]:
    """Return what AppArmor does with each profile, such as enforce, by the profile's name."""
    profiles: dict[str, str] = json.loads(machine.run("aa-status --json").stdout)["profiles"]
    return profiles
