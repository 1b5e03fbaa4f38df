"""Lines of the form `key = value`, set inside a text whose other lines are not ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """How a kind of file writes its keys: the separator, and whether white space matters."""

    separator: str
    exact: bool


SHELL = Style("=", exact=True)
"""Variables of a file that a shell or systemd reads, such as /etc/default/libvirtd."""
PROPERTIES = Style("=", exact=True)
"""agent.properties: CloudStack's readers keep white space as part of key and value."""
LIBVIRT = Style(" = ", exact=False)
"""libvirt's configuration files (libvirtd.conf)."""


def set_keys(text: str, values: Mapping[str, str | None], style: Style) -> str:
    """Return `text` with every key of `values` set; all other lines stay as they are.

    A key that is set more than once is set alike each time, because readers differ in whether
    the first or the last one counts. A key that is not set yet goes below the comment that
    shows it (`#key = …`), else to the end. The value None comments the key out.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    for key, value in values.items():
        lines = _set_key(lines, key, value, style)
    return "".join(f"{line}\n" for line in lines)


def _set_key(lines: list[str], key: str, value: str | None, style: Style) -> list[str]:
    active = re.compile(rf"\s*{re.escape(key)}\s*=\s*(.*?)\s*")
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
    return [*lines[:at], f"{key}{style.separator}{value}", *lines[at:]]


def _replacement(line: str, present: str, key: str, value: str | None, style: Style) -> str:
    if value is None:
        return f"#{line}"
    if present == value and not style.exact:
        return line
    return f"{key}{style.separator}{value}"
