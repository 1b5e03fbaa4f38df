"""The network as Open vSwitch's database has it: main bridge, uplink and a fake bridge a VLAN.

Sources: ovs-vsctl(8), ovs-vswitchd.conf.db(5) and the guide's "Configure OpenVswitch".
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kvmhost.network.model import Network, Uplink

# Prints one line of JSON for each table.
STATE_COMMAND = (
    "ovs-vsctl --format=json"
    " -- --columns=name,ports list Bridge"
    " -- --columns=_uuid,name,tag,trunks,fake_bridge list Port"
    " -- --columns=name,mtu_request list Interface"
)


@dataclass(frozen=True)
class Port:
    """A port of a bridge; the own port of a bridge, fake or real, has the bridge's name.

    `bridge` is the real bridge. An access port has a `tag`; a trunk port passes the VLANs in
    `trunks`, or all if there is none. `mtu` is what is asked for, in bytes.
    """

    name: str
    bridge: str
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    fake_bridge: bool = False
    mtu: int | None = None


@dataclass(frozen=True)
class Correction:
    """A difference from the model in one sentence, and the ovs-vsctl commands that mend it."""

    difference: str
    commands: tuple[tuple[str, ...], ...]

    @property
    def made(self) -> tuple[str, ...]:
        """The bridges that are made, or made anew; a new one has no address, and is down."""
        found = (
            command[command.index("add-br") :] for command in self.commands if "add-br" in command
        )
        return tuple(name for _, name, *_ in found)


def ports(network: Network) -> tuple[Port, ...]:
    """Say which ports the model asks of Open vSwitch; none with native bridges.

    As in the guide, a main bridge's own port is a trunk of the modelled VLANs; an uplink passes
    every VLAN, because CloudStack puts guests on further ones.
    """
    return tuple(port for uplink in network.uplinks for port in _ports_of(network, uplink))


def _ports_of(network: Network, uplink: Uplink) -> Iterator[Port]:
    main = uplink.ovs_bridge
    if main is None:
        return
    of_uplink = [each for each in network.bridges if each.vlan.uplink == uplink.name]
    tags = {bridge.name: bridge.vlan.tag or 0 for bridge in of_uplink}  # 0: untagged frames
    yield Port(main, main, trunks=tuple(sorted(tags.values())), mtu=uplink.mtu)
    yield Port(uplink.name, main, mtu=uplink.mtu)
    for bridge in of_uplink:
        mtu = network.mtus.get(bridge.vlan.name)
        yield Port(bridge.name, main, tags[bridge.name], fake_bridge=True, mtu=mtu)


def parse(state: str) -> tuple[Port, ...]:
    """Read the ports from the output of `STATE_COMMAND`; ValueError if it is none."""
    bridges, rows, interfaces = (_rows(line) for line in state.splitlines())
    bridge = {port: row["name"] for row in bridges for port in _values(row["ports"])}
    mtu = {row["name"]: _optional(row["mtu_request"]) for row in interfaces}
    return tuple(
        Port(
            name=row["name"],
            bridge=bridge[row["_uuid"][1]],
            tag=_optional(row["tag"]),
            trunks=tuple(sorted(_values(row["trunks"]))),
            fake_bridge=row["fake_bridge"],
            mtu=mtu.get(row["name"]),  # a bond's interfaces have other names
        )
        for row in rows
    )


def corrections(
    network: Network, present: Iterable[Port], former: Collection[str] = frozenset()
) -> tuple[Correction, ...]:
    """Say what brings a switch with the present ports to the model; nothing if it is there.

    All commands together, joined by "--", make one transaction of ovs-vsctl. Ports that the
    model does not know stay in their bridges: they are the guests'. A bond's NICs must be no
    ports, and a network with native bridges wants the bridges gone that have its interfaces. So
    are those that only an earlier network of ours had, `former` among them.
    """
    found = {port.name: port for port in present}
    left = tuple(
        Correction(f"Open vSwitch still has {name}.", (("--if-exists", "del-br", name),))
        for name in sorted(former & found.keys())
        if found[name].fake_bridge or found[name].bridge == name
    )
    if network.bridge_type == "native":
        having = sorted({found[name].bridge for name in network.names & found.keys()} - {*former})
        return left + tuple(
            Correction(f"Open vSwitch has {bridge}.", (("--if-exists", "del-br", bridge),))
            for bridge in having
        )
    wanted = ports(network)
    strays = network.names - {port.name for port in wanted}
    return (
        *left,
        *(
            Correction(f"{name} is {_place(found[name])}.", (("--if-exists", "del-port", name),))
            for name in sorted(strays & found.keys())
        ),
        *(correction for port in wanted for correction in _corrections(port, found.get(port.name))),
        *(correction for port in wanted for correction in _followers(port, found, network.names)),
    )


def _followers(
    wanted: Port, found: Mapping[str, Port], names: Collection[str]
) -> Iterator[Correction]:
    """Keep a fake bridge's ports when it gets another tag: the tag is all that makes them its."""
    bridge = found.get(wanted.name)
    if (
        bridge is None
        or not (wanted.fake_bridge and bridge.fake_bridge)
        or bridge.tag == wanted.tag
    ):
        return
    for port in found.values():
        if (port.bridge, port.tag) == (bridge.bridge, bridge.tag) and port.name not in names:
            sentence = f"{port.name} is a port of {wanted.name}, and so gets tag {wanted.tag}."
            yield Correction(sentence, (_setting(port.name, ("port", "tag"), str(wanted.tag)),))


