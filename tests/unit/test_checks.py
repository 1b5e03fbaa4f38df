"""Every check, in every outcome that it has."""

from dataclasses import replace
from typing import Any

import pytest

from kvmhost import checks
from kvmhost.facts.cloudstack import ANEW
from kvmhost.facts.machine import Machine, Traits
from kvmhost.findings import Finding
from kvmhost.settings import Settings, load
from tests.plan.support import host_data, machine
from tests.unit.network_examples import BOND

FIT = Traits().process(machine())


def settings(**changes: Any) -> Settings:
    return load({"kvm1": host_data(**changes)})["kvm1"]


def of_one(machine: Machine | None, **changes: Any) -> dict[str, Finding]:
    """Return the findings on one host with these settings, by the check's name."""
    found = checks.findings({"kvm1": settings(**changes)}, {"kvm1": machine})["kvm1"]
    return {finding.check: finding for finding in found}


def of_cluster(*machines: Machine | None, **changes: Any) -> list[str]:
    """Return what is wrong with each machine of one cluster with these settings, or ""."""
    named = {f"kvm{number}": each for number, each in enumerate(machines, start=1)}
    everyone = load(
        {name: host_data(number, **changes) for number, name in enumerate(named, start=1)}
    )
    return [wrong(each) for each in checks.findings(everyone, named).values()]


def wrong(found: list[Finding]) -> str:
    return "; ".join(finding.detail for finding in found if not finding.passes)


def test_a_machine_that_is_fit_passes_every_check() -> None:
    found = of_one(FIT)
    assert tuple(found) == checks.NAMES
    assert {finding.outcome for finding in found.values()} == {"holds"}


FAILING: dict[str, tuple[str, dict[str, Any], str]] = {
    "another distribution": (
        "distribution",
        {"distribution": "ubuntu"},
        "it is ubuntu, but its group's distribution is debian",
    ),
    "another release": (
        "release",
        {"release": "11", "system": "Debian GNU/Linux 11 (bullseye)"},
        "Debian GNU/Linux 11 (bullseye) is 11, supported is 12",
    ),
    "another architecture": (
        "x86-64",
        {"architecture": "aarch64"},
        "the machine is aarch64, needed is x86_64",
    ),
    "another user": (
        "root",
        {"root": False},
        "commands do not run as root; --sudo, or _sudo in group_data, has them do so",
    ),
    "little memory": (
        "memory",
        {"memory": 3799},
        "it has 3799 MiB of memory, needed are 3800 MiB",
    ),
    "no hardware virtualization": (
        "HVM",
        {"cpu_flags": frozenset(("fpu", "sse2"))},
        "the CPU shows neither vmx nor svm: is it enabled in the firmware?",
    ),
    "no KVM": ("HVM", {"kvm": False}, "there is no /dev/kvm, though the CPU has vmx or svm"),
    "another NIC": (
        "NIC",
        {"interfaces": frozenset(("lo", "ens3", "ens4"))},
        "there is no eth0, which the settings name; there is: ens3, ens4",
    ),
    "no NIC at all": (
        "NIC",
        {"interfaces": frozenset(("lo",))},
        "there is no eth0, which the settings name; there is: none",
    ),
    "no systemd": (
        "rollback",
        {"systemd": False},
        "no systemd runs here to undo a change of the network by ifupdown; "
        "network_backend unmanaged leaves the network to you",
    ),
    "a name that CloudStack knows": (
        "name",
        {"managed": True, "hostname": "old", "qualified_name": "old.lab.example.org"},
        f"CloudStack has added it as old, so it cannot become kvm1.lab.example.org: {ANEW}",
    ),
    "another domain than the one that CloudStack knows": (
        "name",
        {"managed": True, "qualified_name": "kvm1.old.example.org"},
        "CloudStack has added it as kvm1.old.example.org, so it cannot become "
        f"kvm1.lab.example.org: {ANEW}",
    ),
    "an address that CloudStack does not know": (
        "address",
        {"managed": True, "addresses": frozenset(("192.168.42.77", "10.0.0.9"))},
        "CloudStack has added it with 10.0.0.9, 192.168.42.77, so it cannot get 192.168.42.1: "
        f"{ANEW}",
    ),
    "an address of another of its networks": (
        "address",
        {
            "managed": True,
            "addresses": frozenset(("192.168.42.1", "10.0.0.9")),
            "certified": frozenset(("10.0.0.9",)),
        },
        f"CloudStack has added it with 10.0.0.9, so it cannot get 192.168.42.1: {ANEW}",
    ),
    "no name resolution": (
        "outbound",
        {"outbound": "unresolved"},
        "the name www.cloudstack.org is not resolved",
    ),
    "no way out": (
        "outbound",
        {"outbound": "unanswered"},
        "www.cloudstack.org answers neither ping nor TCP port 443 or 80",
    ),
    "guests of someone else": (
        "guests",
        {"guests": frozenset(("web", "db"))},
        "guests run that CloudStack does not manage: db, web",
    ),
}


