"""What a machine is, as far as it must be known before anything on it is changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.cloudstack import CERTIFICATE, CERTIFIED_COMMAND
from kvmhost.firewalls import FIREWALLS
from kvmhost.guest_cpu import comparison, verdict

LOCK = "/var/run/cloudstack-kvm-host.lock"
"""The file on a host that a run locks (flock(1)); its first line says who. EL 6 has no /run."""


@dataclass(frozen=True)
class Machine:
    """A machine as it was found; None stands for what the machine could not tell.

    `distribution`, `release` and `system` are ID, VERSION_ID and PRETTY_NAME of os-release(5), or
    what /etc/redhat-release says in their place: EL has os-release since its release 7 only.
    `root` says whether commands run as that user. `memory` is in MiB, as the kernel reports it, and
    with what it keeps for kdump. `cpu_flags` are those of the first CPU. `guest_cpu` is libvirt's
    verdict on the asked CPU (see `kvmhost.guest_cpu.verdict`).
    `interfaces` are the names of all network interfaces. `hostname` is the kernel's,
    `qualified_name` what `hostname --fqdn` returns. `addresses` are its IPv4 addresses, and
    `certified` those that CloudStack's certificate bears. `outbound` says how far the asked name
    got: "reached", "unresolved", "unanswered", or "untried" when there is no program to try with.
    `systemd` says whether that runs the host (sd_booted(3)).
    `firewalls` are those of ufw, firewalld and iptables that are on; only root is told.
    `guests` are the running QEMU guests; `managed` says whether CloudStack has added the host.
    `locked` says who is changing the host at the moment, and since when; None: nobody.
    """

    root: bool | None = None
    distribution: str | None = None
    release: str | None = None
    system: str | None = None
    architecture: str | None = None
    memory: int | None = None
    cpu_model: str | None = None
    cpu_count: int | None = None
    cpu_flags: frozenset[str] | None = None
    kvm: bool | None = None
    guest_cpu: str | None = None
    interfaces: frozenset[str] | None = None
    hostname: str | None = None
    qualified_name: str | None = None
    addresses: frozenset[str] | None = None
    certified: frozenset[str] = frozenset()
    outbound: str | None = None
    systemd: bool | None = None
    firewalls: frozenset[str] | None = None
    guests: frozenset[str] | None = None
    managed: bool | None = None
    locked: str | None = None


_SCRIPT = r"""exec 2>/dev/null
value() { printf '%s=%s\n' "$1" "$2"; }

case $(id -u) in 0) value root yes ;; ?*) value root no ;; esac
(
    unset ID VERSION_ID PRETTY_NAME
    if [ -e /etc/os-release ]; then
        . /etc/os-release
    elif read -r PRETTY_NAME </etc/redhat-release; then
        case $PRETTY_NAME in
            'Red Hat Enterprise Linux '*) ID=rhel ;;
            'CentOS '*) ID=centos ;;
        esac
        VERSION_ID=${PRETTY_NAME##* release } VERSION_ID=${VERSION_ID%% *}
    fi
    value distribution "$ID"
    value release "$VERSION_ID"
    value system "$PRETTY_NAME"
)
value architecture "$(uname -m)"
value memory "$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)"
value kdump "$(cat /sys/kernel/kexec_crash_size)"

cpu() { sed -n "/^$1[[:space:]]*: */{s///p;q;}" /proc/cpuinfo; }
value cpu_model "$(cpu 'model name')"
value cpu_count "$(grep -c '^processor[[:space:]]*:' /proc/cpuinfo)"
value cpu_flags "$(cpu flags)"
[ -e /dev/kvm ] && value kvm yes || value kvm no

value interfaces "$(cd /sys/class/net && for name in */; do printf '%s ' "${name%/}"; done)"
value hostname "$(uname -n)"
value qualified_name "$(timeout 6 hostname --fqdn)"
addresses() { ip -o -4 address show scope global | sed -n 's/.* inet \([0-9.]*\).*/\1/p'; }
value addresses "$(addresses | tr '\n' ' ')"
certified() { CERTIFIED; }
value certified "$(certified | tr '\n' ' ')"

guest_name() {
    case $1 in
        '' | *' -machine none'*) ;;  # it has ended, or libvirt asks QEMU what it can do
        *' -name '*) name=${1#* -name }; name=${name%%[ ,]*}; echo "${name#guest=}" ;;
        *) echo "qemu-process-$2" ;;
    esac
}
guests() {
    for process in /proc/[0-9]*; do
        read -r _ program <"$process/status" || continue
        case $program in
            qemu-system* | qemu-kvm)
                guest_name "$(tr '\0' ' ' <"$process/cmdline")" "${process#/proc/}" ;;
        esac
    done
}
[ -r /proc/1/status ] && command -v tr >/dev/null && value guests "$(guests | tr '\n' ' ')"
[ -e CERTIFICATE ] && value managed yes || value managed no
[ -d /run/systemd/system ] && value systemd yes || value systemd no
if [ -e LOCK ]; then  # which flock would make
    flock -s -n LOCK true
    [ $? != 1 ] || value locked "$(sed q LOCK)"
