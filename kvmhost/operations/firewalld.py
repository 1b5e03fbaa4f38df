"""What firewalld lets through, now and after the next boot. Nothing here switches it on or off."""

from collections.abc import Iterable
from itertools import product
from shlex import join

from pyinfra import host
from pyinfra.api import StringCommand, operation

from kvmhost.facts.firewalld import InterfaceZone, Zone
from kvmhost.firewall import ANYWHERE
from kvmhost.operations.commands import Commands, fail, unknown


@operation()
def ports(ports: tuple[str, ...], sources: tuple[str, ...], interface: str) -> Commands:
    """
    Have TCP ports open to some sources, and not to anyone else, where firewalld is in use.

    The zone is that of an interface, or the default zone as long as the interface has none. A
    port that is open to anywhere is closed, unless that is asked for. All else stays.

    + ports: port numbers, or ranges such as 5900:6100
    + sources: networks with their prefix, or `ANYWHERE` alone
    + interface: the one through which the sources come
    """
    present = host.get_fact(InterfaceZone, interface=interface)
    if present is None:
        yield from unknown("firewalld's rules")
        return
    if present.iptables:
        yield from fail("the service iptables is on, but this host's firewall_backend is firewalld")
        return
    if not present.running:
        host.noop("firewalld is off, and stays off")
        return
    zone = f"--zone={present.zone}"
    wanted = _wanted(ports, sources)
    listed = [_listed(port) for port in ports]
    # all at once, since a dry run follows an operation no further than its first command
    yield from list(_changes((zone,), present.runtime, wanted, listed))
    yield from list(_changes(("--permanent", zone), present.permanent, wanted, listed))


def _wanted(ports: tuple[str, ...], sources: tuple[str, ...]) -> Zone:
    if ANYWHERE in sources:
        return Zone(ports=frozenset(map(_listed, ports)))
    rules = (
        f'rule family="ipv4" source address="{source}" '
        f'port port="{port.replace(":", "-")}" protocol="tcp" accept'
        for source, port in product(sources, ports)
    )
    return Zone(rich_rules=frozenset(rules))


def _listed(port: str) -> str:
    """Return a TCP port, or a range, as firewall-cmd lists it."""
    return f"{port.replace(':', '-')}/tcp"


def _changes(
    target: tuple[str, ...], present: Zone, wanted: Zone, managed: Iterable[str]
) -> Commands:
    """Yield a command for each kind of change: firewall-cmd takes one kind at a time."""
    for option, values in (
        ("--add-port", wanted.ports - present.ports),
        ("--add-rich-rule", wanted.rich_rules - present.rich_rules),
        ("--remove-port", present.ports.intersection(managed) - wanted.ports),
    ):
        if values:
            options = (f"{option}={value}" for value in sorted(values))
            yield StringCommand(join(("firewall-cmd", "-q", *target, *options)))