@pytest.mark.parametrize(("check", "changes", "detail"), FAILING.values(), ids=FAILING.keys())
def test_what_does_not_hold(check: str, changes: dict[str, Any], detail: str) -> None:
    found = of_one(replace(FIT, **changes))
    assert found[check] == Finding(check, "fails", detail)
    assert [name for name, finding in found.items() if not finding.passes] == [check]


def test_the_nics_of_a_bond_have_to_be_there_and_the_bond_does_not() -> None:
    bond = BOND
    assert of_one(FIT, **bond)["NIC"].detail == (
        "there is no eth1, which the settings name; there is: eth0"
    )
    fit = replace(FIT, interfaces=frozenset(("lo", "eth0", "eth1")))
    assert of_one(fit, **bond)["NIC"] == Finding("NIC", "holds", "there is eth0 and eth1")


UNKNOWN: dict[str, tuple[str, dict[str, Any], str]] = {
    "distribution": ("distribution", {"distribution": None}, "neither /etc/os-release nor"),
    "release": ("release", {"release": None}, "neither /etc/os-release nor"),
    "architecture": ("x86-64", {"architecture": None}, "uname does not answer"),
    "root": ("root", {"root": None}, "id does not answer"),
    "memory": ("memory", {"memory": None}, "/proc/meminfo has no MemTotal"),
    "CPU flags": ("HVM", {"cpu_flags": None}, "/proc/cpuinfo shows no flags"),
    "NICs": ("NIC", {"interfaces": None}, "/sys/class/net shows no interface"),
    "systemd": ("rollback", {"systemd": None}, "the host's answer is incomplete"),
    "name": ("name", {"hostname": None}, "the host's answer is incomplete"),
    "address": ("address", {"managed": True, "addresses": None}, "the host's answer is"),
    "whose address": ("address", {"managed": None}, "the host's answer is incomplete"),
    "no program": ("outbound", {"outbound": "untried"}, "the host has neither ping nor bash"),
    "outbound": ("outbound", {"outbound": None}, "the host's answer is incomplete"),
    "firewall": ("firewall", {"firewalls": None}, "only root is told"),
    "guests": ("guests", {"guests": None}, "/proc shows no processes"),
    "whose guests": ("guests", {"managed": None}, "/proc shows no processes"),
    "CPU model": ("CPU model", {"cpu_model": None}, "the host does not show its CPU model"),
}


