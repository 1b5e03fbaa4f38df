"""Looks at the ports of the fleet's nodes from outside: nmap in a container of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any
from xml.etree import ElementTree

from docker.models.containers import Container

from tests.lab import containers
from tests.lab.engine import connect
from tests.lab.fleet import Fleet
from tests.lab.images import build_scanner
from tests.lab.progress import Progress

ALL = "1-65535"


@dataclass(frozen=True)
class Scanner:
    """A container on a network of the fleet, and its interface there."""

    container: Container
    interface: str = "eth0"

    def add_address(self, address: IPv4Interface) -> None:
        """Have one more address from which to look."""
        self._run("ip", "address", "replace", str(address), "dev", self.interface)

    def link_local_neighbours(self) -> set[str]:
        """Return the addresses that answer when all of a link are asked (RFC 4291, ff02::1)."""
        everyone = f"ff02::1%{self.interface}"
        # it has sixteen seconds, for its own address is not its own at once
        said = self._run("sh", "-c", f"ping -c 8 -i 2 -w 16 {everyone}; ip -6 -o address show")
        mine = set(re.findall(r"inet6 (\S+)/", said))
        return set(re.findall(r"from (fe80:\S+)%", said)) - mine

    def open_ports(self, target: str, source: str | None = None, ports: str = ALL) -> set[int]:
        """Return the TCP ports that are open at an address, IPv4 or IPv6, to one that looks.

        source: the address from which it looks; None: the container's own.
        ports: as nmap's -p has them.
        """
        how = ["-6"] if ":" in target else []
        if source:
            how += ["-S", source, "-e", self.interface]
        # a firewall that says nothing would else cost a minute an address
        how += ["-n", "-Pn", "-sS", "-p", ports, "--min-rate", "10000", "--max-retries", "2"]
        said = self._run("nmap", *how, "-oX", "-", target)
        return {
            int(port.attrib["portid"])
            for port in ElementTree.fromstring(said).iter("port")
            if port.find("state[@state='open']") is not None
        }

    def _run(self, *command: str) -> str:
        return containers.execute(self.container, *command)


@contextmanager
def beside_hosts(fleet: Fleet) -> Iterator[Scanner]:
    """Have a container on the network of the fleet's hosts, for as long as it is needed."""
    ipv6 = {"net.ipv6.conf.all.disable_ipv6": "0"}
    with _container(fleet, network=containers.object_name(fleet.name), sysctls=ipv6) as container:
        yield Scanner(container)


@contextmanager
def in_vlan(fleet: Fleet, tag: int, address: IPv4Interface) -> Iterator[Scanner]:
    """Have a container with an address on an access port of the machines' switch, as long."""
    switch, port = containers.get(connect(), fleet.name, "switch"), f"scan{tag}"
    add = ("ovs-vsctl", "--may-exist", "add-port", containers.SWITCH_BRIDGE, port, f"tag={tag}")
    containers.execute(switch, *add, "--", "set", "interface", port, "type=internal")
    try:
        # the port is the switch's own, whose IPv6 only those that may all can switch on
        network = f"container:{switch.name}"
        with _container(fleet, network=network, privileged=True) as container:
            ipv6 = f"net.ipv6.conf.{port}.disable_ipv6=0"
            containers.execute(container, "sysctl", "-q", "-w", ipv6)
            containers.execute(container, "ip", "link", "set", port, "up")
            each = Scanner(container, port)
            each.add_address(address)
            yield each
    finally:
        containers.execute(switch, "ovs-vsctl", "del-port", containers.SWITCH_BRIDGE, port)


@contextmanager
def _container(fleet: Fleet, **options: Any) -> Iterator[Container]:
    client = connect()
    container = client.containers.run(
        build_scanner(client, Progress()),
        ["sleep", "infinity"],
        detach=True,
        init=True,
        labels={containers.FLEET_LABEL: fleet.name},
        cap_add=["NET_ADMIN"],
        **options,
    )
    try:
        yield container
    finally:
        container.remove(force=True)
