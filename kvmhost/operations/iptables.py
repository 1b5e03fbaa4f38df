"""Rules of iptables, now and after the next boot. None of this switches a firewall on or off."""

from itertools import product

from pyinfra import host
from pyinfra.api import StringCommand, operation

from kvmhost.facts.iptables import Iptables, Rules
from kvmhost.firewall import ANYWHERE
from kvmhost.iptables import EMPTY, SAVED, accepting, changes, set_rules
from kvmhost.operations.commands import Commands, fail, unknown
from kvmhost.operations.files import write


@operation()
def accept(ports: tuple[str, ...], sources: tuple[str, ...]) -> Commands:
    """
    Have TCP ports open to some sources, and not to anyone else, where iptables is in use.

    Each rule stands once, before all that refuses packets. A rule that opens one of these ports
    to anywhere is taken out, unless that is asked for. All other rules stay, and the saved ones
    stay as they were saved: those that libvirt and CloudStack add at run time are not among them.

    + ports: port numbers, or ranges such as 5900:6100
    + sources: networks with their prefix, or `ANYWHERE` alone
    """
    present = host.get_fact(Rules)
    if present is None:
        yield from unknown("iptables' rules")
    elif present.active:
        # all at once, since a dry run follows an operation no further than its first command
        yield from list(_changes(present, ports, sources))
    elif present.firewalld:
        yield from fail("firewalld is on, but this host's firewall_backend is iptables")
    else:
        host.noop("the service iptables is off, and stays off")


def _changes(present: Iptables, ports: tuple[str, ...], sources: tuple[str, ...]) -> Commands:
    anywhere = ANYWHERE in sources
    wanted = [
        accepting(port, None if anywhere else source) for source, port in product(sources, ports)
    ]
    unwanted = [] if anywhere else [accepting(port, None) for port in ports]
    running = changes(present.chain, wanted, unwanted)
    commands = [f"iptables -D INPUT {rule}" for rule in running.removed]
    commands += [f"iptables -I INPUT {rule}" for rule in running.inserted]
    if commands:
        yield StringCommand(" && ".join(commands))
    saved = set_rules(present.saved or EMPTY, wanted, unwanted)
    if saved != present.saved:
        yield from write(SAVED, present.saved, saved, mode="600")
