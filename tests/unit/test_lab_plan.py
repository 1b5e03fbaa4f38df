"""The lab's plan of a fleet, and the files that its nodes boot with."""

import runpy
from ipaddress import IPv4Address, IPv4Interface
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from kvmhost.network.backends.ifcfg.interfaces import parse
from tests.lab import fleet as fleet_module
from tests.lab.containers import cable_subnet, definition, machine_mac, object_name, trunk
from tests.lab.distributions import Distribution, group, own_images, root_trees
from tests.lab.fleet import CHECKOUT, Fleet, LabError, Node, NoFleetError
from tests.lab.images import (
    CONTEXTS,
    OWN_HOSTS,
    given_host_images,
    given_network_scripts,
    needed_releases,
    sources_list,
)
from tests.lab.lab import CLUSTERS, FLEETS, RUNS_ON, FleetSpec, machine_of, plan
from tests.lab.node_files import NodeFile, network_files, write_files


@pytest.fixture
def demo() -> Fleet:
    return plan(FleetSpec("demo", ("ifupdown", "netplan"), 2))


def test_demo_has_the_guides_addresses(demo: Fleet) -> None:
    assert [(node.name, node.address) for node in demo.nodes] == [
        ("kvm1.lab.example.org", "192.168.42.11/24"),
        ("kvm2.lab.example.org", "192.168.42.12/24"),
        ("host1.lab.example.org", "192.168.42.51/24"),
        ("host2.lab.example.org", "192.168.42.52/24"),
    ]
    assert demo.gateway == IPv4Address("192.168.42.1")


EVERY_KIND = FleetSpec("demo", (*RUNS_ON, "netplan:13"), hosts=1, el_hosts=1, debian13_hosts=1)


def test_a_node_is_of_the_release_that_is_asked_for() -> None:
    assert [(node.short_name, node.release, node.address) for node in plan(EVERY_KIND).nodes] == [
        ("kvm1", "12", "192.168.42.11/24"),
        ("kvm2", "12", "192.168.42.12/24"),
        ("kvm3", "9", "192.168.42.13/24"),
        ("kvm4", "8", "192.168.42.14/24"),
        ("kvm5", "13", "192.168.42.15/24"),
        ("host1", "12", "192.168.42.51/24"),
        ("el1", "9", "192.168.42.101/24"),
        ("trixie1", "13", "192.168.42.151/24"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("netplan:14", "netplan:14: netplan runs on release 12 or 13"),
        ("netplan:", "netplan runs on release 12 or 13"),
        ("networkmanager:13", "networkmanager runs on release 9"),
        ("ifcfg:9", "ifcfg runs on release 8"),
        ("unmanaged", "no such network backend; there are ifupdown, netplan, networkmanager"),
    ],
)
def test_a_machine_that_the_lab_does_not_have_is_refused(text: str, reason: str) -> None:
    with pytest.raises(LabError, match=reason):
        machine_of(text)


def test_each_cluster_is_in_the_inventory_with_its_nodes_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "STATE", tmp_path)
    monkeypatch.setenv("KVMHOST_LAB_FLEET", "demo")
    fleet = plan(EVERY_KIND)
    fleet.save()
    inventory = runpy.run_path(str(CHECKOUT / "inventories/lab.py"))
    clusters = {name: hosts for name, hosts in inventory.items() if name.startswith("cluster_")}
    assert clusters == {
        f"cluster_{cluster}": [node.name for node in fleet.nodes if node.cluster == cluster]
        for cluster in CLUSTERS.values()
    }
    assert all(clusters.values())
    for name in clusters:
        assert runpy.run_path(str(CHECKOUT / "group_data" / f"{name}.py"))["cluster"] == name


BOOKWORM = """\
http://deb.example.org/debian/ bookworm main
http://deb.example.org/debian/ bookworm-updates main
http://security.example.org/debian-security/ bookworm-security main
"""
SID = "http://deb.example.org/debian/ sid main\n"


def test_another_suite_comes_from_where_the_workstations_own_does() -> None:
    assert sources_list(BOOKWORM + SID, "trixie").splitlines() == [
        "deb http://deb.example.org/debian/ trixie main",
        "deb http://deb.example.org/debian/ trixie-updates main",
        "deb http://security.example.org/debian-security/ trixie-security main",
    ]


def test_a_suite_that_the_workstation_has_comes_from_there_alone() -> None:
    own = "http://other.example.org/debian/ trixie main\n"
    assert sources_list(BOOKWORM + own, "trixie") == f"deb {own}"
    assert sources_list(SID, "bookworm") == ""


