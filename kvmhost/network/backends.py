"""What configures a network, by the name that the settings give it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from shlex import join, quote

from kvmhost.network import ifcfg, ifupdown, netplan, networkmanager, ovs, profiles
from kvmhost.network.change import Change, Present, Steps
from kvmhost.network.files import File
from kvmhost.network.interfaces import AddressWithPrefix, Devices, Interface, conflicts, first
from kvmhost.network.model import Network
from kvmhost.network.observed import differences, is_mended_by_links, mending
from kvmhost.network.takeover import taken_over

_SWITCH = "/etc/openvswitch/conf.db"
_AT_MOST = "timeout --kill-after=10 {}"
"""Ends a command that hangs after some seconds, such as one that an administrator has added."""


@dataclass(frozen=True)
class Backend:
    """The files that a back end reads, how it renders and reads them, and its way between two.

    `way` plans the commands. `render` and `parse` raise ValueError, in a sentence for the
    administrator, when the present files cannot be understood. `removed` names the files that
    have to go. All take the files by their paths, and the devices that they may name by their MAC
    addresses.
    """

    paths: tuple[str, ...]
    render: Callable[[Network, Mapping[str, str], Devices], tuple[File, ...]]
    parse: Callable[[Mapping[str, str], Devices], tuple[Interface, ...]]
    way: Callable[["Difference"], "Way"]
    removed: Callable[[Network, Mapping[str, str], Devices], tuple[str, ...]] = (
        lambda network, existing, devices: ()
    )

    def change(self, network: Network, present: Present) -> Change | None:
        """Return what leads from the present network to ours; None if it is as modelled.

        Raises ValueError when the present files cannot be understood, or define something that
        cannot live beside our interfaces, or say of them what would be lost.
        """
        try:
            return self._change(network, present)
        except ValueError:
            raise
        except Exception as error:
            # A form of a file that nobody thought of: it is this host's, and no other's affair.
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"The network's files cannot be understood ({what}).") from error

    def _change(self, network: Network, present: Present) -> Change | None:
        files, devices = present.files, present.devices
        found = self.parse(files, devices)
        network = taken_over(network, found, present.resolvers)
        rendered = self.render(network, files, devices)
        removed = self.removed(network, files, devices)
        difference = Difference(network, present, rendered, removed)
        if not difference.is_of_files and not difference.sentences:
            return None
        reached_by = sorted(difference.management & network.claims)
        if reached_by and not any(
            each.dhcp or each.addresses for each in found if each.name != "lo"
        ):
            # the way back restores what files say, and nothing else
            raise ValueError(
                f"The host is reached through {' and '.join(reached_by)}, and none of "
                f"{', '.join(self.paths)} gives an interface an address: another program has done "
                "it (see network_backend), and its network could not be restored."
            )
        gone = {each.name for each in found if each.own} | network.claims
        after = self.parse(difference.after, devices)
        if clashes := conflicts(network.interfaces, after, gone - network.names):
            raise ValueError(" ".join(clashes))
        return difference.change(self.way(difference))


@dataclass(frozen=True)
class Way:
    """A back end's commands there and back; see `kvmhost.network.change.Change`.

    The way back begins with what carries the management address at present.
    """

    forth: Steps
    back: Steps
    validate: str
    boot: str = ""


@dataclass(frozen=True)
class Difference:
    """What is not as modelled: in the files, in the kernel, and in Open vSwitch."""

    network: Network
    present: Present
    rendered: tuple[File, ...]
    removed: tuple[str, ...] = ()

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
    def kernel(self) -> tuple[str, ...]:
        """A sentence for each difference in the kernel."""
        present = self.present
        return differences(self.network, present.addresses, present.routes, present.routes6)

    @cached_property
    def switch(self) -> tuple[ovs.Correction, ...]:
        """What is different in Open vSwitch."""
        ports = ovs.parse(self.present.switch) if self.present.switch else ()
        return ovs.corrections(self.network, ports)

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
        return (address for each in self.network.interfaces for address in each.addresses)

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
                commands += _if_exists(name, f"{has_it} || ip link set {name} mtu {mtu}")
        return commands

    @property
    def is_mended_by_links(self) -> bool:
        """Whether those commands alone do it."""
        present = self.present
        return is_mended_by_links(self.network, present.addresses, present.routes, present.routes6)

    @property
    def unmended(self) -> frozenset[str]:
        """The interfaces of ours to set up anew, although their definitions may stay."""
        if self.is_mended_by_links:
            return frozenset()
        existing = {link.get("ifname") for link in self.present.addresses}
        missing = self.network.names - existing
        return missing if self.is_of_files else self.network.names

    def change(self, way: Way) -> Change:
        """Return the whole change, with Open vSwitch's part before what the back end enters."""
        save, back, boot = "", "", ""
        if self.switch:
            save = "ovsdb-client backup >switch\n"
            back = "timeout 60 ovsdb-client restore <switch\n"
            boot = f"cp switch {_SWITCH}\n"
        return Change(
            differences=self.sentences,
            files=self.files,
            removed=self.removed,
            forth=way.forth,
            back=Steps(way.back.leave, back + way.back.enter + self._former_mtus),
            validate=way.validate,
            save=save,
            boot=boot + way.boot,
        )

    @property
    def switching(self) -> str:
        """The command that corrects Open vSwitch in one transaction."""
        words = [
            word for each in self.switch for command in each.commands for word in ("--", *command)
        ]
        return f"{join(('ovs-vsctl', *words))}\n" if words else ""


