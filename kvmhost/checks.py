"""What a machine must be before it becomes a hypervisor: pure checks of what was found.

Sources: the guide's "System Requirements for KVM Hypervisor Hosts" and "Prepare the Operating
System", steps 2 and 3.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import get_args

from kvmhost.facts.cloudstack import ANEW, known_by
from kvmhost.facts.machine import Machine
from kvmhost.findings import Finding, Outcome, few
from kvmhost.guest_cpu import RUNS
from kvmhost.settings import Settings
from kvmhost.values import CheckName

NAMES: tuple[CheckName, ...] = get_args(CheckName)
"""The names of all checks, in the order in which a person reads them."""

Verdict = tuple[Outcome, str]


def findings(
    settings: Mapping[str, Settings], machines: Mapping[str, Machine | None]
) -> dict[str, list[Finding]]:
    """Return the findings of every check on every machine, by the host's name.

    settings: by the host's name, of at least the hosts in `machines`.
    machines: by the host's name; None for a host that did not answer, which has one finding.
    """
    found = {name: _of_host(settings[name], machine) for name, machine in machines.items()}
    clusters: dict[str, dict[str, Machine]] = defaultdict(dict)
    for name, machine in machines.items():
        if machine:
            clusters[settings[name].preparation.cluster][name] = machine
    for members in clusters.values():
        for name, finding in _of_cluster(settings, members):
            found[name].append(finding)
    return {
        name: [_unless_waived(finding, settings[name]) for finding in each]
        for name, each in found.items()
    }


def _unless_waived(finding: Finding, settings: Settings) -> Finding:
    if finding.check not in settings.preparation.waived_checks:
        return finding
    return replace(finding, outcome="waived", detail=f"waived_checks names it: {finding.detail}")


def minor_differences(
    settings: Mapping[str, Settings], machines: Mapping[str, Machine | None]
) -> Iterator[str]:
    """Yield a line for each cluster whose machines differ in the minor release.

    Updates bring them together: it is worth knowing, and no reason to refuse anyone.
    """
    minors: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, machine in machines.items():
        if machine and machine.release and (release := _supported(settings[name], machine)):
            cluster = settings[name].preparation.cluster
            minors[cluster, release][machine.release].append(name)
    for (cluster, release), names in minors.items():
        if len(names) > 1:
            each = "; ".join(f"{minor} on {few(names[minor])}" for minor in sorted(names))
            yield f"{cluster}: minor releases of {release} differ: {each}"


def uplink_differences(settings: Mapping[str, Settings]) -> Iterator[str]:
    """Yield a line for each cluster whose native bridges are on uplinks of different names.

    CloudStack's modifyvlan.sh names a guest VLAN's bridge after the uplink, and a guest goes where
    there is a bridge of that name (CloudStack issues 5717, 7613).
    """
    uplinks: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, host in settings.items():
        names = ", ".join(uplink.name for uplink in host.network.uplinks)
        if host.network.bridge_type == "native":
            uplinks[host.preparation.cluster][names].append(name)
    for cluster, hosts in uplinks.items():
        if len(hosts) > 1:
            each = "; ".join(f"{names} on {few(hosts[names])}" for names in sorted(hosts))
            yield (
                f"{cluster}: uplinks differ in their names, {each}: CloudStack names the bridges "
                "of guests' VLANs after them, so guests cannot migrate from one to another"
            )


def _of_host(settings: Settings, machine: Machine | None) -> list[Finding]:
    if machine is None:
        return [Finding("answer", "unknown", "the host did not answer")]
    return [Finding(name, *check(settings, machine)) for name, check in _CHECKS.items()]


def _root(settings: Settings, machine: Machine) -> Verdict:
    if machine.root is None:
        return _untold("id does not answer")
    if not machine.root:
        return (
            "fails",
            "commands do not run as root; --sudo, or _sudo in group_data, has them do so",
        )
    return "holds", "commands run as root"


def _distribution(settings: Settings, machine: Machine) -> Verdict:
    accepted = settings.platform.distribution
    if machine.distribution is None:
        return _untold("neither /etc/os-release nor /etc/redhat-release says it")
    if machine.distribution not in accepted:
        needed = " or ".join(accepted)
        return "fails", f"it is {machine.distribution}, but its group's distribution is {needed}"
    return "holds", f"it is {machine.distribution}"


def _release(settings: Settings, machine: Machine) -> Verdict:
    if machine.release is None:
        return _untold("neither /etc/os-release nor /etc/redhat-release says it")
    if _supported(settings, machine) is None:
        system = machine.system or machine.distribution
        supported = " or ".join(settings.platform.releases)
        return "fails", f"{system} is {machine.release}, supported is {supported}"
    return "holds", f"it is release {machine.release}"


def _supported(settings: Settings, machine: Machine) -> str | None:
    """Return the supported release that the machine has: 9 for 9.4 where 9 is supported."""
    return next(
        (
            release
            for release in settings.platform.releases
            if f"{machine.release}.".startswith(f"{release}.")
        ),
        None,
    )


def _architecture(settings: Settings, machine: Machine) -> Verdict:
    if machine.architecture is None:
        return _untold("uname does not answer")
    if machine.architecture != "x86_64":
        return "fails", f"the machine is {machine.architecture}, needed is x86_64"
    return "holds", "the machine is x86_64"


def _memory(settings: Settings, machine: Machine) -> Verdict:
    needed = settings.preparation.minimum_memory
    if machine.memory is None:
        return _untold("/proc/meminfo has no MemTotal")
    if machine.memory < needed:
        return "fails", f"it has {machine.memory} MiB of memory, needed are {needed} MiB"
    return "holds", f"it has {machine.memory} MiB of memory"


def _virtualization(settings: Settings, machine: Machine) -> Verdict:
    if not settings.preparation.require_hvm:
        return "waived", "require_hvm is False: guests may run without the CPU's help"
    if machine.cpu_flags is None or machine.kvm is None:
        return _untold("/proc/cpuinfo shows no flags")
    if not machine.cpu_flags & {"vmx", "svm"}:
        return "fails", "the CPU shows neither vmx nor svm: is it enabled in the firmware?"
    if not machine.kvm:
        return "fails", "there is no /dev/kvm, though the CPU has vmx or svm"
    return "holds", "the CPU has vmx or svm, and there is /dev/kvm"


def _guest_cpu(settings: Settings, machine: Machine) -> Verdict:
    """Judge the guests' CPU where the settings name it, as far as libvirt is there to do so.

    The names of flags in /proc/cpuinfo are not libvirt's, and KVM has some that the CPU has not.
    """
    if settings.agent.guest_cpu_model is None:
        return "holds", "the settings name no CPU model for guests"
    cpu = " ".join((settings.agent.guest_cpu_model, *settings.agent.guest_cpu_features))
    if not settings.preparation.require_hvm:
        return "waived", f"require_hvm is False: whether {cpu} is run is left to the emulator"
    if machine.guest_cpu is None:
        return "later", f"no libvirt says yet whether it runs {cpu}"
    if machine.guest_cpu != RUNS:
        return "fails", f"libvirt says of the guests' CPU, {cpu}: {machine.guest_cpu}"
    return "holds", f"it runs {cpu}"


def _nic(settings: Settings, machine: Machine) -> Verdict:
    nics = (*settings.network.nics, *settings.network.kept)
    if machine.interfaces is None:
        return _untold("/sys/class/net shows no interface")
    if missing := [nic for nic in nics if nic not in machine.interfaces]:
        others = ", ".join(sorted(machine.interfaces - {"lo"})) or "none"
        absent = " and no ".join(missing)
        return "fails", f"there is no {absent}, which the settings name; there is: {others}"
    return "holds", f"there is {' and '.join(nics)}"


def _rollback(settings: Settings, machine: Machine) -> Verdict:
    backend = settings.platform.network_backend
    firewall = settings.firewall.firewall_enabled
    if backend == "unmanaged" and not firewall:
        return "waived", "network_backend is unmanaged: the network is left as it is"
    if machine.systemd is None:
        return _untold("the host's answer is incomplete")
    if not machine.systemd and backend != "unmanaged":
        return (
            "fails",
            f"no systemd runs here to undo a change of the network by {backend}; "
            "network_backend unmanaged leaves the network to you",
        )
    if not machine.systemd:
        return (
            "fails",
            "no systemd runs here to undo what switches the firewall on; "
            "firewall_enabled None leaves that to you",
        )
    return "holds", "systemd undoes a change of the network that is not confirmed"


def _name(settings: Settings, machine: Machine) -> Verdict:
    """Judge the name: it is put right on a new host, but CloudStack's certificate bears it.

    Case does not matter in names (RFC 4343). A full name with another first
    label is none of the host's: its /etc/hosts is wrong.
    """
    needed = settings.preparation.hostname
    if machine.hostname is None or machine.managed is None:
        return _untold("the host's answer is incomplete")
    short = needed.partition(".")[0]
    qualified = machine.qualified_name or ""
    known = qualified if qualified.lower().startswith(f"{short.lower()}.") else machine.hostname
    if machine.managed and known.lower() not in (needed.lower(), short.lower()):
        return "fails", f"CloudStack has added it as {known}, so it cannot become {needed}: {ANEW}"
    if qualified.lower() != needed.lower():
        found = machine.qualified_name or "nothing"
        return "mendable", f"hostname --fqdn returns {found}; {needed} will be set"
    return "holds", f"hostname --fqdn returns {needed}"


def _address(settings: Settings, machine: Machine) -> Verdict:
    """Judge the address: CloudStack's certificate and its database bear that of an added host."""
    needed = str(settings.network.address.ip)
    if machine.managed is None or (machine.managed and machine.addresses is None):
        return _untold("the host's answer is incomplete")
    known = known_by(machine.certified, machine.addresses or ())
    if machine.managed and known and needed not in known:
        had = ", ".join(sorted(known))
        return "fails", f"CloudStack has added it with {had}, so it cannot get {needed}: {ANEW}"
    return "holds", f"it has {needed}, or may get it"


