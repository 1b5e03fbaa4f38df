"""Good settings are accepted, and twenty kinds of bad ones are each said in full."""

from typing import Any

import pytest

from kvmhost.settings import CONCERNS, KEYS, Settings, SettingsError, load
from tests.unit.network_examples import bonded

KVM1 = "kvm1.lab.example.org"
KVM2 = "kvm2.lab.example.org"


def data(**changes: Any) -> dict[str, Any]:
    """Return what an administrator has to say of a Debian host, with changes; `...` removes."""
    complete = {
        "distribution": "debian",
        "releases": ["12"],
        "package_manager": "apt",
        "network_backend": "ifupdown",
        "firewall_backend": "ufw",
        "libvirt_packages": ["libvirt-daemon-system"],
        "libvirtd_arguments_file": "/etc/default/libvirtd",
        "libvirtd_arguments": {"LIBVIRTD_ARGS": '"--listen"'},
        "cluster": "cluster_a",
        "cloudstack_repository": "https://packages.example.org/debian",
        "cloudstack_suites": ["bookworm"],
        "cloudstack_key": "https://packages.example.org/release.asc",
        "management_vlan": 100,
        "management_address": "192.168.42.11/24",
        "gateway": "192.168.42.1",
        "bridges": {"cloudbr0": 200, "cloudbr1": 300},
    }
    merged = complete | changes
    return {key: value for key, value in merged.items() if value is not ...}


def load_one(**changes: Any) -> Settings:
    return load({KVM1: data(**changes)})[KVM1]


def test_the_guides_example_is_accepted() -> None:
    settings = load_one()
    assert settings.preparation.hostname == KVM1
    assert settings.network.labels.management == "eth0.100"


def test_sources_are_of_either_version_of_ip() -> None:
    given = ["10.0.0.5", "2001:db8::/64"]
    firewall = load_one(management_servers=given, ssh_sources=["::/0"]).firewall
    assert [*map(str, firewall.management_servers)] == ["10.0.0.5/32", "2001:db8::/64"]
    assert [*map(str, firewall.ssh_sources or ())] == ["::/0"]


@pytest.mark.parametrize("given", ["rocky", ["rhel", "rocky"]])
def test_a_group_may_have_one_distribution_or_several_that_are_alike(given: object) -> None:
    assert "rocky" in load_one(distribution=given).platform.distribution


def test_addresses_of_either_family_serve_the_time() -> None:
    servers = ("ntp1.example.org", "10.0.0.1", "2001:db8::1", "3com")
    assert load_one(ntp_servers=servers).time.ntp_servers == servers


def test_a_key_over_http_is_taken_by_its_checksum() -> None:
    key = {"cloudstack_key": "http://packages.example.org/a.asc", "cloudstack_key_sha256": "1" * 64}
    assert load_one(**key).agent.cloudstack_key_sha256 == "1" * 64


def test_keys_that_pyinfra_reads_are_left_to_it() -> None:
    given = data(ssh_user="root", _sudo=True)
    assert load({KVM1: given}, other_keys=frozenset(("ssh_user", "_sudo")))


