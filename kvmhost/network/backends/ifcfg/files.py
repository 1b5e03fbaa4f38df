"""The files of Red Hat's network scripts: which are read, for which interface, and the variables.

Source: initscripts' sysconfig.txt and network-functions.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from kvmhost.network.backends.ifcfg import routes
from kvmhost.network.interfaces import NO_DEVICES, Devices

DIRECTORY = "/etc/sysconfig/network-scripts"
SYSCTLS = "/etc/sysctl.d/60-cloudstack-network.conf"
PATHS = (*(f"{DIRECTORY}/{kind}-*" for kind in ("ifcfg", *routes.KINDS)), SYSCTLS)
# network-functions passes these over.
_IGNORED = re.compile(r".*(~|\.bak|\.old|\.orig|\.rpmnew|\.rpmorig|\.rpmsave|-range\d*)")
_PLAIN = re.compile(r"[\w.:/=%-]*")  # what needs no shell to be read
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.S)
Variables = Mapping[str, str]
Text = tuple[str, str]


def files(existing: Mapping[str, str]) -> dict[str, Variables]:
    """Read those of the files that the network scripts read: each path's variables."""
    return {
        path: _variables(text)
        for path, text in sorted(existing.items())
        if path.startswith(f"{DIRECTORY}/ifcfg-") and not _IGNORED.fullmatch(path)
    }


def device(path: str, variables: Variables, devices: Devices = NO_DEVICES) -> str:
    """Name the interface that a file is for: it says so, or has its MAC address, or its name."""
    by_address = devices.get(variables.get("HWADDR", "").lower())
    return (variables.get("DEVICE") or by_address or name_of(path)).partition(":")[0]


def interfaces_of(existing: Mapping[str, str], devices: Devices) -> dict[str, str]:
    """Name the interface that each of the files is for."""
    owners = {path: device(path, variables, devices) for path, variables in files(existing).items()}
    named = {name_of(path): owner for path, owner in owners.items()}
    for path in existing:
        kind, dash, name = PurePosixPath(path).name.partition("-")
        if path.startswith(f"{DIRECTORY}/") and dash and kind in routes.KINDS:
            owners[path] = named.get(name, name)
    return owners


def texts_beside(
    name: str, owners: Mapping[str, str], existing: Mapping[str, str]
) -> Iterator[Text]:
    """Yield the texts of the files beside an interface's own, each by its kind."""
    for path, owner in owners.items():
        kind = PurePosixPath(path).name.partition("-")[0]
        if owner == name and kind in routes.KINDS:
            yield kind, existing[path]


def definitions(existing: Mapping[str, str], devices: Devices) -> dict[str, dict[str, Variables]]:
    """Collect, for each interface, its variables by the name of the file; aliases left out.

    What stands in the files beside is among the variables, each under its kind.
    """
    owners = interfaces_of(existing, devices)
    found: dict[str, dict[str, Variables]] = {}
    for path, variables in files(existing).items():
        if ":" not in name_of(path):
            beside = dict(texts_beside(owners[path], owners, existing))
            found.setdefault(owners[path], {})[name_of(path)] = {**variables, **beside}
    return found


def starts(variables: Variables) -> bool:
    """Whether the interface starts with the host."""
    return variables.get("ONBOOT", "yes").lower() not in ("no", "false", "off", "n", "f", "0")


def name_of(path: str) -> str:
    """Return the name that the network scripts know a file by."""
    return PurePosixPath(path).name.removeprefix("ifcfg-")


def path_of(name: str) -> str:
    """Return where an interface's own file is."""
    return f"{DIRECTORY}/ifcfg-{name}"


def _variables(text: str) -> Variables:
    """Read what a shell would assign, as far as that can be told without a shell."""
    found = {}
    for line in text.splitlines():
        if _PLAIN.fullmatch(line):
            words = [line]
        else:
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # an unfinished quotation
                words = [line.strip()]
        for word in words:
            if match := _ASSIGNMENT.fullmatch(word):
                found[match[1]] = match[2]
    return found


def is_true(text: str) -> bool:
    """Whether network-functions takes a value for yes."""
    return text.lower() in ("yes", "true", "on", "y", "t", "1")
