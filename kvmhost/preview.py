"""What the settings mean, before there is a host: a picture, the files, the switch's ports."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from textwrap import fill

from kvmhost.checks import uplink_differences
from kvmhost.network.backends import BACKENDS
from kvmhost.network.interfaces import Interface
from kvmhost.network.model import Network, Uplink
from kvmhost.settings import Settings
from kvmhost.table import render


def pictures(settings: Mapping[str, Settings]) -> str:
    """Draw the network of each cluster, once for all of its hosts that are alike.

    settings: each host's, by its name.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for host, each in settings.items():
        key = (each.preparation.cluster, picture(each.network))
        alike.setdefault(key, []).append(host)
    drawn = [
        f"{cluster}\n{_addresses({host: settings[host].network for host in hosts})}\n{drawing}"
        for (cluster, drawing), hosts in alike.items()
    ]
    drawn += [f"{fill(line, 100)}\n" for line in uplink_differences(settings)]
    return "\n".join(drawn)


def _addresses(networks: Mapping[str, Network]) -> str:
    """Return a line for each host, with its further addresses by their interfaces."""
    width = max(map(len, networks))
    return "".join(
        f"  {host.ljust(width)}  {', '.join(_addresses_of(each))}\n"
        for host, each in networks.items()
    )


def _addresses_of(network: Network) -> Iterator[str]:
    yield " ".join(map(str, filter(None, (network.address, network.address6))))
    for name, address in network.addresses.items():
        yield f"{name} {address}"


def picture(network: Network) -> str:
    """Draw a network as a tree for each uplink, from the switch's port to the bridges."""
    trees = [_tree(network, uplink) for uplink in network.uplinks]
    kept = [f"{name}: kept as it is" + _kept(network, name) for name in network.kept]
    return "\n".join((*trees, *kept)) + "\n"


def _kept(network: Network, name: str) -> str:
    interface = network.management_interface
    said = _said(network, interface) if name == interface.name else ""
    return f", with {said}" if said else ""


def _tree(network: Network, uplink: Uplink) -> str:
    lowest = next(each for each in network.interfaces if each.name == uplink.name)
    tagged, untagged = _carried(network, uplink)
    vlans = f"VLAN{'s' if len(tagged) > 1 else ''} {', '.join(map(str, tagged))}" if tagged else ""
    carried = " and ".join(filter(None, (vlans, "untagged frames" if untagged else "")))
    below = uplink.name
    if uplink.bond is not None:
        below = f"{', '.join(uplink.nics)} ── {uplink.name} ({uplink.bond.mode})"
    rows = [(f"└── {below}", _said(network, lowest)), *_branches(network, lowest, "    ")]
    width = max(len(branch) for branch, _ in rows)
    lines = (f"{branch.ljust(width)}   {said}".rstrip() for branch, said in rows)
    return "\n".join((f"switch: {carried}", *lines))


def _carried(network: Network, uplink: Uplink) -> tuple[list[int], bool]:
    """Return the tags of the frames that the switch sends, and whether it sends untagged ones."""
    tags = network.tags(uplink)
    return sorted(tag for tag in tags if tag is not None), None in tags


def _branches(network: Network, lower: Interface, indent: str) -> Iterator[tuple[str, str]]:
    """Yield each line of the tree below an interface, and what is said of its last interface."""
    upper = [each for each in network.interfaces if lower.name in each.below]
    for number, first in enumerate(upper, start=1):
        is_last = number == len(upper)
        chain = [first]
        while len(above := [e for e in network.interfaces if chain[-1].name in e.below]) == 1:
            chain += above
        names = " ── ".join(_named(each) for each in chain)
        said = "; ".join(filter(None, (_said(network, each) for each in chain)))
        yield f"{indent}{'└' if is_last else '├'}── {names}", said
        yield from _branches(network, chain[-1], indent + ("    " if is_last else "│   "))


def _named(interface: Interface) -> str:
    if not interface.is_ovs_bridge:
        return interface.name
    if interface.parent is None:
        return f"{interface.name} (Open vSwitch)"
    return f"{interface.name} ({f'VLAN {interface.tag}' if interface.tag else 'untagged'})"


def _said(network: Network, interface: Interface) -> str:
    """Say which traffic an interface carries, and whether the host is reached there."""
    traffic = [kind for kind, label in asdict(network.labels).items() if label == interface.name]
    parts = [" and ".join(traffic)] if traffic else []
    parts += ["address"] if interface.addresses else []
    parts += [f"gateway {gateway}" for gateway in interface.gateways]
    return ", ".join(parts)


def files(settings: Mapping[str, Settings]) -> str:
    """Show every file of the network that hosts would get where there is none yet."""
    return "\n".join(
        f"==> {host}:{path} <==\n{content}"
        for host, each in settings.items()
        for path, content in _files(each)
    )


def _files(settings: Settings) -> Iterator[tuple[str, str]]:
    backend = settings.platform.network_backend
    if backend not in BACKENDS:
        yield "", f"its network is {backend}\n"
        return
    for file in BACKENDS[backend].render(settings.network, {}, {}):
        yield file.path, file.content


def switch(settings: Mapping[str, Settings]) -> str:
    """Return the table of what the switch has to carry to each host, a NIC a row."""
    header = ("host", "NIC", "bond", "VLANs tagged", "untagged", "MTU")
    return render(header, (row for host, each in settings.items() for row in _ports(host, each)))


def _ports(host: str, settings: Settings) -> Iterator[tuple[str, ...]]:
    network = settings.network
    for uplink in network.uplinks:
        tagged, untagged = _carried(network, uplink)
        bond = "-"
        if uplink.bond is not None:
            speaks = "LACP" if uplink.bond.mode == "802.3ad" else uplink.bond.mode
            bond = f"{uplink.name}, {speaks}"
        mtu = "as it is" if uplink.mtu is None else str(uplink.mtu)
        vlans = ", ".join(map(str, tagged)) or "-"
        for nic in uplink.nics:
            yield host, nic, bond, vlans, "yes" if untagged else "no", mtu
