"""Brings a fleet up and down, and does to its nodes what happens to real ones."""

import fcntl
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

import docker
from docker.models.containers import Container

from tests.lab import containers
from tests.lab.distributions import Distribution
from tests.lab.engine import connect, name_servers, prepare
from tests.lab.fleet import (
    DEADLINE,
    FIRST_DEBIAN13_HOST,
    FIRST_EL_HOST,
    FIRST_HOST,
    FIRST_MACHINE,
    STATE,
    TRUNK,
    Fleet,
    LabError,
    NetworkBackend,
    Node,
    NodeKind,
    NoFleetError,
    state_directory,
    wait_until,
)
from tests.lab.images import (
    Images,
    build_images,
    given_host_images,
    given_root_trees,
    needed_releases,
)
from tests.lab.keys import host_key, make_fleet_keys
from tests.lab.node_files import NodeFile, node_files, write_files
from tests.lab.progress import Progress

# Management network and domain of the fleets that may exist at once.
FLEETS = {
    "demo": ("192.168.42.0/24", "lab.example.org"),
    "metal": ("192.168.142.0/24", "metal.example.org"),
    "large": ("192.168.143.0/24", "large.example.org"),
    "hosts": ("192.168.144.0/24", "hosts.example.org"),
    "fails": ("192.168.145.0/24", "fails.example.org"),
}
# The distribution of the machines with a network backend, and its releases, the usual one first.
RUNS_ON: dict[NetworkBackend, tuple[Distribution, tuple[str, ...]]] = {
    "ifupdown": ("debian", ("12", "13")),
    "netplan": ("debian", ("12", "13")),
    "networkmanager": ("rhel", ("9",)),
    "ifcfg": ("rhel", ("8",)),
}
# A cluster has hosts of one release of one distribution, and of one kind of processor.
CLUSTERS: dict[tuple[NodeKind, Distribution, str], str] = {
    ("machine", "debian", "12"): "lab",
    ("host", "debian", "12"): "containers",
    ("machine", "debian", "13"): "debian13",
    ("host", "debian", "13"): "debian13_containers",
    ("machine", "rhel", "9"): "el",
    ("host", "rhel", "9"): "el_containers",
    ("machine", "rhel", "8"): "el8",
}
REPOSITORY_URL = "file:///srv/cloudstack"


@dataclass(frozen=True)
class FleetSpec:
    """What is wanted: a machine for each network backend, and a number of container hosts.

    A machine with NetworkManager or ifcfg is a stand-in for EL, and so are the `el_hosts`. The
    others run Debian 12; `netplan:13` is a machine with netplan that runs Debian 13.
    """

    name: str = "demo"
    machines: tuple[str, ...] = ("ifupdown", "netplan")
    hosts: int = 0
    el_hosts: int = 0
    debian13_hosts: int = 0


def plan(
    spec: FleetSpec,
    existing: Iterable[Node] = (),
    host_images: Mapping[Distribution, str] | None = None,
) -> Fleet:
    """Return the fleet that the specification describes, with `existing` nodes beyond it.

    host_images: images of the distributions' own, of which the container hosts are made.
    """
    if spec.name not in FLEETS:
        raise LabError(f"no fleet {spec.name!r} is known; there are {', '.join(FLEETS)}")
    most = FIRST_HOST - FIRST_MACHINE
    if len(spec.machines) > 31 or max(spec.hosts, spec.el_hosts, spec.debian13_hosts) > most:
        raise LabError(f"a fleet has at most 31 machines and {most} hosts")
    subnet, domain = FLEETS[spec.name]

    def node(
        kind: NodeKind,
        name: str,
        number: int,
        distribution: Distribution,
        release: str,
        backend: NetworkBackend = "unmanaged",
    ) -> Node:
        return Node(
            name=f"{name}.{domain}",
            kind=kind,
            fleet=spec.name,
            cluster=CLUSTERS[kind, distribution, release],
            distribution=distribution,
            release=release,
            network_backend=backend,
            address=f"{IPv4Network(subnet)[number]}/{IPv4Network(subnet).prefixlen}",
        )

    wanted = []
    for index, text in enumerate(spec.machines):
        backend, distribution, release = machine_of(text)
        number = FIRST_MACHINE + index
        wanted.append(node("machine", f"kvm{index + 1}", number, distribution, release, backend))
    hosts: tuple[tuple[int, str, int, Distribution, str], ...] = (
        (spec.hosts, "host", FIRST_HOST, "debian", "12"),
        (spec.el_hosts, "el", FIRST_EL_HOST, "rhel", "9"),
        (spec.debian13_hosts, "trixie", FIRST_DEBIAN13_HOST, "debian", "13"),
    )
    for count, name, first, distribution, release in hosts:
        wanted += [
            node("host", f"{name}{index + 1}", first + index, distribution, release)
            for index in range(count)
        ]
    names = {each.name for each in wanted}
    others = [each for each in existing if each.name not in names]
    images = host_images or {}
    nodes = [
        replace(each, image=images.get(each.distribution) if each.kind == "host" else None)
        for each in sorted(wanted + others, key=lambda each: IPv4Address(each.ssh_hostname))
    ]
    return Fleet(spec.name, subnet, domain, REPOSITORY_URL, tuple(nodes))


