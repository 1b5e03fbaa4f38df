"""The values that settings take: what is accepted of each, whichever key has it."""

import re
import shlex
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictInt,
    StrictStr,
)
from pydantic_core import PydanticCustomError

from kvmhost.firewall import EVERYONE, IPNetwork

OWNED_PROPERTIES = frozenset(
    (
        "cluster",
        "guid",
        "host",
        "keystore.passphrase",
        "local.storage.uuid",
        "pod",
        "port",
        "zone",
    )
)
"""Keys of agent.properties that CloudStack itself writes when it adds the host."""

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def _host_name(value: str) -> str:
    last = value.rpartition(".")[2]
    if last.isdecimal() or ":" in value:  # no domain is a number (RFC 3696, section 2)
        is_good = _is_address(value)
    else:
        is_good = bool(re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", value))
    if not is_good:
        raise PydanticCustomError("host_name", "a host name or an address, such as 10.0.0.5")
    return value


def _carried(value: object) -> int | str | None:
    if value is None or isinstance(value, str) or type(value) is int:
        return value
    raise PydanticCustomError("carried", "a VLAN tag, None, or an interface such as eth1.300")


def _is_address(value: str) -> bool:
    try:
        return getattr(ip_address(value), "scope_id", None) is None
    except ValueError:
        return False


def _qualified_name(value: str) -> str:
    if not re.fullmatch(rf"{_LABEL}(\.{_LABEL})+", value):
        raise PydanticCustomError(
            "qualified_name", "a fully qualified name, such as kvm1.lab.example.org"
        )
    return value


def _network(value: object) -> object:
    if isinstance(value, IPNetwork):
        return value
    try:
        return ip_network(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        raise PydanticCustomError(
            "network",
            "an address or a network, such as 10.0.0.0/24 or 2001:db8::/64: {error}",
            {"error": str(error)},
        ) from None


def _not_everyone(value: IPNetwork) -> IPNetwork:
    if value in EVERYONE.values():
        raise PydanticCustomError(
            "everyone", "fewer than all addresses; firewall_from_anywhere opens to anyone"
        )
    return value


def _ports(value: str) -> str:
    first, _, last = value.partition(":")
    if not 1 <= int(first) <= 65535 or (last and not int(first) < int(last) <= 65535):
        raise PydanticCustomError(
            "ports", "a port from 1 to 65535, or a range that begins with the lower one"
        )
    return value


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _shell_word(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        words = []
    if len(words) != 1:
        raise PydanticCustomError("shell_word", "one word as a shell reads it, such as '\"-d -l\"'")
    return value


def _properties(value: dict[str, str | int]) -> dict[str, str | int]:
    for name, text in value.items():
        if str(text) != str(text).strip():
            raise PydanticCustomError(
                "property", f"a value of {name} without blanks around it, which its readers keep"
            )
        if name in OWNED_PROPERTIES:
            raise PydanticCustomError(
                "owned_property", f"any property but {name}, which CloudStack writes itself"
            )
        if name in AGENT_SETTINGS:
            raise PydanticCustomError(
                "set_property", f"{name} is set through {AGENT_SETTINGS[name]}"
            )
    return value


AGENT_SETTINGS = {
    "guest.cpu.mode": "guest_cpu_mode",
    "guest.cpu.model": "guest_cpu_model",
    "guest.cpu.features": "guest_cpu_features",
    "network.bridge.type": "bridge_type",
    "libvirt.vif.driver": "bridge_type",
    "private.network.device": "management_label",
    "public.network.device": "public_label",
    "guest.network.device": "guest_label",
}
"""Keys of agent.properties that have a setting of their own, and which."""

Package = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9@/.]\S*$")]
PropertyName = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_][\w.-]*$")]
ShellWord = Annotated[StrictStr, AfterValidator(_shell_word)]
Variable = Annotated[StrictStr, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Word = Annotated[StrictStr, Field(pattern=r"^\S+$")]
HostName = Annotated[StrictStr, AfterValidator(_host_name)]
QualifiedName = Annotated[StrictStr, AfterValidator(_qualified_name)]
Addresses = Annotated[IPNetwork, BeforeValidator(_network)]
Source = Annotated[Addresses, AfterValidator(_not_everyone)]
Ports = Annotated[
    StrictStr, Field(pattern=r"^[1-9][0-9]{0,4}(:[1-9][0-9]{0,4})?$"), AfterValidator(_ports)
]
Url = Annotated[StrictStr, Field(pattern=r"^(https?|file)://\S+$")]
Version = Annotated[StrictStr, Field(pattern=r"^\d+(\.\d+)*$")]
AbsolutePath = Annotated[StrictStr, Field(pattern=r"^/\S*$")]
Service = Annotated[StrictStr, Field(pattern=r"^[\w@-]+$")]
Unit = Annotated[StrictStr, Field(pattern=r"^[\w.@-]+\.(service|socket|timer)$")]
Carried = Annotated[int | str | None, PlainValidator(_carried)]
Properties = Annotated[
    dict[PropertyName, StrictStr | StrictInt],
    AfterValidator(_properties),
]
Distribution = Literal["ubuntu", "debian", "rhel", "centos", "rocky", "almalinux", "ol"]
Distributions = Annotated[
    tuple[Distribution, ...], BeforeValidator(_one_or_more), Field(min_length=1)
]
TimeProgram = Literal["chrony", "openntpd", "ntp"]
CheckName = Literal[
    "root",
    "distribution",
    "release",
    "x86-64",
    "memory",
    "HVM",
    "guest CPU",
    "NIC",
    "rollback",
    "name",
    "address",
    "outbound",
    "firewall",
    "guests",
    "cluster",
    "CPU model",
    "CPU count",
    "CPU flags",
]
"""What is checked before anything is changed, in the order in which a person reads it."""
