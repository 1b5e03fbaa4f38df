"""Networks as installers, cloud-init, administrators and CloudStack leave them, and what follows.

A module a back end; docs/network.md has them in a table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StartingPoint:
    """Files of a host by path, and what becomes of them.

    `outcome` is "taken over", "left alone" or "refused", which is said in `sentence`. `keys` are
    the settings that differ from the guide's, `devices` the host's NICs by their MAC addresses.
    """

    name: str
    files: Mapping[str, str]
    outcome: str
    sentence: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
