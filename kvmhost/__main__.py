"""Say whether an inventory's settings can be used, without touching a host.

pyinfra inventories/prod.py debug-inventory --json | python -m kvmhost
"""

import json
import sys

from kvmhost.inventory import PYINFRA_KEYS
from kvmhost.settings import SettingsError, load


def main() -> int:
    """Read pyinfra's JSON inventory from standard input; return 1 if a setting is wrong."""
    hosts = json.load(sys.stdin)
    try:
        load({host["name"]: host["data"] for host in hosts}, PYINFRA_KEYS)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(hosts)} hosts: all settings can be used.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
