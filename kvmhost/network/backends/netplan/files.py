"""netplan's files as netplan reads them: every scalar as text, later files adding to earlier.

YAML 1.1 would make a number of a MAC address. libyaml's loaders, because PyYAML's own take ten
times as long.

Source: netplan(5).
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import yaml

from kvmhost.network.interfaces import Devices

OWN_FILE = "/etc/netplan/60-cloudstack.yaml"
PATHS = ("/etc/netplan/*.yaml",)
# Section ("ethernets", "vlans", …), then definition by its id.
Definition = Mapping[str, Any]
Sections = Mapping[str, Mapping[str, Definition]]


def loaded(existing: Mapping[str, str]) -> Sections:
    """Merge the files' definitions in netplan's order, which is that of the file names."""
    sections: Sections = {}
    for path in sorted(existing, key=lambda path: PurePosixPath(path).name):
        sections = _merged(sections, read(path, existing[path]))
    return sections


@lru_cache(maxsize=16)  # of one host at a time
def read(path: str, text: str) -> Sections:
    """Read a file's definitions; raise ValueError, with its path, if it is no YAML."""
    try:
        document = yaml.load(text, yaml.CBaseLoader)  # a loader of text only
        _refuse_repeated(path, yaml.compose(text, yaml.CBaseLoader))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    network = document.get("network") if isinstance(document, dict) else None
    return {
        section: {
            id_: body if isinstance(body, dict) else {}
            for id_, body in definitions.items()
            if id_ != "renderer"  # of the section
        }
        for section, definitions in (network or {}).items()
        if isinstance(definitions, dict) and section != "openvswitch"
    }


def _refuse_repeated(path: str, node: yaml.Node | None) -> None:
    """Raise ValueError for a key that a mapping has twice: netplan takes both, PyYAML the last."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"{path} has {key} more than once in one place: have it once.")
        for _, value in node.value:
            _refuse_repeated(path, value)


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(one)
    for key, value in other.items():
        present = result.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            result[key] = _merged(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            result[key] = [*present, *value]
        else:
            result[key] = value
    return result


def device_names(sections: Sections, devices: Devices) -> dict[str, str]:
    """Name the device of each definition, by the definition's id."""
    return {
        id_: _device_name(id_, definition, devices)
        for definitions in sections.values()
        for id_, definition in definitions.items()
    }


def _device_name(id_: str, definition: Definition, devices: Devices) -> str:
    """Name the device that a definition is for; a shell pattern where it may be several."""
    match = definition.get("match")
    if "set-name" in definition:
        return str(definition["set-name"])
    if match is None:
        return id_
    if "macaddress" in match:
        return devices.get(str(match["macaddress"]).lower(), id_)
    return str(match.get("name", "*"))


def to_text(value: Any) -> str:
    """Write a value on one line: a scalar as it is, anything else as JSON, which is YAML too."""
    return value if isinstance(value, str) else json.dumps(value)


def from_text(text: str) -> Any:
    """Read what `to_text` has written."""
    return yaml.load(text, yaml.CBaseLoader) if text.startswith(("[", "{")) else text


def number(text: str | None) -> int | None:
    """Read a number, if there is any."""
    return None if text is None else int(text)


def is_true(text: str) -> bool:
    """Whether netplan takes a scalar for yes."""
    return text.lower() in ("true", "on", "yes", "y")
