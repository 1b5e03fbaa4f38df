"""The settings of a host: every key that inventories and group_data may hold.

This module is the only reader of host data. A concern is one frozen model; its fields are the
keys, flat, so that a cluster or a host can replace each of them alone. `load` validates all hosts
of a run together and reports everything that is wrong with any of them at once.
"""

import difflib
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_interface
from shlex import quote
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from kvmhost import table
from kvmhost.masking import masked
from kvmhost.network.backends import BACKENDS
from kvmhost.network.interfaces import AddressWithPrefix
from kvmhost.network.keys import Bond, NetworkKeys
from kvmhost.network.model import InvalidNetworkError, Network, build
from kvmhost.problem import Problem
from kvmhost.values import (
    AbsolutePath,
    Addresses,
    Carried,
    CheckName,
    Distributions,
    HostName,
    Package,
    Ports,
    Properties,
    QualifiedName,
    Service,
    ShellWord,
    Source,
    TimeProgram,
    Unit,
    Url,
    Variable,
    Version,
    Word,
)


class Concern(BaseModel):
    """The keys that one part of the deploy reads."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Platform(Concern):
    """How this distribution does things: its releases, package manager and back ends."""

    distribution: Distributions = Field(
        description="the ID of /etc/os-release, or those, that hosts of this group may have"
    )
    releases: tuple[Version, ...] = Field(
        description="the releases that are supported, as VERSION_ID in /etc/os-release has them; "
        "9 stands for 9.4 too"
    )
    package_manager: Literal["apt", "dnf", "yum"] = Field(
        description="the program that installs packages"
    )
    package_lock_timeout: StrictInt = Field(
        default=60, ge=0, description="seconds to wait for another run of that program to end"
    )
    service_manager: Literal["systemd", "sysvinit"] = Field(
        default="systemd", description="what runs the services; sysvinit: the program service(8)"
    )
    network_backend: Literal["ifupdown", "netplan", "networkmanager", "ifcfg", "unmanaged"] = Field(
        description="what configures the network; unmanaged: bridges are left to the administrator"
    )
    network_scripts_packages: tuple[Package, ...] = Field(
        default=("network-scripts",),
        description="the packages of the network scripts, which network_backend ifcfg needs",
    )
    openvswitch_packages: tuple[Package, ...] = Field(
        default=(),
        description="the packages of Open vSwitch, or on EL a file of theirs; empty: the one named "
        "as its service",
    )
    firewall_backend: Literal["ufw", "iptables", "firewalld", "unmanaged"] = Field(
        description="what holds the firewall's rules; unmanaged: the administrator opens the ports"
    )


class Preparation(Concern):
    """What a host must be before anything is changed (guide, 'Prepare the Operating System')."""

    cluster: StrictStr = Field(description="the CloudStack cluster that the host belongs to")
    hostname: QualifiedName = Field(
        description="the host's fully qualified name; default: its name in the inventory"
    )
    minimum_memory: StrictInt = Field(
        default=3800,
        ge=512,
        description="MiB that the kernel must report, what it keeps for kdump included; 4 GB, less "
        "what firmware and kernel keep",
    )
    require_hvm: StrictBool = Field(
        default=True,
        description="whether vmx or svm and /dev/kvm must be there; False only in a lab",
    )
    outbound_host: HostName | None = Field(
        default="www.cloudstack.org",
        description="a name that the host must resolve and reach; None: not checked",
    )
    waived_checks: tuple[CheckName, ...] = Field(
        default=(),
        description="checks that need not hold, by the names that the table of each run has; "
        "'cluster': the same release on all of its hosts",
    )
    apply_updates: StrictBool = Field(
        default=False,
        description="whether the distribution's latest updates are installed first; "
        "packages restart their own services, whether or not guests run",
    )


class TimeService(Concern):
    """Which program keeps the clock, and from where (guide, 'Turn on NTP')."""

    time_service: TimeProgram = Field(
        default="chrony", description="the package of the one time service that runs"
    )
    time_services: dict[Package, Service] = Field(
        default={
            "chrony": "chrony",
            "ntp": "ntp",
            "ntpsec": "ntpsec",
            "openntpd": "openntpd",
            "systemd-timesyncd": "systemd-timesyncd",
        },
        description="the time services that this distribution has, by package",
    )
    time_files: dict[TimeProgram, AbsolutePath] = Field(
        default={"chrony": "/etc/chrony/chrony.conf", "openntpd": "/etc/openntpd/ntpd.conf"},
        description="the configuration files of those that time_service may name",
    )
    ntp_servers: tuple[HostName, ...] = Field(
        default=(), description="names or addresses; empty: the distribution's own servers"
    )

    @model_validator(mode="after")
    def _service_is_known(self) -> "TimeService":
        if not {self.time_service} <= self.time_files.keys() & self.time_services.keys():
            raise PydanticCustomError(
                "time_service", f"one that the distribution has: {', '.join(self.time_files)}"
            )
        return self


class Libvirt(Concern):
    """The hypervisor's packages, minimum versions and how its daemon is made to listen."""

    libvirt_packages: tuple[Package, ...] = Field(description="packages of libvirt and QEMU")
    libvirt_minimum: Version = Field(default="1.2.0", description="the oldest libvirt accepted")
    qemu_minimum: Version = Field(default="1.5.0", description="the oldest QEMU accepted")
    libvirt_service: Service = Field(default="libvirtd", description="the service of libvirt")
    libvirtd_arguments_file: AbsolutePath = Field(
        description="the file from which the unit reads the daemon's arguments"
    )
    libvirtd_arguments: dict[Variable, ShellWord] = Field(
        description="the variables of that file that make libvirtd listen"
    )
    libvirt_masked_units: tuple[Unit, ...] = Field(
        default=(),
        description="units that would listen or run in libvirtd's place; stopped and masked",
    )
    libvirt_remote_mode: Literal["legacy", "direct", "auto"] | None = Field(
        default=None, description="remote_mode of libvirt.conf; None: libvirt's own default"
    )


