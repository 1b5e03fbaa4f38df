"""Each distribution's file in group_data holds settings that can be used, and names templates."""

import pytest

from kvmhost import templates
from kvmhost.inventory import PYINFRA_KEYS
from kvmhost.settings import Settings, load
from tests.plan.support import group_data

GROUPS = {
    "debian": ("debian",),
    "rhel": ("rhel",),
    "rhel_6": ("rhel_6",),
    "ubuntu": ("ubuntu",),
    "ubuntu_1204": ("ubuntu_1204",),
    "ubuntu_2204": ("ubuntu", "ubuntu_2204"),
}
"""The groups of a host of each distribution, in the inventory's order."""
DISTRIBUTIONS = tuple(GROUPS)
CLUSTER = {
    "cluster": "cluster_a",
    "cloudstack_repository": "https://packages.example.org/$releasever",
    "cloudstack_suites": ("noble",),
    "cloudstack_components": ("4.22",),
    "cloudstack_key": "https://packages.example.org/release.asc",
    "management_vlan": 100,
    "management_address": "192.168.42.11/24",
    "gateway": "192.168.42.1",
    "bridges": {"cloudbr0": 200, "cloudbr1": 300},
}


def settings(distribution: str) -> Settings:
    data = group_data("all")
    for group in GROUPS[distribution]:
        data |= group_data(group)
    data |= CLUSTER
    return load({"kvm1.lab.example.org": data}, PYINFRA_KEYS)["kvm1.lab.example.org"]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_distributions_settings_can_be_used(distribution: str) -> None:
    assert settings(distribution).platform.releases


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_time_service_has_a_file_that_names_the_servers(distribution: str) -> None:
    time = settings(distribution).time
    for service, file in time.time_files.items():
        assert service in time.time_services
        text = templates.render(file, servers=("ntp1.example.org", "10.0.0.1"))
        assert [line.split()[1] for line in text.splitlines() if line.startswith("server ")] == [
            "ntp1.example.org",
            "10.0.0.1",
        ]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_chrony_has_leap_seconds_from_its_servers(distribution: str) -> None:
    """Since Debian 13 tzdata no longer has the zones that tell them (tzdata-legacy has)."""
    time = settings(distribution).time
    if "chrony" in time.time_files:
        text = templates.render(time.time_files["chrony"], servers=("ntp1.example.org",))
        assert "leapsec" not in text


REPOSITORIES = {
    "debian": """\
Types: deb
URIs: https://packages.example.org/$releasever
Suites: noble
Components: 4.22
Signed-By: /etc/apt/keyrings/cloudstack.asc
""",
    "ubuntu_1204": "deb https://packages.example.org/$releasever noble 4.22\n",
    "rhel": """\
[cloudstack]
name=Apache CloudStack
baseurl=https://packages.example.org/$releasever
enabled=1
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-cloudstack
""",
}


@pytest.mark.parametrize(("distribution", "text"), REPOSITORIES.items(), ids=REPOSITORIES)
def test_the_repositorys_file_is_what_the_package_manager_reads(
    distribution: str, text: str
) -> None:
    agent = settings(distribution).agent
    rendered = templates.render(agent.cloudstack_repository_file, agent=agent)
    comment, key, rest = rendered.split("\n", maxsplit=2)
    assert comment.startswith("# ")
    assert key == f"# Key: {CLUSTER['cloudstack_key']}"
    assert rest == text
