"""The lab's running fleet: $KVMHOST_LAB_FLEET, or else "demo".

$KVMHOST_LAB_DATA, in JSON, has further data of hosts, by their names.

Groups: `debian` and `rhel` (stand-ins for EL), each release with a cluster for its machines and
one for its container hosts; `ubuntu` and `ubuntu_2204` where $LAB_IMAGES had the hosts made of
those.
"""

import json as _json
import os as _os
import sys as _sys
from typing import Any as _Any

from tests.lab.fleet import Fleet as _Fleet
from tests.lab.fleet import Node as _Node
from tests.lab.fleet import NoFleetError as _NoFleetError

# what group_data/lab.py says for Debian
_REPOSITORIES: dict[str, dict[str, _Any]] = {
    "debian": {},
    "rhel": {
        "cloudstack_repository": "file:///srv/cloudstack-el",
        "cloudstack_suites": (),
        "cloudstack_components": (),
        "cloudstack_key": "file:///srv/cloudstack-el/RPM-GPG-KEY",
    },
}


def _data(node: _Node) -> dict[str, _Any]:
    return {
        "ssh_hostname": node.ssh_hostname,
        "ssh_port": node.ssh_port,
        "ssh_user": "root",
        "ssh_key": str(node.ssh_key),
        "ssh_known_hosts_file": str(node.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "management_address": node.address,
        "gateway": str(_fleet.gateway),
        "dns_search": [_fleet.domain],
        "ntp_servers": [str(_fleet.gateway)],
        "network_backend": node.network_backend,
        **_REPOSITORIES[node.distribution],
        **_further.get(node.name, {}),
    }


_further: dict[str, dict[str, _Any]] = _json.loads(_os.environ.get("KVMHOST_LAB_DATA", "{}"))
try:
    _fleet = _Fleet.load(_os.environ.get("KVMHOST_LAB_FLEET", "demo"))
except _NoFleetError as _error:
    _sys.exit(str(_error))

# pyinfra makes a group of every list here.
debian = [(node.name, _data(node)) for node in _fleet.nodes if node.group == "debian"]
ubuntu = [(node.name, _data(node)) for node in _fleet.nodes if node.group.startswith("ubuntu")]
ubuntu_2204 = [node.name for node in _fleet.nodes if node.group == "ubuntu_2204"]
rhel = [(node.name, _data(node)) for node in _fleet.nodes if node.group == "rhel"]
cluster_lab = [node.name for node in _fleet.nodes if node.cluster == "lab"]
cluster_containers = [node.name for node in _fleet.nodes if node.cluster == "containers"]
cluster_debian13 = [node.name for node in _fleet.nodes if node.cluster == "debian13"]
cluster_debian13_containers = [
    node.name for node in _fleet.nodes if node.cluster == "debian13_containers"
]
cluster_el = [node.name for node in _fleet.nodes if node.cluster == "el"]
cluster_el8 = [node.name for node in _fleet.nodes if node.cluster == "el8"]
cluster_el_containers = [node.name for node in _fleet.nodes if node.cluster == "el_containers"]
