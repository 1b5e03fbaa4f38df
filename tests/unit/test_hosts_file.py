"""/etc/hosts after the host was named: what changes, what stays, what the resolver finds."""

import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


ADDRESSES = ["127.0.0.1", "127.0.1.1", "::1", "fe80::1", str(ADDRESS), "10.0.0.7", "10.0.0.8"]
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
    assert len(leading) == 1
    address, names = leading[0]
    assert address == str(ADDRESS)
    assert names[0] == FQDN
    assert "kvm1" in names


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
