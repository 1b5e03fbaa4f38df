"""Hosts that CloudStack has added keep the address that their certificate bears."""

from pathlib import Path
from typing import Any

import pytest

from kvmhost.network.backends import BACKENDS
from kvmhost.settings import load
from tests.plan.support import MACHINE, commands, fake_host, fakes, host_data, inventory, machine
from tests.plan.test_guide import present
from tests.runs import Run, pyinfra

NATIVE = "tasks.bridges_native.bridges_native"
HAS, WANTED = "192.168.42.11", "192.168.42.12"


def renumbered(folder: Path, *said: str, **changes: Any) -> Run:
    """Plan another address for a host that has HAS, and says this besides of its network."""
    network = load({"kvm1": host_data(11)})["kvm1"].network
    files = BACKENDS["ifupdown"].render(network, {}, {})
    responses = {"ip -json": [*present("guide", {f.path: f.content for f in files}), *said]}
    wanted = {"management_address": f"{WANTED}/24", "fake_responses": responses, **changes}
    hosts = {"@fake/kvm1": fake_host(11, **wanted)}
    return pyinfra(inventory(folder, hosts), NATIVE, "--dry", "--diff", timeout=60)


REFUSED = f"CloudStack has added this host, so it cannot get {WANTED}: have CloudStack put it into"


@pytest.mark.parametrize("said", ["added", f"added {HAS}"])
def test_an_added_host_is_not_renumbered_by_one_step_alone(said: str, tmp_path: Path) -> None:
    run = renumbered(tmp_path, said)
    assert REFUSED in run.output
    assert "Will modify" not in run.output


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ((), {}),
        ((f"added {HAS} {WANTED}",), {}),
        ((f"added {HAS}",), {"waived_checks": ["address"]}),
    ],
    ids=["not added", "known by it", "waived"],
)
def test_other_hosts_are(said: tuple[str, ...], changes: dict[str, Any], tmp_path: Path) -> None:
    run = renumbered(tmp_path, *said, **changes)
    assert "CloudStack has added" not in run.output
    assert "Will modify /etc/network/interfaces" in run.output
    assert WANTED in run.output


def test_the_gate_refuses_it_before_anything_is_changed(tmp_path: Path) -> None:
    hosts = fakes(2)
    hosts["@fake/kvm2"]["fake_responses"][MACHINE] = machine(2, managed="yes", addresses=HAS)
    run = pyinfra(inventory(tmp_path, hosts), "deploy.py", "-y", "--debug", timeout=60)
    assert run.status == 1
    assert commands(run) == dict.fromkeys(hosts, 1)
    said = " ".join(run.output.split())
    assert f"CloudStack has added it with {HAS}, so it cannot get 192.168.42.2" in said