def machine_of(text: str) -> tuple[NetworkBackend, Distribution, str]:
    """Return network backend, distribution and release of the machine that `netplan:13` names.

    Raises LabError when the lab has no such machine.
    """
    name, colon, release = text.partition(":")
    for backend, (distribution, releases) in RUNS_ON.items():
        if backend == name:
            if colon and release not in releases:
                raise LabError(f"{text}: {backend} runs on release {' or '.join(releases)}")
            return backend, distribution, release or releases[0]
    raise LabError(f"{text}: no such network backend; there are {', '.join(RUNS_ON)}")


def up(spec: FleetSpec, progress: Progress | None = None) -> Fleet:
    """Bring up what is not yet up, and return the fleet as soon as every node has booted."""
    progress = progress or Progress()
    with _lock(progress):
        fleet = plan(spec, _existing(spec.name), given_host_images())
        given = given_root_trees().keys()
        client = prepare(progress, build_root_tree=not needed_releases(fleet.nodes) <= given)
        images = build_images(client, progress, fleet.nodes)
        make_fleet_keys(fleet)
        fleet.save()
        containers.ensure_network(client, fleet, images.chassis)
        for host in fleet.hosts:
            _ensure_host(client, fleet, host, images, progress)
        if fleet.machines:
            containers.ensure_switch(client, fleet, images.chassis)
        for machine in fleet.machines:
            _ensure_machine(client, fleet, machine, images, progress)
    _wait_for_all(fleet.nodes, progress)
    return fleet


def down(name: str, progress: Progress | None = None) -> None:
    """Remove the fleet's containers, networks and files. The images stay for the next time."""
    progress = progress or Progress()
    with _lock(progress):
        removed, networks = containers.remove_fleet(connect(), name)
        shutil.rmtree(state_directory(name), ignore_errors=True)
    progress(f"fleet {name}: {removed} containers and {networks} networks removed")


def states(fleet: Fleet) -> dict[str, str]:
    """Return the state of each node by name: what its container does, and whether ssh answers."""
    client = connect()

    def state(node: Node) -> str:
        container = containers.find(client, fleet.name, node.short_name)
        if container is None:
            return "absent"
        if container.status != "running":
            return "off"
        return "up" if node.answers_ssh() else "on, no ssh"

    with ThreadPoolExecutor(8) as pool:
        return dict(zip([n.name for n in fleet.nodes], pool.map(state, fleet.nodes), strict=True))


def reboot(node: Node, deadline: float = DEADLINE) -> None:
    """Reboot the node from within, and wait until it has booted."""
    before = node.boot_id()
    if node.kind == "host":
        shut_down(node)
        power_on(node, deadline)
        return
    node.run("systemctl reboot", check=False)
    wait_until(lambda: _has_rebooted(node, before), deadline, f"{node.name} to reboot")


def shut_down(node: Node, deadline: float = DEADLINE) -> None:
    """Power the node off from within, and wait until it is off."""
    node.run("systemctl poweroff", check=False)
    container = containers.get(connect(), node.fleet, node.short_name)
    wait_until(lambda: _is_off(container), deadline, f"{node.name} to power off")


def power_cut(node: Node) -> None:
    """Pull the plug: nothing is flushed, nothing is told."""
    container = containers.get(connect(), node.fleet, node.short_name)
    if not _is_off(container):
        container.kill()
    wait_until(lambda: _is_off(container), DEADLINE, f"{node.name} to be off")


def power_on(node: Node, deadline: float = DEADLINE) -> None:
    """Switch the node on, and wait until it has booted."""
    containers.get(connect(), node.fleet, node.short_name).start()
    node.wait_for_boot(deadline)


