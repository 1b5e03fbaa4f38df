"""Whether a host's firewall is on, now and at boot."""

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.files import decoded
from kvmhost.firewalls import FIREWALLS, Present, Service
from kvmhost.network.change import GUARD


class State(FactBase[Present | None]):
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
        files = (
            f'if [ -e {path} ]; then echo "file {path} $(base64 -w0 {path})"; fi'
            for path in firewall.paths
        )
        return "; ".join(
            (*services, *files, f"if [ -e {GUARD}/armed ]; then echo unconfirmed; fi", "echo all")
        )

    @override
    def process(self, output: list[str]) -> Present | None:
        told = [line.split(" ") for line in output]
        services = {
            words[1]: Service(on=words[2] == "on", enabled=words[3:] == ["enabled"])
            for words in told
            if words[0] == "service"
        }
        if output[-1] != "all" or not services:
            return None
        return Present(
            services=services,
            files={words[1]: decoded("".join(words[2:])) for words in told if words[0] == "file"},
            unconfirmed="unconfirmed" in output,
        )