class Security(Concern):
    """What must not stand in libvirt's way (guide, 'Configure the Security Policies')."""

    apparmor_profiles: tuple[Annotated[StrictStr, Field(pattern=r"^\w[\w.+-]*$")], ...] = Field(
        default=(), description="file names below /etc/apparmor.d that are disabled"
    )
    selinux_mode: Literal["permissive", "enforcing"] = Field(
        default="permissive",
        description="what SELinux does, where the host has it and its kernel runs it",
    )


class Firewall(Concern):
    """Who may connect, and to which ports (guide, 'Configuring the firewall')."""

    management_servers: tuple[Source, ...] = Field(
        default=(),
        description="addresses or networks of the CloudStack management servers, IPv4 or IPv6",
    )
    firewall_sources: tuple[Source, ...] = Field(
        default=(), description="further addresses or networks that may connect, IPv4 or IPv6"
    )
    ssh_sources: Annotated[tuple[Addresses, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="addresses or networks that may reach SSH, beside whom the host's own rules "
        "let in; None: as it is where they let the workstation in, else anyone",
    )
    firewall_enabled: Literal[True] | None = Field(
        default=None,
        description="True: the firewall is on, also at boot; switched on under the guard of the "
        "network, so that the host undoes what locks this workstation out, and while guests run "
        "only with network_change_with_guests; None: it is left as it is, on or off",
    )
    firewall_from_anywhere: StrictBool = Field(
        default=False,
        description="whether the ports are open to anyone, as the guide has it",
    )
    firewall_ports: tuple[Ports, ...] = Field(
        default=("1798", "16509", "16514", "5900:6100", "49152:49216"),
        description="TCP ports, or ranges such as 5900:6100, that the sources may reach",
    )
    vxlan_port: Literal[8472, 4789] | None = Field(
        default=None,
        description="the UDP port of VXLAN, where guests' traffic is isolated by it: 8472 is "
        "Linux's, 4789 IANA's; open to the network of the guest label's address, or else of the "
        "management address, and to firewall_sources; None: left as it is",
    )


class Agent(Concern):
    """CloudStack's agent: where its package comes from, and its agent.properties."""

    cloudstack_repository: Url = Field(description="URL of the repository with cloudstack-agent")
    cloudstack_suites: tuple[Word, ...] = Field(
        description="suites of that repository, such as noble; / in a flat one; apt only"
    )
    cloudstack_components: tuple[Word, ...] = Field(
        default=(), description="components of that repository, such as 4.22; none in a flat one"
    )
    cloudstack_repository_file: AbsolutePath = Field(
        default="/etc/apt/sources.list.d/cloudstack.sources",
        description="the file that names that repository",
    )
    cloudstack_key: Url = Field(description="URL of the armoured key that signs the repository")
    cloudstack_key_sha256: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None,
        description="the SHA-256 of that key; None: the first key seen is trusted, with https only",
    )
    cloudstack_gpgcheck: StrictBool = Field(
        default=True,
        description="whether dnf and yum check the signatures of that repository's packages, as "
        "apt always does; False: with https or file only, and for keys that rpm does not take",
    )
    cloudstack_key_file: AbsolutePath = Field(
        default="/etc/apt/keyrings/cloudstack.asc", description="where that key is kept"
    )
    cloudstack_requisites: tuple[Package, ...] = Field(
        default=("ca-certificates", "curl"),
        description="packages that fetch the key, or bring repositories that the agent needs too",
    )
    guest_cpu_mode: Literal["custom", "host-model", "host-passthrough"] | None = Field(
        default=None, description="the CPU that guests see; None: QEMU's default"
    )
    guest_cpu_model: Annotated[StrictStr, Field(pattern=r"^[\w.-]+$")] | None = Field(
        default=None, description="a CPU model that libvirt knows; with guest_cpu_mode custom only"
    )
    guest_cpu_features: tuple[Annotated[StrictStr, Field(pattern=r"^-?[\w.-]+$")], ...] = Field(
        default=(), description="CPU flags that guests get, or, after a minus, do not get"
    )
    agent_properties: Properties = Field(
        default_factory=dict, description="further properties of agent.properties, by name"
    )

    @model_validator(mode="after")
    def _key_is_authentic(self) -> "Agent":
        if self.cloudstack_key.startswith("http:") and self.cloudstack_key_sha256 is None:
            raise PydanticCustomError(
                "cloudstack_key_sha256",
                "the key's SHA-256, because over http anyone on the way can change the key",
            )
        return self

    @model_validator(mode="after")
    def _packages_are_authentic(self) -> "Agent":
        if not self.cloudstack_gpgcheck and self.cloudstack_repository.startswith("http:"):
            raise PydanticCustomError(
                "cloudstack_gpgcheck",
                "True, because over http anyone on the way can change unchecked packages",
            )
        return self

    @model_validator(mode="after")
    def _cpu_is_consistent(self) -> "Agent":
        if (self.guest_cpu_mode == "custom") != (self.guest_cpu_model is not None):
            raise PydanticCustomError(
                "guest_cpu_model", "a model together with guest_cpu_mode custom, and only then"
            )
        if self.guest_cpu_features and self.guest_cpu_mode is None:
            raise PydanticCustomError(
                "guest_cpu_features", "features only together with a guest_cpu_mode"
            )
        names = [each.removeprefix("-") for each in self.guest_cpu_features]
        if len(set(names)) < len(names):
            raise PydanticCustomError("guest_cpu_features", "each feature once, libvirt says")
        return self


