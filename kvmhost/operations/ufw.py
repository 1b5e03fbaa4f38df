"""Rules of ufw. None of these operations switches it on or off."""

from itertools import product
from shlex import quote

from pyinfra import host
from pyinfra.api import StringCommand, operation

from kvmhost.facts.files import Text
from kvmhost.facts.ufw import Allowed, Rules
from kvmhost.firewall import ANYWHERE
from kvmhost.keyvalue import SHELL, set_keys
from kvmhost.operations.commands import Commands, unknown
from kvmhost.operations.files import write

_DEFAULTS = "/etc/default/ufw"


@operation()
def allow(ports: tuple[str, ...], sources: tuple[str, ...]) -> Commands:
    """
    Have TCP ports open to some sources, and not to anyone else.

    A rule that opens one of these ports to anywhere is taken out, unless that is asked for:
    CloudStack's own setup adds such rules. Rules for other sources stay.

    + ports: port numbers, or ranges such as 5900:6100
    + sources: networks with their prefix, or `ANYWHERE` alone
    """
    present = host.get_fact(Rules)
    if present is None:
        yield from unknown("ufw's rules")
        return
    wanted = [Allowed(port, _address(source)) for source, port in product(sources, ports)]
    surplus = [Allowed(port, ANYWHERE) for port in ports if ANYWHERE not in sources]
    changes = [_rule(rule) for rule in wanted if rule not in present.allowed]
    changes += [f"delete {_rule(rule)}" for rule in surplus if rule in present.allowed]
    if changes:
        yield StringCommand(" && ".join(f"ufw {change}" for change in changes))


@operation()
def forward_policy(policy: str) -> Commands:
    """
    Have ufw treat forwarded packets so, guests' packets on a bridge among them.

    + policy: ACCEPT, DROP or REJECT
    """
    present = host.get_fact(Text, path=_DEFAULTS)
    if present is None:
        yield from unknown(_DEFAULTS)
        return
    text = set_keys(present.text or "", {"DEFAULT_FORWARD_POLICY": f'"{policy}"'}, SHELL)
    if text != present.text:
        yield from write(_DEFAULTS, present.text, text, mode="644")
        yield StringCommand("if ufw status | grep -q 'Status: active'; then ufw reload; fi")


def _address(source: str) -> str:
    """Return a network as ufw itself writes it: a single address has no prefix."""
    return source.removesuffix("/32")


def _rule(rule: Allowed) -> str:
    return f"allow proto tcp from {quote(rule.source)} to any port {quote(rule.port)}"