def _ifupdown(difference: Difference) -> Way:
    """ifdown(8) with the old files what changes, ifup(8) with the new.

    On the way back ifup ignores errors: it would leave the stanza where any command fails, and the
    interface's other stanzas too. ifdown does so anyway.
    """
    before, after = difference.present.files, difference.after
    also, devices = difference.unmended, difference.present.devices
    forth = ifupdown.changes(before, after, also, devices)
    back = ifupdown.changes(after, before, also, devices)
    present = ifupdown.parse(before, devices)
    # ifdown deletes the VLAN interfaces that a bridge has for ports, with or without a stanza
    gone = {*forth.down} | {
        port for each in present if each.name in forth.down for port in each.ports if "." in port
    }
    existing = {link.get("ifname") for link in difference.present.addresses}
    made = [
        each.name
        for each in reversed(difference.network.interfaces)
        if each.name not in existing and each.kind != "ethernet" and not each.is_ovs_bridge
    ]
    up_again = first(difference.management, back.up, present)
    return Way(
        forth=Steps(
            leave=_each("ifdown --force", map(quote, forth.down)),
            enter=_delete(map(quote, sorted(difference.network.taken_over.interfaces)))
            + difference.mend(without=gone)
            + difference.switching
            + _each("ifup", map(quote, forth.up)),
        ),
        back=Steps(
            leave=_each(f"{_AT_MOST.format(120)} ifdown --force", map(quote, back.down))
            + _delete(made),
            # as long as networking.service gives them all
            enter=_each(
                f"{_AT_MOST.format(300)} ifup --force --ignore-errors", map(quote, up_again)
            ),
        ),
        validate=f"ifquery --interfaces=./new{ifupdown.INTERFACES} --list --all\n",
    )


def _netplan(difference: Difference) -> Way:
    """What `netplan apply` does and is of use here, and what systemd-networkd leaves as it is.

    networkd takes a device that exists as it finds it, and makes one that was deleted only when
    it is restarted itself. netplan fails on what Open vSwitch has in another place or with
    another tag. `netplan apply` itself takes several times as long, and fails on a host that is
    busy; it also sets up virtual functions, 802.1X and regulatory domains, which stay as they are.
    """
    before, after, devices = difference.present.files, difference.after, difference.present.devices
    gone = netplan.outdated(before, after, devices)
    openvswitch = netplan.has_openvswitch(after)
    restart = "systemctl restart systemd-networkd.service\n"
    exchange = netplan.exchange_managers(difference.network.claims)
    return Way(
        forth=Steps(
            leave=netplan.STOP_NETWORKMANAGER + exchange,
            enter=_delete(gone)
            + difference.mend(without=gone)
            + difference.switching
            + _each("ovs-vsctl --if-exists del-br", netplan.dropped(before, after))
            + (netplan.GIVE_OPENVSWITCH_TIME if openvswitch else "")
            + netplan.GENERATE
            + netplan.SEE_DEVICES
            + (netplan.START_OPENVSWITCH if openvswitch else "")
            + restart
            + netplan.START_NETWORKMANAGER,
        ),
        back=Steps(
            leave=netplan.STOP_NETWORKMANAGER,
            enter=_delete(netplan.outdated(after, before, devices))
            + netplan.GENERATE
            + netplan.SEE_DEVICES
            + restart
            + exchange
            + netplan.START_NETWORKMANAGER,
        ),
        validate=(
            "mkdir -p check/etc/netplan\n"
            "cp -a /etc/netplan/*.yaml check/etc/netplan/ || true\n"
            "cp -a new/etc/netplan/. check/etc/netplan/ || true\n"
            "netplan generate --root-dir check\n"
        ),
        boot="netplan generate\n" + netplan.SEE_DEVICES,
    )


