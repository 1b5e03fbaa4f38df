"""NetworkManager's connection profiles, in keyfiles and ifcfg files, and which interface has which.

Sources: nm-settings-keyfile(5), nm-settings-nmcli(5), NetworkManager.conf(5), and for the UUID of
a profile that has none, and for the files that are passed over, NetworkManager's nm-keyfile.c.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid3

from kvmhost.network.backends.networkmanager import ifcfg as ifcfg_files
from kvmhost.network.interfaces import NO_DEVICES, Devices

DIRECTORY = "/etc/NetworkManager/system-connections"
# What was made at runtime, and what packages bring, is read and never written. The files of
# devices name the profile that is active on each, by the interface's index.
_RUNTIME = "/run/NetworkManager/system-connections"
_PACKAGED = "/usr/lib/NetworkManager/system-connections"
_ACTIVE = "/run/NetworkManager/devices"
PATHS = (
    f"{DIRECTORY}/*",
    f"{_RUNTIME}/*.nmconnection",
    f"{_PACKAGED}/*.nmconnection",
    f"{_ACTIVE}/*",
    *ifcfg_files.PATHS,
)
OWN = f"{DIRECTORY}/cloudstack-"
"""What the paths of the profiles that we write begin with."""

Section = Mapping[str, str]
Sections = Mapping[str, Section]

# NetworkManager passes these over: backups, temporary files, certificates.
_IGNORED = re.compile(r".*(~|\.pem|\.der|\.[A-Za-z0-9]{6})", re.I)
_LIST = re.compile(r"[;, ]+")
_SUFFIX = ".nmconnection"
_KEYFILE_UUIDS = UUID("b425e9fb-7598-44b4-9e3b-5a2e3aaa4905")
META = ".nmmeta"
"""The section in which NetworkManager says how it came to a profile."""
_SECTION_ALIASES = {"802-3-ethernet": "ethernet"}
# From NetworkManager 1.46 on there are new names for old things.
_KEY_ALIASES = {"controller": "master", "port-type": "slave-type"}


@dataclass(frozen=True)
class Profile:
    """One profile: the files that say it, its sections, and the interfaces that it is for.

    An ifcfg file's aliases are said with it. A profile that names neither its interface nor that
    one's MAC address may be for several. `is_active` is whether NetworkManager has it active.
    """

    paths: tuple[str, ...]
    sections: Sections
    names: tuple[str, ...]
    is_active: bool

    @property
    def uuid(self) -> str:
        """The UUID, which NetworkManager makes of the path where the file has none."""
        return self._connection["uuid"]

    @property
    def type(self) -> str:
        """The kind of the interface, such as "ethernet" or "team"."""
        return self._connection["type"]

    @property
    def controller(self) -> str | None:
        """The bridge or bond, or the like, whose port the interface is."""
        return self._connection.get("master")

    @property
    def is_own(self) -> bool:
        """Whether it is one that we have written."""
        return self.paths[0].startswith(OWN)

    @property
    def is_persistent(self) -> bool:
        """Whether its files can be taken away, and stay away."""
        return not self.paths[0].startswith((_RUNTIME, _PACKAGED))

    @property
    def is_at_runtime(self) -> bool:
        """Whether it was made at runtime; until the next boot it wins over others of its UUID."""
        return self.paths[0].startswith(_RUNTIME)

    @property
    def is_elsewhere(self) -> bool:
        """Whether somebody else sets the interface up, and NetworkManager only shows it."""
        meta = self.sections.get(META, {})
        external = meta.get("external") == "true" or meta.get("volatile") == "true"
        return external or ifcfg_files.UNMANAGED in self.sections

    @property
    def counts(self) -> bool:
        """Whether it is active, or becomes so by itself."""
        starts = self._connection.get("autoconnect", "true") in ("true", "1", "yes", "on")
        return self.is_active or starts

    @property
    def is_bound(self) -> bool:
        """Whether it names its interface."""
        return "interface-name" in self._connection or self.type != "ethernet"

    @property
    def _connection(self) -> Section:
        return self.sections["connection"]

    @property
    def _rank(self) -> tuple[bool, bool, int, bool]:
        priority = int(self._connection.get("autoconnect-priority", 0))
        return self.is_own, self.is_active, priority, self.is_at_runtime


def read(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Profile, ...]:
    """Read all profiles that NetworkManager reads, in the order of their paths."""
    found: dict[tuple[str, ...], Sections] = {
        (path,): _normalised(path, _sections(text))
        for path, text in sorted(existing.items())
        if _is_keyfile(path)
    }
    found |= ifcfg_files.read(existing)
    nics = {name: mac for mac, name in devices.items() if name != "lo"}
    lower = _Lower({each["connection"]["uuid"]: each for each in found.values()}, nics)
    active = _active(existing).values()
    profiles = []
    for paths, sections in found.items():
        names = lower.names(sections)
        resolved = _resolved(sections, lower)
        is_active = sections["connection"]["uuid"] in active
        profiles.append(Profile(paths, resolved, names, is_active))
    return tuple(profiles)


def in_effect(profiles: Iterable[Profile]) -> dict[str, Profile]:
    """Find the profile that each interface has, or would get by itself.

    Ours is the one if there is any, then the active one, then that of the highest priority. What
    may be for several interfaces is for those that have none of their own.
    """
    candidates = [each for each in profiles if each.counts and not each.is_elsewhere]
    candidates.sort(key=lambda each: each._rank, reverse=True)
    found: dict[str, Profile] = {}
    for is_bound in (True, False):
        taken = frozenset(found)
        for each in candidates:
            if (len(each.names) == 1) == is_bound:
                for name in each.names:
                    if name not in taken:
                        found.setdefault(name, each)
    return found


def active(existing: Mapping[str, str], addresses: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Name the UUID of the profile that is active on each interface, as far as that is known.

    `addresses` is iproute2's JSON of the links.
    """
    names = {str(link["ifindex"]): link["ifname"] for link in addresses if "ifindex" in link}
    return {names[index]: uuid for index, uuid in _active(existing).items() if index in names}