fi

firewalls() {
    FIREWALLS
}
[ "$(id -u)" = 0 ] && value firewalls "$(firewalls | tr '\n' ' ')"

connects() { timeout 2 bash -c ': </dev/tcp/$0/$1' "$1" "$2"; }
answers() {
    command -v ping >/dev/null || command -v bash >/dev/null || { echo untried; return; }
    address=$(timeout 6 getent ahosts "$1" | sed -n '1s/ .*//p')
    [ -n "$address" ] || { echo unresolved; return; }
    if timeout 4 ping -c 1 -W 2 "$address" >&2 ||
        connects "$address" 443 || connects "$address" 80
    then echo reached
    else echo unanswered
    fi
}
OUTBOUND
GUEST_CPU
command -v guest_cpu >/dev/null && value guest_cpu "$(guest_cpu | tr '\n' ' ')"
exit 0
""".replace("CERTIFIED", CERTIFIED_COMMAND).replace("CERTIFICATE", CERTIFICATE)


_ASK_FIREWALLS = "; ".join(
    f"if {firewall.is_on(name)}; then echo {name}; fi" for name, firewall in FIREWALLS.items()
)


class Traits(FactBase[Machine | None]):
    """What a machine is; None when the host did not answer.

    One command, for any user and any POSIX shell; it takes less than 45 seconds even where no
    name is resolved and nothing answers. Guests are read from the processes, so that they are
    seen whether or not libvirt runs.

    + outbound_host: a name or an address that should be reached; None: not tried
    + guest_cpu: a CPU for guests that libvirt should judge, in its XML; None: not asked
    """

    @override
    def command(self, outbound_host: str | None, guest_cpu: str | None) -> str:
        outbound = f'value outbound "$(answers {quote(outbound_host)})"' if outbound_host else ""
        judged = f"guest_cpu() {{ {comparison(guest_cpu, seconds=20)}; }}" if guest_cpu else ""
        script = _SCRIPT.replace("LOCK", LOCK).replace("FIREWALLS", _ASK_FIREWALLS)
        return script.replace("OUTBOUND", outbound).replace("GUEST_CPU", judged)

    @override
    def process(self, output: list[str]) -> Machine:
        lines = values(output)
        said = {key: value for key, value in lines.items() if value}
        return Machine(
            root=_truth(said.get("root")),
            distribution=said.get("distribution"),
            release=said.get("release"),
            system=said.get("system"),
            architecture=said.get("architecture"),
            memory=_memory(said),
            cpu_model=said.get("cpu_model"),
            cpu_count=_number(said.get("cpu_count")),
            cpu_flags=_words(said.get("cpu_flags")),
            kvm=_truth(said.get("kvm")),
            guest_cpu=verdict(said.get("guest_cpu", "")),
            interfaces=_words(said.get("interfaces")),
            hostname=said.get("hostname"),
            qualified_name=said.get("qualified_name"),
            addresses=_words(said.get("addresses")),
            certified=_words(said.get("certified")) or frozenset(),
            outbound=said.get("outbound"),
            systemd=_truth(said.get("systemd")),
            firewalls=_possibly_none(lines.get("firewalls")),
            guests=_possibly_none(lines.get("guests")),
            managed=_truth(said.get("managed")),
            locked=said.get("locked"),
        )


def values(output: Iterable[str]) -> dict[str, str]:
    """Return the values of the lines of the form `key=value`, by key."""
    pairs = (line.partition("=") for line in output)
    return {key: value.strip() for key, separator, value in pairs if separator}


def _memory(said: Mapping[str, str]) -> int | None:
    total = _number(said.get("memory"), unit=1024)
    reserve = _number(said.get("kdump"), unit=2**20) or 0
    return None if total is None else total + reserve


def _number(text: str | None, unit: int = 1) -> int | None:
    return int(text) // unit if text and text.isdecimal() else None


def _words(text: str | None) -> frozenset[str] | None:
    return frozenset(text.split()) if text else None


def _possibly_none(text: str | None) -> frozenset[str] | None:
    """Return the words of an answer that may be empty."""
    return None if text is None else frozenset(text.split())


def _truth(text: str | None) -> bool | None:
    return None if text is None else text == "yes"
