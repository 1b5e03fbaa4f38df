"""Rules of an INPUT chain of iptables or ip6tables, in a running chain and in a saved one."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import takewhile
from shlex import join
from socket import getservbyname

from kvmhost.firewall import (
    ANYWHERE,
    EVERYONE,
    SSH,
    IPAddress,
    IPNetwork,
    Protocol,
    numbers,
    ranges,
)

PROGRAMS = {4: "iptables", 6: "ip6tables"}
"""The programs, by their version of IP. Their services have the same names."""
EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
"""A saved file without a rule, in the form of iptables-save(8)."""

# iptables-save -c puts the counters of packets and bytes in front
_INPUT = re.compile(r"(?:\[\d+:\d+\] )?-A INPUT (.*?)\s*")
_POLICY = re.compile(r"(?:-P INPUT|:INPUT) ACCEPT\b.*")
STOPS_FORWARDING = (
    r"(\[[0-9]+:[0-9]+\] )?-A FORWARD"
    r"""( -m comment --comment ("(\\.|[^"\\])*"|[^ "]+))? -j (REJECT|DROP)( .*)?$"""
)
"""A saved rule that refuses all that no rule before it let through, as sed -E and re have it."""
FORWARD_POLICY = ":FORWARD DROP"
_REFUSES = re.compile(r"-j (REJECT|DROP)(?!\S)")
_WORD = r'"(?:\\.|[^"\\])*"|[^\s"]+'
_OPTION = re.compile(
    rf"(?<!\S)(?P<negation>! +)?(?P<name>--?[a-zA-Z][\w-]*)(?P<values>(?: +(?!-|! )(?:{_WORD}))*)"
)
_NAMES = {
    "--protocol": "-p",
    "--source": "-s",
    "--src": "-s",
    "--destination": "-d",
    "--dst": "-d",
    "--in-interface": "-i",
    "--jump": "-j",
    "--match": "-m",
    "--dports": "--dport",
    "--destination-port": "--dport",
    "--destination-ports": "--dport",
    "--ports": "--dport",
    "--ctstate": "--state",
}
"""Options that say the same as another, which `_Rule` reads."""
_PLAIN = {"-p", "-s", "-j", "-m", "--dport", "--state", "--comment", "--reject-with"}
_CLEAR = {
    *_PLAIN,
    *("-d", "-i", "--sport", "--syn", "--tcp-flags", "--limit", "--limit-burst", "--dst-type"),
    *("--set", "--name", "--mask", "--rsource"),
    *(f"--hashlimit-{each}" for each in ("upto", "burst", "mode", "name", "srcmask")),
    *(f"--hashlimit-htable-{each}" for each in ("size", "max", "expire", "gcinterval")),
}
"""Options that ask for nothing, and those that bar nobody who comes from outside."""
_UNKNOWN = frozenset[int]()
"""The ports of a rule that names some which are not known here."""


@dataclass(frozen=True)
class Changes:
    """What makes a chain as it is wanted.

    `kept` are rules to put in by the number of the rule that they come to stand before, with the
    ports that a removed one has opened and may; `removed` are taken out, each as often as it is
    there; `inserted` go to the front.
    """

    kept: tuple[tuple[int, str], ...]
    removed: tuple[str, ...]
    inserted: tuple[str, ...]

    def commands(self, program: str) -> Iterator[str]:
        """Yield the commands, in an order in which the numbers stay true."""
        for number, rule in reversed(self.kept):
            yield join((program, "-I", "INPUT", str(number), *_words(rule)))
        for rule in self.removed:
            yield join((program, "-D", "INPUT", *_words(rule)))
        for rule in self.inserted:
            yield join((program, "-I", "INPUT", *_words(rule)))


@dataclass(frozen=True)
class _Rule:
    """What a rule says, as far as it is told here.

    `ports` are None when it names none; `at` is where it names them, `option` how. `new` says
    whether new connections from outside are meant, `plain` whether it asks for no more than all
    this, `clear` whether what more it asks for bars nobody outside.
    """

    target: str
    protocol: str
    source: IPNetwork | None
    ports: frozenset[int] | None
    at: tuple[int, int]
    option: str
    new: bool
    plain: bool
    clear: bool

    @property
    def opens(self) -> bool:
        """Whether it lets in new connections of TCP or UDP."""
        return self.target == "ACCEPT" and self.new and self.protocol in ("tcp", "udp", "all")

    @property
    def refuses(self) -> bool:
        """Whether it refuses, and asks for no more than protocol, source and ports."""
        return self.target in ("DROP", "REJECT") and self.new and self.plain

    @property
    def opens_to_anyone(self) -> bool:
        return self.opens and self.clear and self.source in (None, *EVERYONE.values())


def saved_path(program: str) -> str:
    """Return the file from which iptables-services, and EL 6, restore the rules at boot."""
    return f"/etc/sysconfig/{program}"


def in_use(program: str) -> str:
    """Return a shell command that tells whether the service is on, with systemd or without."""
    return (
        f"{{ systemctl is-active --quiet {program} || service {program} status; }} >/dev/null 2>&1"
    )


def accepting(port: str, source: str, protocol: Protocol = "tcp") -> str:
    """Return the rule that lets someone in, as iptables-save(8) writes it after `-A INPUT`.

    port: a port, or a range such as 5900:6100. source: a network with its prefix, or `ANYWHERE`.
    """
    anyone = source == ANYWHERE or ip_network(source) in EVERYONE.values()
    origin = "" if anyone else f"-s {source} "
    return f"{origin}-p {protocol} -m {protocol} --dport {port} -j ACCEPT"


def input_chain(text: str) -> tuple[str, ...]:
    """Return the rules of the filter table's INPUT chain, without `-A INPUT`, in their order.

    text: the output of iptables-save(8), or of `iptables -S INPUT`, which names no table.
    """
    return tuple(_input_rules(text.split("\n")).values())


def accepts_the_rest(text: str) -> bool:
    """Return whether INPUT lets in what no rule of it speaks of; text: as for `input_chain`."""
    policies = (_POLICY.fullmatch(line) for line in _filter(text.split("\n")).values())
    return any(policies) and not any(
        rule.refuses and rule.protocol == "all" and rule.source is None and rule.ports is None
        for rule in map(_said, input_chain(text))
    )


def changes(chain: Sequence[str], wanted: Sequence[str], closed: Collection[int]) -> Changes:
    """Return what makes each wanted rule stand once in a chain, before all that refuses packets.

    No rule that names ports opens one of the `closed` to anyone afterwards, over TCP or UDP; what
    else it opens stays open. What is inserted goes to the front one after the other, as
    `iptables -I` does.
    """
    effective = list(takewhile(lambda rule: not _REFUSES.search(rule), chain))
    misplaced = [rule for rule in wanted if not (rule in effective and chain.count(rule) == 1)]
    narrower = {rule: _narrower(rule, closed) for rule in chain if rule not in misplaced}
    return Changes(
        kept=tuple(
            (number, each)
            for number, rule in enumerate(chain, start=1)
            for each in narrower.get(rule) or ()
        ),
        removed=tuple(
            rule for rule in chain if rule in misplaced or narrower.get(rule) is not None
        ),
        inserted=tuple(misplaced),
    )


def set_rules(text: str, wanted: Sequence[str], closed: Collection[int]) -> str:
    """Return a saved file's text with what `changes` has, for the same arguments.

    All other lines stay as they are, other tables included.

    Raises ValueError when the text has no filter table, or one without an end.
    """
    lines = text.split("\n")
    rules = _input_rules(lines)
    needed = changes(list(rules.values()), wanted, closed)
    end = _end_of_filter(lines)
    front = min(rules, default=end)
    result: list[str] = []
    number = 0
    for at, line in enumerate(lines):
        if at == front:
            result += (f"-A INPUT {rule}" for rule in reversed(needed.inserted))
        if at in rules:
            number += 1
            result += (f"-A INPUT {rule}" for before, rule in needed.kept if before == number)
        if rules.get(at) not in needed.removed:
            result.append(line)
    return "\n".join(result)


def forwarding(text: str) -> str:
    """Return a saved file's text whose FORWARD lets through what no rule of it speaks of.

    iptables-services brings a rule that refuses all of it, which cloudstack-setup-agent takes out.
    """
    lines = text.split("\n")
    mine = _filter(lines)
    return "\n".join(
        re.sub(f"^{FORWARD_POLICY}", ":FORWARD ACCEPT", line) if at in mine else line
        for at, line in enumerate(lines)
        if at not in mine or not re.match(STOPS_FORWARDING, line)
    )


def wide_open(chain: Sequence[str]) -> Iterator[str]:
    """Yield the rules that let anyone in without naming ports, or by ports that are not known."""
    for rule in chain:
        said = _said(rule)
        if (said.opens_to_anyone and said.ports is None) or (said.opens and said.ports == _UNKNOWN):
            yield rule


def admits_ssh(chain: Sequence[str], who: IPAddress | None) -> bool | None:
    """Return whether someone's way to SSH is open, or shut by a rule that names it; None: neither.

    What lets in under a condition that is not understood counts as open, what refuses under some
    condition does not count. who: None: anyone at all.
    """
    for rule in chain:
        said = _said(rule)
        concerned = said.protocol in ("tcp", "all") and (
            said.ports is None or numbers(SSH) <= said.ports
        )
        if not concerned or not (who is None or said.source is None or who in said.source):
            continue
        if said.opens:
            return True
        if said.refuses:
            return None if said.ports is None else False
    return None


def _narrower(rule: str, closed: Collection[int]) -> list[str] | None:
    """Return rules that open what a rule opens but for some ports; None: it opens none of them."""
    said = _said(rule)
    if not said.opens_to_anyone or said.ports is None or said.ports.isdisjoint(closed):
        return None
    before, after = rule[: said.at[0]], rule[said.at[1] :]
    return [f"{before}{said.option} {rest}{after}" for rest in ranges(said.ports - set(closed))]


def _said(rule: str) -> _Rule:
    """Return what a rule says; see iptables(8) and iptables-extensions(8)."""
    values: dict[str, str] = {}
    negated: set[str] = set()
    at, written = (0, 0), ""
    for option in _OPTION.finditer(rule):
        name = _NAMES.get(option["name"], option["name"])
        values[name] = option["values"].strip()
        if option["negation"]:
            negated.add(name)
        if name == "--dport":
            at, written = option.span(), option["name"]
    protocol = values.get("-p", "all")
    new = ("NEW" in values.get("--state", "NEW").split(",")) != ("--state" in negated)
    understood = values.keys() <= _CLEAR and negated.isdisjoint(("-p", "-s"))
    try:
        source = ip_network(values["-s"], strict=False) if "-s" in values else None
        ports = _ports(values["--dport"]) if "--dport" in values else None
    except ValueError:
        understood, source, ports = False, None, _UNKNOWN
    if ports is not None and "--dport" in negated:
        ports = numbers("0:65535") - ports
    return _Rule(
        target=values.get("-j", ""),
        protocol={"6": "tcp", "17": "udp", "0": "all"}.get(protocol, protocol),
        source=source,
        ports=ports,
        at=at,
        option=written,
        new=new and (values.get("-i") != "lo" or "-i" in negated),
        plain=values.keys() <= _PLAIN and not negated,
        clear=understood,
    )


def _ports(text: str) -> frozenset[int]:
    """Return the ports of a list, which may be named as in services(5).

    Raises ValueError for what is none.
    """
    try:
        return numbers(text)
    except ValueError:
        return frozenset((_service(text),))


def _service(name: str) -> int:
    try:
        return getservbyname(name)
    except OSError:
        raise ValueError(f"{name} is no port") from None


def _input_rules(lines: Sequence[str]) -> dict[int, str]:
    """Return the rules of the filter table's INPUT chain, by the number of their line."""
    matches = {at: _INPUT.fullmatch(line) for at, line in _filter(lines).items()}
    return {at: match[1] for at, match in matches.items() if match}


def _filter(lines: Sequence[str]) -> dict[int, str]:
    """Return the lines of the filter table, by their number; without a table, all are its."""
    found: dict[int, str] = {}
    table = "filter"
    for at, line in enumerate(lines):
        if line.startswith("*"):
            table = line[1:].strip()
        elif table == "filter":
            found[at] = line
    return found


def _end_of_filter(lines: Sequence[str]) -> int:
    """Return the number of the line that ends the filter table.

    Raises ValueError when there is none.
    """
    ends = [at for at, line in _filter(lines).items() if line.strip() == "COMMIT"]
    if not ends or "*filter" not in (line.strip() for line in lines[: ends[0]]):
        raise ValueError("it has no table filter from *filter to COMMIT")
    return ends[0]


def _words(rule: str) -> list[str]:
    """Return the words of a rule, as a shell would have them (xtables_save_string in iptables)."""
    words = re.findall(_WORD, rule)
    return [re.sub(r"\\(.)", r"\1", word[1:-1]) if word[0] == '"' else word for word in words]