def _outbound(settings: Settings, machine: Machine) -> Verdict:
    wanted = settings.preparation.outbound_host
    if wanted is None:
        return "waived", "outbound_host is None: nothing has to be reached"
    match machine.outbound:
        case "reached":
            return "holds", f"{wanted} is reached"
        case "unresolved":
            return "fails", f"the name {wanted} is not resolved"
        case "unanswered":
            return "fails", f"{wanted} answers neither ping nor TCP port 443 or 80"
        case "untried":
            return _untold("the host has neither ping nor bash to try with")
    return _untold("the host's answer is incomplete")


def _firewall(settings: Settings, machine: Machine) -> Verdict:
    """Judge whether anything keeps others from the ports: libvirtd asks nobody for a password."""
    backend = settings.platform.firewall_backend
    if backend == "unmanaged":
        return "waived", "firewall_backend is unmanaged: who gets in is left to you"
    if machine.firewalls is None:
        return _untold("only root is told")
    if backend in machine.firewalls:
        return "holds", f"{backend} is on"
    if not settings.firewall.firewall_enabled:
        wanting, mended = "stays off", "firewall_enabled = True mends it"
    elif machine.guests != frozenset() and not settings.guard.network_change_with_guests:
        wanting, mended = "guests run", "network_change_with_guests would have it switched on"
    else:
        return "mendable", f"{backend} is off; it will be switched on"
    return (
        "risky",
        f"{backend} is off, and {wanting}: whoever reaches the host reaches libvirtd and the "
        f"guests' consoles; {mended}",
    )


