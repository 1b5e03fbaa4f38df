"""Rules of iptables and ip6tables, now and after the next boot. None of this switches them on."""

from collections.abc import Callable, Collection
from ipaddress import ip_network
from itertools import product

from pyinfra import host, logger
from pyinfra.api import StringCommand

from kvmhost.facts.iptables import Family, Iptables, Rules
from kvmhost.firewall import ANYWHERE, SSH, IPAddress, Protocol, closed
from kvmhost.iptables import (
    EMPTY,
    PROGRAMS,
    accepting,
    accepts_the_rest,
    admits_ssh,
    changes,
    input_chain,
    saved_path,
    set_rules,
    wide_open,
)
from kvmhost.operations.commands import Commands, fail, operation, unknown
from kvmhost.operations.files import write

Wanted = Callable[[str, int], list[str]]
"""The rules that are wanted, by the text of what is there and the version of IP."""


@operation()
def accept(
    ports: tuple[str, ...],
    sources: tuple[str, ...],
    protocol: Protocol = "tcp",
    while_off: bool = False,
) -> Commands:
    """
    Have ports open to some sources, and over neither TCP nor UDP to anyone else, where iptables or
    ip6tables is in use.

    Each rule stands once, before all that refuses packets. A rule that opens one of these ports
    to anywhere is taken out, or keeps its other ports, unless that is asked for. All other rules
    stay, those for SSH too, and the saved ones stay as they were saved: those that libvirt and
    CloudStack add at run time are not among them.

    + ports: port numbers, or ranges such as 5900:6100
    + sources: networks with their prefix, or `ANYWHERE` alone
    + protocol: over what they are open
    + while_off: whether the saved rules are made so where a service is off; else they stay
    """
    present = host.get_fact(Rules)
    shut = frozenset[int]() if ANYWHERE in sources else closed(ports)
    if present and present.active and shut:
        _warn(present, sources)

    def wanted(_: str, version: int) -> list[str]:
        return _accepting(ports, sources, version, protocol)

    yield from _set(present, wanted, shut, while_off)


@operation()
def ssh(sources: tuple[str, ...] | None, while_off: bool = False) -> Commands:
    """
    Have SSH open to some sources. What a rule says of SSH already stays as it is.

    + sources: networks with their prefix; None: as it is, if the workstation's connection is let
      in already, or refused by a rule for SSH, else anyone
    + while_off: whether the saved rules are made so where a service is off; else they stay
    """
    present = host.get_fact(Rules)

    def wanted(text: str, version: int) -> list[str]:
        if sources is not None:
            return _accepting((SSH,), sources, version)
        who = present.workstation if present else None
        return [] if _decided(text, version, who) else _accepting((SSH,), (ANYWHERE,), version)

    yield from _set(present, wanted, frozenset(), while_off)


def _set(
    present: Iptables | None, wanted: Wanted, shut: Collection[int], while_off: bool
) -> Commands:
    if present is None:
        yield from unknown("iptables' rules")
        return
    prepared = while_off and not present.firewalld
    if families := present.families if prepared else present.active:
        try:
            # all at once, since a dry run follows an operation no further than its first command
            commands = [
                command
                for version, family in families.items()
                for command in _changes(version, family, wanted, shut)
            ]
        except ValueError as error:
            yield from fail(str(error))
        else:
            yield from commands
    elif present.firewalld:
        yield from fail("firewalld is on, but this host's firewall_backend is iptables")
    else:
        host.noop("the service iptables is off, and stays as it is")


def _changes(version: int, family: Family, wanted: Wanted, shut: Collection[int]) -> Commands:
    """Yield the commands for one version of IP.

    Raises ValueError when its saved file cannot be changed.
    """
    program = PROGRAMS[version]
    path = saved_path(program)
    if family.active:
        needed = changes(input_chain(family.running), wanted(family.running, version), shut)
        if commands := [*needed.commands(program)]:
            yield StringCommand(" && ".join(commands))
    text = EMPTY if family.saved is None else family.saved
    try:
        saved = set_rules(text, wanted(text, version), shut)
    except ValueError as error:
        raise ValueError(f"{path} cannot be changed: {error}") from None
    if saved != text:
        yield from write(path, family.saved, saved, mode="600")


def _accepting(
    ports: tuple[str, ...], sources: tuple[str, ...], version: int, protocol: Protocol = "tcp"
) -> list[str]:
    mine = (source for source in sources if source == ANYWHERE or _version(source) == version)
    return [accepting(port, source, protocol) for source, port in product(mine, ports)]


def _version(source: str) -> int:
    return ip_network(source).version


def _decided(text: str, version: int, who: IPAddress | None) -> bool:
    """Return whether there is nothing to open for somebody: not so if it is the other IP's."""
    if who and who.version != version:
        return True
    return admits_ssh(input_chain(text), who) is not None or accepts_the_rest(text)


def _warn(present: Iptables, sources: tuple[str, ...]) -> None:
    """Say what leaves ports open to anyone although no rule names them."""
    for version, family in present.families.items():
        program = PROGRAMS[version]
        if not family.active and version in map(_version, sources):
            host.log(f"open to anyone over IPv{version}: {program} is off", logger.warning)
        rules = input_chain(family.running) + input_chain(family.saved or "")
        for rule in wide_open(tuple(dict.fromkeys(rules))):
            host.log(f"open to anyone by a rule of {program}: {rule}", logger.warning)
        if accepts_the_rest(family.running):
            host.log(f"open to anyone: INPUT of {program} refuses nothing", logger.warning)
