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


# captured from OpenJDK 17: a value, and what Properties.store makes of it
STORED = {
    "nfs://10.0.0.5:/export?x=1#y": r"nfs\://10.0.0.5\:/export?x\=1\#y",
    "a:b=c#d!e": r"a\:b\=c\#d\!e",
    "vmx avx -mmx": "vmx avx -mmx",
    "  two blanks": r"\  two blanks",
    "C:\\dir\\x": r"C\:\\dir\\x",
    "\\u0041": r"\\u0041",
    "tab\there": r"tab\there",
    "line\nbreak\r\f": r"line\nbreak\r\f",
    "\xfc\u20ac\x01~\x7f": r"\u00FC\u20AC\u0001~\u007F",
    "\U0001f600": r"\uD83D\uDE00",
    "blank: ": r"blank\: ",
    "": "",
}


@pytest.mark.parametrize(("value", "stored"), STORED.items(), ids=STORED.values())
def test_a_value_that_java_has_stored_is_the_value_that_was_asked_for(
    value: str, stored: str
) -> None:
    text = f"#Mon Nov 23 10:00:00 UTC 2026\nguid=a\\:b\nkey={stored}\n"
    assert set_keys(text, {"key": value}, PROPERTIES) == text
    other = set_keys(text, {"key": f"{value}x"}, PROPERTIES)
    assert other.splitlines()[:2] == text.splitlines()[:2]
    assert other != text


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("nfs://10.0.0.5:/export?x=1#y", "key=nfs://10.0.0.5:/export?x=1#y"),
        ("C:\\x", r"key=C:\\x"),
        (" a", r"key=\ a"),
        ("\xfc\n\U0001f600", r"key=\u00FC\n\uD83D\uDE00"),
    ],
)
def test_a_new_value_is_as_plain_as_java_can_read_it(value: str, line: str) -> None:
    text = set_keys("", {"key": value}, PROPERTIES)
    assert text == f"{line}\n"
    assert set_keys(text, {"key": value}, PROPERTIES) == text


def test_a_value_in_another_encoding_than_java_reads_is_mended() -> None:
    assert set_keys("key=\xfc\n", {"key": "\xfc"}, PROPERTIES) == "key=\\u00FC\n"
    assert set_keys("key=\udcfc\n", {"key": "\xfc"}, PROPERTIES) == "key=\udcfc\n"


@given(st.text())
def test_any_value_is_one_line_that_stays(value: str) -> None:
    text = set_keys("", {"key": value}, PROPERTIES)
    assert text.count("\n") == 1
    assert set_keys(text, {"key": value}, PROPERTIES) == text


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
