"""The Docker engine, and what else the workstation needs for the lab."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import docker
from docker.errors import DockerException

from tests.lab.fleet import DEADLINE, STATE, LabError, wait_until
from tests.lab.progress import Progress

# Program, and the Debian package that brings it.
PROGRAMS = {"ssh": "openssh-client", "ssh-keygen": "openssh-client"}
BUILD_PROGRAMS = {"mmdebstrap": "mmdebstrap"}

INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
ENOUGH_INSTANCES = 1024
"""A dozen a host: all of root's containers share them, and systemd and libvirtd fail without."""

RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def connect() -> docker.DockerClient:
    """Return a client of the engine that runs; raise LabError if none answers."""
    try:
        return docker.from_env(timeout=DEADLINE)
    except DockerException as error:
        raise LabError(f"no Docker engine answers ({error}); start one: dockerd") from None


def prepare(progress: Progress, build_root_tree: bool) -> docker.DockerClient:
    """Install what is missing, start the engine if none answers, and return its client.

    Raises LabError with the commands to run where this user may not.
    """
    needed = PROGRAMS | (BUILD_PROGRAMS if build_root_tree else {})
    missing = {package for program, package in needed.items() if not shutil.which(program)}
    answers = _engine_answers()
    if not answers and not shutil.which("dockerd"):
        missing.add("docker.io")
    if missing:
        _install(progress, sorted(missing))
    if not answers:
        _start_engine(progress)
    if int(INOTIFY_INSTANCES.read_text()) < ENOUGH_INSTANCES:
        _allow_instances(progress)
    return connect()


def uplink_mtu() -> int:
    """Return the MTU in bytes of the interface that the default route leaves by."""
    interface = default_interface(Path("/proc/net/route").read_text())
    if interface is None:
        return 1500
    return int(Path(f"/sys/class/net/{interface}/mtu").read_text())


def default_interface(routes: str) -> str | None:
    """Return the interface of the default route in /proc/net/route's text."""
    for line in routes.splitlines()[1:]:
        interface, destination = line.split()[:2]
        if destination == "00000000":
            return interface
    return None


def name_servers() -> list[IPv4Address]:
    """Return the workstation's name servers that others can reach too."""
    for path in RESOLVERS:
        if path.exists() and (found := list(reachable_name_servers(path.read_text()))):
            return found
    return []


def reachable_name_servers(resolv_conf: str) -> Iterator[IPv4Address]:
    """Yield the IPv4 servers in resolv.conf's text, without those on the loopback."""
    for line in resolv_conf.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                address = ip_address(server.split("%")[0])
                if isinstance(address, IPv4Address) and not address.is_loopback:
                    yield address


def _engine_answers() -> bool:
    try:
        return docker.from_env(timeout=60).ping()
    except DockerException:
        return False


def _install(progress: Progress, packages: list[str]) -> None:
    commands = [
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        wanted = "\n".join(f"  sudo {shlex.join(command)}" for command in commands)
        raise LabError(f"the lab needs {', '.join(packages)}; run as root:\n{wanted}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in commands:
        progress(shlex.join(command))
        result = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if result.returncode != 0:
            raise LabError(f"{shlex.join(command)} failed:\n{result.stdout}{result.stderr}")


def _allow_instances(progress: Progress) -> None:
    """Have the kernel let the containers' services watch files, or say how a person does."""
    parameter = INOTIFY_INSTANCES.relative_to("/proc/sys")
    command = ["sysctl", "-q", "-w", f"{parameter}={ENOUGH_INSTANCES}"]
    if os.geteuid() == 0:
        progress(shlex.join(command))
        subprocess.run(command, check=True)
    else:
        progress(f"more than a few hosts need this: sudo {shlex.join(command)}")


def _start_engine(progress: Progress) -> None:
    if os.geteuid() != 0:
        raise LabError(
            "no Docker engine answers; start it (sudo systemctl start docker, or sudo dockerd), "
            "and be allowed to use it (group docker)"
        )
    if Path("/run/systemd/system").is_dir():
        progress("systemctl start docker")
        subprocess.run(["systemctl", "start", "docker"], check=True)
        return
    STATE.mkdir(mode=0o700, exist_ok=True)
    log = STATE / "dockerd.log"
    progress(f"starting dockerd, which stays up; its log is {log}")
    # Nothing of it may hold on to this terminal or pipe, or who waits for the pipe's end hangs.
    with log.open("ab") as output:
        subprocess.Popen(
            ["dockerd", f"--mtu={uplink_mtu()}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )
    try:
        wait_until(_engine_answers, DEADLINE, "dockerd to answer")
    except LabError as error:
        last = "\n".join(log.read_text().splitlines()[-10:])
        raise LabError(f"{error}:\n{last}") from None
