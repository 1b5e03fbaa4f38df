"""Rules of ufw. None of these operations switches it on or off."""

from collections.abc import Iterable, Mapping
from itertools import product

from pyinfra import host, logger
from pyinfra.api import StringCommand

from kvmhost.facts.files import Text
from kvmhost.facts.ufw import DEFAULTS, Rules, Ufw
from kvmhost.firewall import ANYWHERE, SSH, Protocol, closed
from kvmhost.keyvalue import SHELL, set_keys
from kvmhost.operations.commands import Commands, operation, unknown
from kvmhost.operations.files import write
from kvmhost.ufw import Rule, allowing, closing, deciding, opening, wide_open


@operation()
def defaults(values: Mapping[str, str]) -> Commands:
    """
    Set what ufw does where no rule says anything, such as its way with the guests' packets.

    + values: values of variables in /etc/default/ufw
    """
    present = host.get_fact(Text, path=DEFAULTS)
    if present is None:
        yield from unknown(DEFAULTS)
        return
    text = set_keys(present.text or "", values, SHELL)
    if text != present.text:
        yield from write(DEFAULTS, present.text, text, mode="644")
        yield StringCommand("if ufw status | grep -q 'Status: active'; then ufw reload; fi")


@operation()
def allow(ports: tuple[str, ...], sources: tuple[str, ...], protocol: Protocol = "tcp") -> Commands:
    """
    Have ports open to some sources, and over neither TCP nor UDP to anyone else, IPv4 and IPv6.

    A rule that opens one of these ports to anywhere is taken out, or keeps its other ports, unless
    that is asked for: CloudStack's own setup adds such rules. Rules for other sources stay, and
    those for SSH.

    + ports: port numbers, or ranges such as 5900:6100
    + sources: networks with their prefix, or `ANYWHERE` alone
    + protocol: over what they are open
    """
    present = host.get_fact(Rules)
    if present is None:
        yield from unknown("ufw's rules")
        return
    changes = [*opening(present.rules, _wanted(present, ports, sources, protocol))]
    if ANYWHERE not in sources:
        changes += closing(present.rules, closed(ports))
        for rule in wide_open(present.rules, closed(ports)):
            host.log(f"open to anyone by ufw's rule: {rule.command()}", logger.warning)
    yield from _told(changes)


@operation()
def ssh(sources: tuple[str, ...] | None) -> Commands:
    """
    Have SSH open to some sources. What a rule says of SSH already stays as it is.

    + sources: networks with their prefix; None: as it is, if the workstation's connection is let
      in already, or refused by a rule for SSH, else anyone
    """
    present = host.get_fact(Rules)
    if present is None:
        yield from unknown("ufw's rules")
        return
    if sources is None:
        rule = deciding(present.rules, SSH, present.workstation)
        if rule and not rule.admits and rule.ports != "any":
            host.log(f"refused SSH by ufw's rule: {rule.command()}", logger.warning)
            return
        if rule.admits if rule else present.accepts:
            host.noop("who may reach SSH is left as it is")
            return
    wanted = _wanted(present, (SSH,), (ANYWHERE,) if sources is None else sources)
    missing = [
        rule for rule in wanted if not any(each.takes_the_place_of(rule) for each in present.rules)
    ]
    yield from _told(opening(present.rules, missing))


def _wanted(
    present: Ufw, ports: tuple[str, ...], sources: tuple[str, ...], protocol: Protocol = "tcp"
) -> list[Rule]:
    rules = [
        rule
        for source, port in product(sources, ports)
        for rule in allowing(port, source, protocol)
    ]
    return [rule for rule in rules if present.ipv6 or rule.source.version == 4]


def _told(changes: Iterable[str]) -> Commands:
    commands = [f"ufw {change}" for change in dict.fromkeys(changes)]
    if commands:
        yield StringCommand(" && ".join(commands))
