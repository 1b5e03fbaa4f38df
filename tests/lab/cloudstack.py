"""Stand-in for CloudStack's management server: it adds a lab host, certificates included.

It is no part of CloudStack, and there is none in the lab: nothing manages the host afterwards.
"""

import json
import shlex
import subprocess
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from tests.lab import setup_agent
from tests.lab.fleet import Fleet, Node, state_directory

AGENT = "/etc/cloudstack/agent"
# CloudStack's scripts/util/keystore-setup and keystore-cert-import
IMPORT = f"""
set -e
echo keystore.passphrase=stand-in >>{AGENT}/agent.properties
chmod 600 {AGENT}/agent.properties
mkdir -p /etc/pki/CA /etc/pki/libvirt/private /etc/pki/libvirt-vnc
ln -sf {AGENT}/cloud.ca.crt /etc/pki/CA/cacert.pem
ln -sf {AGENT}/cloud.crt /etc/pki/libvirt/clientcert.pem
ln -sf {AGENT}/cloud.crt /etc/pki/libvirt/servercert.pem
ln -sf {AGENT}/cloud.key /etc/pki/libvirt/private/clientkey.pem
ln -sf {AGENT}/cloud.key /etc/pki/libvirt/private/serverkey.pem
ln -sf {AGENT}/cloud.ca.crt /etc/pki/libvirt-vnc/ca-cert.pem
ln -sf {AGENT}/cloud.crt /etc/pki/libvirt-vnc/server-cert.pem
ln -sf {AGENT}/cloud.key /etc/pki/libvirt-vnc/server-key.pem
"""


def add(fleet: Fleet, node: Node) -> None:
    """Do to a node that a deploy has prepared what CloudStack does when it adds a host.

    Raises LabError with what a program on the node has said when that fails.
    """
    for name, path in _certificates(fleet, node).items():
        node.run(f"install -m 600 /dev/stdin {AGENT}/{name}", stdin=path.read_text())
    node.run(IMPORT)
    properties = {
        "host": f"{fleet.gateway}@static",
        **{"zone": "1", "pod": "1", "cluster": "1", "hypervisor.type": "kvm", "port": "8250"},
        "private.network.device": "cloudbr0",
        "public.network.device": "cloudbr0",
        "guest.network.device": "cloudbr1",
        "guid": f"{uuid5(NAMESPACE_DNS, node.name)}-LibvirtComputingResource",
    }
    _set_up(node, "add", json.dumps(properties))


def open_ports(node: Node) -> None:
    """Open ports in the node's firewall as cloudstack-setup-agent does, to anyone."""
    _set_up(node, "firewall")


def store_properties(node: Node) -> None:
    """Have agent.properties written anew as the agent does whenever it has learned something."""
    _set_up(node, "store")


def _set_up(node: Node, *arguments: str) -> None:
    command = shlex.join(("python3", "-", node.distribution, *arguments))
    node.run(command, stdin=Path(setup_agent.__file__).read_text())


def _certificates(fleet: Fleet, node: Node) -> dict[str, Path]:
    """Return the files of a certificate for the node by their names there; make what is missing."""
    ca = state_directory(fleet.name) / "ca"
    names = {name: node.directory / name for name in ("cloud.key", "cloud.crt")}
    if not ca.exists():
        ca.mkdir(mode=0o700)
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365"),
            *("-subj", "/CN=the lab's CA", "-keyout", ca / "ca.key", "-out", ca / "ca.crt"),
        )
    request = node.directory / "cloud.csr"
    alternatives = f"subjectAltName=DNS:{node.name},IP:{node.ssh_hostname}"
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={node.name}"),
        *("-addext", alternatives, "-keyout", names["cloud.key"], "-out", request),
    )
    _openssl(
        *("x509", "-req", "-in", request, "-copy_extensions", "copy", "-days", "365"),
        *("-CA", ca / "ca.crt", "-CAkey", ca / "ca.key", "-out", names["cloud.crt"]),
    )
    return {"cloud.ca.crt": ca / "ca.crt", **names}


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