class Bridging(Concern):
    """The network as the administrator writes it (guide, 'Network example').

    What belongs together is checked by `kvmhost.network.rules.problems`.
    """

    bridge_type: Literal["native", "openvswitch"] = Field(
        default="native", description="what carries the guests' traffic"
    )
    ovs_bridge: StrictStr = Field(
        default="cloudbr",
        description="the Open vSwitch bridge that holds the uplink; that of another uplink is "
        "named after both, such as cloudbr-eth1",
    )
    uplink: StrictStr = Field(
        default="eth0", description="the NIC or the bond that carries the VLANs"
    )
    bonds: dict[StrictStr, Bond] = Field(
        default_factory=dict,
        description="uplinks that are made here: the nics of each, its mode (active-backup, or "
        "802.3ad: LACP, which the switch has to speak too), and with LACP its lacp_rate (slow, "
        "fast) and hash_policy, such as layer3+4; any other uplink is there",
    )
    mtu: StrictInt | None = Field(
        default=None, description="bytes, on every layer; None: left as it is"
    )
    mtus: dict[StrictStr, StrictInt] = Field(
        default_factory=dict,
        description="bytes, for an uplink or a VLAN of one, such as eth1.50, where it is another; "
        "a VLAN that is not named has that of its uplink, where mtu is None",
    )
    bridges: dict[StrictStr, Carried] = Field(
        description="each bridge and its VLAN tag on the uplink, with None for untagged; or what "
        "else it is on: a NIC or bond, such as eth1, or a VLAN of it, such as eth1.300"
    )
    interfaces: tuple[StrictStr, ...] = Field(
        default=(),
        description="interfaces without a bridge that have an address of addresses: a VLAN, such "
        "as eth1.50, or an uplink",
    )
    addresses: dict[StrictStr, StrictStr] = Field(
        default_factory=dict,
        description="the host's further addresses, with their prefixes, by interface or bridge",
    )
    routes: dict[StrictStr, StrictStr] | None = Field(
        default=None,
        description="gateways of further networks, such as 10.50.0.1 of 10.60.0.0/16; None: as "
        "they are",
    )
    kept_interfaces: tuple[StrictStr, ...] = Field(
        default=(),
        description="interfaces and bridges that somebody else has set up and that stay as they "
        "are; one may have the management address",
    )
    bridge_stp: StrictBool = Field(
        default=False, description="whether the bridges take part in the spanning tree"
    )
    bridge_forward_delay: StrictInt = Field(
        default=5, description="seconds before a bridge's port forwards"
    )
    management_vlan: StrictInt | None = Field(
        default=None, description="the VLAN tag of the management network; None: untagged"
    )
    management_interface: StrictStr | None = Field(
        default=None,
        description="the bridge that has the management address; None: the VLAN interface",
    )
    management_address: StrictStr = Field(
        description="the host's address with its prefix, such as 192.168.42.11/24"
    )
    gateway: StrictStr = Field(
        description="the default gateway, inside the management network, such as 192.168.42.1"
    )
    management_address6: StrictStr | None = Field(
        default=None,
        description="the host's IPv6 address, with its prefix, such as 2001:db8::11/64, beside "
        "the other; None: what routers announce, if anything",
    )
    gateway6: StrictStr | None = Field(
        default=None,
        description="the default gateway for IPv6, inside that network or link-local",
    )
    dns_servers: tuple[StrictStr, ...] = Field(default=(), description="addresses of name servers")
    dns_search: tuple[StrictStr, ...] = Field(
        default=(), description="domains in which short names are looked up"
    )
    management_label: StrictStr | None = Field(
        default=None,
        description="KVM traffic label of management; None: the interface with the address",
    )
    public_label: StrictStr = Field(
        default="cloudbr0", description="KVM traffic label of public traffic"
    )
    guest_label: StrictStr = Field(
        default="cloudbr1", description="KVM traffic label of guest traffic"
    )


