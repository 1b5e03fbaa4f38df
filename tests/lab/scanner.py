"""Looks at the ports of the fleet's nodes from outside: nmap in a container of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from xml.etree import ElementTree

from docker.models.containers import Container

from tests.lab import containers
from tests.lab.engine import connect
from tests.lab.fleet import Fleet
from tests.lab.images import build_scanner
from tests.lab.progress import Progress

ALL = "1-65535"
INTERFACE = "eth0"


@dataclass(frozen=True)
class Scanner:
    """A container on the network of the fleet's hosts."""

    container: Container

    def add_address(self, address: IPv4Interface) -> None:
        """Have one more address from which to look."""
        self._run("ip", "address", "replace", str(address), "dev", INTERFACE)

    def open_ports(self, target: str, source: str | None = None) -> set[int]:
        """Return the TCP ports, of all, that are open at an address, IPv4 or IPv6.

        source: the address from which it looks; None: the container's own.
        """
        how = ["-6"] if ":" in target else []
        if source:
            how += ["-S", source, "-e", INTERFACE]
        # a firewall that says nothing would else cost a minute an address
        how += ["-n", "-Pn", "-sS", "-p", ALL, "--min-rate", "10000", "--max-retries", "2"]
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
    client = connect()
    container = client.containers.run(
        build_scanner(client, Progress()),
        ["sleep", "infinity"],
        detach=True,
        init=True,
        labels={containers.FLEET_LABEL: fleet.name},
        cap_add=["NET_ADMIN"],
        sysctls={"net.ipv6.conf.all.disable_ipv6": "0"},
        network=containers.object_name(fleet.name),
    )
    try:
        yield Scanner(container)
    finally:
        container.remove(force=True)