def reset(node: Node, deadline: float = DEADLINE) -> None:
    """Give the node a pristine disk and boot it."""
    container = containers.get(connect(), node.fleet, node.short_name)
    if node.kind == "machine":
        power_cut(node)
        _forget_changes(node)
    else:
        containers.recreate_host(connect(), node, container)
    power_on(node, deadline)


def console(node: Node) -> str:
    """Return what the node wrote on its console since it was created."""
    container = containers.get(connect(), node.fleet, node.short_name)
    return container.logs().decode(errors="replace")


def set_trunk(node: Node, tags: Iterable[int] = TRUNK, untagged: int | None = None) -> None:
    """Let the switch carry these VLANs, and nothing else, on the cable to a machine.

    One of them may go without its tag.
    """
    settings = containers.trunk(tags, untagged)
    _switch(node, "ovs-vsctl", "set", "port", node.short_name, *settings)


def pull_cable(node: Node) -> None:
    """Take the machine's cable out of the switch. Its own end sees no carrier change."""
    _switch(node, "ip", "link", "set", node.short_name, "down")


def plug_cable(node: Node) -> None:
    """Put the machine's cable back into the switch."""
    _switch(node, "ip", "link", "set", node.short_name, "up")


def _switch(node: Node, *command: str) -> str:
    if node.kind != "machine":
        raise LabError(f"{node.name} is a container: it hangs on no port of the switch")
    return containers.execute(containers.get(connect(), node.fleet, "switch"), *command)


def _ensure_machine(
    client: docker.DockerClient, fleet: Fleet, machine: Node, images: Images, progress: Progress
) -> None:
    files = node_files(machine, fleet, name_servers(), host_key(machine))
    image = images.roots[machine]
    made_of = containers.machine_definition(machine, image, images.chassis, files)
    container = _same(client, machine, made_of)
    if container is None:
        progress(f"making the disk of {machine.name}")
        _forget_changes(machine)
        _seed(machine, files)
        containers.make_disk(client, machine, image)
        container = containers.create_machine(client, machine, images.chassis, made_of)
    _switch_on(container, machine, progress)


def _ensure_host(
    client: docker.DockerClient, fleet: Fleet, host: Node, images: Images, progress: Progress
) -> None:
    files = node_files(host, fleet, name_servers(), host_key(host))
    image = images.roots[host]
    made_of = containers.definition(image, files)
    container = _same(client, host, made_of)
    if container is None:
        _seed(host, files)
        container = containers.create_host(client, host, image, made_of)
    _switch_on(container, host, progress)


def _same(client: docker.DockerClient, node: Node, made_of: str) -> Container | None:
    """Return the node's container if it is made of the same; remove another."""
    container = containers.find(client, node.fleet, node.short_name)
    if container is None or container.labels.get(containers.DEFINITION_LABEL) == made_of:
        return container
    container.remove(force=True, v=True)
    return None


def _switch_on(container: Container, node: Node, progress: Progress) -> None:
    if container.status != "running":
        progress(f"switching {node.name} on")
        container.start()


def _seed(node: Node, files: Mapping[str, NodeFile]) -> None:
    seed = node.directory / "seed"
    shutil.rmtree(seed, ignore_errors=True)
    write_files(files, seed)


def _forget_changes(machine: Node) -> None:
    (machine.directory / "changes.cow").unlink(missing_ok=True)


def _wait_for_all(nodes: Iterable[Node], progress: Progress) -> None:
    """Wait until all have booted; a round is short, so that Ctrl-C ends it soon."""
    pending = list(nodes)

    def all_have_booted() -> bool:
        booted = dict(zip(pending, pool.map(Node.has_booted, pending), strict=True))
        for node in pending.copy():
            if booted[node]:
                progress(f"{node.name} is up")
                pending.remove(node)
        return not pending

    with ThreadPoolExecutor(16) as pool:
        try:
            wait_until(all_have_booted, DEADLINE, "the nodes to boot")
        except LabError as error:
            logs = ", ".join(
                f"docker logs {containers.object_name(node.fleet, node.short_name)}"
                for node in pending
            )
            raise LabError(f"{error}; see what they say: {logs}") from None


def _has_rebooted(node: Node, before: str) -> bool:
    return node.has_booted() and node.boot_id() != before


def _is_off(container: Container) -> bool:
    container.reload()
    return bool(container.status in ("exited", "created", "dead"))


def _existing(fleet: str) -> tuple[Node, ...]:
    try:
        return Fleet.load(fleet).nodes
    except NoFleetError:
        return ()


@contextmanager
def _lock(progress: Progress) -> Iterator[None]:
    """Let one command at a time change the lab."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another command of the lab to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
