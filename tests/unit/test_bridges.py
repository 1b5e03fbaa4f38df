"""What a back end needs before it can have a network."""

import pytest

from kvmhost.network.backends.ifupdown.commands import WITHOUT_IPV6
from kvmhost.network.model import Network
from kvmhost.settings import Platform
from tasks import bridges_native, bridges_ovs
from tests.plan.support import group_data
from tests.unit.network_examples import BOND, OPENVSWITCH, network


def platform(group: str, **changes: object) -> Platform:
    return Platform.model_validate(group_data(group) | changes)


def packages(any_network: Network, group: str, backend: str) -> tuple[str, ...]:
    task = bridges_ovs if any_network.bridge_type == "openvswitch" else bridges_native
    return task.needed(any_network, platform(group, network_backend=backend))


def test_a_bond_needs_ifenslave_where_ifupdown_has_to_make_it() -> None:
    assert "ifenslave" not in packages(network(), "debian", "ifupdown")
    assert "ifenslave" not in packages(network(uplink="bond0"), "debian", "ifupdown")
    assert "ifenslave" in packages(network(**BOND), "debian", "ifupdown")
    assert "ifenslave" in packages(network(**OPENVSWITCH, **BOND), "debian", "ifupdown")
    for group, backend in (("ubuntu", "netplan"), ("rhel", "networkmanager"), ("rhel", "ifcfg")):
        of_bond, of_nic = (packages(each, group, backend) for each in (network(**BOND), network()))
        assert of_bond == of_nic


def test_ifupdowns_stanzas_need_what_their_commands_are_of() -> None:
    for name, command in WITHOUT_IPV6:
        assert name in ("up", "post-down")
        assert command.startswith("sysctl ")
    assert "procps" in packages(network(), "debian", "ifupdown")


@pytest.mark.parametrize(
    ("group", "expected"),
    [("rhel", ("network-scripts",)), ("rhel_6", ("bridge-utils", "initscripts"))],
)
def test_each_release_of_el_has_its_own_package_of_the_network_scripts(
    group: str, expected: tuple[str, ...]
) -> None:
    assert packages(network(), group, "ifcfg") == expected


def test_open_vswitchs_packages_may_have_their_version_in_their_names() -> None:
    assert "openvswitch-switch" in packages(network(**OPENVSWITCH), "debian", "ifupdown")
    assert packages(network(**OPENVSWITCH), "rhel", "ifcfg") == (
        "/usr/bin/ovs-vsctl",
        "network-scripts",
    )
    assert "openvswitch" in packages(network(**OPENVSWITCH), "rhel_6", "ifcfg")
    names = ("openvswitch2.17", "network-scripts-openvswitch2.17")
    given = platform("rhel", network_backend="ifcfg", openvswitch_packages=names)
    assert bridges_ovs.needed(network(**OPENVSWITCH), given) == (*names, "network-scripts")
