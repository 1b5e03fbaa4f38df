"""What a back end is, and the change that it plans."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kvmhost.network.change import Change, Plan, Present
from kvmhost.network.drift import Drift
from kvmhost.network.files import File
from kvmhost.network.interfaces import Devices, Interface, conflicts, with_all_above
from kvmhost.network.model import Network
from kvmhost.network.takeover import taken_over


@dataclass(frozen=True)
class Backend:
    """The files that a back end reads, how it renders and reads them, and its plan of a change.

    `plan` has the commands from what differs. `render` and `parse` raise ValueError, in a sentence
    for the administrator, when the present files cannot be understood. `removed` names the files
    that have to go. All take the files by their paths, and the devices that they may name by their
    MAC addresses.
    """

    paths: tuple[str, ...]
    render: Callable[[Network, Mapping[str, str], Devices], tuple[File, ...]]
    parse: Callable[[Mapping[str, str], Devices], tuple[Interface, ...]]
    plan: Callable[[Drift], Plan]
    removed: Callable[[Network, Mapping[str, str], Devices], tuple[str, ...]] = (
        lambda network, existing, devices: ()
    )

    def change(self, network: Network, present: Present) -> Change | None:
        """Return what leads from the present network to ours; None if it is as modelled.

        Raises ValueError when the present files cannot be understood, or define something that
        cannot live beside our interfaces, or say of them what would be lost.
        """
        try:
            return self._change(network, present)
        except ValueError:
            raise
        except Exception as error:
            # A form of a file that nobody thought of: it is this host's, and no other's affair.
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"The network's files cannot be understood ({what}).") from error

    def _change(self, network: Network, present: Present) -> Change | None:
        files, devices = present.files, present.devices
        found = self.parse(files, devices)
        if built := sorted(with_all_above(network.names, found).intersection(network.kept)):
            raise ValueError(
                f"{' and '.join(built)} cannot be kept as it is (kept_interfaces), "
                "because it is built on what is to be configured here."
            )
        network = taken_over(network, found, present.resolvers, present.addressed)
        rendered = self.render(network, files, devices)
        removed = self.removed(network, files, devices)
        former = frozenset(each.name for each in found if each.own) - network.names
        drift = Drift(network, present, rendered, removed, former)
        if drift.kept:
            raise ValueError(" ".join(drift.kept))
        if not drift.is_of_files and not drift.sentences:
            return None
        reached_by = sorted(drift.management & network.claims)
        if reached_by and not any(
            each.dhcp or each.addresses for each in found if each.name != "lo"
        ):
            # a rollback restores what files say, and nothing else
            raise ValueError(
                f"The host is reached through {' and '.join(reached_by)}, and none of "
                f"{', '.join(self.paths)} gives an interface an address: another program has done "
                "it (see network_backend), and its network could not be restored."
            )
        after = self.parse(drift.after, devices)
        _refuse_dissolved(network, found, after)
        defined = {each.name for each in after}
        gone = (former | network.claims) - network.names - defined
        # what stands on a definition of ours may name it in a way that goes with it
        before = [each for each in found if not each.own and each.name in defined]
        clashes = conflicts(network.interfaces, (*after, *before), gone)
        if clashes:
            raise ValueError(" ".join(dict.fromkeys(clashes)))
        return drift.change(self.plan(drift))


def _refuse_dissolved(
    network: Network, found: Iterable[Interface], after: Iterable[Interface]
) -> None:
    """Raise ValueError where a bond that we have made would be left without its NICs."""
    bonds = {each.name for each in after if each.kind == "bond"}
    for each in found:
        if each.own and each.kind == "bond" and each.name in network.names - bonds:
            raise ValueError(
                f"{each.name} is a bond that was made here, of {', '.join(each.ports)}: "
                "name it in bonds."
            )
