"""What becomes of a host whose network an installer, cloud-init or an administrator has made."""

from pathlib import Path
from typing import Any

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Change, Present
from kvmhost.network.model import Network
from tests.unit.network_examples import network
from tests.unit.starting_points import StartingPoint
from tests.unit.starting_points.__main__ import points, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "network.md"
POINTS = points()


def nics(point: StartingPoint) -> list[dict[str, Any]]:
    """Return what the kernel says of the NICs, as far as it is asked for."""
    flags = {"flags": ["UP"], "mtu": 1500, "addr_info": []}
    return [
        {"ifname": name, "address": address, **flags} for address, name in point.devices.items()
    ]


def change(backend: str, point: StartingPoint, files: dict[str, str]) -> tuple[Network, Change]:
    wanted = network(**point.keys)
    planned = BACKENDS[backend].change(wanted, Present(files=files, addresses=nics(point)))
    assert planned is not None
    return wanted, planned


def definitions(backend: str, point: StartingPoint, files: dict[str, str]) -> dict[str, Any]:
    parsed = BACKENDS[backend].parse(files, point.devices)
    return {interface.name: interface for interface in parsed}


@pytest.mark.parametrize(("key", "point"), POINTS.items(), ids=map(" ".join, POINTS))
def test_it_becomes_of_it_what_the_table_says(key: tuple[str, str], point: StartingPoint) -> None:
    backend, files = key[0], dict(point.files)
    if point.outcome == "refused":
        with pytest.raises(ValueError) as refusal:  # its text is compared
            change(backend, point, files)
        assert point.sentence in str(refusal.value)
        assert point.sentence
        return
    wanted, planned = change(backend, point, files)
    after = {**files, **{file.path: file.content for file in planned.files}}
    after = {path: text for path, text in after.items() if path not in planned.removed}
    found = definitions(backend, point, after)
    for ours in wanted.interfaces:
        assert found[ours.name].addresses == ours.addresses
        # a bond that is kept as the uplink is found as it is
        assert ours.kind in (found[ours.name].kind, "ethernet")
    _, again = change(backend, point, after)
    assert (again.files, again.removed) == ((), ())
    before = definitions(backend, point, files)
    goes = before.keys() - found.keys()
    assert not goes or point.outcome == "taken over"
    for name in before.keys() - wanted.names - goes:
        assert found[name] == before[name]


def test_the_document_has_the_table() -> None:
    assert table() in DOCUMENT.read_text()
