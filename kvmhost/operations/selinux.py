"""SELinux's mode."""

import re

from pyinfra import host
from pyinfra.api import StringCommand

from kvmhost.facts.selinux import CONFIG, Status
from kvmhost.keyvalue import SHELL, set_keys
from kvmhost.operations.commands import Commands, fail, operation, unknown
from kvmhost.operations.files import write


@operation()
def mode(mode: str) -> Commands:
    """
    Have SELinux enforce its policy or only report, now and after the next boot.

    It stays off where it is not installed, or disabled in the kernel or by its configuration. No
    file is given a label: a host whose files have none is refused when SELinux should enforce.

    + mode: permissive or enforcing
    """
    present = host.get_fact(Status)
    if present is None:
        yield from unknown("SELinux's mode")
    elif present.mode in (None, "disabled"):
        host.noop("SELinux is not installed, or the kernel does not run it")
    elif mode == "enforcing" != present.mode and not present.labelled:
        yield from fail(
            "SELinux cannot enforce, because the files have no labels: "
            "touch /.autorelabel, reboot, and run this again"
        )
    else:
        # all at once, since a dry run follows an operation no further than its first command
        yield from list(_changes(present.mode, present.config, mode))


def _changes(present: str | None, config: str | None, mode: str) -> Commands:
    if config is not None and not re.search(r"^\s*SELINUX\s*=\s*disabled\b", config, re.MULTILINE):
        text = set_keys(config, {"SELINUX": mode}, SHELL)
        if text != config:
            yield from write(CONFIG, config, text, mode="644")
    if present != mode:
        yield StringCommand(f"setenforce {mode}")
