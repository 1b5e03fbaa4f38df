"""Secrets are shown neither by --diff nor by the table of settings that cannot be used."""

from typing import Any

import pytest

from kvmhost.masking import masked_lines
from kvmhost.settings import SettingsError, load
from tests.unit.test_settings import KVM1, data

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("keystore.passphrase=hunter2\n", "keystore.passphrase=*** (1)"),
        ("#db.cloud.Secret = hunter2 too\n", "#db.cloud.Secret = *** (1)"),
        ("    wpa-psk hunter2\n", "    wpa-psk *** (1)"),
        ("IEEE_8021X_PASSWORD='hunter2'", "IEEE_8021X_PASSWORD=*** (1)"),
        ("leap-password=hunter2\npassword-raw=hunter2", "leap-password=*** (1)"),
        ("      password: hunter2\n", "      password: *** (1)"),
        (
            "eth0: {auth: {method: peap, password: hunter2}}",
            "eth0: {auth: {method: peap, password: ",
        ),
        ('"wlan": {"psk": "hunter2"}', '"wlan": {"psk": *** (1)'),
        ("private-key=/aGk/hunter2=", "private-key=*** (1)"),
        ("wep-key0=hunter2\n", "wep-key0=*** (1)"),
        ("a_pasword=hunter2", "a_pasword=*** (1)"),
        ("URIs: https://kvm:hunter2@packages.example.org/", "URIs: https://***@packages"),
        ("password: >-\n  hunter2\n  hunter2 too\nmtu: 1500\n", "mtu: 1500"),
        ("password:\n- hunter2\nkeys:\n  input: hunter2\n", "keys:\n  *** (2)"),
        ("api.token=one\\\nhunter2\\\n  hunter2 too\nport=8250", "port=8250"),
        ("  token: one\n    hunter2\n\n    hunter2 too\n  mtu: 9000", "  mtu: 9000"),
        ("password=one\vhunter2\x85hunter2", "password=*** (1)"),
    ],
)
def test_what_a_key_calls_secret_is_masked_to_its_end(text: str, shown: str) -> None:
    lines = "\n".join(masked_lines(text, {}))
    assert shown in lines
    assert SECRET not in lines


@pytest.mark.parametrize(
    "text",
    [
        "guest.cpu.mode=host-passthrough\nprivate.network.device=cloudbr0\n",
        "# Key: https://download.cloudstack.org/release.asc\n",
        "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-cloudstack\ngpgcheck=1",
        'key_file = "/etc/pki/libvirt/private/serverkey.pem"\n',
        "iface eth0 inet static\n    address 192.168.42.11\n\n    gateway 192.168.42.1\n",
        "network:\n  version: 2\n",
        "",
    ],
)
def test_all_else_stays_readable(text: str) -> None:
    assert list(masked_lines(text, {})) == text.splitlines()


def test_a_secret_that_changes_is_another() -> None:
    numbers: dict[str, int] = {}
    assert [
        *masked_lines("token=a", numbers),
        *masked_lines("token=b", numbers),
        *masked_lines("token=a\n", numbers),
    ] == ["token=*** (1)", "token=*** (2)", "token=*** (1)"]


def test_a_long_line_takes_no_time() -> None:
    assert list(masked_lines("k" * 1_000_000, {})) == ["k" * 1_000_000]
    assert list(masked_lines("key" * 300_000 + " " * 300_000, {}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ssh_pasword", SECRET),
        ("api_token", [SECRET]),
        ("credentials", {"user": SECRET}),
        ("colours", {"sky": {"password": SECRET}}),
        ("agent_properties", {"keystore.passphrase": SECRET}),
        ("agent_properties", {"my.secret": [SECRET]}),
        ("agent_properties", {"my.secret": SECRET, "guid": "1"}),
        ("cloudstack_repository", f"ftp://kvm:{SECRET}@packages.example.org"),
    ],
)
def test_the_table_of_settings_names_a_secret_and_does_not_tell_it(key: str, value: Any) -> None:
    with pytest.raises(SettingsError) as raised:
        load({KVM1: data(**{key: value})})
    said = str(raised.value)
    assert key in said
    assert "***" in said
    assert SECRET not in said


def test_a_place_of_a_key_is_told() -> None:
    with pytest.raises(SettingsError, match=r"ftp://packages\.example\.org/release\.asc"):
        load({KVM1: data(cloudstack_key="ftp://packages.example.org/release.asc")})
