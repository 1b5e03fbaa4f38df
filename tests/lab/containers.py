"""The fleet's Docker objects: its networks, its switch, and a container a node.

All of them carry the label of their fleet, so that nothing else is ever removed.
"""

import hashlib
import json
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import EndpointConfig, IPAMConfig, IPAMPool

from tests.lab.distributions import Distribution
from tests.lab.engine import uplink_mtu
from tests.lab.fleet import (
    DEADLINE,
    FIRST_MACHINE,
    MANAGEMENT_VLAN,
    TRUNK,
    Fleet,
    LabError,
    Node,
    wait_until,
)

FLEET_LABEL = "kvmhost-lab.fleet"
DEFINITION_LABEL = "kvmhost-lab.definition"

# The guide asks for 4 GB of memory; the kernel keeps some of it for itself.
MACHINE_MEMORY_MB = 4300
MACHINE_KERNEL_ARGUMENTS: dict[Distribution, tuple[str, ...]] = {
    "debian": ("lsm=apparmor",),
    "rhel": ("lsm=selinux",),
}

HOST_CAPABILITIES = [
    *("AUDIT_CONTROL", "IPC_LOCK", "MKNOD", "NET_ADMIN", "SETPCAP"),
    *("SYS_ADMIN", "SYS_CHROOT", "SYS_NICE", "SYS_PTRACE"),
]
SWITCH_CAPABILITIES = ["IPC_LOCK", "NET_ADMIN", "SYS_ADMIN", "SYS_NICE"]
UNCONFINED = ["seccomp=unconfined", "apparmor=unconfined"]
SWITCH_BRIDGE = "switch"
TUN = "/dev/net/tun:/dev/net/tun:rwm"

# Writes /mnt/disk.img: the image's root tree, with the node's own files in it.
MAKE_DISK = """\
umount /etc/hosts /etc/hostname /etc/resolv.conf
mkdir /tmp/tree
mount --bind / /tmp/tree
rm /tmp/tree/.dockerenv  # by which systemd would take the machine for a container
tar -C /mnt/seed -c --owner=0 --group=0 . | tar -C /tmp/tree -x --no-overwrite-dir
contexts=/etc/selinux/default/contexts/files/file_contexts
if [ -e "$contexts" ]; then  # files without a label lock everybody out of an enforcing SELinux
    setfiles -r /tmp/tree "$contexts" /tmp/tree
fi
rm -f /mnt/disk.new
truncate -s 8G /mnt/disk.new
mkfs.ext4 -q -L root -E lazy_itable_init=0,lazy_journal_init=0 -d /tmp/tree /mnt/disk.new
mv /mnt/disk.new /mnt/disk.img
"""


def object_name(fleet: str, what: str = "") -> str:
    """Return the Docker name of a node's container or cable, or of the fleet's network."""
    return "-".join(part for part in ("lab", fleet, what) if part)


def find(client: docker.DockerClient, fleet: str, what: str) -> Container | None:
    """Return the container of a node's short name, or of the switch."""
    try:
        return client.containers.get(object_name(fleet, what))
    except NotFound:
        return None


def get(client: docker.DockerClient, fleet: str, what: str) -> Container:
    """Return the container like `find`; raise LabError if there is none."""
    container = find(client, fleet, what)
    if container is None:
        raise LabError(f"fleet {fleet} has no container for {what}; bring it up first")
    return container


