"""Shell commands of which the plans of changes are made.

Those that take names take them quoted.
"""

from collections.abc import Iterable

AT_MOST = "timeout --kill-after=10 {}"
"""Ends a command that hangs after some seconds, such as one that an administrator has added."""


def each(command: str, names: Iterable[str]) -> str:
    """Run a command for each name."""
    return "".join(f"{command} {name}\n" for name in names)


def delete(names: Iterable[str]) -> str:
    """Have devices gone, whoever is the first to delete them."""
    return "".join(
        if_exists(name, f"ip link delete {name} || [ ! -e /sys/class/net/{name} ]")
        for name in names
    )


def if_exists(interface: str, command: str) -> str:
    """Run a command where the kernel has the interface."""
    return f"if [ -e /sys/class/net/{interface} ]; then {command}; fi\n"


def tolerant(commands: str) -> str:
    """Have every command carried out, whatever becomes of those before it."""
    return commands.replace("\n", " || true\n")
