"""What of a host's network is not as modelled."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from shlex import join, quote

from kvmhost.network import ovs
from kvmhost.network.change import Change, Plan, Present, Steps
from kvmhost.network.commands import if_exists
from kvmhost.network.files import File
from kvmhost.network.interfaces import AddressWithPrefix
from kvmhost.network.model import Network
from kvmhost.network.observed import (
    differences,
    is_mended_by_links,
    kept_differences,
    mending,
)

# bridge-utils tells a bridge's ports to generate no IPv6 address (ip-link(8), addrgenmode), and
# never takes that back.
_SAVE_IPV6 = """\
for link in /sys/class/net/*; do
    file=/proc/sys/net/ipv6/conf/${link##*/}/addr_gen_mode
    [ ! -e "$file" ] || echo "$(cat "$file") $file"
done >generating
"""
_RESTORE_IPV6 = """\
while read -r mode file; do
    [ ! -e "$file" ] || grep -qx "$mode" "$file" || echo "$mode" >"$file"
done <generating
"""
_SWITCH = "/etc/openvswitch/conf.db"


@dataclass(frozen=True)
class Drift:
    """What is not as modelled: in the files, in the kernel, and in Open vSwitch.

    `former` names what an earlier network of ours had, and this one has not.
    """

    network: Network
    present: Present
    rendered: tuple[File, ...]
    removed: tuple[str, ...] = ()
    former: frozenset[str] = frozenset()

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The files that change."""
        present = self.present.files
        return tuple(file for file in self.rendered if present.get(file.path) != file.content)

    @property
    def is_of_files(self) -> bool:
        """Whether any file changes or goes."""
        return bool(self.files or self.removed)

    @cached_property
    def after(self) -> Mapping[str, str]:
        """All files, by path, as they will be."""
        after = {**self.present.files, **{file.path: file.content for file in self.files}}
        return {path: text for path, text in after.items() if path not in self.removed}

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """A sentence for each difference in what is somebody else's to define."""
        present = self.present
        return kept_differences(self.network, present.addresses, present.routes, present.routes6)

    @cached_property
    def kernel(self) -> tuple[str, ...]:
        """A sentence for each difference in the kernel."""
        present = self.present
        return differences(self.network, present.addresses, present.routes, present.routes6)

    @cached_property
    def switch(self) -> tuple[ovs.Correction, ...]:
        """What is different in Open vSwitch."""
        ports = ovs.parse(self.present.switch) if self.present.switch else ()
        return ovs.corrections(self.network, ports, self.former)

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for each difference that is not in the files."""
        return (*self.kernel, *(correction.difference for correction in self.switch))

    @cached_property
    def management(self) -> frozenset[str]:
        """The interfaces that the host is reached through at present, as far as is known."""
        present = self.present
        addresses = {str(address.ip) for address in self._addresses}
        with_address = {
            link["ifname"]
            for link in present.addresses
            for entry in link.get("addr_info", ())
            if entry.get("local") in addresses
        }
        defaults = [
            route for route in present.routes if route.get("dst") == "default" and "dev" in route
        ]
        preferred = min(defaults, key=lambda route: int(route.get("metric", 0)), default=None)
        return frozenset(with_address | ({preferred["dev"]} if preferred else set()))

    @property
    def _addresses(self) -> Iterable[AddressWithPrefix]:
        return self.network.management_interface.addresses

    def mend(self, without: Collection[object] = ()) -> str:
        """Return the ip-link(8) commands for what a back end leaves as it is."""
        kept = [link for link in self.present.addresses if link.get("ifname") not in without]
        words = mending(self.network, kept)
        return "".join(f"{join(('ip', 'link', *each))}\n" for each in words)

    @property
    def _former_mtus(self) -> str:
        """The commands that give links their former MTU: no file says it if it was the kernel's.

        They come last: a back end that has not left yet may set its own once more. A link that
        has it already is left alone, because a bridge whose MTU is set no longer follows its ports.
        """
        if all(each.mtu is None for each in self.network.interfaces):
            return ""
        commands = ""
        for link in self.present.addresses:
            if "mtu" in link:
                name, mtu = quote(link["ifname"]), link["mtu"]
                has_it = f"grep -qx {mtu} /sys/class/net/{name}/mtu"
                commands += if_exists(name, f"{has_it} || ip link set {name} mtu {mtu}")
        return commands

    @property
    def _former_states(self) -> str:
        """The commands that set up or down what was so: no file says it of a NIC that none names.

        One that stayed up would have an address of IPv6, and be heard of by who is on its cable.
        """
        commands = ""
        for link in self.present.addresses:
            if link.get("ifname") in self.network.names:
                name, state = quote(link["ifname"]), "up" if "UP" in link["flags"] else "down"
                commands += if_exists(name, f"ip link set {name} {state}")
        return commands

    @property
    def is_mended_by_links(self) -> bool:
        """Whether those commands alone do it."""
        present = self.present
        return is_mended_by_links(self.network, present.addresses, present.routes, present.routes6)

    @property
    def unmended(self) -> frozenset[str]:
        """The interfaces of ours to set up anew, although their definitions may stay."""
        made = frozenset(bridge for each in self.switch for bridge in each.made)
        if self.is_mended_by_links:
            return made
        existing = {link.get("ifname") for link in self.present.addresses}
        missing = self.network.names - existing
        return made | missing if self.is_of_files else self.network.names

    def change(self, plan: Plan) -> Change:
        """Return the whole change, with Open vSwitch's part before what the back end brings up."""
        save, back, boot = _SAVE_IPV6, "", ""
        if self.switch or (plan.drops_bridges and self.present.switch is not None):
            save += "ovsdb-client backup >switch\n"
            back = "timeout 60 ovsdb-client restore <switch\n"
            boot = f"cp switch {_SWITCH}\n"
        return Change(
            differences=self.sentences,
            files=self.files,
            removed=self.removed,
            apply=plan.apply,
            rollback=Steps(
                down=plan.rollback.down,
                up=back
                + plan.rollback.up
                + _RESTORE_IPV6
                + self._former_states
                + self._former_mtus,
            ),
            validate=plan.validate,
            save=save,
            boot=boot + plan.boot,
        )

    @property
    def switching(self) -> str:
        """The command that corrects Open vSwitch in one transaction."""
        words = [
            word for each in self.switch for command in each.commands for word in ("--", *command)
        ]
        return f"{join(('ovs-vsctl', *words))}\n" if words else ""
