"""What firewalld lets through, now and when it starts. Nothing here switches it on or off."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from shlex import join

from pyinfra import host, logger
from pyinfra.api import StringCommand

from kvmhost.facts.firewalld import Firewalld, Zones
from kvmhost.firewall import ANYWHERE, SSH, Protocol, closed
from kvmhost.firewalld import Change, Zone, closing, decides_on_ssh, in_order, opening, zone_of
from kvmhost.operations.commands import Commands, fail, operation, unknown

Wanted = Callable[[Firewalld, Mapping[str, Zone]], Iterator[tuple[str, Iterable[Change]]]]
"""The changes of each zone, by its name, from all that is there and the zones to be changed."""
_OFFLINE = {"--remove-service": "--remove-service-from-zone"}
"""What firewall-offline-cmd(1) calls otherwise."""


@operation()
def ports(
    ports: tuple[str, ...],
    sources: tuple[str, ...],
    interface: str,
    protocol: Protocol = "tcp",
    while_off: bool = False,
) -> Commands:
    """
    Have ports open to some sources, and over neither TCP nor UDP to anyone else, IPv4 and IPv6,
    where firewalld is in use.

    They are opened in the zone of an interface, or the default zone as long as the interface has
    none. There, and in all zones of interfaces, a port that is open to anywhere is closed, also as
    one of a service or of a rich rule, unless that is asked for. All else stays, SSH too.

    + ports: port numbers, or ranges such as 5900:6100
    + sources: networks with their prefix, or `ANYWHERE` alone
    + interface: the one through which the sources come
    + protocol: over what they are open
    + while_off: whether that is kept for its start where firewalld is off; else it stays as it is
    """

    def wanted(
        present: Firewalld, zones: Mapping[str, Zone]
    ) -> Iterator[tuple[str, Iterable[Change]]]:
        yield present.zone, opening(zones.get(present.zone, Zone()), ports, sources, protocol)
        if ANYWHERE in sources:
            return
        for name, zone in zones.items():
            if name == present.zone or present.runtime.get(name, Zone()).interfaces:
                yield name, closing(zone, closed(ports), present.services)
                if zone.target == "ACCEPT" and zones is present.runtime:
                    host.log(f"open to anyone by firewalld's zone {name}", logger.warning)

    yield from _changed(host.get_fact(Zones, interface=interface, while_off=while_off), wanted)


@operation()
def ssh(sources: tuple[str, ...] | None, interface: str, while_off: bool = False) -> Commands:
    """
    Have SSH open to some sources. What a rule says of SSH already stays as it is.

    + sources: networks with their prefix; None: as it is, if the workstation's zone says anything
      of SSH from there already, else anyone
    + interface: the one through which the sources come
    + while_off: whether that is kept for its start where firewalld is off; else it stays as it is
    """

    def wanted(
        present: Firewalld, zones: Mapping[str, Zone]
    ) -> Iterator[tuple[str, Iterable[Change]]]:
        who = present.workstation
        name = zone_of(zones, who, present.zone)
        if sources is not None:
            yield present.zone, opening(zones.get(present.zone, Zone()), (SSH,), sources)
        elif not decides_on_ssh(zones.get(name, Zone()), present.services, who):
            yield present.zone, opening(zones.get(present.zone, Zone()), (SSH,), (ANYWHERE,))

    yield from _changed(host.get_fact(Zones, interface=interface, while_off=while_off), wanted)


def _changed(present: Firewalld | None, wanted: Wanted) -> Commands:
    if present is None:
        yield from unknown("firewalld's rules")
    elif present.iptables:
        yield from fail("the service iptables is on, but this host's firewall_backend is firewalld")
    elif not present.running and not present.permanent:
        host.noop("firewalld is off, and stays as it is")
    else:
        # all at once, since a dry run follows an operation no further than its first command
        yield from list(_commands(present, wanted))


def _commands(present: Firewalld, wanted: Wanted) -> Commands:
    program = "firewall-cmd" if present.running else "firewall-offline-cmd"
    permanently = ("--permanent",) if present.running else ()
    states = [(permanently, present.permanent)]
    if present.running:
        states.insert(0, ((), present.runtime))
    for kept, zones in states:
        changes: dict[str, list[Change]] = {}
        for name, some in wanted(present, zones):
            changes.setdefault(name, []).extend(some)
        for name, all_of_them in changes.items():
            for option, values in in_order(all_of_them):
                said = option if present.running else _OFFLINE.get(option, option)
                options = (f"{said}={value}" for value in values)
                yield StringCommand(join((program, "-q", *kept, f"--zone={name}", *options)))
