"""Bad settings stop a run of pyinfra before a host is sent a single command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plan.support import commands, fake_host, fakes, inventory
from tests.runs import pyinfra


@pytest.mark.parametrize(
    "target", ["deploy.py", "tasks.firewall.firewall"], ids=["deploy.py", "one step"]
)
def test_one_bad_setting_of_one_host_stops_all(tmp_path: Path, target: str) -> None:
    hosts = fakes(30) | {"@fake/kvm31": fake_host(31, guest_cpu_mode="fast", gatewy="10.0.0.1")}
    run = pyinfra(inventory(tmp_path, hosts), target, "-y", "--debug")
    assert run.status != 0
    assert not commands(run)
    said = " ".join(run.output.split())
    assert "2 settings cannot be used; no host was touched." in said
    assert "@fake/kvm31 gatewy '10.0.0.1' no such key; did you mean gateway?" in said
    assert "@fake/kvm31 guest_cpu_mode 'fast'" in said
    assert said.count("cannot be used") == 1


def test_the_examples_placeholder_for_a_checksum_stops_a_run(tmp_path: Path) -> None:
    hosts = {"@fake/kvm1": fake_host(1, cloudstack_key_sha256="0" * 64)}
    run = pyinfra(inventory(tmp_path, hosts), "deploy.py", "-y", "--debug")
    assert run.status != 0
    assert not commands(run)
    assert "curl -L https://packages.example.org/release.asc" in " ".join(run.output.split())


def test_a_limited_run_minds_only_its_own_hosts(tmp_path: Path) -> None:
    hosts = fakes(2) | {"@fake/kvm3": fake_host(3, guest_cpu_mode="fast")}
    run = pyinfra(
        inventory(tmp_path, hosts), "tasks.preflight.preflight", "-y", "--exclude", "@fake/kvm3"
    )
    assert run.status == 0, run.output


def test_an_address_of_a_host_outside_the_run_is_taken(tmp_path: Path) -> None:
    other = fake_host(2, gateway="none", management_address="192.168.42.1/16")
    hosts = fakes(1) | {"@fake/kvm2": other}
    run = pyinfra(inventory(tmp_path, hosts), "deploy.py", "-y", "--debug", "--limit", "@fake/kvm1")
    assert run.status != 0
    assert not commands(run)
    said = " ".join(run.output.split())
    assert "@fake/kvm1 management_address '192.168.42.1/24' @fake/kvm2 has it already" in said


def test_the_example_for_production_can_be_used_once_its_keys_are_known() -> None:
    listing = pyinfra("inventories/prod.py", "debug-inventory", "--json")
    assert listing.status == 0, listing.output
    hosts = json.loads(listing.stdout)
    names = [each["name"] for each in hosts]
    assert {name.split(".")[1] for name in names} == {"dc1", "dc2", "dc3", "dc4"}
    with pytest.raises(subprocess.CalledProcessError) as refused:
        offline(listing.stdout)
    assert refused.value.stderr.startswith("3 settings cannot be used; ")
    assert refused.value.stderr.count("curl -L ") == 3
    modes = {each["name"]: each["data"].get("libvirt_remote_mode") for each in hosts}
    releases = {each["name"]: each["data"]["releases"] for each in hosts}
    assert (modes["kvm1.dc1.example.org"], modes["kvm1.dc3.example.org"]) == ("legacy", None)
    assert releases["kvm1.dc3.example.org"] == ["22.04"]
    pinned = listing.stdout.replace("0" * 64, "1" * 64)
    assert offline(pinned) == f"{len(names)} hosts: all settings can be used.\n"
    assert offline(listing.stdout, "network").count("switch: ") == 6
    files = offline(listing.stdout, "files", "kvm1.dc2.example.org")
    assert files.startswith("==> kvm1.dc2.example.org:/etc/network/interfaces <==\n")
    assert "kvm2.dc2" not in files
    nics = 2 * 3 + (len(names) - 2)  # the two hosts of cluster_c have three each
    assert len(offline(listing.stdout, "switch").splitlines()) == 2 + nics
    with pytest.raises(subprocess.CalledProcessError) as refused:
        offline(listing.stdout, "files", "kvm1")
    assert refused.value.stderr.startswith("no host kvm1 in the inventory; there are kvm1.dc1")


@pytest.mark.parametrize("listing", ["", "[]", "{}", "null", "[1]", '[{"name": "kvm1"}]'])
def test_an_inventory_without_hosts_is_not_called_right(listing: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        offline(listing)
    assert refused.value.stderr.startswith("Standard input has no hosts: ")


def offline(listing: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "kvmhost", *arguments],
        input=listing,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