def text(sections: Sections) -> str:
    """Write a keyfile."""
    return "\n".join(
        "".join((f"[{name}]\n", *(f"{key}={value}\n" for key, value in section.items())))
        for name, section in sections.items()
        if section
    )


def values(text: str) -> list[str]:
    """Read a keyfile's list; its separators are interchangeable."""
    return [value for value in _LIST.split(text) if value]


def _is_keyfile(path: str) -> bool:
    directory, _, name = path.rpartition("/")
    if directory in (_RUNTIME, _PACKAGED):
        return name.endswith(_SUFFIX)
    return directory == DIRECTORY and not _IGNORED.fullmatch(name)


def _sections(text: str) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            name = line[1:-1]
            section = sections.setdefault(_SECTION_ALIASES.get(name, name), {})
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section[key.strip()] = value.strip()
    return sections


def _normalised(path: str, sections: dict[str, dict[str, str]]) -> Sections:
    """Say it with the older names, and with what NetworkManager adds."""
    said = sections.get("connection", {})
    connection = {_KEY_ALIASES.get(key, key): value for key, value in said.items()}
    connection.setdefault("id", PurePosixPath(path).name.removesuffix(_SUFFIX))
    connection.setdefault("uuid", str(uuid3(_KEYFILE_UUIDS, f"keyfile\0{path}\0")))
    type_ = connection.get("type") or "ethernet"
    connection["type"] = type_ = _SECTION_ALIASES.get(type_, type_)
    if name := sections.get(type_, {}).get("interface-name"):
        connection.setdefault("interface-name", name)
    return {**sections, "connection": connection}


def _active(existing: Mapping[str, str]) -> dict[str, str]:
    """Read which profile's UUID is active on the device of each index."""
    found = {}
    for path, content in existing.items():
        directory, _, index = path.rpartition("/")
        if directory == _ACTIVE:
            uuid = _sections(content).get("device", {}).get("connection-uuid")
            if uuid:
                found[index] = uuid
    return found


@dataclass(frozen=True)
class _Lower:
    """Finds interfaces by what profiles call them: a name, a MAC address, a profile's UUID.

    `nics` has the MAC address of each NIC.
    """

    by_uuid: Mapping[str, Sections]
    nics: Mapping[str, str]

    def name(self, said: str) -> str:
        """Name the interface that a profile calls this."""
        if said in self.by_uuid:
            others = {uuid: each for uuid, each in self.by_uuid.items() if uuid != said}
            return next(iter(_Lower(others, self.nics).names(self.by_uuid[said])), said)
        of_mac = (name for name, mac in self.nics.items() if mac == said.lower())
        return next(of_mac, said)

    def parent(self, sections: Sections) -> str | None:
        """Name what a VLAN interface is built on."""
        said = sections.get("vlan", {}).get("parent") or _mac(sections)
        return None if said is None else self.name(said)

    def names(self, sections: Sections) -> tuple[str, ...]:
        """Name the interfaces that a profile is for; one without a name goes by its own."""
        connection = sections["connection"]
        if name := connection.get("interface-name"):
            return (name,)
        if connection["type"] == "vlan":
            return (f"{self.parent(sections)}.{sections.get('vlan', {}).get('id')}",)
        if connection["type"] == "ethernet" and self.nics:
            return tuple(name for name, mac in self.nics.items() if _fits(sections, name, mac))
        return (connection["id"],)


def _resolved(sections: Sections, lower: _Lower) -> Sections:
    """Have interfaces called by their names, wherever others are named."""
    resolved = {name: {**section} for name, section in sections.items()}
    connection = resolved["connection"]
    if "master" in connection:
        connection["master"] = lower.name(connection["master"])
    parent = lower.parent(sections)
    if connection["type"] == "vlan" and parent is not None:
        resolved.setdefault("vlan", {})["parent"] = parent
    return resolved


def _mac(sections: Sections) -> str | None:
    """The MAC address that a profile names its NIC by; an old list of numbers is one too."""
    said = sections.get("ethernet", {}).get("mac-address")
    if said is None:
        return None
    numbers = values(said)
    if len(numbers) == 6:
        return ":".join(f"{int(number):02x}" for number in numbers)
    return said.lower()


def _fits(sections: Sections, name: str, mac: str) -> bool:
    ethernet = sections.get("ethernet", {})
    denied = ethernet.get("mac-address-denylist") or ethernet.get("mac-address-blacklist", "")
    patterns = values(sections.get("match", {}).get("interface-name", ""))
    return (
        _mac(sections) in (None, mac)
        and mac not in map(str.lower, values(denied))
        and _matches(patterns, name)
    )


def _matches(patterns: Iterable[str], name: str) -> bool:
    """Match as [match] does: "|" may and "&" must match, "!" inverts, alone with "&"."""
    optional: list[bool] = []
    mandatory: list[bool] = []
    for pattern in patterns:
        found = re.fullmatch(r"([|&]?)(!?)\\?(.*)", pattern)
        assert found is not None
        holds = fnmatchcase(name, found[3]) != bool(found[2])
        (mandatory if found[1] == "&" or (found[2] and not found[1]) else optional).append(holds)
    return all(mandatory) and (any(optional) or not optional)
