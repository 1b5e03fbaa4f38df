"""The text of /etc/hosts (hosts(5)), in which a host finds its own name and address."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

_LOCALHOST = ("127.0.0.1", "::1")
_PLACEHOLDERS = ("{{fqdn}}", "{{hostname}}")
"""What stands for the host's names in the text that cloud-init makes of /etc/hosts."""


@dataclass(frozen=True)
class _Line:
    """A line as it stands, and the address, names and comment that it has."""

    text: str
    address: str
    names: tuple[str, ...]
    comment: str


def name_host(text: str, address: IPv4Address, fqdn: str) -> str:
    """Return `text` with one line that gives the host its address, its full and its short name.

    text: /etc/hosts as it is, or cloud-init's template of it.
    fqdn: the fully qualified name; its first label is the short name.

    The host's own lines, such as the installer's `127.0.1.1 kvm1.example.org kvm1` or one with an
    address that it had before, become that one line, what else they name included. A line that
    has the host's names beside others, such as localhost or a name for storage, loses them. Where
    they lead to an IPv6 address they stay, below that one line: the resolver takes the full name
    from the first line that has the name it looks for. The rest stays as it is.
    """
    names = (fqdn, fqdn.partition(".")[0])
    lines = [_parsed(line) for line in text.split("\n")]
    own = [line for line in lines if _is_own(line, str(address), names)]
    entry = _own_text(own, str(address), names)
    at = min(
        (i for i, line in enumerate(lines) if line in own or _misleads(line, names)),
        default=_after_loopback(lines),
    )
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
    if ":" in line.address or line.address in _LOCALHOST or "localhost" in line.names:
        return False
    known = _known(line.names, names)
    if line.address.startswith("127."):
        return known[:1] == line.names[:1] != ()
    return known == line.names != ()


def _leads_by_ipv6(line: _Line) -> bool:
    """Whether the names of a line lead to an IPv6 address that others can reach."""
    return ":" in line.address and line.address not in _LOCALHOST


def _misleads(line: _Line, names: tuple[str, ...]) -> bool:
    """Whether the resolver would take another full name of the host from a line that stays."""
    return _leads_by_ipv6(line) and line.names[:1] != names[:1] and _known(line.names, names) != ()


def _known(some: Iterable[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of some names that are the host's; case does not matter in names."""
    lower = {name.lower() for name in (*names, *_PLACEHOLDERS)}
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
        others = line.names if _leads_by_ipv6(line) else _without(line.names, names)
        if others == line.names:
            yield line.text
        elif others:
            yield " ".join(filter(None, (line.address, *others, line.comment)))
