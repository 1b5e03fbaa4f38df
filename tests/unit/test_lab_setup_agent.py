"""What the lab's stand-in for CloudStack does to files, as CloudStack's own programs do it."""

import pytest

from tests.lab.setup_agent import QEMU, escaped, stored, unescaped, with_entries, with_line


def test_a_key_takes_the_place_of_all_that_begin_with_it_below_an_empty_line() -> None:
    text = "#host=a\nhost=localhost\nhost.reserved.mem.mb=2048\n  hosts = 7\nworkers=5\n"
    assert with_entries(text, {"host": "10.0.0.5@static", "zone": "1"}) == (
        "#host=a\n\nhost=10.0.0.5@static\n\nhost=10.0.0.5@static\n\nhost=10.0.0.5@static\n"
        "workers=5\nzone=1\n"
    )


def test_a_second_time_brings_empty_lines_and_a_second_vnc_tls() -> None:
    once = with_entries('#user = "root"\n', QEMU)
    assert once.count("\n") == 1 + len(QEMU)
    twice = with_entries(once, QEMU)
    assert twice.count("\nvnc_tls=1\n") == 2
    assert "\n\n" in twice
    assert twice.count("vnc_tls_x509_cert_dir=") == 1


@pytest.mark.parametrize("present", ["", "libvirtd_opts=\n", "# libvirtd_opts='-d'\n"])
def test_a_line_stands_once_however_often_it_is_set(present: str) -> None:
    text = f"  LIBVIRTD_ARGS=-l\n{present}"
    for _ in range(2):
        text = with_line(text, "libvirtd_opts=", "'-l'")
        assert text == "LIBVIRTD_ARGS=-l\nlibvirtd_opts='-l'\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ha:fast=1", r"ha\:fast\=1"),
        ("#1 and!", r"\#1 and\!"),
        (" a b", r"\ a b"),
        ("C:\\x\t", r"C\:\\x\t"),
        ("é", r"\u00E9"),
        ("\x07", r"\u0007"),
    ],
)
def test_values_are_written_as_javas_properties_are(text: str, written: str) -> None:
    assert escaped(text) == written
    assert unescaped(written) == text


def test_storing_leaves_no_comment_and_means_the_same() -> None:
    place = "Åre".encode().decode("latin-1")
    text = f"# why\n!so\n\nhost=a@b\n  tags : x:y\nempty=\nhost={place}\nuuid\\:1 z \n"
    date, *lines = stored(text).splitlines()
    assert date.startswith("#")
    assert lines == ["empty=", r"host=\u00C3\u0085re", "tags=x\\:y", "uuid\\:1=z "]
    assert stored(stored(text)).splitlines()[1:] == lines
