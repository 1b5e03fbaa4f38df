"""cloud-init, as its package has it, and what it makes of the host's files on later boots."""

from collections.abc import Callable, Iterator

import pytest

from tests.lab import lab
from tests.lab.fleet import Fleet, Node
from tests.runs import Run

Deploy = Callable[..., Run]
OPERATION = "kvmhost.operations.cloudinit.network_disabled"
FILE = "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg"
INSTALL = (
    "apt-get update -qq && DEBIAN_FRONTEND=noninteractive"
    " apt-get install -y -qq --no-install-recommends cloud-init netplan.io"
    # The next boot itself goes without: cloud-init would give the host other keys, and root none.
    " && touch /etc/cloud/cloud-init.disabled"
)
SEED = """\
mkdir -p /var/lib/cloud/seed/nocloud && cd /var/lib/cloud/seed/nocloud
echo '#cloud-config' > user-data
echo '{version: 2, ethernets: {eth0: {dhcp4: true}}}' > network-config
echo 'datasource_list: [NoCloud]' > /etc/cloud/cloud.cfg.d/90-source.cfg
# as Ubuntu's installer leaves it
echo 'network: {version: 2, ethernets: {eth0: {dhcp4: true}}}' > \
    /etc/cloud/cloud.cfg.d/90-installer-network.cfg
"""
WRITTEN = "/etc/netplan/50-cloud-init.yaml"


@pytest.fixture
def host(fleet: Fleet) -> Iterator[Node]:
    node = next(each for each in fleet.hosts if each.distribution == "debian")
    lab.reset(node)
    yield node
    lab.reset(node)


def run(deploy: Deploy, node: Node) -> Run:
    return deploy("-y", "--json", "--limit", node.name, target=OPERATION)


def boot_as(node: Node, instance: str) -> str:
    """Carry out the stage of cloud-init's that sets up the network, as a boot does; say what is."""
    node.run(
        f"echo 'instance-id: {instance}' > /var/lib/cloud/seed/nocloud/meta-data;"
        f" rm -rf /run/cloud-init {WRITTEN}; cloud-init init --local"
    )
    assert instance in node.run("cat /var/lib/cloud/data/instance-id").stdout
    return node.run(f"cat {WRITTEN} 2>/dev/null", check=False).stdout


def test_cloud_init_leaves_the_network_alone_from_now_on(host: Node, deploy: Deploy) -> None:
    assert run(deploy, host).changed == {}  # without cloud-init
    assert host.run(f"test -e {FILE}", check=False).returncode != 0
    host.run(INSTALL, timeout=600)
    host.run(SEED)
    assert "dhcp4: true" in boot_as(host, "one")
    assert "dhcp4: true" in boot_as(host, "two")
    assert len(run(deploy, host).changed) == 1
    assert boot_as(host, "three") == ""
    assert run(deploy, host).changed == {}
    # somebody else's file that says it is theirs to keep
    host.run(f"printf '# ours\\nnetwork:\\n  config: disabled\\n' > {FILE}")
    assert run(deploy, host).changed == {}


def test_the_hosts_name_outlives_a_boot_where_cloud_init_makes_etc_hosts(
    host: Node, deploy: Deploy
) -> None:
    host.run(INSTALL, timeout=600)
    host.run(f"{SEED}echo 'manage_etc_hosts: true' > /etc/cloud/cloud.cfg.d/91-hosts.cfg")
    boot_as(host, "one")
    how = ("-y", "--json", "--limit", host.name)
    assert not deploy(*how, target="tasks.preflight.preflight").failed
    host.run("cloud-init single --name update_etc_hosts --frequency always")
    assert "manage_etc_hosts" in host.run("cat /etc/hosts").stdout  # the template says so
    found = host.run(f"hostname --fqdn; getent ahostsv4 {host.name} | sed 's/ .*//;q'").stdout
    assert found.split() == [host.name, host.address.partition("/")[0]]
    assert deploy(*how, target="tasks.preflight.preflight").changed == {}
