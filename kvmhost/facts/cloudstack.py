"""What CloudStack has made of a host."""

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override


class AddedHost(FactBase[bool]):
    """Whether CloudStack has added the host: from then on some settings are CloudStack's own.

    `cloudstack-setup-agent` leaves the host's certificate behind. An answer that is neither yes nor
    no fails the host, since a host that is taken for a new one would lose what CloudStack has set.
    """

    @override
    def command(self) -> str:
        return "if [ -e /etc/cloudstack/agent/cloud.crt ]; then echo added; else echo bare; fi"

    @override
    def process(self, output: list[str]) -> bool:
        if output not in (["added"], ["bare"]):
            raise FactProcessError(f"it is not said whether CloudStack has added it: {output[0]!r}")
        return output == ["added"]
