"""A file as a renderer wants it on a host."""

from dataclasses import dataclass

HEADER = "# CloudStack network (what stands here is overwritten)\n"
"""What our own files begin with."""


@dataclass(frozen=True)
class File:
    """Absolute path, whole content (UTF-8) and permission bits of one file."""

    path: str
    content: str
    mode: int = 0o644
