"""What firewalld lets through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from shlex import quote

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.files import decoded
from kvmhost.firewall import ASK_WORKSTATION, IPAddress, workstation
from kvmhost.firewalld import Services, Zone, parse_service, parse_zones
from kvmhost.iptables import in_use


@dataclass(frozen=True)
class Firewalld:
    """Whether firewalld runs, and its zones by name, as they are now and as they are kept.

    `iptables` says whether the service iptables is on. `zone` is that of the interface. When
    firewalld is off, `runtime` is empty, and all else too unless it was asked for. `workstation`
    is the administrator's address as the host sees it; None when it has none.
    """

    running: bool
    iptables: bool
    zone: str = ""
    runtime: Mapping[str, Zone] = field(default_factory=dict)
    permanent: Mapping[str, Zone] = field(default_factory=dict)
    services: Services = field(default_factory=dict)
    workstation: IPAddress | None = None


class Zones(FactBase[Firewalld | None]):
    """All zones, and that of an interface, or the default zone; None when the host did not answer.

    A firewalld that is off makes `firewall-cmd --state` exit with 252 (firewall-cmd(1)); one that
    runs and cannot be asked is another thing.

    + interface: its name
    + while_off: whether the zones that are kept are asked for when firewalld is off
    """

    @override
    def command(self, interface: str, while_off: bool = False) -> str:
        off = "ask=firewall-offline-cmd kept=" if while_off else "exit"
        return (
            f"if {in_use('iptables')}; then echo iptables; fi; "
            "if ! command -v firewall-cmd >/dev/null; then echo off; exit; fi; "
            "firewall-cmd --state >/dev/null; "
            "case $? in 0) ask=firewall-cmd kept=--permanent;; "
            f"252) echo off; {off};; *) exit 1;; esac; "
            f"zone=$($ask --get-zone-of-interface={quote(interface)} 2>/dev/null) || "
            "zone=$($ask --get-default-zone); "
            "runtime=$([ ! $kept ] || firewall-cmd --list-all-zones) && "
            "permanent=$($ask $kept --list-all-zones) || exit; "
            f"{_SERVICES}; {ASK_WORKSTATION}; echo zone $zone; "
            'printf \'%s\\n\' runtime "$runtime" permanent "$permanent" all'
        )

    @override
    def process(self, output: list[str]) -> Firewalld | None:
        if output[-1] == "off":
            return Firewalld(running=False, iptables="iptables" in output)
        if output[-1] != "all":
            return None
        runtime, permanent = output.index("runtime"), output.index("permanent")
        told = [line.split(" ") for line in output[:runtime]]
        return Firewalld(
            running="off" not in output,
            iptables="iptables" in output,
            zone="".join(words[-1] for words in told if words[0] == "zone"),
            runtime=parse_zones(output[runtime + 1 : permanent]),
            permanent=parse_zones(output[permanent + 1 : -1]),
            services={
                words[1]: parse_service(decoded(words[2]))
                for words in told
                if words[0] == "service" and len(words) == 3
            },
            workstation=workstation(output),
        )


_SERVICES = (
    'for service in $(printf \'%s\\n\' "$runtime" "$permanent" | '
    "sed -n -e 's/^  services://p' -e 's/.* service name=\"\\([^\"]*\\)\".*/\\1/p' | "
    "tr ' ' '\\n' | sort -u); do "
    "for folder in /etc /usr/lib; do file=$folder/firewalld/services/$service.xml; "
    'if [ -e "$file" ]; then echo "service $service $(base64 -w0 "$file")"; break; fi; done; done'
)
"""Prints what the services of the zones open (firewalld.service(5)): one's own goes before."""
