"""Command line of the lab: python -m tests.lab up|down|status|ssh|add."""

import argparse
import os
import sys

from docker.errors import DockerException

from kvmhost.table import render
from tests.lab import cloudstack, lab
from tests.lab.fleet import Fleet, LabError

SYSTEMS = {"debian": "Debian {}", "rhel": "stand-in for EL {}"}


def main() -> int:
    """Run the command; return the exit status."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(arguments) or 0)
    except (LabError, DockerException) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `up` goes on from here, `down` removes it", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="Real hosts, locally.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--fleet", default="demo", choices=lab.FLEETS, help="default: demo")
        sub.set_defaults(run=run)
        return sub

    up = command("up", _up, "Bring the fleet up; what runs already stays.")
    up.add_argument(
        "--machines",
        type=_machines,
        default=("ifupdown", "netplan"),
        metavar="BACKEND[:RELEASE],...",
        help="a machine for each network backend (ifupdown, netplan, networkmanager: a stand-in "
        "for EL, ifcfg: one for EL 8), of Debian 12 where no other release is named (netplan:13); "
        "default: ifupdown,netplan",
    )
    up.add_argument(
        "--hosts", type=int, default=0, metavar="N", help="container hosts of Debian 12; default: 0"
    )
    up.add_argument(
        "--el-hosts",
        type=int,
        default=0,
        metavar="N",
        help="container hosts that stand in for EL; default: 0",
    )
    up.add_argument(
        "--debian13-hosts",
        type=int,
        default=0,
        metavar="N",
        help="container hosts of Debian 13; default: 0",
    )
    command("down", _down, "Remove the fleet; the images stay.")
    command("status", _status, "Show the fleet's nodes.")
    ssh = command("ssh", _ssh, "Log in to a node as root, or run a command there.")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    add = command("add", _add, "Do to deployed nodes what CloudStack does when it adds a host.")
    add.add_argument("names", nargs="+", metavar="NAME")
    return parser


def _machines(text: str) -> tuple[str, ...]:
    machines = tuple(part for part in text.split(",") if part)
    for each in machines:
        try:
            lab.machine_of(each)
        except LabError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return machines


def _up(arguments: argparse.Namespace) -> None:
    spec = lab.FleetSpec(
        arguments.fleet,
        arguments.machines,
        arguments.hosts,
        arguments.el_hosts,
        arguments.debian13_hosts,
    )
    _print_table(lab.up(spec))


def _down(arguments: argparse.Namespace) -> None:
    lab.down(arguments.fleet)


def _status(arguments: argparse.Namespace) -> None:
    _print_table(Fleet.load(arguments.fleet))


def _ssh(arguments: argparse.Namespace) -> None:
    node = Fleet.load(arguments.fleet).node(arguments.name)
    command = node.ssh_command(*arguments.command)
    os.execvp(command[0], command)


def _add(arguments: argparse.Namespace) -> None:
    fleet = Fleet.load(arguments.fleet)
    for node in [fleet.node(name) for name in arguments.names]:
        cloudstack.add(fleet, node)
        print(f"{node.name} is set up as CloudStack does it")


def _print_table(fleet: Fleet) -> None:
    states = lab.states(fleet)
    header = ("host", "kind", "system", "network", "cluster", "management address", "state")
    rows = [
        (
            node.name,
            node.kind,
            node.image or SYSTEMS[node.distribution].format(node.release),
            node.network_backend,
            node.cluster,
            node.address,
            states[node.name],
        )
        for node in fleet.nodes
    ]
    print(render(header, rows))


if __name__ == "__main__":
    sys.exit(main())