def test_a_root_trees_release_is_told_by_its_tag() -> None:
    assert root_trees("") == {}
    assert root_trees("registry.example.org:5000/base") == {"12": "registry.example.org:5000/base"}
    trees = {"12": "debian:bookworm", "13": "debian:trixie-slim"}
    assert root_trees("debian:bookworm, debian:trixie-slim") == trees
    assert root_trees("debian:13.1") == {"13": "debian:13.1"}


def test_a_root_tree_is_needed_for_each_release_and_for_the_chassis() -> None:
    assert needed_releases(plan(FleetSpec("demo", ("netplan:13",))).nodes) == {"12", "13"}
    assert needed_releases(plan(FleetSpec("demo", ("networkmanager",))).nodes) == {"12"}
    on_an_image = plan(FleetSpec("demo", (), debian13_hosts=1), (), {"debian": "debian:13"})
    assert needed_releases(on_an_image.nodes) == {"12"}


IMAGES: dict[str, dict[Distribution, str]] = {
    "": {},
    "rockylinux:9": {"rhel": "rockylinux:9"},
    " rockylinux:9, ubuntu:24.04,": {"rhel": "rockylinux:9", "debian": "ubuntu:24.04"},
    "registry.example.org:5000/library/debian:13": {
        "debian": "registry.example.org:5000/library/debian:13"
    },
    "quay.io/centos/centos:stream9": {"rhel": "quay.io/centos/centos:stream9"},
}


