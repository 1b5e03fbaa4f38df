"""Firewalls as a whole: what switches one on."""

from dataclasses import dataclass
from shlex import join

from pyinfra import host
from pyinfra.api import Host, StringCommand
from typing_extensions import override

from kvmhost import firewalls, ssh
from kvmhost.facts.firewalls import State
from kvmhost.operations import guarded, guests
from kvmhost.operations.commands import Commands, operation, unknown
from kvmhost.operations.files import log_difference


@operation()
def enabled(backend: str, timeout: int, with_guests: bool) -> Commands:
    """
    Have a firewall on, now and at boot, which lets the guests' packets through. If that is an
    earlier change's doing which the host may still undo, the host fails.

    The host undoes the change by itself, unless this workstation reaches it anew in time: a
    connection from before may live on while no other gets through. It needs neither ssh nor the
    workstation for that; after a power cut in between it is undone too.

    + backend: the firewall: ufw, firewalld, iptables
    + timeout: seconds after which an unconfirmed change is undone
    + with_guests: whether it is changed while guests run; else that is put off, and said
    """
    present = host.get_fact(State, backend=backend)
    if present is None:
        yield from unknown(f"the state of {backend}")
        return
    change = firewalls.change(backend, present)
    if change is None and present.unconfirmed:
        yield from guarded.refuse_unconfirmed()
        return
    if change:
        what = f"To {'switch on' if present.off else 'change'} {backend}"
        if not (yield from guests.allow(what, with_guests, "network_change_with_guests")):
            return
        for file in change.files:
            log_difference(file.path, present.files.get(file.path), file.content)
        yield from guarded.carry_out(change, On(backend), timeout)
    if present.off or not all(service.enabled for service in present.services.values()):
        units = join(f"{service}.service" for service in present.services)
        yield StringCommand(f"systemctl enable {units}")


@dataclass(frozen=True)
class On(guarded.Goal):
    """The firewall is on, and the workstation gets through it."""

    name = "Firewall"
    backend: str

    @override
    def difference(self, host: Host) -> str | None:
        fact = State()
        present = fact.process(guarded.answer(host, fact.command(backend=self.backend)))
        if present is None:
            raise guarded.UnconfirmedError(f"the state of {self.backend} cannot be read")
        return "; ".join(f"{service} is off" for service in present.off) or None

    @override
    def check(self, host: Host) -> None:
        """Return if the firewall is on and lets in a connection that begins only then."""
        super().check(host)
        ssh.reconnect(host, ssh.destination(host))
