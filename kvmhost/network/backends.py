"""What configures a network, by the name that the settings give it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kvmhost.network import ifupdown, netplan
from kvmhost.network.change import Change, Present, Steps
from kvmhost.network.files import File
from kvmhost.network.interfaces import bottom_up
from kvmhost.network.model import Network
from kvmhost.network.observed import differences


@dataclass(frozen=True)
class Backend:
    """The files that a back end reads, and the change that leads from a present network to ours.

    `change` returns None when files and kernel are as modelled. It raises ValueError, in a
    sentence for the administrator, when the present files cannot be understood.
    """

    paths: tuple[str, ...]
    change: Callable[[Network, Present], Change | None]


def _ifupdown(network: Network, present: Present) -> Change | None:
    """ifdown(8) with the old files what changes, ifup(8) with the new."""
    files = _differing(ifupdown.render(network, present.files), present)
    found = differences(network, present.addresses, present.routes)
    if not files and not found:
        return None
    after = {**present.files, **{file.path: file.content for file in files}}
    if files:
        forth, back = ifupdown.changes(present.files, after), ifupdown.changes(after, present.files)
    else:
        forth = back = ifupdown.restart(after, network.names)
    return Change(
        differences=found,
        files=files,
        forth=Steps(leave=_ifdown(forth.down), enter=_each("ifup", forth.up)),
        back=Steps(
            leave=_ifdown(back.down) + _delete(_made(network, present)),
            enter=_each("ifup --force", back.up),
        ),
        validate=f"ifquery --interfaces=./new{ifupdown.INTERFACES} --list --all\n",
    )


def _netplan(network: Network, present: Present) -> Change | None:
    """netplan-apply(8), which leaves behind the virtual interfaces that are gone."""
    files = _differing(netplan.render(network, present.files), present)
    found = differences(network, present.addresses, present.routes)
    if not files and not found:
        return None
    after = {**present.files, **{file.path: file.content for file in files}}
    return Change(
        differences=found,
        files=files,
        forth=Steps(enter="netplan apply\n" + _delete(_dropped(present.files, after))),
        back=Steps(enter="netplan apply\n" + _delete(_made(network, present))),
        validate=(
            "mkdir -p check/etc/netplan\n"
            "cp -a /etc/netplan/*.yaml check/etc/netplan/ || true\n"
            "cp -a new/etc/netplan/. check/etc/netplan/\n"
            "netplan generate --root-dir check\n"
        ),
        boot="netplan generate\n",
    )


BACKENDS = {
    "ifupdown": Backend(ifupdown.PATHS, _ifupdown),
    "netplan": Backend(netplan.PATHS, _netplan),
}


def _differing(files: Iterable[File], present: Present) -> tuple[File, ...]:
    return tuple(file for file in files if present.files.get(file.path) != file.content)


def _made(network: Network, present: Present) -> list[str]:
    """Name the interfaces that the change makes, those built on others first."""
    existing = {link.get("ifname") for link in present.addresses}
    return [each.name for each in reversed(network.interfaces) if each.name not in existing]


def _dropped(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name the virtual interfaces that only the files before define, from the top."""
    kept = {interface.name for interface in netplan.parse(after)}
    found = {interface.name: interface for interface in netplan.parse(before)}
    virtual = [name for name in bottom_up(found.values()) if name in found]
    return [
        name for name in reversed(virtual) if found[name].kind != "ethernet" and name not in kept
    ]


def _ifdown(names: Iterable[str]) -> str:
    return _each("ifdown --force", names)


def _delete(names: Iterable[str]) -> str:
    return "".join(
        f"if [ -e /sys/class/net/{name} ]; then ip link delete {name}; fi\n" for name in names
    )


def _each(command: str, names: Iterable[str]) -> str:
    return "".join(f"{command} {name}\n" for name in names)
