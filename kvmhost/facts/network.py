"""A host's network: the files that configure it, and what the kernel has made of them."""

import json
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.cloudstack import CERTIFICATE, CERTIFIED_COMMAND
from kvmhost.facts.files import decoded
from kvmhost.facts.libvirt import GUESTS_COMMAND
from kvmhost.network.change import GUARD, Present
from kvmhost.network.interfaces import Address
from kvmhost.network.observed import ADDRESSES_COMMAND, ROUTES6_COMMAND, ROUTES_COMMAND
from kvmhost.network.ovs import STATE_COMMAND
from kvmhost.network.takeover import Resolvers

_JSON = {"addresses": ADDRESSES_COMMAND, "routes": ROUTES_COMMAND, "routes6": ROUTES6_COMMAND}


class Network(FactBase[Present | None]):
    """Files and kernel state of a host's network; None when the host did not answer.

    Where ip(8) is too old to write JSON, the network cannot be read.

    + paths: the files that configure it; a path may be a glob
    """

    @override
    def command(self, paths: Iterable[str]) -> str:
        return "; ".join(
            [
                f"for file in {' '.join(paths)}; do "
                '[ -f "$file" ] && echo "file $file $(base64 -w0 "$file")"; done',
                *(f'echo "{name} $({command})"' for name, command in _JSON.items()),
                "if [ -S /run/openvswitch/db.sock ]; then "
                f'echo "switch $({STATE_COMMAND} | base64 -w0)"; fi',
                # the stub of systemd-resolved, 127.0.0.53, does not say whom it asks
                "for file in /run/systemd/resolve/resolv.conf /etc/resolv.conf; do "
                'if [ -e "$file" ]; then grep -E "^(nameserver|search|domain)[[:space:]]" "$file" '
                '| sed "s/^/resolver /"; break; fi; done',
                f"if [ -e {GUARD}/armed ]; then echo unconfirmed; fi",
                f"if [ -f {CERTIFICATE} ]; then echo added $({CERTIFIED_COMMAND}); fi",
                f"{GUESTS_COMMAND}; true",
            ]
        )

    @override
    def process(self, output: list[str]) -> Present | None:
        files: dict[str, str] = {}
        state: dict[str, list[Any]] = {}
        switch: str | None = None
        guests: list[str] = []
        unconfirmed = False
        added: tuple[str, ...] | None = None
        resolvers: list[list[str]] = []
        for line in output:
            what, _, text = line.partition(" ")
            if what == "file":
                path, _, encoded = text.rpartition(" ")
                files[path] = decoded(encoded)
            elif what == "switch":
                switch = decoded(text)
            elif what == "guest":
                guests.append(text)
            elif what == "unconfirmed":
                unconfirmed = True
            elif what == "added":
                added = tuple(text.split())
            elif what == "resolver":
                resolvers.append(text.split())
            elif what in _JSON and text:
                state[what] = json.loads(text)
        if not state.keys() >= {"addresses", "routes"}:
            return None
        return Present(
            files=files,
            addresses=state["addresses"],
            routes=state["routes"],
            routes6=state.get("routes6", ()),  # a kernel without IPv6 may have no answer
            switch=switch,
            guests=tuple(guests),
            unconfirmed=unconfirmed,
            added=added,
            resolvers=Resolvers(
                servers=tuple(
                    address
                    for word, *rest in resolvers
                    if word == "nameserver"
                    for address in _servers(rest)
                ),
                search=tuple(
                    dict.fromkeys(
                        domain
                        for word, *rest in resolvers
                        if word != "nameserver"
                        for domain in rest
                    )
                ),
            ),
        )


def _servers(words: Iterable[str]) -> Iterator[Address]:
    """Read a name server that does not run on the host itself, as other networks have it too."""
    for word in words:
        try:
            address = ip_address(word)
        except ValueError:
            continue
        if not (address.is_loopback or address.is_link_local):
            yield address
