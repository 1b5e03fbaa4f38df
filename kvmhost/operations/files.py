"""Files that are written whole, or key by key, and that appear atomically."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import PurePosixPath
from shlex import join, quote

from pyinfra import host, logger
from pyinfra.api import StringCommand
from pyinfra.operations.util.files import generate_color_diff

from kvmhost.facts.files import Text
from kvmhost.keyvalue import Style, set_keys
from kvmhost.masking import masked_lines
from kvmhost.operations.commands import Commands, operation, unknown

NEW = "{new}"
"""Stands for the new file's temporary path in a validating command."""
PIPED = "/dev/stdin"
"""The new text as a validating command finds it on its standard input, a pipe.

It is for a program that AppArmor lets open its own file alone: a pipe has no path that a profile
could refuse (path_mediated_fs in Linux's security/apparmor/lsm.c).
"""


@operation()
def content(path: str, text: str, mode: str = "644", validate: tuple[str, ...] = ()) -> Commands:
    """
    Have a file with just this text. What stood there before is kept once, as `<path>.orig`.

    + path: the file's absolute path; its directory is made when it is missing
    + text: the whole text
    + mode: permissions of a new file; an existing file keeps its own, and its owner
    + validate: a command that accepts the new text, as the file `NEW` or `PIPED`
    """
    present = host.get_fact(Text, path=path)
    if present is None:
        yield from unknown(path)
    elif present.text != text:
        yield from write(path, present.text, text, mode, validate, keep_original=True)


@operation()
def keys(
    path: str,
    values: Mapping[str, str | None],
    style: Style,
    mode: str = "644",
    validate: tuple[str, ...] = (),
) -> Commands:
    """
    Set keys in a file whose other lines are not ours; see `kvmhost.keyvalue.set_keys`.

    + path: the file's absolute path; it is made when it is missing
    + values: each key's value as it stands in the file; None comments the key out
    + style: how this kind of file writes its keys
    + mode: permissions of a new file; an existing file keeps its own, and its owner
    + validate: a command that accepts the new text, as the file `NEW` or `PIPED`
    """
    present = host.get_fact(Text, path=path)
    if present is None:
        yield from unknown(path)
        return
    text = set_keys(present.text or "", values, style)
    if present.text != text:
        yield from write(path, present.text, text, mode, validate)


@operation()
def absent(path: str) -> Commands:
    """
    Have no such file.

    + path: the file's absolute path
    """
    present = host.get_fact(Text, path=path)
    if present is None:
        yield from unknown(path)
    elif present.text is not None:
        yield StringCommand(f"rm -f {quote(path)}")


def write(
    path: str,
    present: str | None,
    text: str,
    mode: str,
    validate: tuple[str, ...] = (),
    keep_original: bool = False,
) -> Commands:
    """Yield the one command that replaces a file atomically, and log the difference.

    The new text is written beside the file, validated there and renamed over it: a full disk or
    a refused text leaves the file as it was. The file keeps its owner, mode, access control list
    and SELinux label; a new one gets the label that the policy has for its path (restorecon(8)).
    """
    log_difference(path, present, text)
    encoded = b64encode(text.encode("utf-8", "surrogateescape")).decode()
    yield StringCommand(replacing_script(path, mode, validate, keep_original), _stdin=encoded)


def replacing_script(
    path: str, mode: str, validate: tuple[str, ...] = (), keep_original: bool = False
) -> str:
    """Return the shell script that replaces a file by its input in base64; see `write`."""
    steps = [
        "set -e",
        f"mkdir -p {quote(str(PurePosixPath(path).parent))}",
        f"file=$(readlink -f {quote(path)})",
        'new="$file.new"',
        "trap 'rm -f \"$new\"' EXIT",
        'if [ -e "$file" ]; then existed=yes; cp -a "$file" "$new"; '
        f'else existed=; : > "$new"; chmod {mode} "$new"; fi',
        'base64 -d > "$new"',
    ]
    if validate:
        steps.append(f'cat "$new" | {join(validate)}'.replace(quote(NEW), '"$new"'))
    if keep_original:
        steps.append(
            'if [ "$existed" ] && [ ! -e "$file.orig" ]; then cp -a "$file" "$file.orig"; fi'
        )
    steps += [
        'mv -f "$new" "$file"',
        'if [ ! "$existed" ] && command -v restorecon >/dev/null; then restorecon "$file"; fi',
    ]
    return "; ".join(steps)


def log_difference(path: str, present: str | None, text: str) -> None:
    """Show the difference when pyinfra runs with --diff, in the manner of its files.put.

    What is secret is masked; that it changes is shown.
    """
    if not host.state.config.DIFF:
        return
    host.log(f"Will {'create' if present is None else 'modify'} {path}")
    secrets: dict[str, int] = {}
    lines = [list(masked_lines(each, secrets)) for each in (present or "", text)]
    for line in generate_color_diff(*lines):
        logger.info("  %s", line.encode("utf-8", "backslashreplace").decode())
    logger.info("")
