"""The lab's Docker images. Each is named by a hash of all that makes it, and built only once."""

import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tests.lab.distributions import SUITES, Distribution, own_images, root_trees
from tests.lab.fleet import STATE, LabError, Node, NodeKind
from tests.lab.progress import Progress

CONTEXTS = Path(__file__).parent / "images"
USUAL = next(iter(SUITES))
"""The Debian release of the chassis, with the machines' kernel, and of the stand-in for EL."""

GIVEN_ROOT_TREES = "KVMHOST_LAB_ROOT_TREE=debian:12,debian:13"
OWN_HOSTS: Mapping[Distribution, str] = {"debian": "apt-host", "rhel": "dnf-host"}
"""The build contexts of hosts on a distribution's own image."""

NETWORK_SCRIPTS = (
    "initscripts-rhel8/network-scripts/*",
    "initscripts-rhel8/etc/rc.d/init.d/functions",
    "initscripts-rhel8/etc/rc.d/init.d/network",
    "initscripts-rhel8/src/consoletype.c",
    "initscripts-rhel8/src/usernetctl.c",
    "openvswitch-rhel/rhel/etc_sysconfig_network-scripts_ifdown-ovs",
    "openvswitch-rhel/rhel/etc_sysconfig_network-scripts_ifup-ovs",
)
"""What a machine with EL 8's network scripts is made of, below $LAB_NETWORK_SCRIPTS."""

# What apt must know to reach the workstation's own package sources.
APT_OPTIONS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")


@dataclass(frozen=True)
class Images:
    """The names of the images that a fleet is made of; `roots` has each node's root tree."""

    chassis: str
    roots: Mapping[Node, str]


def build_images(client: docker.DockerClient, progress: Progress, nodes: Iterable[Node]) -> Images:
    """Build what these nodes need and is missing, and return the images' names."""

    def build(name: str, **parents: str) -> str:
        return _build(client, progress, name, parents)

    def base(release: str) -> str:
        return _build_base(client, progress, release)

    usual = base(USUAL)
    repository = build("repository", BASE=usual)
    chassis = build("chassis", BASE=usual)

    def debian(kind: NodeKind, release: str) -> str:
        if kind == "host":
            return build("host", BASE=base(release), REPOSITORY=repository)
        return build("machine", BASE=base(release), CHASSIS=chassis, REPOSITORY=repository)

    def el(kind: NodeKind) -> str:
        el_repository = build("el-repository", REPOSITORY=repository)
        el_base = build("el-base", BASE=usual, REPOSITORY=el_repository)
        if kind == "host":
            return build("el-host", BASE=el_base, HOST=debian("host", USUAL))
        return build("el-machine", BASE=el_base, MACHINE=debian("machine", USUAL))

    def el8() -> str:
        scripts = _import_network_scripts(client)
        return build("el8-machine", BASE=usual, MACHINE=el("machine"), SCRIPTS=scripts)

    def root(node: Node) -> str:
        if node.network_backend == "ifcfg":
            return el8()
        release = USUAL if node.image else node.release
        own = el(node.kind) if node.distribution == "rhel" else debian(node.kind, release)
        if node.image is None:
            return own
        return build(OWN_HOSTS[node.distribution], HOST=own, IMAGE=node.image)

    return Images(chassis, {node: root(node) for node in nodes})


def build_scanner(client: docker.DockerClient, progress: Progress) -> str:
    """Build the image of what looks at ports from outside, if missing, and return its name."""
    base = _build_base(client, progress, USUAL)
    return _build(client, progress, "scanner", {"BASE": base})


def given_host_images() -> dict[Distribution, str]:
    """Return the distributions' own images that $LAB_IMAGES names: rockylinux:9,ubuntu:24.04.

    Raises LabError when one of them cannot be used.
    """
    try:
        return own_images(os.environ.get("LAB_IMAGES", ""))
    except ValueError as error:
        raise LabError(f"LAB_IMAGES: {error}") from None


def given_root_trees() -> dict[str, str]:
    """Return the images to start from instead of trees of Debian's packages, by release.

    $KVMHOST_LAB_ROOT_TREE names them, where images can be pulled: debian:12,debian:13.
    """
    return root_trees(os.environ.get("KVMHOST_LAB_ROOT_TREE", ""))


def needed_releases(nodes: Iterable[Node]) -> set[str]:
    """Return the releases of Debian that the images of these nodes start from."""
    own = {node.release for node in nodes if node.distribution == "debian" and not node.image}
    return own | {USUAL}