@pytest.mark.parametrize(("text", "images"), IMAGES.items(), ids=IMAGES)
def test_images_are_told_by_their_names(text: str, images: dict[Distribution, str]) -> None:
    assert own_images(text) == images


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("alpine:3", "LAB_IMAGES: alpine:3 is of no known distribution; known are almalinux, "),
        ("debian:12,ubuntu:24.04", "debian:12 and ubuntu:24.04 would stand for the same hosts"),
    ],
)
def test_images_that_cannot_be_used_are_refused(
    text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_IMAGES", text)
    with pytest.raises(LabError, match=reason):
        given_host_images()


GROUPS = {
    "almalinux:8": "rhel",
    "debian:13-slim": "debian",
    "oraclelinux:9@sha256:00": "rhel",
    "registry.access.redhat.com/ubi9/ubi-init:latest": "rhel",
    "ubuntu": "ubuntu",
    "ubuntu:22.04": "ubuntu_2204",
    "ubuntu:jammy-20250101": "ubuntu_2204",
    "ubuntu:24.04": "ubuntu",
}


@pytest.mark.parametrize(("image", "name"), GROUPS.items(), ids=GROUPS)
def test_an_images_hosts_are_in_their_distributions_group(image: str, name: str) -> None:
    assert group(image) == name
    assert (CHECKOUT / "group_data" / f"{name}.py").exists()


def test_hosts_are_made_of_the_images_and_machines_are_not() -> None:
    spec = FleetSpec("demo", ("ifupdown", "networkmanager"), 1, 1)
    stand_ins = plan(spec)
    assert [node.image for node in stand_ins.nodes] == [None] * 4
    fleet = plan(FleetSpec("demo", ()), stand_ins.nodes, {"debian": "ubuntu:24.04"})
    assert [(node.short_name, node.image, node.group) for node in fleet.nodes] == [
        ("kvm1", None, "debian"),
        ("kvm2", None, "rhel"),
        ("host1", "ubuntu:24.04", "ubuntu"),
        ("el1", None, "rhel"),
    ]
    assert {node.image for node in plan(spec, fleet.nodes).nodes} == {None}


@pytest.mark.parametrize("context", OWN_HOSTS.values())
def test_a_host_on_an_image_has_what_the_stand_in_gives_it(context: str) -> None:
    dockerfile = (CONTEXTS / context / "Dockerfile").read_text()
    assert "FROM ${HOST} AS host\nFROM ${IMAGE}\n" in dockerfile
    assert "COPY --from=host /usr/local/sbin/power-on" in dockerfile


def test_fleets_share_no_address() -> None:
    fleets = [plan(FleetSpec(name, ("ifupdown", "netplan"), 2)) for name in FLEETS]
    assert not any(one.network.overlaps(other.network) for one, other in combinations(fleets, 2))
    machines = [machine for fleet in fleets for machine in fleet.machines]
    assert len({cable_subnet(machine) for machine in machines}) == len(machines)
    assert len({machine_mac(machine) for machine in machines}) == len(machines)


@pytest.mark.parametrize("fleet", FLEETS)
def test_a_cable_has_a_name_that_an_interface_can_have(fleet: str) -> None:
    assert len(object_name(fleet, "kvm31")) < 16


def test_nodes_beyond_the_specification_stay(demo: Fleet) -> None:
    again = plan(FleetSpec("demo", ("netplan",), 0), demo.nodes)
    assert [node.name for node in again.nodes] == [node.name for node in demo.nodes]
    assert again.node("kvm1").network_backend == "netplan"


@pytest.mark.parametrize("spec", [FleetSpec("nowhere"), FleetSpec("demo", ("netplan",) * 32)])
def test_impossible_fleets_are_refused(spec: FleetSpec) -> None:
    with pytest.raises(LabError):
        plan(spec)


def test_a_saved_fleet_is_loaded_as_it_was(
    demo: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "STATE", tmp_path)
    with pytest.raises(NoFleetError, match=r"make demo.*tests\.lab up"):
        Fleet.load("demo")
    demo.save()
    assert Fleet.load("demo") == demo


def test_netplan_machine_has_its_address_on_the_vlan_only(demo: Fleet) -> None:
    files = network_files(demo.node("kvm2"), demo.gateway)
    network = yaml.safe_load(files["/etc/netplan/50-cloud-init.yaml"].content)["network"]
    assert network["ethernets"] == {"eth0": {}}
    vlan = network["vlans"]["eth0.100"]
    assert (vlan["id"], vlan["link"]) == (100, "eth0")
    assert [IPv4Interface(each) for each in vlan["addresses"]] == [
        IPv4Interface("192.168.42.12/24")
    ]
    assert "eth0" not in files["/etc/network/interfaces"].content


def test_ifupdown_machine_has_no_netplan(demo: Fleet) -> None:
    files = network_files(demo.node("kvm1"), demo.gateway)
    assert list(files) == ["/etc/network/interfaces"]
    lines = files["/etc/network/interfaces"].content.splitlines()
    assert lines[-4:] == [
        "auto eth0.100",
        "iface eth0.100 inet static",
        "\taddress 192.168.42.11/24",
        "\tgateway 192.168.42.1",
    ]


def test_ifcfg_machine_has_the_files_of_an_installer() -> None:
    fleet = plan(FleetSpec("demo", ("ifcfg",)))
    files = network_files(fleet.node("kvm1"), fleet.gateway)
    assert files["/etc/sysconfig/network"].content == "NETWORKING=yes\n"
    uplink, management = parse({path: file.content for path, file in files.items()})
    assert (uplink.name, uplink.addresses, uplink.starts) == ("eth0", (), True)
    assert (management.parent, management.tag, management.starts) == ("eth0", 100, True)
    assert management.addresses == (IPv4Interface("192.168.42.11/24"),)
    assert management.gateways == (fleet.gateway,)


@pytest.mark.parametrize("folder", ["", "/nowhere"])
def test_network_scripts_that_are_not_there_are_asked_for(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_NETWORK_SCRIPTS", folder)
    with pytest.raises(LabError, match=r"LAB_NETWORK_SCRIPTS: no .*network-scripts/.*README"):
        given_network_scripts()


def test_files_are_written_with_their_modes(tmp_path: Path) -> None:
    write_files({"/etc/key": NodeFile("secret", 0o600), "/etc/hosts": NodeFile("")}, tmp_path)
    assert (tmp_path / "etc/key").read_text() == "secret"
    assert (tmp_path / "etc/key").stat().st_mode & 0o777 == 0o600


def test_a_trunk_carries_tags_or_is_refused() -> None:
    assert trunk((100, 300)) == ("trunks=100,300", "tag=[]", "vlan_mode=[]")
    assert trunk((100, 300), untagged=100)[1:] == ("tag=100", "vlan_mode=native-untagged")
    with pytest.raises(ValueError, match="pull the cable"):
        trunk(())


def test_a_definition_changes_with_every_part(demo: Fleet) -> None:
    node: Node = demo.node("kvm1")
    files = network_files(node, demo.gateway)
    other = network_files(node, IPv4Address("192.168.42.254"))
    assert definition("image", files) == definition("image", dict(files))
    assert definition("image", files) != definition("image", other)
    assert definition("image", files) != definition("other", files)
