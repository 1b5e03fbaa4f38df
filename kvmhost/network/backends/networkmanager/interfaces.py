"""What NetworkManager's connection profiles say of their interfaces, in the model's terms.

Sources: nm-settings-keyfile(5) and nm-settings-nmcli(5).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from kvmhost.network.backends.networkmanager.ifcfg import UNMANAGED
from kvmhost.network.backends.networkmanager.profiles import (
    META,
    Profile,
    Section,
    Sections,
    in_effect,
    read,
    values,
)
from kvmhost.network.interfaces import (
    NO_DEVICES,
    Address,
    AddressWithPrefix,
    Devices,
    Interface,
    Kind,
    Options,
    Route,
)

METRIC = 20
"""Our default routes' metric: below those that NetworkManager gives, of which a VPN's 50 is the
lowest, a NIC's is 100, a VLAN interface's 400 and a bridge's 425."""


_KINDS: dict[str, Kind] = {
    "bond": "bond",
    "vlan": "vlan",
    "bridge": "bridge",
    "ovs-bridge": "bridge",
}
_CLOSED = ("ipv6.method", "disabled")
_MAIN_TABLES = (0, 254)
_EVERYWHERE = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_FIELD = re.compile(r"[/;,]")
_RULE = re.compile(r"routing-rule\d*")

# What the model says, and what is read apart from the other keys.
_MODELLED = {
    "connection": r"id|uuid|type|interface-name|autoconnect(-priority)?|master|slave-type",
    "ethernet": r"mtu",
    "vlan": r"id|parent|interface-name",
    "bridge": r"stp|forward-delay|interface-name",
    "ipv4": r"method|gateway|dns(-search)?|route-(metric|table)|never-default"
    r"|address(es)?\d*|routes?\d*(_options)?|routing-rule\d*",
    "ipv6": r"method|gateway|dns(-search)?|route-(metric|table)"
    r"|address(es)?\d*|routes?\d*(_options)?|routing-rule\d*",
}
_MOOT = {
    # how and by whom the old profile came to be active
    "connection": r"timestamp|read-only|permissions|multi-connect|autoconnect-.*"
    r"|(gateway|ip)-ping-.*|mud-url",
    # the details of a lease: our address is written down
    "ipv4": r"dhcp-.*|ignore-auto-.*|may-fail|required-timeout|shared-.*",
    "proxy": r"method|browser-only",  # what it writes although it is nothing
    # which interfaces the old profile was for, and its writer's notes of itself
    "match": r".*",
    "user": r".*",
    META: r".*",
    UNMANAGED: r".*",
    # how it was a port: ours is one of something else, or none
    "bridge-port": r".*",
    "bond-port": r".*",
    "team-port": r".*",
    "ovs-port": r".*",
}
# What [connection] says of the device; the rest of it is the address's, such as a zone.
_OF_DEVICE = re.compile(
    r"connection\.(lldp|auth-retries|wait-(device|activation)-.*|stable-id|down-on-poweroff)"
)
_OF_ADDRESS = ("connection", "ipv4", "ipv6", "proxy", "hostname")


def parse(existing: Mapping[str, str], devices: Devices = NO_DEVICES) -> tuple[Interface, ...]:
    """Read the interfaces that are active, or start by themselves, in keyfiles and ifcfg files.

    A profile that names no device goes by its own name. Raises ValueError where an address or
    number is none.
    """
    return interfaces(in_effect(read(existing, devices)))


def interfaces(profiles: Mapping[str, Profile]) -> tuple[Interface, ...]:
    """Say what the profiles that are in effect define, by the interfaces' names.

    Raises ValueError where an address or number is none.
    """
    ports: dict[str, list[str]] = {}
    for name, profile in profiles.items():
        if profile.controller is not None:
            ports.setdefault(profile.controller, []).append(name)

    def made_here(name: str) -> bool:
        of_name = [profiles[port] for port in ports.get(name, ())]
        return profiles[name].is_own and bool(of_name) and all(each.is_own for each in of_name)

    return tuple(
        interface(name, profile, ports.get(name, ()), made_here(name))
        for name, profile in profiles.items()
    )


