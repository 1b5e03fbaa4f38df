"""What installers, cloud-init, administrators and CloudStack leave on a host, by back end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StartingPoint:
    """The files of a host's network before ours, and what becomes of them.

    `outcome` is "taken over", "left alone" or "refused", the last with a part of the `sentence`
    that the administrator gets. `keys` are the settings that differ from the guide's example, and
    `devices` the names of the host's NICs by their MAC addresses.
    """

    name: str
    files: Mapping[str, str]
    outcome: str
    sentence: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
