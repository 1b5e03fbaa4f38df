"""Which of our interfaces takes the place of which of a host's present definitions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from kvmhost.network.interfaces import AddressWithPrefix, Interface, Route, reaches
from kvmhost.network.model import Network


@dataclass(frozen=True)
class Succession:
    """The definitions that ours take the place of: of our interfaces, and of ours in any case."""

    network: Network
    replaced: tuple[Interface, ...]

    @cached_property
    def management(self) -> str | None:
        """The interface whose place the management interface takes, if any had an address.

        It has our address already, or else a default gateway, or our name, or it comes first.
        """
        network = self.network
        if network.is_kept:
            return None
        ours = {address.ip for address in network.management_interface.addresses}
        others = {address.ip for address in network.addresses.values()}
        candidates = [
            each
            for each in self.replaced
            if each.dhcp or any(not address.is_link_local for address in each.addresses)
        ]
        signs: tuple[Callable[[Interface], bool], ...] = (
            lambda each: not ours.isdisjoint(address.ip for address in each.addresses),
            lambda each: bool(each.gateways or each.spare_gateways),
            lambda each: each.name == network.management,
            lambda each: each.gateway_by_dhcp,
            lambda each: others.isdisjoint(address.ip for address in each.addresses),
        )
        found = (each.name for sign in signs for each in candidates if sign(each))
        return next(found, None)

    def successor(self, replaced: Interface) -> Interface | None:
        """Find which of our interfaces takes the place of a definition."""
        if replaced.name in self._ours:
            return self._ours[replaced.name]
        alike = (
            interface
            for interface in self.network.interfaces
            if replaced.kind == interface.kind == "vlan"
            if (replaced.parent, replaced.tag) == (interface.parent, interface.tag)
        )
        return next(alike, None)

    def heir(self, replaced: Interface) -> str | None:
        """Name the interface that has the address in place of a definition's; None if none has."""
        successor = self.successor(replaced)
        if successor and successor.addresses:
            return successor.name
        return self.network.management if replaced.name == self.management else None

    def interface_to(self, replaced: Interface, route: Route) -> str | None:
        """Name the interface for a definition's route; a link-local gateway is of one link only."""
        if not route.via.is_link_local:
            return self.network.interface_to(route.via)
        heir = self.heir(replaced)
        has_it = any(reaches(address, route.via) for address in self._addresses(heir))
        return heir if has_it else None

    def keeps_options(self, replaced: Interface, successor: Interface) -> bool:
        """Whether what may need an address still has it, or never had one."""
        has_address = bool(replaced.addresses) or replaced.dhcp
        return not has_address or bool(successor.addresses)

    def is_succeeded(self, replaced: Interface, address: AddressWithPrefix) -> bool:
        """Whether ours takes the place of an address: of several, it is the one with the gateway.

        Where ours is there already, it takes no other's place.
        """
        found = [
            each
            for other in self.replaced
            if other.name == replaced.name and not other.own
            for each in other.addresses
            if each.version == address.version
        ]
        of_heir = self._addresses(self.heir(replaced))
        ours = {each.ip for each in of_heir if each.version == address.version}
        if not ours or any(each.ip in ours for each in found):
            return False
        gateways = (*replaced.gateways, *replaced.spare_gateways)
        with_one = [each for each in found if any(reaches(each, gateway) for gateway in gateways)]
        return address == with_one[0] if with_one else len(found) == 1

    @cached_property
    def _ours(self) -> Mapping[str, Interface]:
        return {interface.name: interface for interface in self.network.interfaces}

    def _addresses(self, name: str | None) -> tuple[AddressWithPrefix, ...]:
        return () if name is None or name not in self._ours else self._ours[name].addresses