def interface(
    name: str, profile: Profile, ports: Iterable[str] = (), made_here: bool = False
) -> Interface:
    """Say what a profile defines for an interface, with the ports that others say it has.

    `made_here` is a bond that we have made, and did not find. Raises ValueError where an address
    or number is none.
    """
    try:
        return _interface(name, profile, ports, made_here)
    except ValueError as error:
        raise ValueError(f"{profile.paths[0]}: {error}") from None


def has_address(profile: Profile) -> bool:
    """Whether a profile gives an address that others may know the interface by."""
    ipv4, ipv6 = _families(profile.sections)
    return ipv4.method == "auto" or any(
        not address.is_link_local for address in (*ipv4.addresses, *ipv6.addresses)
    )


def _interface(name: str, profile: Profile, ports: Iterable[str], made_here: bool) -> Interface:
    sections, type_ = profile.sections, profile.type
    vlan, bridge = sections.get("vlan", {}), sections.get("bridge", {})
    is_vlan, is_bridge, is_bond = (type_ == each for each in ("vlan", "bridge", "bond"))
    families = _families(sections)
    addresses = tuple(address for each in families for address in each.addresses)
    dhcp = families[0].method == "auto" or families[1].method == "dhcp"
    hardware, beside = _beside(sections)
    if dhcp or addresses:
        beside += tuple(option for each in families for option in each.options)
    if profile.is_own and not any(each.gateways for each in families):
        beside = tuple(option for option in beside if option != _CLOSED)
    return Interface(
        name=name,
        kind=_KINDS.get(type_, "ethernet"),
        parent=vlan.get("parent") if is_vlan else None,
        tag=_number(vlan.get("id")) if is_vlan else None,
        ports=tuple(sorted(ports)),
        bond_mode=sections.get("bond", {}).get("mode") if is_bond else None,
        stp=bridge.get("stp") not in ("false", "0", "no") if is_bridge else None,
        forward_delay=_number(bridge.get("forward-delay")) if is_bridge else None,
        mtu=_number(sections.get("ethernet", {}).get("mtu")) or None,
        dhcp=dhcp,
        addresses=addresses,
        gateways=tuple(gateway for each in families for gateway in each.gateways),
        spare_gateways=()
        if profile.is_own
        else tuple(gateway for each in families for gateway in each.spare_gateways),
        gateway_by_dhcp=not profile.is_own and any(each.takes_gateway for each in families),
        routes=tuple(
            Route(route.destination, route.via, route.metric)
            for each in families
            for route in each.routes
            if route.via is not None and route.is_modelled and not route.is_default
        ),
        dns_servers=tuple(ip_address(server) for each in families for server in each.servers),
        dns_search=tuple(domain for each in families for domain in each.values("dns-search")),
        hardware=_of_kind(sections, made_here) + hardware,
        options=() if dhcp or addresses else beside,
        addressing=beside if dhcp or addresses else (),
        own=profile.is_own,
    )


def _of_kind(sections: Sections, made_here: bool) -> Options:
    """Say what makes a bond of it, or a team; of a bond that we have made, what we did not say."""
    type_ = sections["connection"]["type"]
    if type_ in ("ethernet", "vlan", "bridge", "generic"):
        return ()
    said = {key: value for key, value in sections.get(type_, {}).items() if key != "interface-name"}
    if not made_here:
        return (("connection.type", type_), *_options(type_, said))
    more = {key: value for key, value in said.items() if key not in ("mode", "miimon")}
    # with its mode, because few options go with another
    return _options(type_, {"mode": said.get("mode", "balance-rr"), **more}) if more else ()


