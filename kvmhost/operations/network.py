"""The guarded change of a host's network."""

import json
from dataclasses import dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import Host
from pyinfra.api.exceptions import ConnectError
from typing_extensions import override

from kvmhost import ssh
from kvmhost.facts.cloudstack import ANEW, known_by
from kvmhost.facts.network import Network as PresentNetwork
from kvmhost.masking import masked_reason
from kvmhost.network.backends import BACKENDS
from kvmhost.network.model import Network
from kvmhost.operations import guarded
from kvmhost.operations.commands import Commands, fail, operation, unknown
from kvmhost.operations.files import log_difference
from kvmhost.operations.guarded import UnconfirmedError


@operation()
def configured(
    network: Network, backend: str, timeout: int, with_guests: bool, renumber_added: bool
) -> Commands:
    """
    Have the network as it is modelled, in its files and in the kernel; nothing is touched if so,
    unless that is an earlier change's doing which the host may still undo: then it fails.

    The host undoes the change by itself, files and kernel state, unless this workstation reaches
    it through the new network in time and finds it as modelled. It needs neither ssh nor the
    workstation for that; a host that loses power in between undoes the change when it starts.

    + network: the model
    + backend: what configures the network: ifupdown, netplan, networkmanager, ifcfg
    + timeout: seconds after which an unconfirmed change is undone
    + with_guests: whether a host with running guests may be changed
    + renumber_added: whether a host that CloudStack has added may get another address
    """
    rendering = BACKENDS[backend]
    present = host.get_fact(PresentNetwork, paths=rendering.paths)
    if present is None:
        yield from unknown("the network")
        return
    try:
        change = rendering.change(network, present)
    except ValueError as error:
        yield from fail(str(error))
        return
    if change is None:
        if present.unconfirmed:
            yield from guarded.refuse_unconfirmed()
        return
    if present.guests and not with_guests:
        guests = ", ".join(present.guests)
        yield from fail(f"guests run here: {guests}; network_change_with_guests would allow it")
        return
    before = frozenset(
        entry["local"] for link in present.addresses for entry in link.get("addr_info", ())
    )
    address = str(network.address.ip)
    if (
        present.added is not None
        and address not in known_by(present.added, before)
        and not renumber_added
    ):
        yield from fail(f"CloudStack has added this host, so it cannot get {address}: {ANEW}")
        return
    for file in change.files:
        log_difference(file.path, present.files.get(file.path), file.content)
    for path in change.removed:
        log_difference(path, present.files[path], "")
    yield from guarded.carry_out(change, AsModelled(network, backend, before), timeout)


@dataclass(frozen=True)
class AsModelled(guarded.Goal):
    """The network is as modelled, and the workstation reaches the host through it.

    `before` are the addresses of the host's interfaces before the change.
    """

    name = "Network"
    network: Network
    backend: str
    before: frozenset[str]

    @override
    def destinations(self, host: Host, present: ssh.Destination) -> tuple[ssh.Destination, ...]:
        new = str(self.network.address.ip)
        addresses = _addresses(present.address, ssh.peer(host), new, self.before)
        destinations: list[ssh.Destination] = []
        for address in addresses:
            if address == present.address:
                destinations.append(present)
            else:
                destinations.extend(ssh.destinations_at(host, address))
        try:
            ssh.expect_at(host, destinations)
        except ConnectError:
            return (present,)  # elsewhere any host could claim to be this one
        return tuple(destinations)

    @override
    def difference(self, host: Host) -> str | None:
        rendering = BACKENDS[self.backend]
        fact = PresentNetwork()
        answer = guarded.answer(host, fact.command(paths=rendering.paths))
        try:
            present = fact.process(answer)
            if present is None:
                raise UnconfirmedError("its network cannot be read")
            change = rendering.change(self.network, present)
        except ValueError as error:
            reason = masked_reason(str(error))
            raise UnconfirmedError(f"its network cannot be understood: {reason}") from error
        if change is None:
            return None
        return " ".join(change.differences) or "its files are not as they were written"

    @override
    def check(self, host: Host) -> None:
        """Return if the network is as modelled and the host sees its gateways."""
        super().check(host)
        device, gateways = self.network.management, self.network.gateways
        pings = "".join(f"ping -c1 -W1 -I {device} {gateway} >/dev/null; " for gateway in gateways)
        answer = guarded.answer(host, f"{pings}ip -json neigh show dev {device}")
        neighbours: list[Any] = json.loads("".join(answer) or "[]")
        known = {neighbour["dst"] for neighbour in neighbours if "lladdr" in neighbour}
        for gateway in gateways:
            if str(gateway) not in known:
                raise UnconfirmedError(f"the gateway {gateway} does not answer the host")


def _addresses(present: str, peer: str | None, new: str, before: frozenset[str]) -> tuple[str, ...]:
    """Return where a host may answer from now on, the likeliest first.

    It is reached at `present`, a name or an address, and will have the address `new`; it had
    those in `before`. `peer` is what the workstation is connected to, None if a proxy hides it.
    """
    if new in (present, peer):
        return (present,)
    if peer in before or new not in before:
        return new, present
    return present, new  # behind a proxy or a NAT, by an address that may stay or go