def _guests(settings: Settings, machine: Machine) -> Verdict:
    if machine.guests is None or machine.managed is None:
        return _untold("/proc shows no processes")
    if machine.guests and not machine.managed:
        guests = ", ".join(sorted(machine.guests))
        return "fails", f"guests run that CloudStack does not manage: {guests}"
    return "holds", "CloudStack manages the host" if machine.managed else "no guest runs"


_CHECKS: dict[CheckName, Callable[[Settings, Machine], Verdict]] = {
    "root": _root,
    "distribution": _distribution,
    "release": _release,
    "x86-64": _architecture,
    "memory": _memory,
    "HVM": _virtualization,
    "guest CPU": _guest_cpu,
    "NIC": _nic,
    "rollback": _rollback,
    "name": _name,
    "address": _address,
    "outbound": _outbound,
    "firewall": _firewall,
    "guests": _guests,
}


def _untold(reason: str) -> Verdict:
    return "unknown", f"could not be told, because {reason}"


def _of_cluster(
    settings: Mapping[str, Settings], machines: Mapping[str, Machine]
) -> Iterator[tuple[str, Finding]]:
    """Yield a finding for each trait of each machine of a cluster: whether most of them have it.

    Hosts of a cluster must have the same release, as their group counts releases, and CPUs of the
    same type, count and feature flags: guests migrate between them. CPUs may differ where guests
    see the model that the settings name.
    """
    free = {name for name in machines if settings[name].agent.guest_cpu_model}
    for check, (trait, value_of) in _TRAITS.items():
        if check != "cluster":
            for name in free:
                yield name, Finding(check, "holds", "guests see a model of the settings' instead")
        values = {
            name: value_of(settings[name], machine)
            for name, machine in machines.items()
            if check == "cluster" or name not in free
        }
        typical = _typical(values)
        for name, value in values.items():
            yield name, Finding(check, *_likeness(trait, value, values[typical], typical))


def _likeness(trait: str, value: object, typical: object, owner: str) -> Verdict:
    if value is None:
        return _untold(f"the host does not show its {trait}")
    if value != typical:
        return "fails", _difference(trait, value, typical, owner)
    return "holds", f"its {trait} is that of its cluster in this run"


def _system(settings: Settings, machine: Machine) -> str | None:
    if machine.distribution is None or machine.release is None:
        return None
    return f"{machine.distribution} {_supported(settings, machine) or machine.release}"


_TRAITS: dict[CheckName, tuple[str, Callable[[Settings, Machine], object]]] = {
    "cluster": ("release", _system),
    "CPU model": ("CPU model", lambda _, machine: machine.cpu_model),
    "CPU count": ("CPU count", lambda _, machine: machine.cpu_count),
    "CPU flags": ("CPU flags", lambda _, machine: machine.cpu_flags),
}


def _typical(values: Mapping[str, object]) -> str:
    """Return the name of the first host with the most common value; unknown ones count last.

    It is "" of no hosts.
    """
    counted = Counter(value for value in values.values() if value is not None)
    return max(values, key=lambda name: counted[values[name]], default="")


def _difference(trait: str, value: object, other: object, owner: str) -> str:
    if isinstance(value, frozenset) and isinstance(other, frozenset):
        changes = [
            f"{word} {_some(flags)}"
            for word, flags in (("lack", other - value), ("have", value - other))
            if flags
        ]
        return f"{trait} {' and '.join(changes)}, unlike {owner}"
    return f"{trait} is {value}, but {other} on {owner}"


def _some(words: Collection[str]) -> str:
    """Return a few of many words, and how many more there are."""
    first, more = sorted(words)[:6], len(words) - 6
    return " ".join(first) + (f" and {more} more" if more > 0 else "")
