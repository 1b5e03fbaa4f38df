"""The name of a host."""

from ipaddress import IPv4Address
from shlex import quote

from pyinfra import host
from pyinfra.api import StringCommand

from kvmhost.facts.hostname import SYSCONFIG, Hostname, Names
from kvmhost.hosts_file import name_host
from kvmhost.keyvalue import SHELL, set_keys
from kvmhost.operations import files
from kvmhost.operations.commands import Commands, operation, unknown


@operation()
def qualified(fqdn: str, address: IPv4Address) -> Commands:
    """
    Have `hostname --fqdn` return a name, and the name lead to an address, through /etc/hosts.

    Where cloud-init could make that file at a boot, its template leads there too.
    The kernel's name becomes the first label (hostname(5)), unless it is the whole name already. A
    name that differs in its case alone stays: it is the same, and CloudStack may know it.

    + fqdn: the fully qualified name
    + address: the host's address that it leads to, instead of the installer's 127.0.1.1
    """
    present = host.get_fact(Names)
    if present is None:
        yield from unknown("the host's name")
        return
    # all at once, since a dry run follows an operation no further than its first command
    yield from list(_changes(present, fqdn, address))


def _changes(present: Hostname, fqdn: str, address: IPv4Address) -> Commands:
    fqdn = _as_it_is(present.qualified, fqdn)
    for path, text in (
        ("/etc/hosts", present.hosts_file),
        (present.template_path, present.template_file),
    ):
        named = name_host(text, address, fqdn)
        if named != text and (text or path == "/etc/hosts"):
            yield from files.write(path, text, named, "644")
    whole = present.kernel.lower() == fqdn.lower()
    name = _as_it_is(present.kernel, fqdn if whole else fqdn.partition(".")[0])
    static_file = naming(present, name)
    if static_file != present.static_file:
        yield from files.write(present.static_path, present.static_file, static_file, "644")
    if present.kernel != name:
        yield StringCommand(f"hostname {name}")
    if (present.kernel, present.qualified) != (name, fqdn):
        yield _proof(fqdn)


def _as_it_is(present: str, wanted: str) -> str:
    return present if present.lower() == wanted.lower() else wanted


def naming(present: Hostname, name: str) -> str:
    """Return the text of the host's file with that name in it, all its other lines as they are."""
    if present.static_path == SYSCONFIG:
        return set_keys(present.static_file, {"HOSTNAME": name}, SHELL)
    found = present.static_file.strip()
    return present.static_file if found.lower() == name.lower() else f"{name}\n"


def _proof(fqdn: str) -> StringCommand:
    """Return the command that fails the host unless the name is found as the guide wants it."""
    refused = quote(f"hostname --fqdn does not return {fqdn}, though /etc/hosts has it")
    return StringCommand(f'[ "$(hostname --fqdn)" = {fqdn} ] || {{ echo {refused} >&2; exit 1; }}')
