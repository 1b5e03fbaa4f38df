"""What /etc/network/interfaces says: its lines, and its stanzas with those that it sources.

Sources: interfaces(5), and ifupdown's config.c for what that page leaves open.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from fnmatch import filter as matching
from fnmatch import fnmatchcase
from functools import cached_property
from posixpath import basename, dirname, join, normpath

from kvmhost.network.interfaces import NO_DEVICES, Devices, Options

INTERFACES = "/etc/network/interfaces"
DIRECTORY = "/etc/network/interfaces.d"
PATHS = (INTERFACES, f"{DIRECTORY}/*")

BEGIN = "# CloudStack network: begin (what stands here is overwritten)"
END = "# CloudStack network: end"
BLOCK = re.compile(rf"^{re.escape(BEGIN)}\n(?:(?!# CloudStack network: ).*\n)*{END}\n", re.M)

_LINE = re.compile(r"[ \t]*#.*\n?|(?:.*\\\n)*.*\n?")
_STARTING = re.compile(r"auto|allow-.+")
_NAMING = re.compile(rf"{_STARTING.pattern}|no-auto-down|no-scripts")
_SOURCE_DIRECTORY = re.compile(r"source-dir.*")
_KEYWORD = re.compile(rf"{_NAMING.pattern}|iface|mapping|rename|source|{_SOURCE_DIRECTORY.pattern}")
# What wordexp(3) would make something else of than of a file's name with wildcards.
_EXPANDED = re.compile(r"[$`~{}()<>|&;\"'\\]")
_IN_DIRECTORY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Line:
    """A logical line: its text in the file, its first word, and what follows; none in a comment.

    `own` is whether it stands in our block.
    """

    text: str
    keyword: str = ""
    value: str = ""
    own: bool = False


@dataclass(frozen=True)
class Stanza:
    """An iface stanza, with what it inherits; the keys are as they are written."""

    name: str
    family: str = ""
    method: str = ""
    options: Options = ()
    own: bool = field(default=False, compare=False)
    inherits: str = field(default="", compare=False)

    @property
    def interface(self) -> str:
        """The interface that it configures: eth0 for its alias eth0:1, too."""
        return base(self.name)

    @cached_property
    def words(self) -> Mapping[str, list[str]]:
        """The words behind each key, which is as `normal` has it and may be there repeatedly."""
        found: dict[str, list[str]] = {}
        for key, value in self.options:
            found.setdefault(normal(key), []).extend(value.split())
        return found


@dataclass(frozen=True)
class Definitions:
    """Everything that ifupdown reads, in its order.

    `selections` are pairs such as ("auto", "eth0") or ("allow-hotplug", "/eth*=home"); `mappings`
    are the shell patterns of names whose stanza a script chooses, `renamings` are "eth0=lan0".
    """

    stanzas: tuple[Stanza, ...] = ()
    selections: tuple[tuple[str, str], ...] = ()
    mappings: tuple[str, ...] = ()
    renamings: tuple[str, ...] = ()

    def selectors(self, name: str, devices: Devices = NO_DEVICES) -> tuple[str, ...]:
        """Return the words that select the stanzas of this name, such as "auto"."""
        return tuple(word for word, what in self.selections if _selects(what, name, devices))

    def starts(self, name: str, devices: Devices = NO_DEVICES) -> bool:
        """Whether the stanzas of this name are started with the host, or with the NIC."""
        return any(map(_STARTING.fullmatch, self.selectors(name, devices)))

    def refuse_other_names(self, names: Set[str], devices: Devices = NO_DEVICES) -> None:
        """Raise ValueError where one of the names is configured, or renamed, as something else.

        Nor may another's stanza inherit from one of theirs.

        Which stanza counts is then not to be told from the files, and ours would not.
        """
        for stanza in self.stanzas:
            if stanza.inherits in names and stanza.interface not in names:
                raise ValueError(
                    f"The stanza of {stanza.name} inherits from {stanza.inherits}, which is ours "
                    "from now on: write there what it is to have."
                )
        for name in sorted(names):
            for pattern in self.mappings:
                if fnmatchcase(name, pattern):
                    raise ValueError(
                        f"A script chooses the stanza of {name} (mapping {pattern}), which cannot "
                        f"be foreseen: take the mapping out, and call the stanza {name}."
                    )
            for word, what in self.selections:
                physical, renamed, logical = what.partition("=")
                if renamed and _is_meant(physical, name, devices):
                    raise ValueError(
                        f"{word} {what} has {name} configured as {logical}: "
                        f"call the stanza {name}, and write {word} {name}."
                    )
            for renaming in self.renamings:
                if _is_meant(renaming.partition("=")[0], name, devices):
                    raise ValueError(f"rename {renaming} gives {name} another name: take it out.")


def base(name: str) -> str:
    """Return the interface that an alias such as eth0:1 belongs to, or the name itself."""
    return name.partition(":")[0]


def normal(key: str) -> str:
    """Return the key of an option as scripts know it: `bridge_ports` is `bridge-ports`."""
    return key.replace("_", "-")


def lines(text: str) -> Iterator[Line]:
    """Split a file into its logical lines."""
    own = [match.span() for match in BLOCK.finditer(text)]
    for match in _LINE.finditer(text):
        if not (raw := match[0]):
            continue
        content = "" if raw.lstrip().startswith("#") else raw.replace("\\\n", "")
        keyword, *value = content.split(maxsplit=1) or [""]
        in_block = any(begin <= match.start() < end for begin, end in own)
        yield Line(raw, keyword, "".join(value).rstrip(), in_block)


def read(files: Mapping[str, str]) -> Definitions:
    """Read what ifupdown reads of the files, which are those that match `PATHS`.

    Raises ValueError where another file is sourced.
    """
    begun: list[tuple[Line, list[tuple[str, str]]]] = []
    selections: list[tuple[str, str]] = []
    named: dict[str, list[str]] = {"mapping": [], "rename": []}
    in_stanza = False
    for line in _all_lines(files, INTERFACES, set()):
        if _NAMING.fullmatch(line.keyword):
            # without a name it is said of the stanza that it stands in
            of_stanza = begun[-1][0].value.split()[:1] if in_stanza else []
            selections += [(line.keyword, name) for name in line.value.split() or of_stanza]
            in_stanza = in_stanza and not line.value
        elif _KEYWORD.fullmatch(line.keyword):
            named.get(line.keyword, []).extend(line.value.split())
            if in_stanza := line.keyword == "iface" and bool(line.value):
                begun.append((line, []))
        elif in_stanza:
            begun[-1][1].append((line.keyword, line.value))
    stanzas: list[Stanza] = []
    for line, options in begun:
        stanzas.append(_stanza(line, tuple(options), stanzas))
    return Definitions(
        tuple(stanzas), tuple(selections), tuple(named["mapping"]), tuple(named["rename"])
    )


def without(text: str, names: Set[str]) -> str:
    """Take the stanzas of the named interfaces out of a file's text; comments stay."""
    kept = []
    goes = False
    for line in lines(text):
        written, words = line.text, line.value.split()
        if _NAMING.fullmatch(line.keyword) and words:
            goes = False
            rest = [name for name in words if base(name.partition("=")[0]) not in names]
            # to be left alone when all goes down has nothing to do with how it is configured
            if rest != words and line.keyword != "no-auto-down":
                written = f"{line.keyword} {' '.join(rest)}\n" if rest else ""
        elif _KEYWORD.fullmatch(line.keyword) and not _NAMING.fullmatch(line.keyword):
            goes = line.keyword == "iface" and not names.isdisjoint(map(base, words[:1]))
        if not (goes and line.keyword):
            kept.append(written)
    return "".join(kept)


