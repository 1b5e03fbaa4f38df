"""The settings of the hosts of this run, from pyinfra's inventory."""

from functools import cache
from typing import TYPE_CHECKING, Any

from pyinfra import host
from pyinfra.api import DeployError
from pyinfra.api.arguments import all_global_arguments
from pyinfra.connectors.ssh import SSHConnector

from kvmhost.settings import Settings, SettingsError, cluster_of, load

if TYPE_CHECKING:
    from pyinfra.api import Host, State

PYINFRA_KEYS = frozenset(
    [*SSHConnector.data_meta, *(argument for argument, _ in all_global_arguments())]
)
"""Keys of host data that pyinfra itself reads: its connection's, and its global arguments."""


def settings() -> Settings:
    """Return the settings of the host that is being deployed.

    The first call of a run validates every host of the run, so that none is touched when the
    settings of any cannot be used.

    Raises DeployError, which stops the run, with the table of all problems of all hosts.
    """
    return run_settings(host.state)[host.name]


@cache
def run_settings(run: "State") -> dict[str, Settings]:
    """Return the settings of every host of the run, by name, unreachable hosts included.

    An address that any other host of the inventory has is refused too.

    Raises DeployError like `settings`.
    """
    hosts = [each for each in run.inventory if run.is_host_in_limit(each)]
    data = {each.name: _data(each) for each in hosts}
    others = {each.name: _data(each) for each in run.inventory if each not in hosts}
    connector_keys = frozenset().union(*(each.connector_cls.data_meta for each in hosts))
    try:
        return load(data, PYINFRA_KEYS | connector_keys, others)
    except SettingsError as error:
        raise DeployError(str(error)) from error


def clusters(run: "State") -> dict[str, str | None]:
    """Return the cluster of every host of the inventory, by name, whether in this run or not."""
    return {each.name: cluster_of(_data(each)) for each in run.inventory}


def _data(host: "Host") -> dict[str, Any]:
    merged: dict[str, Any] = host.data.dict()  # type: ignore[no-untyped-call]
    return merged
