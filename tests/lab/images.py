"""The lab's Docker images. Each is named by a hash of all that makes it, and built only once."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tests.lab.distributions import Distribution, own_images
from tests.lab.fleet import STATE, LabError, Node, NodeKind
from tests.lab.progress import Progress

CONTEXTS = Path(__file__).parent / "images"
SUITE = "bookworm"

OWN_HOSTS: Mapping[Distribution, str] = {"debian": "apt-host", "rhel": "dnf-host"}
"""The build contexts of hosts on a distribution's own image."""

# What apt must know to reach the workstation's own package sources.
APT_OPTIONS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")


@dataclass(frozen=True)
class Images:
    """The names of the images that a fleet is made of.

    `roots` has the root trees of the nodes, by their kind and distribution.
    """

    chassis: str
    roots: Mapping[tuple[NodeKind, Distribution], str]

    def of(self, node: Node) -> str:
        """Return the image of the node's root tree."""
        return self.roots[node.kind, node.distribution]


def build_images(
    client: docker.DockerClient,
    progress: Progress,
    distributions: Set[Distribution],
    host_images: Mapping[Distribution, str],
) -> Images:
    """Build what these distributions' nodes need and is missing, and return the images' names.

    host_images: images of the distributions' own, of which the container hosts are made.
    """
    root_tree = given_root_tree() or _build_root_tree(client, progress)

    def build(name: str, **parents: str) -> str:
        return _build(client, progress, name, parents)

    base = build("base", ROOT_TREE=root_tree)
    repository = build("repository", BASE=base)
    chassis = build("chassis", BASE=base)
    machine = build("machine", BASE=base, CHASSIS=chassis, REPOSITORY=repository)
    host = build("host", BASE=base, REPOSITORY=repository)
    roots: dict[tuple[NodeKind, Distribution], str] = {
        ("machine", "debian"): machine,
        ("host", "debian"): host,
    }
    if "rhel" in distributions:
        el_repository = build("el-repository", REPOSITORY=repository)
        el_base = build("el-base", BASE=base, REPOSITORY=el_repository)
        roots["host", "rhel"] = build("el-host", BASE=el_base, HOST=host)
        roots["machine", "rhel"] = build("el-machine", BASE=el_base, MACHINE=machine)
    for distribution in distributions & host_images.keys():
        stand_in, image = roots["host", distribution], host_images[distribution]
        roots["host", distribution] = build(OWN_HOSTS[distribution], HOST=stand_in, IMAGE=image)
    return Images(chassis, roots)


def given_host_images() -> dict[Distribution, str]:
    """Return the distributions' own images that $LAB_IMAGES names: rockylinux:9,ubuntu:24.04.

    Raises LabError when one of them cannot be used.
    """
    try:
        return own_images(os.environ.get("LAB_IMAGES", ""))
    except ValueError as error:
        raise LabError(f"LAB_IMAGES: {error}") from None


def given_root_tree() -> str | None:
    """Return the image to start from instead of a tree of this workstation's packages.

    $KVMHOST_LAB_ROOT_TREE names it, where images can be pulled: debian:12.
    """
    return os.environ.get("KVMHOST_LAB_ROOT_TREE")


def _build_root_tree(client: docker.DockerClient, progress: Progress) -> str:
    """Make a minimal Debian tree from the package sources that the workstation itself uses."""
    sources = _debian_sources()
    options = _apt_options()
    name = f"kvmhost-lab/root-tree:{_digest(SUITE, sources, *options)}"
    if _exists(client, name):
        return name
    progress(f"building the root tree of Debian {SUITE}")
    # Not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(dir=STATE) as scratch:
        sources_list = Path(scratch, "sources.list")
        sources_list.write_text(sources)
        tree = Path(scratch, "tree.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase"]
        command += [f"--aptopt={option}" for option in options]
        command += [SUITE, str(tree), str(sources_list)]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode != 0:
            raise LabError(f"mmdebstrap failed:\n{result.stderr}")
        repository, tag = name.split(":")
        client.api.import_image(src=str(tree), repository=repository, tag=tag)
    return name


def _debian_sources() -> str:
    """Return the lines of Debian itself in the workstation's apt sources."""
    line = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    wanted = ["Created-By: Packages", "Origin: Debian"]
    sources = _output("apt-get", "indextargets", "--format", line, *wanted)
    lines = [line for line in sources.splitlines() if f" {SUITE}" in line]
    if not lines:
        raise LabError(
            f"apt knows no Debian {SUITE} here (apt-get update brings the lists); or, where "
            "images can be pulled, name one to start from: KVMHOST_LAB_ROOT_TREE=debian:12"
        )
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


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
    """Return what tells one build context from another: names, modes, contents."""
    return [
        f"{path.relative_to(context)} {path.stat().st_mode:o} {path.read_text()}"
        for path in sorted(context.rglob("*"))
        if path.is_file()
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
            f"{command[0]} is not here; name an image to start from: "
            "KVMHOST_LAB_ROOT_TREE=debian:12"
        ) from None
