"""A run with --diff shows that a file changes, and no secret in it."""

from pathlib import Path
from typing import Any

from tests.plan.support import fake_host, inventory
from tests.plan.test_guide import INTERFACES, present, text
from tests.runs import Run, pyinfra

SECRET = "hunter2"


def test_the_agents_passphrase_is_no_part_of_the_difference(tmp_path: Path) -> None:
    properties = f"guid=1\nkeystore.passphrase={SECRET}\nguest.cpu.mode=custom\n"
    responses = {"-e /etc/cloudstack/agent/agent.properties": text(properties)}
    host = fake_host(guest_cpu_mode="host-model", fake_responses=responses)
    task = "tasks.cloudstack_agent.cloudstack_agent"
    run = pyinfra(inventory(tmp_path, {"@fake/kvm1": host}), task, "-y", "--diff")
    assert run.status == 0
    assert "+ guest.cpu.mode=host-model" in run.output
    assert "keystore.passphrase=*** (1)" in run.output
    assert SECRET not in run.output


PROFILE = """\
[connection]
id=eth0
type=ethernet
interface-name=eth0

[802-1x]
eap=peap;
identity=kvm1
password=hunter2

[ipv4]
method=auto
"""


def test_a_password_of_802_1x_is_no_part_of_the_networks_difference(tmp_path: Path) -> None:
    path = "/etc/NetworkManager/system-connections/eth0.nmconnection"
    host = fake_host(network_backend="networkmanager")
    host["fake_responses"]["ip -json"] = present("bare", {path: PROFILE})
    run = bridged(tmp_path, host)
    assert "+ interface-name=cloudbr0" in run.output
    assert "identity=kvm1" in run.output
    assert "password=*** (1)" in run.output
    assert SECRET not in run.output


def test_a_line_that_is_cited_in_a_reason_has_no_secret_either(tmp_path: Path) -> None:
    file = f"auto eth0\niface eth0 inet dhcp\n    wpa-password {SECRET}\n"
    host = fake_host()
    host["fake_responses"]["ip -json"] = present("bare", {INTERFACES: file})
    run = bridged(tmp_path, host)
    assert "what it says would be lost: wpa-password ***" in run.output
    assert SECRET not in run.output


def bridged(folder: Path, host: dict[str, Any]) -> Run:
    hosts = inventory(folder, {"@fake/kvm1": host})
    task = "tasks.bridges_native.bridges_native"
    return pyinfra(hosts, task, "-y", "--diff", "--debug", timeout=60)