def definition(*parts: object) -> str:
    """Return a hash of what a container is made of."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def machine_definition(machine: Node, *parts: object) -> str:
    """Return the definition of a machine made of these parts."""
    return definition(_machine_command(machine), MAKE_DISK, *parts)


def execute(container: Container, *command: str) -> str:
    """Run a command in the container; raise LabError if it fails."""
    status, output = container.exec_run(list(command))
    text = bytes(output).decode(errors="replace")  # type: ignore[arg-type]  # no stream asked for
    if status != 0:
        raise LabError(f"{container.name}: {' '.join(command)}: status {status}\n{text.strip()}")
    return text


def run_helper(client: docker.DockerClient, fleet: str, image: str, **options: Any) -> None:
    """Run a container to its end and remove it; raise LabError if it fails."""
    container = client.containers.create(image, labels={FLEET_LABEL: fleet}, **options)
    try:
        container.start()
        status = container.wait()["StatusCode"]
        if status != 0:
            written = container.logs().decode(errors="replace").strip()
            raise LabError(f"a helper container ended with status {status}:\n{written}")
    finally:
        container.remove(force=True)


def ensure_network(client: docker.DockerClient, fleet: Fleet, helper_image: str) -> None:
    """Make the management network, whose gateway is the workstation."""
    name = object_name(fleet.name)
    _ensure_bridge(client, fleet.name, name, fleet.network, mtu=uplink_mtu())
    # Without a real card nobody fills in the checksums that the kernel leaves open: the switch
    # in userspace would pass them on as they are, and no machine would accept them.
    run_helper(
        client,
        fleet.name,
        helper_image,
        command=["ethtool", "-K", name, "tx", "off"],
        network_mode="host",
        cap_add=["NET_ADMIN"],
    )


def ensure_switch(client: docker.DockerClient, fleet: Fleet, image: str) -> None:
    """Start the switch: the workstation on an access port, each machine on a trunk."""
    made_of = definition(image)
    switch = find(client, fleet.name, "switch")
    if switch is not None and switch.labels.get(DEFINITION_LABEL) != made_of:
        switch.remove(force=True, v=True)
        switch = None
    if switch is None:
        switch = client.containers.create(
            image,
            ["switch"],
            name=object_name(fleet.name, "switch"),
            hostname="switch",
            labels=_labels(fleet.name, made_of),
            cap_add=SWITCH_CAPABILITIES,
            security_opt=UNCONFINED,
            devices=[TUN],
            network=object_name(fleet.name),
            tmpfs={"/run": ""},
            networking_config=_fixed_address(
                client, object_name(fleet.name), str(fleet.network[2])
            ),
        )
    switch.start()
    wait_until(lambda: _switch_is_ready(switch), DEADLINE, "the switch")
    _plug(switch, object_name(fleet.name), "workstation", f"tag={MANAGEMENT_VLAN}")
    for machine in fleet.machines:
        cable = object_name(fleet.name, machine.short_name)
        network = _ensure_bridge(client, fleet.name, cable, cable_subnet(machine), mtu=1500)
        switch.reload()
        if cable not in switch.attrs["NetworkSettings"]["Networks"]:
            network.connect(switch)
        _plug(switch, cable, machine.short_name, *trunk(TRUNK))


def trunk(tags: Iterable[int], untagged: int | None = None) -> tuple[str, ...]:
    """Return the settings of a switch port that carries these tags and nothing else.

    The frames of `untagged`, one of them, go without their tag.
    """
    text = ",".join(str(tag) for tag in tags)
    if not text:
        raise ValueError("to Open vSwitch a trunk of no tags is one of all; pull the cable instead")
    if untagged is None:
        return f"trunks={text}", "tag=[]", "vlan_mode=[]"
    return f"trunks={text}", f"tag={untagged}", "vlan_mode=native-untagged"


def cable_subnet(machine: Node) -> IPv4Network:
    """Return addresses for a cable, which Docker wants and nobody uses (RFC 2544's)."""
    third, last = IPv4Interface(machine.address).packed[2:]
    return IPv4Network((f"198.18.{third}.{8 * (last - FIRST_MACHINE)}", 29))


def machine_mac(machine: Node) -> str:
    """Return the MAC address of the machine's network card."""
    third, last = IPv4Interface(machine.address).packed[2:]
    return f"52:54:00:00:{third:02x}:{last:02x}"


def make_disk(client: docker.DockerClient, machine: Node, image: str) -> None:
    """Write the machine's pristine disk from the image and the files in its seed directory."""
    run_helper(
        client,
        machine.fleet,
        image,
        command=["sh", "-euc", MAKE_DISK],
        network_mode="none",
        cap_add=["SYS_ADMIN"],
        security_opt=UNCONFINED,
        tmpfs={"/tmp": ""},
        volumes={str(machine.directory): {"bind": "/mnt", "mode": "rw"}},
    )


def create_machine(
    client: docker.DockerClient, machine: Node, image: str, made_of: str
) -> Container:
    """Create the chassis of a machine, powered off."""
    return client.containers.create(
        image,
        _machine_command(machine),
        name=object_name(machine.fleet, machine.short_name),
        hostname=f"{machine.short_name}-chassis",
        labels=_labels(machine.fleet, made_of),
        cap_add=["NET_ADMIN"],
        security_opt=UNCONFINED,
        devices=[TUN],
        # The machine's memory: it takes only what the machine has touched.
        tmpfs={"/dev/shm": f"rw,exec,nosuid,nodev,size={MACHINE_MEMORY_MB + 200}m"},
        volumes={str(machine.directory): {"bind": "/machine", "mode": "rw"}},
        network=object_name(machine.fleet, machine.short_name),
    )


def create_host(client: docker.DockerClient, host: Node, image: str, made_of: str) -> Container:
    """Create a container host, powered off."""
    return client.containers.create(
        image,
        name=object_name(host.fleet, host.short_name),
        hostname=host.short_name,
        labels=_labels(host.fleet, made_of),
        cap_add=HOST_CAPABILITIES,
        security_opt=UNCONFINED,
        cgroupns="private",
        # which nobody may set inside; without a word Docker has no IPv6, not even of the link
        sysctls={"net.ipv4.ip_nonlocal_bind": "1", "net.ipv6.conf.all.disable_ipv6": "0"},
        devices=[TUN],
        tmpfs={"/run": "exec,mode=755", "/run/lock": ""},
        volumes={str(host.directory / "seed"): {"bind": "/seed", "mode": "ro"}},
        network=object_name(host.fleet),
        networking_config=_fixed_address(client, object_name(host.fleet), host.ssh_hostname),
    )


def recreate_host(client: docker.DockerClient, host: Node, container: Container) -> None:
    """Replace a container host by a fresh one of the same image, powered off."""
    image, made_of = container.attrs["Config"]["Image"], container.labels[DEFINITION_LABEL]
    container.remove(force=True, v=True)
    create_host(client, host, image, made_of)


def remove_fleet(client: docker.DockerClient, fleet: str) -> tuple[int, int]:
    """Remove what carries the fleet's label; return how many containers and networks."""
    mine = f"{FLEET_LABEL}={fleet}"
    containers = client.containers.list(all=True, filters={"label": mine})
    for container in containers:
        container.remove(force=True, v=True)
    networks = client.networks.list(filters={"label": mine})
    for network in networks:
        network.remove()
    return len(containers), len(networks)


def _machine_command(machine: Node) -> list[str]:
    memory = f"{MACHINE_MEMORY_MB}M"
    arguments = MACHINE_KERNEL_ARGUMENTS[machine.distribution]
    return ["power-on", machine_mac(machine), memory, *arguments]


def _labels(fleet: str, made_of: str) -> dict[str, str]:
    return {FLEET_LABEL: fleet, DEFINITION_LABEL: made_of}


def _fixed_address(
    client: docker.DockerClient, network: str, address: str
) -> dict[str, EndpointConfig]:
    return {network: client.api.create_endpoint_config(ipv4_address=address)}


def _switch_is_ready(switch: Container) -> bool:
    status, _ = switch.exec_run(["ovs-vsctl", "--timeout=30", "br-exists", SWITCH_BRIDGE])
    return bool(status == 0)


def _plug(switch: Container, network: str, port: str, *settings: str) -> None:
    switch.reload()
    mac = switch.attrs["NetworkSettings"]["Networks"][network]["MacAddress"]
    execute(switch, "switch-port", port, mac, *settings)


def _ensure_bridge(
    client: docker.DockerClient, fleet: str, name: str, subnet: IPv4Network, mtu: int
) -> Network:
    for network in client.networks.list(names=[name]):
        if network.name == name:
            return network
    pool = IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))
    return client.networks.create(
        name,
        driver="bridge",
        ipam=IPAMConfig(pool_configs=[pool]),
        options={
            "com.docker.network.bridge.name": name,
            "com.docker.network.driver.mtu": str(mtu),
        },
        labels={FLEET_LABEL: fleet},
    )