def _corrections(wanted: Port, present: Port | None) -> Iterator[Correction]:
    name, main = wanted.name, wanted.bridge
    if present is None:
        yield Correction(f"{name} is missing in Open vSwitch.", _creation(wanted))
    elif (present.bridge, present.fake_bridge) != (main, wanted.fake_bridge):
        is_bridge = present.fake_bridge or name == present.bridge
        deletion = ("del-br" if is_bridge else "del-port", name)
        commands = (deletion, *_creation(wanted))
        yield Correction(f"{name} is {_place(present)}, not {_place(wanted)}.", commands)
    else:
        found = _columns(present)
        for column, value in _columns(wanted).items():
            if value != found[column] and (value or column[1] != "mtu_request"):
                was, now = found[column] or "none", value or "none"
                difference = f"{name} has {column[1]} {was} instead of {now}."
                yield Correction(difference, (_setting(name, column, value),))


def _place(port: Port) -> str:
    if port.name == port.bridge:
        return "a bridge of its own"
    return f"a {'fake bridge' if port.fake_bridge else 'port'} on {port.bridge}"


def _creation(port: Port) -> tuple[tuple[str, ...], ...]:
    rest = {column: value for column, value in _columns(port).items() if value}
    if port.name == port.bridge:
        add: tuple[str, ...] = ("--may-exist", "add-br", port.name)
    elif port.fake_bridge:
        add = ("--may-exist", "add-br", port.name, port.bridge, rest.pop(("port", "tag")))
    else:
        add = ("--may-exist", "add-port", port.bridge, port.name)
    return add, *(_setting(port.name, column, value) for column, value in rest.items())


def _columns(port: Port) -> dict[tuple[str, str], str]:
    """The port's settings by table and column, as ovs-vsctl takes them; "" is for none."""
    return {
        ("port", "tag"): "" if port.tag is None else str(port.tag),
        ("port", "trunks"): ",".join(map(str, port.trunks)),
        ("interface", "mtu_request"): "" if port.mtu is None else str(port.mtu),
    }


def _setting(name: str, column: tuple[str, str], value: str) -> tuple[str, ...]:
    table, key = column
    return ("set", table, name, f"{key}={value}") if value else ("clear", table, name, key)


def _rows(line: str) -> list[Mapping[str, Any]]:
    table = json.loads(line)
    return [dict(zip(table["headings"], row, strict=True)) for row in table["data"]]


def _values(cell: Any) -> list[Any]:
    """The values in a column of many: RFC 7047's ["set", […]], or one value alone."""
    if isinstance(cell, list) and cell[0] == "set":
        return [_value(value) for value in cell[1]]
    return [_value(cell)]


def _value(cell: Any) -> Any:
    """A single value: ["uuid", "…"], or the value itself."""
    return cell[1] if isinstance(cell, list) else cell


def _optional(cell: Any) -> Any:
    return next(iter(_values(cell)), None)
