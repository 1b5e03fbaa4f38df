"""SELinux as a machine's own programs see it."""

from tests.lab.fleet import Node


def selinux(machine: Node) -> tuple[str, str]:
    """Return what SELinux does now, and what its configuration says."""
    mode, line = machine.run("getenforce; grep ^SELINUX= /etc/selinux/config").stdout.split()
    return mode, line
