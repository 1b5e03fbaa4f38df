"""/etc/hosts after the host was named: what changes, what stays, what the resolver finds."""

import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Template

from kvmhost.hosts_file import name_host

FQDN = "kvm1.lab.example.org"
ADDRESS = IPv4Address("192.168.42.11")
OWN = "192.168.42.11 kvm1.lab.example.org kvm1"


def named(text: str) -> str:
    return name_host(text, ADDRESS, FQDN)


CASES: dict[str, tuple[str, str]] = {
    "an empty file": ("", f"{OWN}\n"),
    "a file without the host": (
        "127.0.0.1 localhost\n\n::1 localhost ip6-localhost\n",
        f"127.0.0.1 localhost\n{OWN}\n\n::1 localhost ip6-localhost\n",
    ),
    "a last line that does not end": ("127.0.0.1 localhost", f"127.0.0.1 localhost\n{OWN}\n"),
    "what Debian's installer writes": (
        "127.0.0.1\tlocalhost\n127.0.1.1\tkvm1.lab.example.org\tkvm1\n\n# IPv6\n::1 localhost\n",
        f"127.0.0.1\tlocalhost\n{OWN}\n\n# IPv6\n::1 localhost\n",
    ),
    "the installer's line with a further name": (
        "127.0.1.1 kvm1.lab.example.org kvm1 storage # by hand\n",
        f"{OWN} storage # by hand\n",
    ),
    "the installer's line without a domain": ("127.0.1.1 kvm1\n", f"{OWN}\n"),
    "an address that the host had before": (
        "10.0.0.7 kvm1.lab.example.org kvm1\n10.0.0.8 kvm2.lab.example.org kvm2\n",
        f"{OWN}\n10.0.0.8 kvm2.lab.example.org kvm2\n",
    ),
    "the short name first": ("192.168.42.11 kvm1 kvm1.lab.example.org\n", f"{OWN}\n"),
    "another name of the address": ("192.168.42.11 rack7\n", f"{OWN} rack7\n"),
    "the host's name on localhost's line": (
        "127.0.0.1 localhost kvm1 # lo\n::1 kvm1.lab.example.org ip6-localhost\n",
        f"127.0.0.1 localhost # lo\n{OWN}\n::1 ip6-localhost\n",
    ),
    "the host's name before localhost": (
        "127.0.0.1 kvm1 localhost\n",
        f"127.0.0.1 localhost\n{OWN}\n",
    ),
    "a line with nothing but the host's name": (
        "127.0.0.1 localhost\n127.0.0.1 kvm1\n",
        f"127.0.0.1 localhost\n{OWN}\n",
    ),
    "names in capitals": ("10.0.0.7 KVM1.LAB.example.org\n", f"{OWN}\n"),
    "several lines of the host": (
        "127.0.1.1 kvm1 a\n10.0.0.1 gateway\n192.168.42.11 b # c\n",
        f"{OWN} a b # c\n10.0.0.1 gateway\n",
    ),
    "the host's IPv6 address": (
        "127.0.1.1 kvm1\n2001:db8::11  kvm1.lab.example.org kvm1 # v6\n",
        f"{OWN}\n2001:db8::11  kvm1.lab.example.org kvm1 # v6\n",
    ),
    "the host's IPv6 address, the short name first": (
        f"2001:db8::11 kvm1 {FQDN}\n127.0.0.1 localhost\n{OWN}\n",
        f"{OWN}\n2001:db8::11 kvm1 {FQDN}\n127.0.0.1 localhost\n",
    ),
    "an IPv6 address that others share": (
        "::1 localhost\n2001:db8::1 gateway kvm1\n",
        f"::1 localhost\n{OWN}\n2001:db8::1 gateway kvm1\n",
    ),
    "a name for storage": (
        f"{OWN}\n10.9.9.11 kvm1-storage\n",
        f"{OWN}\n10.9.9.11 kvm1-storage\n",
    ),
    "a name for storage beside the host's": (
        "10.9.9.11 kvm1.lab.example.org kvm1 kvm1-storage # NFS\n127.0.1.1 kvm1\n",
        f"10.9.9.11 kvm1-storage # NFS\n{OWN}\n",
    ),
    "a name for storage before the host's": (
        f"10.9.9.11 kvm1-storage kvm1\n{OWN}\n",
        f"10.9.9.11 kvm1-storage\n{OWN}\n",
    ),
    "a line that is switched off": (
        "#127.0.1.1 kvm1.lab.example.org kvm1\n",
        f"{OWN}\n#127.0.1.1 kvm1.lab.example.org kvm1\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES.keys())
def test_the_host_gets_one_line(before: str, after: str) -> None:
    assert named(before) == after
    assert named(after) == after


@pytest.mark.parametrize(
    "right",
    [
        f"{OWN}\n",
        f"127.0.0.1 localhost\n{OWN}\n",
        "  192.168.42.11\tkvm1.lab.example.org   kvm1 rack7\t# written by hand",
        "192.168.42.11 kvm1.lab.example.org rack7 kvm1\n\n\n",
        f"{OWN}\n2001:db8::7 kvm7.lab.example.org\n# the end",
    ],
)
def test_what_is_right_is_left_to_the_byte(right: str) -> None:
    assert named(right) == right


IPV6 = ["fe80::1", "2001:db8::11"]
ADDRESSES = ["127.0.0.1", "127.0.1.1", "::1", *IPV6, str(ADDRESS), "10.0.0.7", "10.0.0.8"]
NAMES = ["localhost", FQDN, "kvm1", "KVM1", "kvm2", "gateway", "kvm1.example.com"]
ENTRIES = st.builds(
    lambda address, names, comment: " ".join((address, *names)) + comment,
    st.sampled_from(ADDRESSES),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
    st.sampled_from(["", " # why", "\t"]),
)
FILES = st.lists(st.one_of(ENTRIES, st.sampled_from(["", "# comment", "  "]))).map("\n".join)


def entries(text: str) -> list[tuple[str, list[str]]]:
    lines = [line.partition("#")[0].split() for line in text.split("\n")]
    return [(words[0], words[1:]) for words in lines if words]


@given(FILES)
def test_any_file_leads_from_the_name_to_the_address_and_nowhere_else(text: str) -> None:
    result = entries(named(text))
    leading = [(address, names) for address, names in result if {FQDN, "kvm1", "KVM1"} & {*names}]
    by_ipv4 = [(address, names) for address, names in leading if address not in IPV6]
    assert len(by_ipv4) == 1
    address, names = by_ipv4[0]
    assert leading[0][1][0] == FQDN
    assert address == str(ADDRESS)
    assert names[0] == FQDN
    assert "kvm1" in names


@given(FILES)
def test_lines_of_ipv6_stay(text: str) -> None:
    def by_ipv6(text: str) -> list[str]:
        return [line for line in text.split("\n") if line.startswith(tuple(IPV6))]

    assert by_ipv6(named(text)) == by_ipv6(text)


@given(FILES)
def test_a_second_time_changes_nothing(text: str) -> None:
    assert named(named(text)) == named(text)


@given(FILES)
def test_no_name_of_others_is_lost(text: str) -> None:
    def others(text: str) -> set[str]:
        return {name for _, names in entries(text) for name in names} - {FQDN, "kvm1", "KVM1"}

    assert others(named(text)) == others(text)
    assert [line for line in named(text).split("\n") if line.startswith("#")] == [
        line for line in text.split("\n") if line.startswith("#")
    ]


# in the form of cloud-init 22.4's templates
TEMPLATES = {
    "debian": """\
## template:jinja
{# The value '{{hostname}}' will be replaced -#}
127.0.1.1 {{fqdn}} {{hostname}}
127.0.0.1 localhost

::1 localhost ip6-localhost
""",
    "redhat": """\
## template:jinja
# IPv4
127.0.0.1 {{fqdn}} {{hostname}}
127.0.0.1 localhost.localdomain localhost
# IPv6
::1 {{fqdn}} {{hostname}}
::1 localhost.localdomain localhost
""",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_what_cloud_init_makes_of_its_template_needs_no_change(template: str) -> None:
    after = named(template)
    header, body = after.split("\n", 1)
    assert header == "## template:jinja"
    made = Template(body, keep_trailing_newline=True).render(fqdn="ip-10.cloud", hostname="ip-10")
    assert named(made) == made
    assert "ip-10 " not in made.replace("'ip-10'", "")
    assert OWN in made.split("\n")
    assert named(after) == after


APART = ["unshare", "--map-root-user", "--mount", "--uts"]


def can_be_apart() -> bool:
    return subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_be_apart(), reason="this machine allows no namespaces of one's own")
@pytest.mark.parametrize("before", [before for before, _ in CASES.values()], ids=CASES.keys())
@pytest.mark.parametrize("kernel", ["kvm1", FQDN])
def test_the_resolver_finds_the_name_and_the_address(
    before: str, kernel: str, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text(named(before))
    script = (
        f"mount --bind {tmp_path}/hosts /etc/hosts && hostname {kernel} && "
        f"hostname --fqdn && getent ahostsv4 {kernel} | sed 's/ .*//;q'"
    )
    found = subprocess.run(
        [*APART, "sh", "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert found.stdout.split() == [FQDN, str(ADDRESS)]