def _beside(sections: Sections) -> tuple[Options, Options]:
    """Split what the model does not say: what goes for the device, and what for the address."""
    type_ = sections["connection"]["type"]
    hardware: list[tuple[str, str]] = []
    rest: list[tuple[str, str]] = []
    for name, section in sections.items():
        if name in ("ipv4", "ipv6") or (name == type_ and name not in _MODELLED):
            continue  # read by themselves
        for option in _options(name, _unsaid(name, section)):
            if option[0] == "ethernet.mac-address" and type_ == "vlan":
                continue  # its parent's
            of_address = name in _OF_ADDRESS and not _OF_DEVICE.fullmatch(option[0])
            (rest if of_address else hardware).append(option)
    return tuple(hardware), tuple(rest)


def _unsaid(name: str, section: Section) -> Section:
    """Leave out what the model says, and what says nothing of a profile of ours."""
    said = re.compile("|".join(each[name] for each in (_MODELLED, _MOOT) if name in each) or "-")
    return {key: value for key, value in section.items() if not said.fullmatch(key)}


def _options(name: str, section: Section) -> Options:
    return tuple((f"{name}.{key}", value) for key, value in section.items())


@dataclass(frozen=True)
class _Route:
    """One route of a profile, and how its file says it.

    `metric` None is the one that the profile's routes have. `is_plain` is whether it has no option
    besides, `is_main` whether it is in the main table.
    """

    destination: IPv4Network | IPv6Network
    via: Address | None
    metric: int | None
    is_plain: bool
    is_main: bool
    said: str

    @property
    def is_default(self) -> bool:
        """Whether it is a default route of the host, which the settings say."""
        return self.is_main and self.destination in _EVERYWHERE

    @property
    def is_modelled(self) -> bool:
        """Whether the model says it."""
        return self.is_default or (self.is_main and self.is_plain and self.via is not None)