def _networkmanager(difference: Difference) -> Way:
    """nmcli(1) ends with the old profiles what goes, and activates the new ones."""
    before, after, present = difference.present.files, difference.after, difference.present
    active = profiles.active(before, present.addresses)
    unmended, devices = difference.unmended, present.devices
    forth = networkmanager.changes(before, after, unmended, devices, active)
    back = networkmanager.changes(after, before, unmended, devices, active, difference.management)
    reload = "timeout 60 nmcli general reload conf\ntimeout 60 nmcli connection reload\n"
    return Way(
        forth=Steps(
            # nmcli fails on what is not active.
            leave=_tolerant(_nmcli("down", forth.down)) + _delete(forth.gone),
            enter=difference.mend(without=forth.gone)
            + difference.switching
            + reload
            + _nmcli("up", forth.up)
            + _tolerant(_nmcli("up", forth.late, wait=0)),
        ),
        back=Steps(
            leave=_nmcli("down", back.down) + _delete(back.gone),
            enter=reload + _nmcli("up", back.up) + _nmcli("up", back.late, wait=0),
        ),
        validate=networkmanager.VALIDATE
        + (networkmanager.VALIDATE_OPENVSWITCH if difference.network.ovs_bridge else ""),
    )


def _ifcfg(difference: Difference) -> Way:
    """The network scripts' ifdown with the old files what changes, their ifup with the new."""
    before, after = difference.present.files, difference.after
    devices, management = difference.present.devices, difference.management
    forth = ifcfg.changes(before, after, difference.unmended, devices)
    back = ifcfg.changes(after, before, difference.unmended, devices, soonest=management)
    return Way(
        forth=Steps(
            leave=ifcfg.QUIETLY + _ifdown(forth),
            enter=difference.mend(without=forth.down)
            + difference.switching
            + _each("ovs-vsctl --if-exists del-br", forth.dropped)
            + ifcfg.sysctls(before, after)
            + ifcfg.QUIETLY
            + _each("ifup", forth.up),
        ),
        back=Steps(
            leave=ifcfg.QUIETLY + _ifdown(back),
            enter=_each("ovs-vsctl --if-exists del-br", back.dropped)
            + ifcfg.sysctls(after, before)
            + ifcfg.QUIETLY
            + _each("ifup", back.up),
        ),
        validate=ifcfg.VALIDATE
        + (ifcfg.VALIDATE_OPENVSWITCH if difference.network.ovs_bridge else ""),
    )


BACKENDS = {
    "ifupdown": Backend(ifupdown.PATHS, ifupdown.render, ifupdown.parse, _ifupdown),
    "netplan": Backend(netplan.PATHS, netplan.render, netplan.parse, _netplan),
    "networkmanager": Backend(
        networkmanager.PATHS,
        networkmanager.render,
        networkmanager.parse,
        _networkmanager,
        networkmanager.removed,
    ),
    "ifcfg": Backend(ifcfg.PATHS, ifcfg.render, ifcfg.parse, _ifcfg, ifcfg.removed),
}


def _delete(names: Iterable[str]) -> str:
    """Have devices gone, whoever is the first to delete them."""
    return "".join(
        _if_exists(name, f"ip link delete {name} || [ ! -e /sys/class/net/{name} ]")
        for name in names
    )


def _if_exists(interface: str, command: str) -> str:
    return f"if [ -e /sys/class/net/{interface} ]; then {command}; fi\n"


def _each(command: str, names: Iterable[str]) -> str:
    return "".join(f"{command} {name}\n" for name in names)


def _nmcli(verb: str, found: Iterable[tuple[str, ...]], wait: int = 30) -> str:
    """Run nmcli for each profile; its own limit counts from when NetworkManager has answered."""
    command = f"timeout {wait + 30} nmcli --wait {wait} connection"
    return "".join(f"{command} {join((verb, *words))}\n" for words in found)


def _tolerant(commands: str) -> str:
    """Have every command carried out, whatever becomes of those before it."""
    return commands.replace("\n", " || true\n")


def _ifdown(changes: ifcfg.Changes) -> str:
    flushed = (
        f"if [ -e /sys/class/net/{name} ]; then\n"
        f"    ip address flush dev {name}\n    ip link set {name} down\nfi\n"
        for name in changes.flushed
    )
    # ifdown fails on what is down already.
    down = _tolerant(_each("ifdown", changes.down))
    deleted = (
        f"if [ -e /sys/class/net/{name}/bridge ] || [ -e /sys/class/net/{name}/bonding ]; then\n"
        f"    ip link delete {name}\nfi\n"
        for name in changes.deleted
    )
    return "".join((*flushed, down, *deleted))