@pytest.mark.parametrize(("check", "changes", "reason"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_could_not_be_told(check: str, changes: dict[str, Any], reason: str) -> None:
    finding = of_one(replace(FIT, **changes))[check]
    assert finding.outcome == "unknown"
    assert not finding.passes
    assert finding.detail.startswith(f"could not be told, because {reason}")


def test_a_host_that_does_not_answer_has_that_one_finding() -> None:
    assert of_one(None) == {"answer": Finding("answer", "unknown", "the host did not answer")}


def test_what_a_setting_waives_is_said() -> None:
    bare = replace(FIT, cpu_flags=frozenset(("fpu",)), kvm=False, outbound=None, systemd=False)
    unmanaged = {"network_backend": "unmanaged", "firewall_backend": "unmanaged"}
    found = of_one(bare, require_hvm=False, outbound_host=None, **unmanaged)
    assert {name for name, finding in found.items() if finding.outcome == "waived"} == {
        "HVM",
        "firewall",
        "outbound",
        "rollback",
    }
    assert "require_hvm is False" in found["HVM"].detail
    assert "outbound_host is None" in found["outbound"].detail
    assert all(finding.passes for finding in found.values())


def test_nothing_undoes_what_switches_a_firewall_on_without_systemd() -> None:
    bare = replace(FIT, systemd=False)
    finding = of_one(bare, network_backend="unmanaged", firewall_enabled=True)["rollback"]
    assert finding.outcome == "fails"
    assert "firewall_enabled None leaves that to you" in finding.detail


@pytest.mark.parametrize("present", ["kvm1", "localhost.localdomain", None])
def test_another_name_will_be_set(present: str | None) -> None:
    finding = of_one(replace(FIT, qualified_name=present))["name"]
    assert finding.outcome == "mendable"
    assert finding.passes
    assert finding.detail == (
        f"hostname --fqdn returns {present or 'nothing'}; kvm1.lab.example.org will be set"
    )


@pytest.mark.parametrize("kernel", ["kvm1", "kvm1.lab.example.org"])
@pytest.mark.parametrize("qualified", [None, "kvm1", "localhost.localdomain"])
def test_a_broken_hosts_file_is_mended_on_a_host_that_cloudstack_knows(
    kernel: str, qualified: str | None
) -> None:
    machine = replace(FIT, managed=True, hostname=kernel, qualified_name=qualified)
    assert of_one(machine)["name"].outcome == "mendable"


@pytest.mark.parametrize("addresses", [None, frozenset(("192.168.42.77",))])
def test_a_host_that_cloudstack_has_not_added_may_get_any_address(
    addresses: frozenset[str] | None,
) -> None:
    assert of_one(replace(FIT, addresses=addresses))["address"].outcome == "holds"


ENABLED = {"firewall_enabled": True}


@pytest.mark.parametrize(
    ("settings", "guests", "outcome", "said"),
    [
        ({}, (), "risky", "is off, and stays off: whoever reaches"),
        ({}, (), "risky", "; firewall_enabled = True mends it"),
        (ENABLED, (), "mendable", "is off; it will be switched on"),
        (ENABLED, ("i-2-3-VM",), "risky", "is off, and guests run: whoever reaches"),
        (ENABLED, None, "risky", "; network_change_with_guests would have it switched on"),
        (
            {**ENABLED, "network_change_with_guests": True},
            ("i-2-3-VM",),
            "mendable",
            "is off; it will be switched on",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["ufw", "iptables", "firewalld"])
def test_a_firewall_that_is_off_is_a_risk_unless_this_run_mends_it(
    backend: str,
    settings: dict[str, Any],
    guests: tuple[str, ...] | None,
    outcome: str,
    said: str,
) -> None:
    others = frozenset(("ufw", "iptables", "firewalld")) - {backend}
    running = None if guests is None else frozenset(guests)
    machine = replace(FIT, firewalls=others, guests=running)
    finding = of_one(machine, firewall_backend=backend, **settings)["firewall"]
    assert finding.outcome == outcome
    assert finding.detail.startswith(f"{backend} is off")
    assert said in finding.detail
    on = of_one(replace(FIT, firewalls=frozenset((backend,))), firewall_backend=backend)
    assert on["firewall"] == Finding("firewall", "holds", f"{backend} is on")


def test_cloudstacks_own_guests_are_no_obstacle() -> None:
    found = of_one(replace(FIT, guests=frozenset(("i-2-3-VM",)), managed=True))
    assert all(finding.passes for finding in found.values())


@pytest.mark.parametrize(
    ("release", "outcome"), [("9", "holds"), ("9.4", "holds"), ("91", "fails")]
)
def test_a_release_stands_for_its_minor_releases_too(release: str, outcome: str) -> None:
    machine = replace(FIT, distribution="rocky", release=release)
    found = of_one(machine, distribution=["rhel", "rocky"], releases=["8", "9"])
    assert found["distribution"].outcome == "holds"
    assert found["release"].outcome == outcome


@pytest.mark.parametrize("managed", [False, True])
def test_case_does_not_matter_in_names(managed: bool) -> None:
    upper = replace(FIT, hostname="KVM1", qualified_name="KVM1.Lab.example.org", managed=managed)
    assert of_one(upper)["name"].outcome == "holds"
    assert of_one(FIT, hostname="KVM1.lab.example.org")["name"].outcome == "holds"


def test_the_memory_that_is_needed_is_a_setting() -> None:
    small = replace(FIT, memory=600)
    assert of_one(small, minimum_memory=600)["memory"].outcome == "holds"


def test_like_hosts_make_a_cluster() -> None:
    assert of_cluster(FIT, FIT, FIT) == ["", "", ""]


UNLIKE: dict[str, tuple[dict[str, Any], str]] = {
    "release": ({"release": "13"}, "release is debian 13, but debian 12 on kvm1"),
    "CPU model": ({"cpu_model": "Xeon"}, "CPU model is Xeon, but AMD EPYC on kvm1"),
    "CPU count": ({"cpu_count": 8}, "CPU count is 8, but 16 on kvm1"),
    "CPU flags": (
        {"cpu_flags": frozenset(("fpu", "svm", "avx"))},
        "CPU flags lack sse2 and have avx, unlike kvm1",
    ),
    "both": (
        {"cpu_count": 8, "cpu_model": "Xeon"},
        "CPU model is Xeon, but AMD EPYC on kvm1; CPU count is 8, but 16 on kvm1",
    ),
}


@pytest.mark.parametrize(("changes", "detail"), UNLIKE.values(), ids=UNLIKE.keys())
def test_the_odd_host_of_a_cluster_is_named(changes: dict[str, Any], detail: str) -> None:
    found = of_cluster(FIT, replace(FIT, **changes), FIT, releases=["12", "13"])
    assert found == ["", detail, ""]


def test_the_odd_host_is_the_odd_one_wherever_it_stands() -> None:
    found = of_cluster(replace(FIT, cpu_count=8), FIT, FIT)
    assert found == ["CPU count is 8, but 16 on kvm2", "", ""]


def test_of_two_hosts_the_second_is_unlike_the_first() -> None:
    found = of_cluster(FIT, replace(FIT, cpu_count=8))
    assert found == ["", "CPU count is 8, but 16 on kvm1"]


def test_unknown_hosts_are_not_the_measure() -> None:
    untold = replace(FIT, cpu_count=None)
    found = of_cluster(untold, untold, FIT)
    assert found == [*["could not be told, because the host does not show its CPU count"] * 2, ""]


def of_el(*releases: str) -> tuple[list[str], list[str]]:
    """Return what is wrong with EL hosts of one cluster, and what is worth knowing of them."""
    data = {"distribution": ["rhel", "rocky"], "releases": ["8", "9"]}
    hosts = range(1, len(releases) + 1)
    everyone = load({f"kvm{number}": host_data(number, **data) for number in hosts})
    machines = {
        f"kvm{number}": replace(FIT, distribution="rocky", release=release)
        for number, release in zip(hosts, releases, strict=True)
    }
    found = [wrong(each) for each in checks.findings(everyone, machines).values()]
    return found, [*checks.minor_differences(everyone, machines)]


def test_minor_releases_may_differ_and_are_said() -> None:
    found, remarks = of_el("9.5", "9.4", "9.5")
    assert found == ["", "", ""]
    assert remarks == ["cluster_a: minor releases of 9 differ: 9.4 on kvm2; 9.5 on kvm1, kvm3"]


def test_major_releases_may_not_differ() -> None:
    found, remarks = of_el("9.4", "8.10", "9.4")
    assert found == ["", "release is rocky 8, but rocky 9 on kvm1", ""]
    assert remarks == []


def test_many_missing_flags_are_counted() -> None:
    many = replace(FIT, cpu_flags=FIT.cpu_flags and FIT.cpu_flags | set("abcdefgh"))
    assert of_cluster(FIT, many)[1] == "CPU flags have a b c d e f and 2 more, unlike kvm1"


def test_hosts_of_other_clusters_are_not_compared() -> None:
    everyone = load({"kvm1": host_data(1), "kvm2": host_data(2, cluster="cluster_b")})
    found = checks.findings(everyone, {"kvm1": FIT, "kvm2": replace(FIT, cpu_count=8)})
    assert [wrong(each) for each in found.values()] == ["", ""]


def test_hosts_that_did_not_answer_are_left_out_of_the_comparison() -> None:
    assert of_cluster(FIT, None, FIT) == ["", "the host did not answer", ""]


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        *((check, changes) for check, changes, _ in FAILING.values()),
        *((check, changes) for check, changes, _ in UNKNOWN.values()),
    ],
    ids=[*FAILING, *(f"unknown {name}" for name in UNKNOWN)],
)
def test_each_check_can_be_waived_by_its_name_and_no_other_is(
    check: str, changes: dict[str, Any]
) -> None:
    machine = replace(FIT, **changes)
    without = {name: each.outcome for name, each in of_one(machine).items()}
    waived = {name: each.outcome for name, each in of_one(machine, waived_checks=[check]).items()}
    assert waived == without | {check: "waived"}


def test_a_trait_that_is_waived_is_not_another() -> None:
    odd = replace(FIT, cpu_count=8, cpu_flags=frozenset(("svm",)))
    found = of_cluster(FIT, odd, FIT, waived_checks=["CPU flags"])
    assert found == ["", "CPU count is 8, but 16 on kvm1", ""]


CUSTOM: dict[str, Any] = {
    "guest_cpu_mode": "custom",
    "guest_cpu_model": "SandyBridge",
    "guest_cpu_features": ["aes", "-hle"],
}
LACK = "incompatible with host CPU: Host CPU does not provide required features: avx"


@pytest.mark.parametrize(
    ("said", "outcome", "detail"),
    [
        ("runs", "holds", "it runs SandyBridge aes -hle"),
        (None, "later", "no libvirt says yet whether it runs SandyBridge aes -hle"),
        (LACK, "fails", f"libvirt says of the guests' CPU, SandyBridge aes -hle: {LACK}"),
    ],
)
def test_a_host_has_to_run_the_cpu_that_guests_see(
    said: str | None, outcome: str, detail: str
) -> None:
    finding = of_one(replace(FIT, guest_cpu=said), **CUSTOM)["guest CPU"]
    assert (finding.outcome, finding.detail) == (outcome, detail)
    assert finding.passes == (outcome != "fails")


def test_what_an_emulator_makes_of_the_guests_cpu_is_not_judged() -> None:
    found = of_one(replace(FIT, guest_cpu=LACK), **CUSTOM, require_hvm=False)
    assert found["guest CPU"].outcome == "waived"


MIXED = (
    replace(FIT, guest_cpu="runs"),
    replace(FIT, cpu_model="Xeon", cpu_count=8, cpu_flags=frozenset(("vmx",)), guest_cpu="runs"),
    replace(FIT, cpu_model=None, cpu_count=None, release="13"),
)


def test_a_cluster_of_mixed_cpus_is_one_where_guests_see_a_model_of_the_settings() -> None:
    other_release = "release is debian 13, but debian 12 on kvm1"
    found = of_cluster(*MIXED, **CUSTOM, releases=["12", "13"])
    assert found == ["", "", other_release]


@pytest.mark.parametrize("mode", ["host-model", "host-passthrough", None])
def test_a_cluster_of_mixed_cpus_is_none_where_guests_see_the_hosts_own(mode: str | None) -> None:
    assert of_cluster(*MIXED[:2], guest_cpu_mode=mode)[1] == (
        "CPU model is Xeon, but AMD EPYC on kvm1; CPU count is 8, but 16 on kvm1; "
        "CPU flags lack fpu sse2 svm and have vmx, unlike kvm1"
    )