@dataclass(frozen=True)
class _Family:
    """What a profile says of IPv4 or IPv6."""

    version: int
    section: Section
    method: str

    @property
    def addresses(self) -> tuple[AddressWithPrefix, ...]:
        """The addresses that are written down."""
        return tuple(address for address, _ in self._with_gateways)

    @property
    def servers(self) -> tuple[str, ...]:
        """The name servers, but for those that are more than an address."""
        return tuple(server for server in self.values("dns") if not _is_named(server))

    @property
    def gateways(self) -> tuple[Address, ...]:
        """The default gateways that would be preferred to ours, or no less than it."""
        return tuple(via for via, metric in self._default_routes if self._is_preferred(metric))

    @property
    def spare_gateways(self) -> tuple[Address, ...]:
        """The default gateways to which ours is preferred."""
        return tuple(via for via, metric in self._default_routes if not self._is_preferred(metric))

    @property
    def _default_routes(self) -> Iterator[tuple[Address, int | None]]:
        """Yield the gateway of each default route of the main table, and its metric."""
        if self._is_none or self._table not in _MAIN_TABLES or self.is_true("never-default"):
            return
        for gateway in (self.section.get("gateway"), *(each for _, each in self._with_gateways)):
            if gateway:
                yield ip_address(gateway), self._metric
        for route in self.routes:
            if route.is_default and route.via is not None:
                yield route.via, self._metric if route.metric is None else route.metric

    @property
    def takes_gateway(self) -> bool:
        """The same of a gateway that a lease brings, or a router announces."""
        return (
            self.method in ("auto", "dhcp")
            and self._table in _MAIN_TABLES
            and not self.is_true("never-default")
            and not self.is_true("ignore-auto-routes")
            and self._is_preferred(self._metric)
        )

    @property
    def options(self) -> Options:
        """What the model does not say, each list's entries by themselves."""
        name = f"ipv{self.version}"
        if self._is_none and self.version == 4:
            return ()
        kept = (
            ("auto", "manual", "disabled", "link-local")
            if self.version == 4
            else ("auto", "manual")
        )
        method = () if self.method in kept else ((f"{name}.method", self.method),)
        if self._is_none:
            return method
        table = () if self._table in _MAIN_TABLES else ((f"{name}.route-table", str(self._table)),)
        rules = (value for key, value in self.section.items() if _RULE.fullmatch(key))
        routes = (each for each in self.routes if not each.is_modelled)
        return (
            *method,
            *table,
            *_options(name, _unsaid(name, self.section)),
            *((f"{name}.dns", server) for server in self.values("dns") if _is_named(server)),
            *((f"{name}.routing-rule", rule) for rule in rules),
            *((f"{name}.route", each.said) for each in routes),
        )

    def values(self, key: str) -> list[str]:
        """Read a list."""
        return values(self.section.get(key, ""))

    def is_true(self, key: str) -> bool:
        """Read a switch."""
        return self.section.get(key, "false") in ("true", "1", "yes", "on")

    @property
    def _is_none(self) -> bool:
        return self.method in ("disabled", "ignore")

    @property
    def _table(self) -> int:
        return int(self.section.get("route-table", 0))

    @property
    def _metric(self) -> int | None:
        """The metric of what says none, None for NetworkManager's own."""
        metric = int(self.section.get("route-metric", -1))
        return None if metric < 0 else metric

    def _is_preferred(self, metric: int | None) -> bool:
        if metric == 0 and self.version == 6:
            return False  # the kernel makes 1024 of it
        return metric is not None and metric <= METRIC

    @property
    def _with_gateways(self) -> Iterator[tuple[AddressWithPrefix, str | None]]:
        """Read "address1=10.0.0.2/24,10.0.0.1", in which the separators are interchangeable."""
        if self._is_none:
            return
        for key, value in self.section.items():
            if re.fullmatch(r"address(es)?\d*", key):
                address, prefix, gateway, *_ = _fields(value, 24 if self.version == 4 else 64)
                yield ip_interface(f"{address}/{prefix}"), gateway

    @property
    def routes(self) -> Iterator[_Route]:
        """Read "route1=10.0.0.0/8,10.0.0.1,5", and what "route1_options" adds."""
        if self._is_none:
            return
        for key, value in self.section.items():
            if not re.fullmatch(r"routes?\d*", key):
                continue
            address, prefix, gateway, metric = _fields(value, 24 if self.version == 4 else 128)
            via = ip_address(gateway) if gateway else None
            options = self.section.get(f"{key}_options", "")
            table = re.search(r"\btable=(\d+)", options)
            found = self._metric if metric is None else int(metric)
            yield _Route(
                destination=ip_network(f"{address}/{prefix}", strict=False),
                via=None if via is None or via.is_unspecified else via,
                metric=None if found == METRIC else found,  # ours have it for want of another
                is_plain=not options,
                is_main=(int(table[1]) if table else self._table) in _MAIN_TABLES,
                said=f"{value} {options}".strip(),
            )


def _families(sections: Sections) -> tuple[_Family, _Family]:
    def family(version: int) -> _Family:
        section = sections.get(f"ipv{version}", {})
        has_address = any(re.fullmatch(r"address(es)?\d*", key) for key in section)
        method = section.get("method", "manual" if has_address else "auto")
        is_port = "master" in sections["connection"]
        return _Family(version, section, "disabled" if is_port else method)

    return family(4), family(6)


def _fields(value: str, default: int) -> tuple[str, str, str | None, str | None]:
    """Split an address or route into address, prefix, gateway and metric."""
    address, *rest = _FIELD.split(value)
    prefix = rest.pop(0) if rest and (rest[0].isdigit() or not rest[0]) else ""
    gateway, metric = (*rest, "", "")[:2]
    return address, prefix or str(default), gateway or None, metric or None


def _is_named(server: str) -> bool:
    """Whether it is more than an address: with the name for DNS over TLS, or a URI."""
    return "#" in server or "://" in server


def _number(text: str | None) -> int | None:
    return int(text) if text else None
