"""What is secret is never printed: the name of its key stays readable, its value does not."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain

MASK = "***"

_SECRET = re.compile(
    r"secret|pas+w|pass-?phrase|token|psk|credential|private.?key|shared.?key"
    r"|api.?key|key.?pass|passcode|authorization",
    re.IGNORECASE,
)
_CITED = re.compile(
    rf"((?<![\w.-])[\w.-]*?(?:{_SECRET.pattern})[\w.-]*[\"']?(?:\s*[=:]\s*|\s+)).+",
    re.IGNORECASE | re.DOTALL,
)
_PLACE = re.compile(r"[\"']?(/[\w.-]+/|\w+://)")
_USER_INFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_ASSIGNED = re.compile(r"(?<![\w.-])([\w.-]++)[\"']?\s*[=:]\s*")
_FIRST_WORD = re.compile(r"[\s#;]*([\w.-]++)\s++(?![=:])")


def is_secret(key: str, value: object) -> bool:
    """Whether a key says that its value is secret; a key's own place, a path or a URL, is not."""
    if _SECRET.search(key):
        return True
    return "key" in key.lower() and not (isinstance(value, str) and _PLACE.match(value))


def masked(value: object, *keys: str) -> object:
    """Return a setting's value without what is secret in it.

    keys: the names that lead to the value and may say that it is secret.
    """
    if any(is_secret(key, value) for key in keys):
        return MASK
    if isinstance(value, Mapping):
        return {key: masked(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(masked(each) for each in value)
    return _USER_INFO.sub(MASK, value) if isinstance(value, str) else value


def masked_reason(text: str) -> str:
    """Return a sentence, which may cite a line of a file, without the secret that the line has."""
    return _CITED.sub(rf"\1{MASK}", _USER_INFO.sub(MASK, text))


def masked_lines(text: str, numbers: dict[str, int]) -> Iterator[str]:
    """Yield the lines of a configuration file, with a number in the place of each secret.

    text: `key=value`, `key: value` or `key value`, a line each, as files of the network, of
    libvirt and of the agent have it. A value that goes on below its key is masked there too.
    numbers: those of the secrets that were met already, so that a change of one can be seen.
    """
    depth: int | None = None
    open_ended = False
    for line in text.removesuffix("\n").split("\n") if text else ():
        indent = len(line) - len(line.lstrip())
        goes_on = open_ended or (depth is not None and _is_below(line, indent, depth))
        at = indent if goes_on else _secret_at(line)
        if line.strip() and not goes_on:
            depth = None if at is None else indent
        open_ended = at is not None and line.endswith("\\")
        yield _USER_INFO.sub(MASK, line) if at is None else _numbered(line, at, numbers)


def _is_below(line: str, indent: int, depth: int) -> bool:
    """Whether a line belongs to the key at a depth: in YAML, a list's items may be as deep."""
    return indent > depth or (indent == depth and line[indent:].startswith("- "))


def _secret_at(line: str) -> int | None:
    """Return where the secret value in a line begins; None if there is none."""
    first = _FIRST_WORD.match(line)
    keys = chain([first] if first else [], _ASSIGNED.finditer(line))
    return next((key.end() for key in keys if is_secret(key[1], line[key.end() :])), None)


def _numbered(line: str, at: int, numbers: dict[str, int]) -> str:
    secret = line[at:].rstrip()
    if not secret:
        return line
    return f"{line[:at]}{MASK} ({numbers.setdefault(secret, len(numbers) + 1)})"
