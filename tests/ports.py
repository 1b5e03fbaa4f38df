"""The ports that a hypervisor opens, and the rules in which iptables shows them."""

from ipaddress import ip_interface

from tests.lab.fleet import Node

PORTS = ("1798", "16509", "16514", "5900:6100", "49152:49216")
_REFUSED = "-A INPUT -j REJECT --reject-with icmp-host-prohibited"


def rules_before_refusal(host: Node) -> list[str]:
    """Return the rules that count, of which each of ours is one: what comes later is refused."""
    rules = host.run("iptables -S INPUT").stdout.splitlines()
    before = rules[: rules.index(_REFUSED)]
    sources = ip_interface(host.address).network
    for port in PORTS:
        ours = f"-A INPUT -s {sources} -p tcp -m tcp --dport {port} -j ACCEPT"
        assert before.count(ours) == rules.count(ours) == 1
        assert f"-A INPUT -p tcp -m tcp --dport {port} -j ACCEPT" not in rules
    return before
