"""Configure Open vSwitch (guide, 'Configure the network using OpenVswitch')."""

from pyinfra.api import deploy


@deploy("Open vSwitch")
def bridges_ovs() -> None:
    """Have the fake bridges."""