def _all_lines(files: Mapping[str, str], path: str, seen: set[str]) -> Iterator[Line]:
    """Read a file's lines, and after one that sources files theirs, each file once."""
    if path in seen or path not in files:
        return
    seen.add(path)
    for line in lines(files[path]):
        if line.keyword:
            yield line
        if line.keyword == "source" or _SOURCE_DIRECTORY.fullmatch(line.keyword):
            for sourced in _sourced(line, path, files):
                yield from _all_lines(files, sourced, seen)


def _sourced(line: Line, path: str, files: Iterable[str]) -> list[str]:
    """Return which of the files a line sources, in the order of their names.

    Raises ValueError where it may name others: what is not read is not seen.
    """
    found: list[str] = []
    for pattern in line.value.split():
        full = normpath(join(dirname(path), pattern))
        is_directory = line.keyword != "source"
        folder, name = (full, "*") if is_directory else (dirname(full), basename(full))
        if full == INTERFACES:
            continue
        if folder != DIRECTORY or name.startswith(".") or _EXPANDED.search(pattern):
            raise ValueError(
                f"{path} says {line.keyword} {line.value}, but only files in {DIRECTORY} are "
                "looked at: move what it means there, or take the line out."
            )
        names = sorted(basename(each) for each in files if dirname(each) == DIRECTORY)
        found += [
            f"{DIRECTORY}/{each}"
            for each in matching(names, name)
            if _IN_DIRECTORY.fullmatch(each) or not is_directory
        ]
    return found


def _stanza(line: Line, options: Options, before: Iterable[Stanza]) -> Stanza:
    """Make a stanza of its first line and its options; it may inherit from one before it."""
    name, *rest = line.value.split()
    inherited, parents = Stanza(name), [""]
    if "inherits" in rest:
        rest, parents = rest[: rest.index("inherits")], rest[rest.index("inherits") + 1 :]
        alike = (
            stanza
            for stanza in before
            if stanza.name in parents[:1] and stanza.family in (rest[:1] or [stanza.family])
        )
        inherited = next(alike, inherited)
    family, method = (*rest, "", "")[:2]
    return Stanza(
        name,
        family or inherited.family,
        method or inherited.method,
        (*inherited.options, *options),
        line.own,
        "".join(parents[:1]),
    )


def _selects(what: str, name: str, devices: Devices) -> bool:
    """Whether a selection, such as "eth0" or "/eth*=home", selects the stanzas of a name."""
    physical, renamed, logical = what.partition("=")
    return logical == name if renamed else _is_meant(physical, name, devices)


def _is_meant(what: str, name: str, devices: Devices) -> bool:
    """Whether a name or pattern means an interface; so it does where that cannot be told."""
    variable, is_pattern, value = what.partition("/")
    value = value.partition("/")[0]
    if not is_pattern:
        return what == name
    if not variable:
        return fnmatchcase(name, value)
    if variable.lower() in ("mac", "address"):
        return any(
            fnmatchcase(mac, value.lower()) and device == name for mac, device in devices.items()
        )
    return True
