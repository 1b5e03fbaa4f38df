"""What CloudStack has made of a host."""

from pyinfra.api import FactBase
from typing_extensions import override


class AddedHost(FactBase[bool]):
    """Whether CloudStack has added the host: from then on some settings are CloudStack's own.

    `cloudstack-setup-agent` leaves the host's certificate behind.
    """

    @override
    def command(self) -> str:
        return "if [ -e /etc/cloudstack/agent/cloud.crt ]; then echo added; else echo bare; fi"

    @override
    def process(self, output: list[str]) -> bool:
        return output == ["added"]