class Guard(Concern):
    """How a change of the network is guarded (see `files/network-guard`), and running guests."""

    network_confirm_timeout: StrictInt = Field(
        default=60,
        ge=20,
        le=900,
        description="seconds after which the host undoes a change that nobody confirmed",
    )
    network_change_with_guests: StrictBool = Field(
        default=False,
        description="whether the network may change, or firewall_enabled take effect, while guests "
        "run",
    )
    restart_with_guests: StrictBool = Field(
        default=False,
        description="whether libvirtd and the agent may be restarted while guests run; else that "
        "waits until none does, and each run says what waits",
    )


CONCERNS: dict[str, type[Concern]] = {
    "platform": Platform,
    "preparation": Preparation,
    "time": TimeService,
    "libvirt": Libvirt,
    "security": Security,
    "bridging": Bridging,
    "guard": Guard,
    "firewall": Firewall,
    "agent": Agent,
}
_NO_CHECKSUM = "0" * 64
KEYS = {key: field for concern in CONCERNS.values() for key, field in concern.model_fields.items()}
"""Every key there is, with its type, default and description."""


@dataclass(frozen=True)
class Settings:
    """All settings of one host, validated."""

    platform: Platform
    preparation: Preparation
    time: TimeService
    libvirt: Libvirt
    security: Security
    network: Network
    guard: Guard
    firewall: Firewall
    agent: Agent


