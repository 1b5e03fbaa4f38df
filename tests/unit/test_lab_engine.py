"""What the lab reads of its workstation."""

from ipaddress import IPv4Address

from tests.lab.engine import default_interface, reachable_name_servers

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
ens3	00020A0A	00000000	0001	0	0	0	00FFFFFF	0	0	0
ens4	00000000	0100A8C0	0003	0	0	0	00000000	0	0	0
"""

RESOLV_CONF = """\
# nameserver 9.9.9.9
search example.org
nameserver 127.0.0.53
nameserver fe80::1%ens3
nameserver 192.168.1.1
options edns0
"""


def test_default_interface() -> None:
    assert default_interface(ROUTES) == "ens4"
    assert default_interface(ROUTES.splitlines()[0]) is None


def test_nodes_get_only_name_servers_that_they_can_reach() -> None:
    assert list(reachable_name_servers(RESOLV_CONF)) == [IPv4Address("192.168.1.1")]
