"""A whole deploy over SSH to a host on which nothing is to be changed, and what it costs.

The host answers as that of tests/plan/test_odd_answers.py does, and keeps the files that it is
given. It carries nothing out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shlex import split

import paramiko
import pytest

from kvmhost.facts.libvirt import GUESTS_COMMAND
from kvmhost.settings import Settings, load
from tests.plan.support import group_data
from tests.plan.test_firewall import CAME, SSH, TUPLE
from tests.plan.test_odd_answers import FIRST, OTHER_KEYS, questions
from tests.runs import pyinfra
from tests.unit.ssh_server import Server, listening, reaching

LIMIT = 300
"""Seconds after which a run hangs."""
MOST = 8
"""Remote commands that a run may cost a host, with the one that holds its lock."""

Answers = Mapping[str, Iterable[str]]
"""What the host says, by a part of the question; the first that fits counts."""


class Host(Server):
    """Answers, and keeps files."""

    def __init__(self, answers: Answers, files: dict[str, str]) -> None:
        self.answers, self.files = answers, files

    def carry_out(self, channel: paramiko.Channel, command: bytes) -> None:
        given = channel.makefile("rb")
        shell, _, text = split(command.decode())
        if shell == "bash":  # what holds the lock
            channel.sendall(b"held\n")
            given.readline()
        else:
            channel.sendall(self.said(text, given).encode())
        channel.send_exit_status(0)
        channel.close()

    def said(self, text: str, given: paramiko.ChannelFile) -> str:
        if not text.startswith("sh -c "):
            return "".join(f"{line}\n" for line in self.lines(text, given))
        together = re.sub(r"2>/dev/null; printf ('.*?') \$\?;", r"\1", text, flags=re.DOTALL)
        words = split(together)
        return "".join(
            self.said(question, given) + end.replace("\\n", "\n") % 0
            for question, end in zip(words[2::4], words[3::4], strict=True)
        )

    def lines(self, text: str, given: paramiko.ChannelFile) -> Iterable[str]:
        if written := re.search(r"readlink -f (\S+)\)", text):
            self.files[written[1]] = given.read().decode().strip()
            return ()
        asked = re.search(r"if \[ -e (\S+) \]; then echo exists &&", text)
        if asked and asked[1] in self.files:
            return ("exists", self.files[asked[1]])
        return next((self.answers[part] for part in self.answers if part in text), ())


def settled(chosen: Settings) -> Iterator[tuple[str, list[str]]]:
    """Yield the answers of a host that has all but the files."""
    packages = ("bridge-utils", "chrony", "cloudstack-agent", "ifupdown", "procps", "ufw", "vlan")
    packages += (*chosen.libvirt.libvirt_packages, *chosen.agent.cloudstack_requisites)
    yield "dpkg-query", [f"install ok installed {each} 1.0" for each in packages]
    yield "update-success-stamp", ["age 60"]
    yield "ip_nonlocal_bind", ["value 1", "exists", "bmV0LmlwdjQuaXBfbm9ubG9jYWxfYmluZCA9IDEK"]
    yield "getenforce", ["seen"]
    yield f"{GUESTS_COMMAND}; echo all", ["all"]
    yield "parameters/enabled", ["enabled N"]
    yield "-e /etc/cloud/cloud.cfg", ["none"]
    ports, own = chosen.firewall.firewall_ports, chosen.network.address.network
    opened = [TUPLE.format(4, "allow tcp", port, own) for port in ports]
    yield "user.rules", [*opened, SSH.format("10.0.0.9"), CAME, "all"]
    masked = chosen.libvirt.libvirt_masked_units
    yield f"echo {' '.join(masked)};", [" ".join(masked), *["", "LoadState=masked"] * len(masked)]
    for service in ("chrony", chosen.libvirt.libvirt_service, "cloudstack-agent"):
        state = ("LoadState=loaded", "ActiveState=active", "UnitFileState=enabled")
        yield f"echo {service}.service;", [f"{service}.service", "", *state]


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[str]:
    data, usual = questions("Debian", FIRST)
    chosen = load({"host": group_data("all") | group_data("debian") | data}, OTHER_KEYS)["host"]
    own, files = dict(settled(chosen)), dict[str, str]()
    with listening(tmp_path, lambda _: Host(own | usual | own, files)) as port:
        data |= reaching(port, tmp_path)
        path = tmp_path / "inventory.py"
        path.write_text(f"hosts = [('kvm2', {data!r})]\ndebian = ['kvm2']\n")
        yield str(path)


def test_a_run_in_which_nothing_is_to_be_changed_costs_few_commands(inventory: str) -> None:
    first = pyinfra(inventory, "deploy.py", "-y", "--json", timeout=LIMIT)
    assert first.status == 0, first.output
    assert len(first.changed) > 5
    second = pyinfra(inventory, "deploy.py", "-y", "--json", "--debug", timeout=LIMIT)
    assert second.status == 0, second.output
    assert second.changed == {}
    assert second.operations > 25
    assert second.commands()["kvm2"] + 1 <= MOST, second.commands()
