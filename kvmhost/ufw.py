"""Rules of ufw: what its files say, who gets in by them, and how ufw is told to change them."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from shlex import join

from kvmhost.firewall import ANYWHERE, EVERYONE, IPAddress, IPNetwork, Protocol, numbers, ranges

_LONGEST = 7
"""As many ranges go into one rule: iptables' multiport(8) takes 15 ports, and a range is two."""
_TUPLE = re.compile(
    r"(?P<action>allow|limit|deny|reject)(?:_(?P<log>log|log-all))? (?P<protocol>\S+) "
    r"(?P<ports>\S+) (?P<destination>\S+) (?P<source_ports>\S+) (?P<source>\S+)"
    r"(?: (?P<app>\S+) (?P<source_app>\S+))??(?: in(?:_(?P<interface>[^\s!]+))?)?"
    r"(?: comment=(?P<comment>[0-9a-f]*))?"
)


@dataclass(frozen=True)
class Rule:
    """A rule for what comes in. Lists of ports are such as 80,5900:6100, or "any".

    `app` and `source_app` are names of application profiles, `interface` that on which it comes in;
    each may be empty. Sources and destinations are of one version of IP.
    """

    action: str
    protocol: str
    ports: str
    source: IPNetwork
    destination: IPNetwork
    source_ports: str = "any"
    app: str = ""
    source_app: str = ""
    interface: str = ""
    log: str = ""
    comment: str = ""

    @property
    def admits(self) -> bool:
        """Whether it lets in what it is about."""
        return self.action in ("allow", "limit")

    @property
    def conditional(self) -> bool:
        """Whether it asks for more than a protocol, a port and a source."""
        wide = self.destination in EVERYONE.values() and self.source_ports == "any"
        return not wide or self.interface != ""

    def concerns(self, ports: Collection[int]) -> bool:
        """Whether it says something of any of these TCP or UDP ports."""
        return self.protocol in ("any", "tcp", "udp") and (
            self.ports == "any" or not numbers(self.ports).isdisjoint(ports)
        )

    def opens_to_anyone(self, ports: Collection[int]) -> bool:
        """Whether it lets everyone in who comes from outside, to some of these ports."""
        wide = self.source in EVERYONE.values() and self.interface != "lo"
        return self.admits and wide and self.concerns(ports)

    def refuses(self, wanted: "Rule") -> bool:
        """Whether nothing of what another rule lets in gets past this one."""
        return (
            not self.admits
            and not self.conditional
            and self.protocol in ("any", wanted.protocol)
            and (self.ports == "any" or numbers(wanted.ports) <= numbers(self.ports))
            and self.source.version == wanted.source.version
            and wanted.source.subnet_of(self.source)  # type: ignore[arg-type]
        )

    def takes_the_place_of(self, other: "Rule") -> bool:
        """Whether ufw takes the two for one: they differ in what they do at most (ufw(8))."""
        return self == replace(other, action=self.action, log=self.log, comment=self.comment)

    def command(self, source: str | None = None) -> str:
        """Return it in the syntax of ufw(8). An application's protocol and ports go unsaid.

        source: how to say whence; None: so that it is of its own version of IP.
        """
        apps = self.app or self.source_app
        destination = ANYWHERE if self.destination in EVERYONE.values() else self.destination
        words = (
            self.action,
            *(("in", "on", self.interface) if self.interface else ()),
            *((self.log,) if self.log else ()),
            *(("proto", self.protocol) if self.protocol != "any" and not apps else ()),
            *("from", source or _address(self.source), *_end(self.source_app, self.source_ports)),
            *("to", str(destination), *_end(self.app, self.ports)),
            *(("comment", self.comment) if self.comment else ()),
        )
        return join(words)


def allowing(port: str, source: str, protocol: Protocol = "tcp") -> tuple[Rule, ...]:
    """Return the rules that let someone in, one for each version of IP where that is anyone.

    port: a port, or a range such as 5900:6100. source: a network, or `ANYWHERE`.
    """
    networks = EVERYONE.values() if source == ANYWHERE else (ip_network(source),)
    return tuple(Rule("allow", protocol, port, each, EVERYONE[each.version]) for each in networks)


