"""Whether a host's firewall is on, now and at boot."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.files import decoded
from kvmhost.firewalls import FIREWALLS
from kvmhost.network.change import GUARD


@dataclass(frozen=True)
class Service:
    """Whether a service is on, and whether it is enabled at boot."""

    on: bool
    enabled: bool


@dataclass(frozen=True)
class Firewall:
    """The services of a firewall by name, and the texts of its files by path.

    `unconfirmed` says that a change stands behind it which the host may still undo.
    """

    services: Mapping[str, Service]
    files: Mapping[str, str]
    unconfirmed: bool

    @property
    def off(self) -> tuple[str, ...]:
        """The services that are off."""
        return tuple(name for name, service in self.services.items() if not service.on)


class State(FactBase[Firewall | None]):
    """Whether a firewall is on; None when the host did not answer.

    ip6tables counts only where the kernel has IPv6.

    + backend: the firewall: ufw, firewalld, iptables
    """

    @override
    def command(self, backend: str) -> str:
        firewall = FIREWALLS[backend]
        services = (
            f"{'[ ! -e /proc/net/if_inet6 ] || ' if service == 'ip6tables' else ''}"
            f"echo service {service} "
            f"$(if {firewall.is_on(service)}; then echo on; else echo off; fi) "
            f"$(systemctl is-enabled {service}.service 2>/dev/null)"
            for service in firewall.services
        )
        return (
            f"{'; '.join(services)}; for file in {' '.join(firewall.paths)}; do "
            'if [ -e "$file" ]; then echo "file $file $(base64 -w0 "$file")"; fi; done; '
            f"if [ -e {GUARD}/armed ]; then echo unconfirmed; fi; echo all"
        )

    @override
    def process(self, output: list[str]) -> Firewall | None:
        told = [line.split(" ") for line in output]
        services = {
            words[1]: Service(on=words[2] == "on", enabled=words[3:] == ["enabled"])
            for words in told
            if words[0] == "service"
        }
        if output[-1] != "all" or not services:
            return None
        return Firewall(
            services=services,
            files={words[1]: decoded("".join(words[2:])) for words in told if words[0] == "file"},
            unconfirmed="unconfirmed" in output,
        )
