import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmhost.keyvalue import ARGUMENTS, LIBVIRT, PROPERTIES, SHELL, set_keys

LIBVIRTD_CONF = """\
# Master libvirt daemon configuration file
#listen_tls = 0

#listen_tcp = 1
auth_tcp = "sasl"
"""


def test_an_unset_key_goes_below_the_comment_that_shows_it() -> None:
    text = set_keys(LIBVIRTD_CONF, {"listen_tls": "0"}, LIBVIRT)
    assert text.splitlines()[1:3] == ["#listen_tls = 0", "listen_tls = 0"]


def test_a_set_key_is_replaced_in_its_place() -> None:
    text = set_keys(LIBVIRTD_CONF, {"auth_tcp": '"none"'}, LIBVIRT)
    assert text == LIBVIRTD_CONF.replace('"sasl"', '"none"')


def test_a_key_that_no_line_shows_goes_to_the_end() -> None:
    text = set_keys(LIBVIRTD_CONF, {"mdns_adv": "0"}, LIBVIRT)
    assert text == LIBVIRTD_CONF + "mdns_adv = 0\n"


def test_every_line_of_a_key_that_is_set_twice_is_set_alike() -> None:
    assert (
        set_keys("vnc_tls=0\n\nvnc_tls=1\n", {"vnc_tls": "1"}, SHELL) == "vnc_tls=1\n\nvnc_tls=1\n"
    )


def test_a_key_is_not_taken_for_another_that_begins_alike() -> None:
    text = "host=10.0.0.5\nhost.reserved.mem.mb=1024\n"
    assert set_keys(text, {"host": "10.0.0.6"}, PROPERTIES) == text.replace("0.5", "0.6")


def test_libvirt_does_not_mind_white_space() -> None:
    assert set_keys("listen_tcp=1\n", {"listen_tcp": "1"}, LIBVIRT) == "listen_tcp=1\n"


def test_cloudstack_minds_white_space() -> None:
    text = set_keys("guest.cpu.mode = custom \n", {"guest.cpu.mode": "custom"}, PROPERTIES)
    assert text == "guest.cpu.mode=custom\n"


def test_none_comments_a_key_out() -> None:
    text = set_keys("guest.cpu.model=SandyBridge\n", {"guest.cpu.model": None}, PROPERTIES)
    assert text == "#guest.cpu.model=SandyBridge\n"


def test_none_adds_nothing_where_the_key_is_not_set() -> None:
    assert set_keys("#guest.cpu.model=\n", {"guest.cpu.model": None}, PROPERTIES) == (
        "#guest.cpu.model=\n"
    )


@pytest.mark.parametrize(
    "enough",
    [
        '"--listen"',
        "-l",
        "'-l'",
        '"-l --verbose"',
        "-vl",
        '"--config /etc/libvirt/other.conf --listen"',
    ],
)
def test_arguments_that_are_enough_are_left_alone(enough: str) -> None:
    text = f"# of others\nLIBVIRTD_ARGS={enough}\n\nlibvirtd_opts='-l'\n"
    assert set_keys(text, {"LIBVIRTD_ARGS": '"--listen"'}, ARGUMENTS) == text


@pytest.mark.parametrize(
    ("present", "after"),
    [
        ("", '"--listen"'),
        ('"--verbose"', "'--verbose --listen'"),
        ("--config=/etc/l.conf", "'--config=/etc/l.conf --listen'"),
        ('"--timeout 120"', '"--listen"'),
        ('"-l -t 120 -v"', "'-l -v'"),
        ('"--timeout=120 -t30 --listener"', "'--listener --listen'"),
        ('"--verbose', '"--listen"'),
    ],
)
def test_arguments_that_are_missing_are_added_and_those_of_others_kept(
    present: str, after: str
) -> None:
    text = set_keys(f"LIBVIRTD_ARGS={present}\n", {"LIBVIRTD_ARGS": '"--listen"'}, ARGUMENTS)
    assert text == f"LIBVIRTD_ARGS={after}\n"
    assert set_keys(text, {"LIBVIRTD_ARGS": '"--listen"'}, ARGUMENTS) == text


def test_short_arguments_may_be_asked_for_too() -> None:
    for present in ('"-d -l"', '"-l --daemon"', "-dl"):
        text = f"libvirtd_opts={present}\n"
        assert set_keys(text, {"libvirtd_opts": '"-d -l"'}, ARGUMENTS) == text
    assert set_keys('libvirtd_opts="-d"\n', {"libvirtd_opts": '"-d -l"'}, ARGUMENTS) == (
        'libvirtd_opts="-d -l"\n'
    )


@pytest.mark.parametrize("text", ["", "a = 1", "a = 1\n\n", "\n"])
def test_a_text_that_says_it_all_is_left_to_the_byte(text: str) -> None:
    assert set_keys(text, {"a": "1"} if text.startswith("a") else {"b": None}, LIBVIRT) == text


KEY = st.sampled_from(["host", "host.tags", "guest.cpu.mode", "port"])
VALUE = st.none() | st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=5)
LINE = st.one_of(
    st.text(st.characters(blacklist_characters="\r\n"), max_size=12),
    st.builds("{}{}={}".format, st.sampled_from(["", "#", " "]), KEY, VALUE),
)


@given(
    st.lists(LINE).map("\n".join),
    st.dictionaries(KEY, VALUE),
    st.sampled_from([SHELL, LIBVIRT, ARGUMENTS, PROPERTIES]),
)
def test_setting_twice_is_setting_once_and_foreign_lines_stay(
    text: str, values: dict[str, str | None], style: object
) -> None:
    once = set_keys(text, values, style)
    assert set_keys(once, values, style) == once
    foreign = [line for line in text.split("\n") if not any(key in line for key in values)]
    kept = iter(once.split("\n"))
    assert all(line in kept for line in foreign)
