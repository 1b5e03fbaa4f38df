"""The ports that a hypervisor opens, and the rules in which iptables shows them."""

from ipaddress import ip_interface

from tests.lab.fleet import Node

PORTS = ("1798", "16509", "16514", "5900:6100", "49152:49216")
_REFUSED = "-A INPUT -j REJECT --reject-with icmp-host-prohibited"


_GUESTS = """\
set -e
trap 'ip netns delete guest1; ip netns delete guest2; ip link delete between' EXIT
ip link add between type bridge; ip link set between up
for number in 1 2; do
    ip netns add guest$number
    ip link add guest$number type veth peer name eth0 netns guest$number
    ip link set guest$number master between up
    ip -n guest$number link set eth0 up
    ip -n guest$number address add 198.18.0.$number/24 dev eth0
    ip -n guest$number address add 2001:db8::$number/64 dev eth0 nodad
done
for address in 198.18.0.2 2001:db8::2; do
    ip netns exec guest1 ping -q -c 1 -w 8 $address && echo through
done
"""
"""Sends a packet through a bridge of the host, over either IP, from a namespace to another."""


def lets_guests_through(host: Node) -> bool:
    """Whether the packets of guests pass the host's firewall, which sees them (br_netfilter)."""
    seen = host.run("cat /proc/sys/net/bridge/bridge-nf-call-ip*tables").stdout.split()
    assert seen == ["1", "1"]
    return host.run(_GUESTS, check=False).stdout.count("through") == 2


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
