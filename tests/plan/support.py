"""Hosts of pyinfra's @fake connector: whole runs, with answers that were written beforehand."""

import re
import runpy
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.runs import CHECKOUT, Run

NAME = "kvm{number}.lab.example.org"
ADDRESS = "192.168.42.{number}"
MACHINE = "MemTotal"
"""A part of the command that asks what a machine is."""
NAMES = "static_file"
"""A part of the command that asks for a host's names."""


def host_data(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return all that a Debian host's data must hold; `...` as a value removes a key."""
    complete = {
        "distribution": "debian",
        "releases": ["12"],
        "package_manager": "apt",
        "network_backend": "ifupdown",
        "firewall_backend": "ufw",
        "libvirt_packages": ["libvirt-daemon-system"],
        "libvirtd_arguments_file": "/etc/default/libvirtd",
        "libvirtd_arguments": {"LIBVIRTD_ARGS": '"--listen"'},
        "cluster": "cluster_a",
        "hostname": NAME.format(number=number),
        "cloudstack_repository": "https://packages.example.org/debian",
        "cloudstack_suites": ["bookworm"],
        "cloudstack_key": "https://packages.example.org/release.asc",
        "management_vlan": 100,
        "management_address": f"{ADDRESS.format(number=number)}/24",
        "gateway": "192.168.42.254",
        "bridges": {"cloudbr0": 200, "cloudbr1": 300},
    }
    merged = complete | changes
    return {key: value for key, value in merged.items() if value is not ...}


def group_data(name: str) -> dict[str, Any]:
    """Return the data of a group as pyinfra reads it: all names of the file, but for modules'."""
    names = runpy.run_path(str(CHECKOUT / "group_data" / f"{name}.py"))
    return {
        key: value
        for key, value in names.items()
        if not key.startswith("__") and not callable(value)
    }


def machine(number: int = 1, **changes: str) -> list[str]:
    """Return what the fact about a machine hears from one that can become a hypervisor."""
    name = NAME.format(number=number)
    answer = {
        "root": "yes",
        "distribution": "debian",
        "release": "12",
        "system": "Debian GNU/Linux 12 (bookworm)",
        "architecture": "x86_64",
        "memory": "8000000",
        "cpu_model": "AMD EPYC",
        "cpu_count": "16",
        "cpu_flags": "fpu sse2 svm",
        "kvm": "yes",
        "interfaces": "eth0 lo",
        "hostname": name.partition(".")[0],
        "qualified_name": name,
        "addresses": ADDRESS.format(number=number),
        "outbound": "reached",
        "systemd": "yes",
        "firewalls": "ufw",
        "guests": "",
        "managed": "no",
    }
    return [f"{key}={value}" for key, value in (answer | changes).items()]


def names(number: int = 1, **changes: str) -> list[str]:
    """Return what the fact about names hears from a host that has its name already."""
    name = NAME.format(number=number)
    label = name.partition(".")[0]
    answer = {
        "kernel": label,
        "qualified": name,
        "static_path": "/etc/hostname",
        "static_file": f"{label}\n",
        "hosts_file": f"127.0.0.1 localhost\n{ADDRESS.format(number=number)} {name} {label}\n",
    }
    return [
        f"{key}={b64encode(value.encode()).decode() if key.endswith('_file') else value}"
        for key, value in (answer | changes).items()
    ]


BARE: Mapping[str, Any] = {
    "sha256sum <": ["sha256 ", "origin "],
    "rpm --dbpath": ["fetched", "taken"],
    "getenforce": ["seen"],
    "-e /etc/cloud/cloud.cfg": ["none"],
    "then echo exists && base64": ["absent"],
}
"""What facts hear from a host on which nothing is yet, by a part of their commands."""


def fake_host(number: int = 1, **data: Any) -> dict[str, Any]:
    """Return the data of a bare host that can become a hypervisor and has its name already."""
    responses = {MACHINE: machine(number), NAMES: names(number)}
    merged = {"fake_responses": responses, "fake_delay": 0, "fake_delay_jitter": 0} | data
    return host_data(number, **merged | {"fake_responses": others(merged["fake_responses"])})


def others(responses: Mapping[str, Any]) -> dict[str, Any]:
    """Return what facts hear, with what a bare host says to all other questions."""
    return {**responses, **{each: BARE[each] for each in BARE if each not in responses}}


def fakes(count: int) -> dict[str, dict[str, Any]]:
    """Return so many hosts that can become hypervisors, by name: @fake/kvm1 and so on."""
    return {f"@fake/kvm{number}": fake_host(number) for number in range(1, count + 1)}


def inventory(folder: Path, hosts: Mapping[str, dict[str, Any]]) -> str:
    """Write an inventory and return its path."""
    path = folder / "fakes.py"
    path.write_text(f"hosts = {list(hosts.items())!r}\n")
    return str(path)


def commands(run: Run) -> Counter[str]:
    """Return how many commands each fake host was sent, from a run with --debug."""
    return Counter(re.findall(r"simulating command on (\S+):", run.output))
