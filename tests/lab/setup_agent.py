"""Stand-in for CloudStack's programs on a host: what they do to it when the host is added.

It is no part of CloudStack; it does what CloudStack's python/lib/cloudutils and its agent's
PropertiesStorage.java do to files, firewall and services. The network it leaves alone, as they do
where all bridges are there. It runs on the host, by Python's own library:

    python3 setup_agent.py debian|rhel add|firewall|store [PROPERTIES, in JSON]
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

PROPERTIES = Path("/etc/cloudstack/agent/agent.properties")
SAVED_RULES = Path("/etc/sysconfig/iptables")

TLS = {
    "listen_tcp": "0",
    "listen_tls": "1",
    "key_file": '"/etc/pki/libvirt/private/serverkey.pem"',
    "cert_file": '"/etc/pki/libvirt/servercert.pem"',
    "ca_file": '"/etc/pki/CA/cacert.pem"',
    "tcp_port": '"16509"',
    "tls_port": '"16514"',
    "auth_tcp": '"none"',
    "auth_tls": '"none"',
}
QEMU = {
    "security_driver": '"none"',
    "user": '"root"',
    "group": '"root"',
    "vnc_tls": "1",
    "vnc_tls_x509_cert_dir": '"/etc/pki/libvirt-vnc"',
}
SOCKETS = tuple(f"libvirtd{kind}.socket" for kind in ("", "-ro", "-admin", "-tls", "-tcp"))
MODULAR = (
    *(f"virtqemud{kind}" for kind in (".service", ".socket", "-ro.socket", "-admin.socket")),
    *("virtnetworkd.service", "virtstoraged.service"),
)
RANGES = ("5900:6100", "49152:49216")
REFUSAL = ("-j", "REJECT", "--reject-with", "icmp-host-prohibited")
_PROPERTY = re.compile(r"\s*(?![#!])((?:\\.|[^\\:=\s])+)\s*[:=]?\s*(.*)", re.ASCII)
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def main(distribution: str, step: str, properties: str = "{}") -> None:
    """Carry out one step, or `add`: all of them in their order."""
    el = distribution == "rhel"
    if step == "add":
        set_up_libvirt(el)
    if step in ("add", "firewall"):
        open_ports_of_iptables() if el else open_ports_of_ufw()
    if step == "add":
        set_up_agent(json.loads(properties))
    if step in ("add", "store"):
        PROPERTIES.write_text(stored(PROPERTIES.read_text("latin-1")), "latin-1")


def set_up_libvirt(el: bool) -> None:
    """Have libvirtd listen for TLS alone."""
    edit(Path("/etc/libvirt/libvirtd.conf"), TLS)
    if el:
        edit(Path("/etc/sysconfig/libvirtd"), {"LIBVIRTD_ARGS": "-l"})
    else:
        arguments = Path("/etc/default/libvirtd")
        arguments.write_text(with_line(arguments.read_text(), "libvirtd_opts=", "'-l'"))
    run("systemctl", "mask", *SOCKETS, *(MODULAR if el else ()))
    edit(Path("/etc/libvirt/qemu.conf"), QEMU | ({"vnc_listen": '"0.0.0.0"'} if el else {}))
    run("systemctl", "restart", "libvirtd")


def open_ports_of_ufw() -> None:
    """Open the ports to anyone, the single ones without saying a protocol."""
    for port in ("22", "1798", "16509", "16514"):
        run("ufw", "allow", port)
    for ports in RANGES:
        run("ufw", "allow", "proto", "tcp", "from", "any", "to", "any", "port", ports)
    run("systemctl", "restart", "ufw")


def open_ports_of_iptables() -> None:
    """Open the ports to anyone before all other rules, and save all that there are."""
    for port in ("22", "16509", "16514", *RANGES):
        rules = run("iptables-save").splitlines()
        if not any("INPUT" in rule and re.search(rf"\b{port}\b", rule) for rule in rules):
            run(*f"iptables -I INPUT -p tcp -m tcp --dport {port} -j ACCEPT".split())
    run("iptables", "-D", "FORWARD", *REFUSAL, check=False)
    SAVED_RULES.write_text(run("iptables-save"))
    # a host with firewalld has no such service
    run("systemctl", "restart", "iptables", check=False)


def set_up_agent(properties: Mapping[str, str]) -> None:
    """Tell the agent what it belongs to, and start it."""
    storage = {"local.storage.uuid": str(uuid4())}
    known = re.search(r"^local\.storage\.uuid=.", PROPERTIES.read_text(), re.MULTILINE)
    edit(PROPERTIES, {**properties, **({} if known else storage)})
    run("systemctl", "enable", "cloudstack-agent")
    run("systemctl", "restart", "cloudstack-agent")


def edit(path: Path, entries: Mapping[str, str]) -> None:
    """Set entries in a file, which need not be there."""
    path.write_text(with_entries(path.read_text() if path.exists() else "", entries))


def with_entries(text: str, entries: Mapping[str, str]) -> str:
    """Return a text with entries set as configFileOps.py does, which compares beginnings.

    A line that begins with a key becomes its entry, below an empty one: `host` takes the place of
    `host.reserved.mem.mb` too.
    """
    lines, found = [], set()
    for line in re.findall(r".*\n|.+", text):
        key = next((key for key in entries if re.match(f" *{key}", line)), None)
        found.add(key)
        lines.append(line if key is None else f"\n{key}={entries[key]}\n")
    return "".join((*lines, *(f"{key}={entries[key]}\n" for key in entries if key not in found)))


def with_line(text: str, start: str, value: str) -> str:
    """Return a text with a line set in the place of each that has its start, or else at the end."""
    lines = [line.strip() for line in text.splitlines()]
    if not any(start in line for line in lines):
        lines.append(start)
    return "".join(f"{start}{value}\n" if start in line else f"{line}\n" for line in lines)


def stored(text: str) -> str:
    """Return properties as Java's Properties has them after it has loaded and stored them.

    Of comments nothing is left, and the order is another.

    text: bytes that were taken for Latin-1, as Java takes them.
    """
    properties = {}
    for line in text.split("\n"):
        if match := _PROPERTY.fullmatch(line):
            properties[unescaped(match[1])] = unescaped(match[2])
    lines = [f"{escaped(key)}={escaped(value)}\n" for key, value in sorted(properties.items())]
    return "".join((time.strftime("#%a %b %d %H:%M:%S %Z %Y\n"), *lines))


def escaped(text: str) -> str:
    """Return a key or a value as Properties.store writes it."""
    letters = {character: letter for letter, character in _CONTROLS.items()}

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        plain = " " <= character <= "~"
        return "\\" + letters.get(character, character if plain else f"u{ord(character):04X}")

    return re.sub(r"^ |[\\:=#!]|[^ -~]", escape, text)


def unescaped(text: str) -> str:
    """Return a key or a value as Properties.load reads it."""

    def character(match: re.Match[str]) -> str:
        code, letter = match.groups()
        return chr(int(code, 16)) if code else _CONTROLS.get(letter, letter)

    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|(.))", character, text)


def run(*command: str, check: bool = True) -> str:
    """Run a command and return what it printed."""
    return subprocess.run(command, check=check, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
