"""netplan itself, of Debian 13: it takes every starting point, before and after our change."""

import io
import tarfile
from base64 import b64encode
from collections.abc import Mapping

from kvmhost.network.backends import BACKENDS
from kvmhost.network.change import Present
from tests.lab.fleet import DEADLINE, Fleet
from tests.unit.network_examples import network
from tests.unit.starting_points import StartingPoint
from tests.unit.starting_points.netplan import REFUSED, STARTING_POINTS

INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"


def test_netplan_itself_takes_every_starting_point_before_and_after(fleet: Fleet) -> None:
    node = next(each for each in fleet.hosts if each.release == "13")
    node.run(f"apt-get update -qq; {INSTALL} netplan.io", timeout=DEADLINE)
    points = {
        f"{index}-{when}": files
        for index, point in enumerate(STARTING_POINTS)
        for when, files in (("before", point.files), ("after", files_after(point)))
    }
    answer = node.run(
        "folder=$(mktemp -d); cd $folder; base64 -d | tar -x; for point in *; do"
        ' said=$(netplan generate --root-dir $point 2>&1) || echo "$point: $said"; done;'
        " cat */run/systemd/network/*-eth0.100.network | grep -c 192.168.42.11/24; rm -r $folder",
        stdin=packed(points),
    ).stdout.splitlines()
    *refused, with_address = answer
    assert refused == []
    assert int(with_address) > len(points) / 4


def files_after(point: StartingPoint) -> Mapping[str, str]:
    if point.outcome == REFUSED:
        return {}
    links = [
        {"ifname": name, "address": mac, "mtu": 1500, "flags": [], "addr_info": []}
        for mac, name in point.devices.items()
    ]
    before = Present(files=point.files, addresses=links)
    change = BACKENDS["netplan"].change(network(**point.keys), before)
    assert change is not None
    return {**point.files, **{file.path: file.content for file in change.files}}


def packed(points: Mapping[str, Mapping[str, str]]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, files in points.items():
            for path, text in files.items():
                member = tarfile.TarInfo(f"{name}{path}")
                content = text.encode()
                member.size, member.mode = len(content), 0o600
                archive.addfile(member, io.BytesIO(content))
    return b64encode(buffer.getvalue()).decode()