class SettingsError(ValueError):
    """Settings of some hosts cannot be used; its text is the table of all that is wrong."""

    def __init__(self, problems: Mapping[str, list[Problem]]) -> None:
        self.problems = problems
        super().__init__(_report(problems))


def load(
    data: Mapping[str, Mapping[str, object]],
    other_keys: Set[str] = frozenset(),
    others: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    placeholders: bool = False,
) -> dict[str, Settings]:
    """Return the settings of every host, by its name.

    data: the merged inventory and group data of every host, by the host's name.
    other_keys: keys that someone else reads, such as pyinfra's own.
    others: the data of further hosts, whose addresses are taken; it need not be usable.
    placeholders: whether what the examples leave to be replaced may stand, as no host is concerned.

    Raises SettingsError, with all problems of all hosts, when any of them cannot be used.
    """
    settings: dict[str, Settings] = {}
    problems: dict[str, list[Problem]] = {}
    for name, host_data in data.items():
        ours = {key: value for key, value in host_data.items() if key not in other_keys}
        outcome = _load_host({"hostname": name} | ours, other_keys, placeholders)
        if isinstance(outcome, Settings):
            settings[name] = outcome
        else:
            problems[name] = outcome
    for name, problem in _shared_addresses(settings, others):
        problems.setdefault(name, []).append(problem)
    if problems:
        raise SettingsError(problems)
    return settings


def cluster_of(data: Mapping[str, object]) -> str | None:
    """Return the cluster of a host whose settings need not be usable; None if it names none.

    data: the merged inventory and group data of the host.
    """
    cluster = data.get("cluster")
    return cluster if isinstance(cluster, str) else None


def _load_host(
    given: Mapping[str, object], other_keys: Set[str], placeholders: bool
) -> Settings | list[Problem]:
    known = KEYS.keys() | other_keys
    problems = [_unknown(key, given[key], known) for key in given if key not in KEYS]
    for key, value in given.items():
        if key in KEYS and not _is_printable(value):
            problems.append(Problem(key, masked(value), "text on one line, no control characters"))
    if not placeholders and given.get("cloudstack_key_sha256") == _NO_CHECKSUM:
        problems.append(_no_checksum(str(given.get("cloudstack_key"))))
    concerns: dict[str, Any] = {}
    for concern, model in CONCERNS.items():
        try:
            concerns[concern] = model.model_validate(given)
        except ValidationError as error:
            problems += [_problem(details) for details in error.errors()]
    if bridging := concerns.pop("bridging", None):
        try:
            concerns["network"] = build(NetworkKeys(**dict(bridging)))
        except InvalidNetworkError as error:
            problems += error.problems
    if problems:
        return problems
    settings = Settings(**concerns)
    return [*_unrenderable(settings), *_unswitchable(settings)] or settings


