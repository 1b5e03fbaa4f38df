"""What apt says of updates, from a Debian 12 host."""

from kvmhost.facts.packages import Pending, Updates

BEHIND = """\
age 90061
Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Conf base-files (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Inst libgnutls30 [3.7.9-2] (3.7.9-2+deb12u5 Debian-Security:12/oldstable-security [amd64])
Conf libgnutls30 (3.7.9-2+deb12u5 Debian-Security:12/oldstable-security [amd64])
"""


def test_each_package_that_would_be_installed_is_pending() -> None:
    assert Updates().process(BEHIND.splitlines()) == Pending(
        90061, frozenset(("base-files", "libgnutls30"))
    )


def test_a_blank_line_means_nothing() -> None:
    assert Updates().process(["", "age 12", "  ", "Inst bash [5.1] (5.2)", ""]) == Pending(
        12, frozenset(("bash",))
    )


def test_a_host_that_is_up_to_date_has_nothing_pending() -> None:
    assert Updates().process(["age 12"]) == Pending(12, frozenset())