BAD: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "a misspelt key": ({"guest_cpu_mod": "custom"}, "guest_cpu_mod", "custom", "guest_cpu_mode?"),
    "a key without a like": ({"colour": "blue"}, "colour", "blue", "no such key"),
    "a network that its back end cannot have": (
        {"network_backend": "networkmanager", "bridge_forward_delay": 0},
        "network_backend",
        "networkmanager",
        "no bridge with a forward delay of 0 s",
    ),
    "a name server of one interface": (
        {"dns_servers": ["fe80::1%eth0"]},
        "dns_servers",
        "fe80::1%eth0",
        "an IP address",
    ),
    "a bridge that sysctl takes for all": (
        {"bridges": {"all": 200, "cloudbr1": 300}, "public_label": "all"},
        "bridges",
        "all",
        "a name other than",
    ),
    "arguments whose quotation does not end": (
        {"libvirtd_arguments": {"LIBVIRTD_ARGS": '"--listen'}},
        "libvirtd_arguments['LIBVIRTD_ARGS']",
        '"--listen',
        "one word",
    ),
    "no arguments": (
        {"libvirtd_arguments": {"LIBVIRTD_ARGS": ""}},
        "libvirtd_arguments['LIBVIRTD_ARGS']",
        "",
        "one word",
    ),
    "a missing key": ({"gateway": ...}, "gateway", "(missing)", "default gateway"),
    "an unknown distribution": (
        {"distribution": "slackware"},
        "distribution",
        "slackware",
        "debian",
    ),
    "an unknown back end": ({"network_backend": "wicked"}, "network_backend", "wicked", "netplan"),
    "a name without a domain": ({"hostname": "kvm1"}, "hostname", "kvm1", "fully qualified"),
    "an IPv6 address that is none": (
        {"management_address6": "2001:db8::11"},
        "management_address6",
        "2001:db8::11",
        "with its prefix",
    ),
    "an unknown kind of bond": (
        bonded("eth0", "eth1", mode="balance-rr"),
        "bonds['bond0']['mode']",
        "balance-rr",
        "'active-backup' or '802.3ad'",
    ),
    "a bond with the name of a NIC": (
        {"uplink": "eth2", "bonds": {"eth2": {"nics": ["eth0", "eth1"]}}},
        "bonds",
        "eth2",
        "such as bond0",
    ),
    "text for a number": ({"minimum_memory": "4 GB"}, "minimum_memory", "4 GB", "integer"),
    "a number that is too small": ({"minimum_memory": 4}, "minimum_memory", "4", "512"),
    "text for a boolean": ({"require_hvm": "no"}, "require_hvm", "no", "boolean"),
    "one server for a list": ({"ntp_servers": "10.0.0.1"}, "ntp_servers", "10.0.0.1", "tuple"),
    "a server that is no name": ({"ntp_servers": ["a b"]}, "ntp_servers", "a b", "host name"),
    "an unknown time service": ({"time_service": "sundial"}, "time_service", "sundial", "chrony"),
    "an unknown CPU mode": ({"guest_cpu_mode": "fast"}, "guest_cpu_mode", "fast", "host-model"),
    "custom without a model": (
        {"guest_cpu_mode": "custom"},
        "guest_cpu_model",
        "(missing)",
        "custom",
    ),
    "a model without custom": (
        {"guest_cpu_mode": "host-model", "guest_cpu_model": "SandyBridge"},
        "guest_cpu_model",
        "SandyBridge",
        "custom",
    ),
    "features without a mode": (
        {"guest_cpu_features": ["avx"]},
        "guest_cpu_features",
        "avx",
        "mode",
    ),
    "a feature that is asked for and refused": (
        {"guest_cpu_mode": "host-model", "guest_cpu_features": ["avx", "-avx"]},
        "guest_cpu_features",
        "avx",
        "once",
    ),
    "a feature that is two": (
        {"guest_cpu_mode": "host-model", "guest_cpu_features": ["avx -mmx"]},
        "guest_cpu_features",
        "avx -mmx",
        "pattern",
    ),
    "a property that CloudStack writes": (
        {"agent_properties": {"guid": "1"}},
        "agent_properties",
        "guid",
        "CloudStack writes itself",
    ),
    "a property with a setting of its own": (
        {"agent_properties": {"guest.cpu.mode": "custom"}},
        "agent_properties",
        "guest.cpu.mode",
        "guest_cpu_mode",
    ),
    "a time service that the distribution lacks": (
        {"time_service": "ntp"},
        "time_service",
        "ntp",
        "chrony, openntpd",
    ),
    "a package manager of another family": (
        {"package_manager": "zypper"},
        "package_manager",
        "zypper",
        "dnf",
    ),
    "a mode that SELinux lacks": (
        {"selinux_mode": "disabled"},
        "selinux_mode",
        "disabled",
        "permissive",
    ),
    "a release that is no number": ({"releases": ["bookworm"]}, "releases", "bookworm", "pattern"),
    "a unit with no kind": (
        {"libvirt_masked_units": ["virtqemud"]},
        "libvirt_masked_units",
        "virtqemud",
        "socket",
    ),
    "a repository that is no URL": (
        {"cloudstack_repository": "ppa:cloudstack"},
        "cloudstack_repository",
        "ppa:cloudstack",
        "https",
    ),
    "a key's checksum that is none": (
        {"cloudstack_key_sha256": "abc"},
        "cloudstack_key_sha256",
        "abc",
        "SHA-256",
    ),
    "a source that is no network": (
        {"management_servers": ["10.0.0.5/8"]},
        "management_servers",
        "10.0.0.5/8",
        "network",
    ),
    "a source that is no name": (
        {"ssh_sources": ["bastion.example.org"]},
        "ssh_sources",
        "bastion.example.org",
        "2001:db8::/64",
    ),
    "a source that is a number": ({"firewall_sources": [10]}, "firewall_sources", "10", "10.0.0.0"),
    "nobody who may reach SSH": ({"ssh_sources": []}, "ssh_sources", "[]", "else anyone"),
    "everybody as a source": (
        {"management_servers": ["::/0"]},
        "management_servers",
        "::/0",
        "firewall_from_anywhere",
    ),
    "a port out of range": (
        {"firewall_ports": ["16509:99999"]},
        "firewall_ports",
        "16509:99999",
        "5900:6100",
    ),
    "a range that goes backwards": (
        {"firewall_ports": ["6100:5900"]},
        "firewall_ports",
        "6100:5900",
        "5900:6100",
    ),
    "a firewall that is to be off": (
        {"firewall_enabled": False},
        "firewall_enabled",
        "False",
        "None: it is left as it is",
    ),
    "somebody else's firewall that is to be on": (
        {"firewall_enabled": True, "firewall_backend": "unmanaged"},
        "firewall_enabled",
        "True",
        "None where firewall_backend is unmanaged",
    ),
    "a port that VXLAN has nowhere": ({"vxlan_port": 1234}, "vxlan_port", "1234", "8472 or 4789"),
    "VXLAN's port as text": ({"vxlan_port": "8472"}, "vxlan_port", "8472", "8472 or 4789"),
    "a port that is none": ({"firewall_ports": ["ssh"]}, "firewall_ports", "ssh", "5900:6100"),
    **{
        f"a port that is none: {port}": ({"firewall_ports": [port]}, "firewall_ports", port, "port")
        for port in ("99999", "0", "022", "7000:10", "7000:7000", "5900:65536", "\u0662\u0662")
    },
    **{
        f"more than a line: {key}": ({key: value}, key, shown, "one line")
        for key, value, shown in (
            ("agent_properties", {"host.tags": "a\nguid=1"}, "guid=1"),
            ("agent_properties", {"host.tags\nguid": 1}, "guid"),
            ("cluster", "cluster_a\r", "cluster_a"),
            ("libvirt_packages", ["libvirt\x00"], "libvirt"),
            ("libvirtd_arguments", {"LIBVIRTD_ARGS": "\u2028"}, "u2028"),
        )
    },
    "a property with blanks": (
        {"agent_properties": {"host.tags": "kvm "}},
        "agent_properties",
        "kvm ",
        "without blanks",
    ),
    "a property whose name is none": (
        {"agent_properties": {"host.tags=a": "b"}},
        "agent_properties",
        "host.tags=a",
        "pattern",
    ),
    "arguments without quotes": (
        {"libvirtd_arguments": {"libvirtd_opts": "-d -l"}},
        "libvirtd_arguments['libvirtd_opts']",
        "-d -l",
        "one word",
    ),
    "arguments with half their quotes": (
        {"libvirtd_arguments": {"libvirtd_opts": '"-d -l'}},
        "libvirtd_arguments['libvirtd_opts']",
        '"-d -l',
        "one word",
    ),
    "a variable that no shell has": (
        {"libvirtd_arguments": {"libvirtd opts": '"-l"'}},
        "libvirtd_arguments",
        "libvirtd opts",
        "pattern",
    ),
    "an option for a package": (
        {"cloudstack_requisites": ["--allow-unauthenticated"]},
        "cloudstack_requisites",
        "--allow-unauthenticated",
        "pattern",
    ),
    "a profile in another folder": (
        {"apparmor_profiles": ["../passwd"]},
        "apparmor_profiles",
        "../passwd",
        "pattern",
    ),
    "two suites in one": (
        {"cloudstack_suites": ["noble main"]},
        "cloudstack_suites",
        "noble main",
        "pattern",
    ),
    **{
        f"an address that is none: {address}": (
            {"ntp_servers": [address]},
            "ntp_servers",
            address,
            "an address",
        )
        for address in ("10.0.0.256", "10.0.1", "2001:db8::x", "fe80::1%eth0")
    },
    "a gateway of the other family": ({"gateway": "2001:db8::1"}, "gateway", "2001:db8::1", "IPv4"),
    "a key over http that could be another": (
        {"cloudstack_key": "http://packages.example.org/release.asc"},
        "cloudstack_key_sha256",
        "(missing)",
        "over http anyone",
    ),
    "the examples' placeholder for a checksum": (
        {"cloudstack_key": "https://a.example.org/a.asc?b&c", "cloudstack_key_sha256": "0" * 64},
        "cloudstack_key_sha256",
        "0" * 40,
        "what `curl -L 'https://a.example.org/a.asc?b&c' | sha256sum` prints",
    ),
    "unchecked packages over http": (
        {"cloudstack_gpgcheck": False, "cloudstack_repository": "http://packages.example.org/el/9"},
        "cloudstack_gpgcheck",
        "False",
        "over http anyone",
    ),
    "a check that is none": (
        {"waived_checks": ["cpu flags"]},
        "waived_checks",
        "cpu flags",
        "'guests', 'cluster', 'CPU model', 'CPU count'",
    ),
    "a VLAN tag out of range": (
        {"bridges": {"cloudbr0": 4095, "cloudbr1": 300}},
        "bridges",
        "4095",
        "4094",
    ),
    "a tag that is used twice": (
        {"bridges": {"cloudbr0": 200, "cloudbr1": 200}},
        "bridges",
        "200",
        "tag",
    ),
    "an address without a prefix": (
        {"management_address": "192.168.42.11"},
        "management_address",
        "192.168.42.11",
        "192.168.42.11/24",
    ),
    "a gateway outside the network": (
        {"gateway": "10.0.0.1"},
        "gateway",
        "10.0.0.1",
        "192.168.42.0/24",
    ),
    "a bridge whose name is too long": (
        {"bridges": {"cloudbr0": 200, "cloudbr1": 300, "a-very-long-name": 400}},
        "bridges",
        "a-very-long-name",
        "15",
    ),
    "a label without a bridge": (
        {"guest_label": "cloudbr7"},
        "guest_label",
        "cloudbr7",
        "cloudbr1",
    ),
}