def _no_checksum(key: str) -> Problem:
    return Problem(
        "cloudstack_key_sha256",
        _NO_CHECKSUM,
        f"what `curl -L {quote(key)} | sha256sum` prints, once you have seen that the key is "
        "CloudStack's; this is the examples' placeholder",
    )


def _is_printable(value: object) -> bool:
    """Whether all text in a value can stand on a line of a file or of a shell script."""
    if isinstance(value, Mapping):
        return all(map(_is_printable, (*value, *value.values())))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_printable, value))
    return not isinstance(value, str) or value.isprintable()


def _unrenderable(settings: Settings) -> Iterator[Problem]:
    """Name what the back end cannot have, whatever is on the host."""
    name = settings.platform.network_backend
    if name in BACKENDS:
        try:
            BACKENDS[name].render(settings.network, {}, {})
        except ValueError as error:
            yield Problem("network_backend", name, f"a network that it can have: {error}")


def _unswitchable(settings: Settings) -> Iterator[Problem]:
    if settings.firewall.firewall_enabled and settings.platform.firewall_backend == "unmanaged":
        yield Problem("firewall_enabled", True, "None where firewall_backend is unmanaged")


def _unknown(key: str, value: object, known: Set[str]) -> Problem:
    near = difflib.get_close_matches(key, known, n=1)
    accepted = f"no such key; did you mean {near[0]}?" if near else "no such key"
    return Problem(key, masked(value, key), accepted)


def _problem(error: ErrorDetails) -> Problem:
    """Say what pydantic found; an error of a whole concern bears its key as its type."""
    missing = error["type"] == "missing"
    key = str(error["loc"][0]) if error["loc"] else error["type"]
    value = error["input"] if error["loc"] and not missing else error["input"].get(key, "(missing)")
    # no key of ours is secret, but what is in it may be; "[key]" is about the name there
    within = [] if error["loc"][-1:] == ("[key]",) else [*map(str, error["loc"][1:])]
    path = "".join(f"[{part!r}]" for part in error["loc"][1:] if part in within)
    accepted = f"{error['msg']} ({KEYS[key].description})"
    return Problem(f"{key}{path}", masked(value, *within), accepted)


def _shared_addresses(
    settings: Mapping[str, Settings], others: Mapping[str, Mapping[str, object]]
) -> Iterator[tuple[str, Problem]]:
    owners = {address: name for name, data in others.items() for address in _addresses(data)}
    for name, host in settings.items():
        network = host.network
        named: list[tuple[str, AddressWithPrefix]] = [("management_address", network.address)]
        named += [] if network.address6 is None else [("management_address6", network.address6)]
        named += [("addresses", address) for address in network.addresses.values()]
        for key, address in named:
            owner = owners.setdefault(address.ip, name)
            if owner != name:
                yield name, Problem(key, str(address), f"{owner} has it already")


def _addresses(data: Mapping[str, object]) -> Iterator[IPv4Address | IPv6Address]:
    """Yield the addresses of a host whose settings need not be usable."""
    further = data.get("addresses")
    texts = [data.get("management_address"), data.get("management_address6")]
    texts += further.values() if isinstance(further, Mapping) else ()
    for text in texts:
        with suppress(ValueError):
            yield ip_interface(str(text)).ip


def _report(problems: Mapping[str, list[Problem]]) -> str:
    """Return one row a problem; a problem that many hosts share names them together."""
    hosts: dict[tuple[str, str, str], list[str]] = {}
    for name, found in problems.items():
        for problem in found:
            row = (problem.key, repr(problem.value), problem.accepted)
            hosts.setdefault(row, []).append(name)
    rows = [(_hosts(names), *row) for row, names in hosts.items()]
    return (
        f"{len(rows)} settings cannot be used; no host was touched.\n\n"
        f"{table.render(('host', 'key', 'value', 'accepted'), rows)}"
    )


def _hosts(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
