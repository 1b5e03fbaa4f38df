"""Traffic between two machines through their bridges."""

from collections.abc import Sequence
from itertools import pairwise

from tests.lab.fleet import Node

# a bridge that was made anew has another MAC address than the neighbours remember
_PREPARE = "ip address replace {address} dev {bridge}; ip neighbour flush dev {bridge}"


def reaches(source: Node, source_bridge: str, target: Node, target_bridge: str) -> bool:
    """Whether an address on one machine's bridge reaches one on the other's, and only that way.

    Both get an address of a network that is on no other interface, for this question alone.
    """
    source.run(_PREPARE.format(address="198.18.0.1/24", bridge=source_bridge))
    target.run(_PREPARE.format(address="198.18.0.2/24", bridge=target_bridge))
    try:
        ping = f"ping -q -c 1 -w 8 -I {source_bridge} 198.18.0.2"
        return source.run(ping, check=False).returncode == 0
    finally:
        source.run(f"ip address delete 198.18.0.1/24 dev {source_bridge}")
        target.run(f"ip address delete 198.18.0.2/24 dev {target_bridge}")


def assert_vlans_carry_traffic(machines: Sequence[Node]) -> None:
    """Each bridge of a machine reaches its like on the next one; none reaches across."""
    for one, other in pairwise(machines):
        assert reaches(one, "cloudbr0", other, "cloudbr0"), (one.name, other.name)
        assert reaches(one, "cloudbr1", other, "cloudbr1"), (one.name, other.name)
    assert not reaches(machines[0], "cloudbr0", machines[-1], "cloudbr1")
