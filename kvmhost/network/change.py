"""A change of a host's network, or of its firewall, and its rollback, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kvmhost.network.files import File
from kvmhost.network.interfaces import Devices
from kvmhost.network.takeover import Resolvers

GUARD = "/var/lib/cloudstack-network"
"""Where the guard and its change are, on the host, while they are not confirmed."""


@dataclass(frozen=True)
class Present:
    """A host's network as it is: files by path, and what the kernel has made of them.

    `addresses`, `routes` and `routes6` are iproute2's JSON (see `kvmhost.network.observed`),
    `switch` is Open vSwitch's (see `kvmhost.network.ovs`), None while it does not run. `guests`
    are the names of the running guests, `resolvers` what names are resolved with. `unconfirmed`
    says that an earlier change stands behind it, which the host may still undo. `added` are the
    addresses that its certificate bears, None until CloudStack has added the host.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    addresses: Sequence[Mapping[str, Any]] = ()
    routes: Sequence[Mapping[str, Any]] = ()
    routes6: Sequence[Mapping[str, Any]] = ()
    switch: str | None = None
    guests: tuple[str, ...] = ()
    resolvers: Resolvers = field(default_factory=Resolvers)
    unconfirmed: bool = False
    added: tuple[str, ...] | None = None

    @cached_property
    def devices(self) -> Devices:
        """The NIC that has each MAC address of its own, whatever it is called and a port of."""
        return {
            str(link.get("permaddr", link["address"])).lower(): link["ifname"]
            for link in self.addresses
            if "address" in link and "info_kind" not in link.get("linkinfo", {})
        }

    @cached_property
    def addressed(self) -> frozenset[str]:
        """The interfaces that have an address which others may know."""
        return frozenset(
            link["ifname"]
            for link in self.addresses
            if any(entry.get("scope") == "global" for entry in link.get("addr_info", ()))
        )


@dataclass(frozen=True)
class Steps:
    """Shell commands before and after the files are exchanged.

    Where they apply a change, any that fails ends it; in a rollback, each is carried out.
    """

    down: str = ""
    up: str = ""


@dataclass(frozen=True)
class Plan:
    """A back end's commands for a change; see `Change`.

    `drops_bridges` is whether the back end itself takes bridges out of Open vSwitch.
    The rollback brings up first what carries the management address at present.
    """

    apply: Steps
    rollback: Steps
    validate: str
    boot: str = ""
    drops_bridges: bool = False


@dataclass(frozen=True)
class Change:
    """What `files/network-guard` carries out, and undoes unless it is confirmed.

    `differences` says in a sentence each what is not as modelled in the kernel. `validate`
    accepts the files below ./new, which is laid out like /. `save` keeps in the present folder
    what the rollback needs beside the files. `boot` makes restored files count in early boot, when
    no interface is up yet. `removed` are the paths of files that go.
    """

    differences: tuple[str, ...]
    files: tuple[File, ...]
    apply: Steps
    rollback: Steps
    validate: str
    save: str = ""
    boot: str = ""
    removed: tuple[str, ...] = ()
