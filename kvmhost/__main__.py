"""Say whether an inventory's settings can be used, and what they mean, without touching a host.

pyinfra inventories/prod.py debug-inventory --json | python -m kvmhost [SHOW [HOST …]]
"""

import argparse
import json
import sys
from typing import Any

from pyinfra.api.connectors import get_execution_connectors

from kvmhost import preview
from kvmhost.findings import few
from kvmhost.inventory import PYINFRA_KEYS
from kvmhost.settings import Settings, SettingsError, load

_KEYS = PYINFRA_KEYS.union(
    *(each.data_meta for each in get_execution_connectors().values())  # type: ignore[no-untyped-call]
)


class UsageError(Exception):
    """What was asked for makes no sense, in a sentence."""


def main() -> int:
    """Read pyinfra's JSON inventory from standard input; return 1 if a setting is wrong."""
    arguments = _arguments()
    try:
        data = _inventory()
        settings = load(data, _KEYS, placeholders=arguments.show != "check")
        chosen = _chosen(settings, arguments.hosts)
        match arguments.show:
            case "check":
                print(f"{len(data)} hosts: all settings can be used.")
            case "network":
                print(preview.pictures(chosen), end="")
            case "files":
                print(preview.files(chosen), end="")
            case "switch":
                print(preview.switch(chosen))
    except (SettingsError, UsageError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _inventory() -> dict[str, dict[str, Any]]:
    """Return the data of each host on standard input; raise UsageError if it has none."""
    text = sys.stdin.read()
    try:
        found = {host["name"]: dict(host["data"]) for host in json.loads(text)}
    except (ValueError, TypeError, KeyError):
        found = {}
    if not found:
        raise UsageError(
            "Standard input has no hosts: pipe what `pyinfra INVENTORY debug-inventory --json` "
            "writes, and see whether it names the inventory that you mean."
        )
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kvmhost",
        description="Reads what `pyinfra INVENTORY debug-inventory --json` writes.",
    )
    parser.add_argument(
        "show",
        nargs="?",
        default="check",
        choices=("check", "network", "files", "switch"),
        help="whether all settings can be used; each cluster's network as a picture; the network's "
        "files; what the switch has to carry to which NIC",
    )
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="these hosts alone")
    return parser.parse_args()


def _chosen(settings: dict[str, Settings], names: list[str]) -> dict[str, Settings]:
    """Return the named hosts' settings, or all; raise UsageError for a name that is none."""
    if unknown := [name for name in names if name not in settings]:
        known = few(list(settings))
        raise UsageError(f"no host {', '.join(unknown)} in the inventory; there are {known}")
    return {name: settings[name] for name in names or settings}


if __name__ == "__main__":
    sys.exit(main())
