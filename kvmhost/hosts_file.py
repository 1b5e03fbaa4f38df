"""The text of /etc/hosts (hosts(5)), in which a host finds its own name and address."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

_LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class _Line:
    """A line as it stands, and the address, names and comment that it has."""

    text: str
    address: str
    names: tuple[str, ...]
    comment: str


def name_host(text: str, address: IPv4Address, fqdn: str) -> str:
    """Return `text` with one line that gives the host its address, its full and its short name.

    text: /etc/hosts as it is.
    fqdn: the fully qualified name; its first label is the short name.

    The host's own lines, such as the installer's `127.0.1.1 kvm1.example.org kvm1` or one with an
    address that it had before, become that one line, their further names included. A line that
    has the host's names beside others, such as localhost, loses them. The rest stays as it is.
    """
    names = (fqdn, fqdn.partition(".")[0])
    lines = [_parsed(line) for line in text.split("\n")]
    own = [line for line in lines if _is_own(line, str(address), names)]
    entry = _own_text(own, str(address), names)
    at = lines.index(own[0]) if own else _after_loopback(lines)
    kept = [*_kept(lines[:at], own, names), entry, *_kept(lines[at:], own, names)]
    changed = "\n".join(kept)
    return changed if changed == text or changed.endswith("\n") else f"{changed}\n"


def _parsed(text: str) -> _Line:
    entry, mark, comment = text.partition("#")
    address, *names = entry.split() or [""]
    return _Line(text, address, tuple(names), mark + comment)


def _is_own(line: _Line, address: str, names: tuple[str, ...]) -> bool:
    """Whether a line is about this host, so that all its names are the host's."""
    if line.address == address:
        return True
    return (
        ":" not in line.address
        and line.address != _LOCALHOST
        and "localhost" not in line.names
        and _known(line.names[:1], names) != ()
    )


def _known(some: Iterable[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of some names that are among `names`; case does not matter in names."""
    lower = {name.lower() for name in names}
    return tuple(name for name in some if name.lower() in lower)


def _own_text(own: list[_Line], address: str, names: tuple[str, ...]) -> str:
    if len(own) == 1 and own[0].address == address and _starts_with(own[0].names, names):
        return own[0].text
    further = dict.fromkeys(name for line in own for name in _without(line.names, names))
    return " ".join((address, *names, *further, *(line.comment for line in own if line.comment)))


def _starts_with(some: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return some[:1] == names[:1] and set(names) <= set(some)


def _without(some: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    known = _known(some, names)
    return tuple(name for name in some if name not in known)


def _after_loopback(lines: list[_Line]) -> int:
    return max(
        (i + 1 for i, line in enumerate(lines) if line.address.startswith("127.")), default=0
    )


def _kept(lines: list[_Line], own: list[_Line], names: tuple[str, ...]) -> Iterator[str]:
    """Yield the other lines, without the host's names; a line that has no others goes."""
    for line in lines:
        if line in own:
            continue
        others = _without(line.names, names)
        if others == line.names:
            yield line.text
        elif others:
            yield " ".join(filter(None, (line.address, *others, line.comment)))
