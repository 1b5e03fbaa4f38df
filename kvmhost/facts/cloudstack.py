"""What CloudStack has made of a host."""

from collections.abc import Collection

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

CERTIFICATE = "/etc/cloudstack/agent/cloud.crt"
"""The host's certificate, which `cloudstack-setup-agent` leaves behind when the host is added."""
CERTIFIED_COMMAND = (
    f"openssl x509 -noout -text -in {CERTIFICATE} 2>/dev/null | "
    "tr ',' '\\n' | sed -n 's/^ *IP Address:\\([0-9.]*\\)$/\\1/p'"
)
"""Prints the IPv4 addresses that the certificate bears, one a line."""
ANEW = (
    "have CloudStack put it into maintenance mode and remove it, delete "
    "/etc/cloudstack/agent/cloud.* there, run this again, and have CloudStack add it anew"
)
"""What to do about a host whose certificate, and CloudStack's records, bear what is to change."""


def known_by(certified: Collection[str], present: Collection[str]) -> Collection[str]:
    """Return the addresses by which CloudStack may know an added host.

    certified: those that its certificate bears. present: those that it has; they count where it
    has none of the certificate's, which may be a NAT's, or bear none.
    """
    return certified if set(certified) & set(present) else {*certified, *present}


class AddedHost(FactBase[bool]):
    """Whether CloudStack has added the host: from then on some settings are CloudStack's own.

    An answer that is neither yes nor no fails the host, since a host that is taken for a new one
    would lose what CloudStack has set.
    """

    @override
    def command(self) -> str:
        return f"if [ -e {CERTIFICATE} ]; then echo added; else echo bare; fi"

    @override
    def process(self, output: list[str]) -> bool:
        if output not in (["added"], ["bare"]):
            raise FactProcessError(f"it is not said whether CloudStack has added it: {output[0]!r}")
        return output == ["added"]
