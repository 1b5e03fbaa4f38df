"""cloud-init, which configures a host when it starts as a new instance, and in part always."""

import yaml
from pyinfra import host

from kvmhost.facts.cloudinit import Configuration
from kvmhost.operations.commands import Commands, operation, unknown
from kvmhost.operations.files import write

# Later files of this folder win (cloud-init's "Configuration priority"), Ubuntu's installer has 90.
_FILE = "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg"
_TEXT = "network: {config: disabled}\n"


@operation()
def network_disabled() -> Commands:
    """
    Have cloud-init leave the network's files alone, where it is installed.

    It writes them anew when the host starts as a new instance, and with some sources at each boot.
    """
    present = host.get_fact(Configuration, path=_FILE)
    if present is None:
        yield from unknown("cloud-init's configuration")
    elif not present.installed:
        host.noop("cloud-init is not installed")
    elif not _says_the_same(present.text or ""):
        yield from write(_FILE, present.text, _TEXT, "644", keep_original=True)


def _says_the_same(text: str) -> bool:
    try:
        said, ours = (yaml.load(each, yaml.CSafeLoader) for each in (text, _TEXT))
    except yaml.YAMLError:
        return False
    return bool(said == ours)