@pytest.mark.parametrize(("changes", "key", "value", "accepted"), BAD.values(), ids=BAD.keys())
def test_a_bad_setting_is_said_with_host_key_value_and_what_is_accepted(
    changes: dict[str, Any], key: str, value: str, accepted: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        load({KVM1: data(**changes)})
    assert list(raised.value.problems) == [KVM1]
    found = raised.value.problems[KVM1]
    assert {problem.key for problem in found} == {key}
    problem = found[0]
    assert value in str(problem.value)
    assert accepted in problem.accepted
    said = " ".join(str(raised.value).split())
    assert KVM1 in said
    assert key in said


def test_all_problems_of_all_hosts_are_said_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        load(
            {
                KVM1: data(guest_cpu_mode="fast", gatway="192.168.42.1"),
                KVM2: data(management_address="192.168.42.12/24", guest_cpu_mode="fast"),
            }
        )
    assert {
        name: [problem.key for problem in found] for name, found in raised.value.problems.items()
    } == {
        KVM1: ["gatway", "guest_cpu_mode"],
        KVM2: ["guest_cpu_mode"],
    }
    assert f"{KVM1}, {KVM2}" in " ".join(str(raised.value).split()), "one row for both"


def test_an_address_that_two_hosts_have_is_refused() -> None:
    with pytest.raises(SettingsError) as raised:
        load({KVM1: data(), KVM2: data()})
    [problem] = raised.value.problems[KVM2]
    assert (problem.key, problem.value) == ("management_address", "192.168.42.11/24")
    assert KVM1 in problem.accepted
    both = {"management_address6": "2001:db8::11/64"}
    with pytest.raises(SettingsError) as raised:
        load({KVM1: data(**both), KVM2: data(management_address="192.168.42.12/24", **both)})
    [problem] = raised.value.problems[KVM2]
    assert (problem.key, problem.value) == ("management_address6", "2001:db8::11/64")


def test_every_key_is_described_and_belongs_to_one_concern() -> None:
    assert all(field.description for field in KEYS.values())
    assert len(KEYS) == sum(len(concern.model_fields) for concern in CONCERNS.values())