def given_network_scripts() -> tuple[Path, list[Path]]:
    """Return the folder that $LAB_NETWORK_SCRIPTS names, and what a machine needs of its files.

    Raises LabError when it has not all.
    """
    folder = Path(os.environ.get("LAB_NETWORK_SCRIPTS", ""))
    paths = []
    for pattern in NETWORK_SCRIPTS:
        found = sorted(folder.glob(pattern))
        if not found:
            raise LabError(f"LAB_NETWORK_SCRIPTS: no {folder / pattern}; see the README")
        paths += found
    return folder, paths


def _import_network_scripts(client: docker.DockerClient) -> str:
    """Make an image of the network scripts, for a build to copy from."""
    folder, paths = given_network_scripts()
    repository, tag = "kvmhost-lab/network-scripts", _digest(*_described(paths, folder))
    if not _exists(client, f"{repository}:{tag}"):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path in paths:
                tar.add(path, path.relative_to(folder))
        client.api.import_image_from_data(archive.getvalue(), repository=repository, tag=tag)
    return f"{repository}:{tag}"


def _build_root_tree(client: docker.DockerClient, progress: Progress, suite: str) -> str:
    """Make a minimal Debian tree from the package sources that the workstation itself uses."""
    sources = _debian_sources(suite)
    options = _apt_options()
    name = f"kvmhost-lab/root-tree:{_digest(suite, sources, *options)}"
    if _exists(client, name):
        return name
    progress(f"building the root tree of Debian {suite}")
    # Not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(dir=STATE) as scratch:
        sources_list = Path(scratch, "sources.list")
        sources_list.write_text(sources)
        tree = Path(scratch, "tree.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase"]
        command += [f"--aptopt={option}" for option in options]
        command += [suite, str(tree), str(sources_list)]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode != 0:
            raise LabError(f"mmdebstrap failed:\n{result.stderr}")
        repository, tag = name.split(":")
        client.api.import_image(src=str(tree), repository=repository, tag=tag)
    return name


def _build_base(client: docker.DockerClient, progress: Progress, release: str) -> str:
    """Build what every node of a release starts from, if missing."""
    given = given_root_trees().get(release)
    tree = given or _build_root_tree(client, progress, SUITES[release])
    return _build(client, progress, "base", {"ROOT_TREE": tree})


def _debian_sources(suite: str) -> str:
    wanted = ["Created-By: Packages", "Origin: Debian"]
    targets = _output(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", *wanted
    )
    sources = sources_list(targets, suite)
    if not sources:
        raise LabError(
            f"apt knows no Debian {' or '.join(SUITES.values())} here (apt-get update brings the "
            f"lists); or, where images can be pulled, name one to start from: {GIVEN_ROOT_TREES}"
        )
    return sources


def sources_list(targets: str, suite: str) -> str:
    """Return the lines of sources.list(5) for a suite of Debian, with its updates.

    targets: URI, codename and component of what apt knows here, one a line. Where that is another
    suite's alone its URIs serve, for an archive has all suites: trixie-security stands beside
    bookworm-security.
    """
    for known in (suite, *SUITES.values()):
        lines = [
            f"deb {uri} {suite}{codename.removeprefix(known)} {component}\n"
            for uri, codename, component in map(str.split, targets.splitlines())
            if codename.partition("-")[0] == known
        ]
        if lines:
            return "".join(dict.fromkeys(lines))
    return ""


def _apt_options() -> list[str]:
    options = _output("apt-config", "dump").splitlines()
    return [option for option in options if option.startswith(APT_OPTIONS)]


def _build(
    client: docker.DockerClient, progress: Progress, name: str, parents: Mapping[str, str]
) -> str:
    context = CONTEXTS / name
    parts = [f"{argument}={image}" for argument, image in sorted(parents.items())]
    tag = f"kvmhost-lab/{name}:{_digest(*parts, *_contents(context))}"
    if _exists(client, tag):
        return tag
    progress(f"building the image {name}")
    lines = client.api.build(
        path=str(context),
        tag=tag,
        buildargs=dict(parents),
        network_mode="host",
        rm=True,
        forcerm=True,
        decode=True,
    )
    log = STATE / f"image-{name}.log"
    with log.open("w") as output:
        for line in lines:
            output.write(line.get("stream", ""))
            if "error" in line:
                output.flush()
                last = "\n".join(log.read_text().splitlines()[-20:])
                raise LabError(f"building the image {name}: {line['error']}\n{last}")
    return tag


def _contents(context: Path) -> list[str]:
    """Return what tells one build context from another."""
    return _described(sorted(filter(Path.is_file, context.rglob("*"))), context)


def _described(paths: Iterable[Path], folder: Path) -> list[str]:
    """Return names, modes and contents of files below a folder."""
    return [
        f"{path.relative_to(folder)} {path.stat().st_mode:o} {path.read_text()}" for path in paths
    ]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _exists(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise LabError(
            f"{command[0]} is not here; name images to start from: {GIVEN_ROOT_TREES}"
        ) from None
