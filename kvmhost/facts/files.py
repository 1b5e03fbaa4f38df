"""The text of files on a host."""

from base64 import b64decode
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase
from typing_extensions import override


@dataclass(frozen=True)
class RemoteFile:
    """A file's text; None when there is no such file.

    Bytes that are not UTF-8 are kept as surrogates, so that they go back as they came.
    """

    text: str | None


class Text(FactBase[RemoteFile | None]):
    """The text of one file; None when the host did not answer.

    + path: the file's absolute path
    """

    @override
    def command(self, path: str) -> str:
        file = quote(path)
        return f"if [ -e {file} ]; then echo exists && base64 -w0 {file}; else echo absent; fi"

    @override
    def process(self, output: list[str]) -> RemoteFile:
        match output:
            case ["absent"]:
                return RemoteFile(None)
            case ["exists", *encoded]:
                return RemoteFile(decoded("".join(encoded)))
        raise ValueError(f"it is not said whether the file exists: {output[0]!r}")


def decoded(text: str) -> str:
    """Return the text that base64(1) has encoded; raise ValueError where that is something else."""
    return b64decode(text, validate=True).decode("utf-8", "surrogateescape")
