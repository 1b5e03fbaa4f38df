"""Lines of the form `key = value`, set inside a text whose other lines are not ours."""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass


def _as_wanted(present: str, wanted: str) -> str:
    return wanted


@dataclass(frozen=True)
class Style:
    """How a kind of file writes its keys: the separator, and whether white space matters.

    `written` returns how a value is to stand where another stands, "" for none: as it stands if
    that means the same.
    """

    separator: str
    exact: bool
    written: Callable[[str, str], str] = _as_wanted


_LETTERS = {"d": "--daemon", "l": "--listen", "v": "--verbose"}
_WHEN_IDLE = re.compile(r"(?<!\S)(--timeout[=\s]\s*|-t\s*)\d+(?!\S)")


def _with_arguments(present: str, wanted: str) -> str:
    """Return a variable that has the wanted arguments of libvirtd beside those that it has.

    Its `--timeout`, which some packages write, is left out: libvirtd would end when it is idle,
    and the sockets that would start it again are masked.
    """
    needed = _words(wanted)
    try:
        words = _words(present)
    except ValueError:
        return wanted  # a quotation that does not end: there is nothing to keep
    kept = _WHEN_IDLE.sub("", " ".join(words)).split()
    has = {option for word in kept for option in _options(word)}
    all_words = [*kept, *(word for word in needed if not _options(word) <= has)]
    if all_words == words:
        return present
    return wanted if all_words == needed else shlex.quote(" ".join(all_words))


def _words(value: str) -> list[str]:
    """Return the words of a variable that systemd, or a shell, splits at white space."""
    return " ".join(shlex.split(value)).split()


def _options(word: str) -> set[str]:
    """Return what a word means to libvirtd(8): -dl is --daemon and --listen."""
    if re.fullmatch(rf"-[{''.join(_LETTERS)}]+", word):
        return {_LETTERS[letter] for letter in word[1:]}
    return {word}


_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_UTF_16 = ("utf-16-be", "surrogatepass")


def _as_property(present: str, wanted: str) -> str:
    return present if _unescaped(present) == wanted else _escaped(wanted)


def _unescaped(raw: str) -> str:
    """Return the value that Java's Properties.load reads, which takes bytes for Latin-1."""
    latin = raw.encode("utf-8", "surrogateescape").decode("latin-1")

    def character(escape: re.Match[str]) -> str:
        code, letter = escape.groups()
        return chr(int(code, 16)) if code else _CONTROLS.get(letter, letter)

    halves = re.sub(r"\\(?:u([0-9A-Fa-f]{4})|(.?))", character, latin)
    return halves.encode(*_UTF_16).decode(*_UTF_16)


def _escaped(value: str) -> str:
    """Return a value as Properties.load has to read it, and everyone else as plainly as that goes.

    Properties.store would put a backslash before each of `:=#!` too, which only Java takes away.
    """
    letters = {character: letter for letter, character in _CONTROLS.items()}

    def escape(character: re.Match[str]) -> str:
        found = character[0]
        if found in "\\ ":
            return f"\\{found}"
        if found in letters:
            return f"\\{letters[found]}"
        halves = found.encode(*_UTF_16).hex().upper()
        return "".join(f"\\u{halves[at : at + 4]}" for at in range(0, len(halves), 4))

    return re.sub(r"^ |\\|[^ -~]", escape, value)


SHELL = Style("=", exact=True)
"""Variables of a file that a shell or systemd reads, such as /etc/sysconfig/network."""
ARGUMENTS = Style("=", exact=True, written=_with_arguments)
"""Such variables with arguments of libvirtd, of which others may have theirs too."""
PROPERTIES = Style("=", exact=True, written=_as_property)
"""agent.properties: CloudStack's readers keep white space as part of key and value.

The agent writes it anew with Java's Properties.store, which escapes values; its scripts do not.
"""
LIBVIRT = Style(" = ", exact=False)
"""libvirt's configuration files (libvirtd.conf)."""


def set_keys(text: str, values: Mapping[str, str | None], style: Style) -> str:
    """Return `text` with every key of `values` set; all other lines stay as they are.

    values: each key's value, as it is to stand in the file; that of PROPERTIES is not escaped yet.

    A key that is set more than once is set alike each time, because readers differ in whether
    the first or the last one counts. A key that is not set yet goes below the comment that
    shows it (`#key = …`), else to the end. The value None comments the key out.
    """
    present = text.removesuffix("\n").split("\n") if text else []
    lines = present
    for key, value in values.items():
        lines = _set_key(lines, key, value, style)
    return text if lines == present else "".join(f"{line}\n" for line in lines)


def _set_key(lines: list[str], key: str, value: str | None, style: Style) -> list[str]:
    end = "" if style.exact else r"\s*"
    active = re.compile(rf"\s*{re.escape(key)}\s*=\s*(.*?){end}")
    if any(active.fullmatch(line) for line in lines):
        return [
            _replacement(line, match[1], key, value, style)
            if (match := active.fullmatch(line))
            else line
            for line in lines
        ]
    if value is None:
        return lines
    commented = re.compile(rf"\s*#\s*{re.escape(key)}\s*=.*")
    shown = [i for i, line in enumerate(lines) if commented.fullmatch(line)]
    at = shown[-1] + 1 if shown else len(lines)
    return [*lines[:at], f"{key}{style.separator}{style.written('', value)}", *lines[at:]]


def _replacement(line: str, present: str, key: str, value: str | None, style: Style) -> str:
    if value is None:
        return f"#{line}"
    written = style.written(present, value)
    if written == present and not style.exact:
        return line
    return f"{key}{style.separator}{written}"