def parse(line: str, version: int) -> Rule | None:
    """Return the rule of a line `### tuple ###`, without that; None: not of what comes in.

    The lines are those of user.rules and user6.rules as ufw 0.31 to 0.36 write them: with
    applications or without, with a direction or without (backend_iptables.py, _read_rules).
    None stands for rules of what goes out or through (`route:`), and for what ufw skips too.
    """
    match = _TUPLE.fullmatch(" ".join(line.split()))
    if not match:
        return None
    said = {key: value or "" for key, value in match.groupdict().items()}
    apps = {key: said[key].removeprefix("-").replace("%20", " ") for key in ("app", "source_app")}
    try:
        networks = {key: _network(said[key], version) for key in ("source", "destination")}
        comment = bytes.fromhex(said["comment"]).decode()
        rule = Rule(**said | apps | networks | {"comment": comment})  # type: ignore[arg-type]
        rule.concerns(())
    except ValueError:
        return None
    return rule


def opening(rules: Sequence[Rule], wanted: Sequence[Rule]) -> list[str]:
    """Return what ufw has to be told so that each wanted rule stands before all that refuses it."""
    plain = [replace(each, log="", comment="") for each in rules]
    deleted, added = [], []
    for rule in wanted:
        ahead = rules[: plain.index(rule)] if rule in plain else rules
        command = rule.command(ANYWHERE if rule.source in EVERYONE.values() else None)
        if any(each.refuses(rule) for each in ahead):
            # ufw puts nothing in front that it has already
            deleted += [_deleted(each) for each in rules if each.takes_the_place_of(rule)]
            added.append(f"prepend {command}")
        elif rule not in plain:
            added.append(command)
    return deleted + added


def closing(rules: Sequence[Rule], ports: Collection[int]) -> Iterator[str]:
    """Yield what ufw has to be told so that no rule that names ports opens these to anyone.

    What else such a rule opens stays open. A rule that names none is left: see `wide_open`.
    """
    found = [rule for rule in rules if rule.opens_to_anyone(ports) and rule.ports != "any"]
    deleted = dict.fromkeys(_deleted(rule) for rule in found)
    for rule in rules:
        if _deleted(rule) in deleted:
            rest = ranges(numbers(rule.ports) - set(ports))
            for at in range(0, len(rest), _LONGEST):
                some = ",".join(rest[at : at + _LONGEST])
                yield replace(rule, app="", source_app="", ports=some).command()
    yield from deleted


def wide_open(rules: Sequence[Rule], ports: Collection[int]) -> Iterator[Rule]:
    """Yield the rules that let anyone in to these ports without naming any."""
    return (rule for rule in rules if rule.ports == "any" and rule.opens_to_anyone(ports))


def deciding(rules: Sequence[Rule], port: str, who: IPAddress | None) -> Rule | None:
    """Return the rule that decides on someone's way to a TCP port; None: there is none.

    A rule that refuses under some condition is passed over. who: None: anyone at all.
    """
    for rule in rules:
        if (
            rule.concerns(numbers(port))
            and rule.protocol != "udp"
            and (who is None or who in rule.source)
            and (rule.admits or not rule.conditional)
        ):
            return rule
    return None


def _deleted(rule: Rule) -> str:
    return f"delete {replace(rule, comment='').command()}"


def _end(app: str, ports: str) -> tuple[str, ...]:
    if app:
        return ("app", app)
    return () if ports == "any" else ("port", ports)


def _address(network: IPNetwork) -> str:
    """Return a network as ufw itself writes it: a single address has no prefix."""
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address if single else network)


def _network(text: str, version: int) -> IPNetwork:
    network = ip_network(text, strict=False)
    return EVERYONE[version] if network in EVERYONE.values() else network
