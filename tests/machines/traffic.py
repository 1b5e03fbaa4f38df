"""Traffic between two machines through their bridges."""

from tests.lab.fleet import Node


def reaches(source: Node, source_bridge: str, target: Node, target_bridge: str) -> bool:
    """Whether an address on one machine's bridge reaches one on the other's, and only that way.

    Both get an address of a network that is on no other interface, for this question alone.
    """
    source.run(f"ip address replace 198.18.0.1/24 dev {source_bridge}")
    target.run(f"ip address replace 198.18.0.2/24 dev {target_bridge}")
    try:
        ping = f"ping -q -c 3 -i 0.5 -W 2 -I {source_bridge} 198.18.0.2"
        return source.run(ping, check=False).returncode == 0
    finally:
        source.run(f"ip address delete 198.18.0.1/24 dev {source_bridge}")
        target.run(f"ip address delete 198.18.0.2/24 dev {target_bridge}")
