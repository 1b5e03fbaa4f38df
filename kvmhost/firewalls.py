"""Each firewall as a whole: whether it is on, and what switches it on, and off again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from shlex import join

from kvmhost.iptables import (
    FORWARD_POLICY,
    PROGRAMS,
    STOPS_FORWARDING,
    forwarding,
    in_use,
    saved_path,
)
from kvmhost.keyvalue import SHELL, set_keys
from kvmhost.network.change import Change, Steps
from kvmhost.network.files import File

_UFW = "/etc/ufw/ufw.conf"
_FIREWALLD = "/etc/firewalld/firewalld.conf"
_POLICY = "/etc/firewalld/policies/cloudstack-guests.xml"
_SAVE_PARAMETERS = """\
sed -n 's/^\\([a-z][^=# ]*\\)=.*/\\1/p' /etc/ufw/sysctl.conf | while read -r parameter; do
    [ ! -e "/proc/sys/$parameter" ] || echo "$parameter = $(cat "/proc/sys/$parameter")"
done >parameters
"""
"""Keeps what ufw-init(8) sets in the kernel."""
_LETS_GUESTS_THROUGH = """\
<?xml version="1.0" encoding="utf-8"?>
<policy target="ACCEPT">
  <short>CloudStack's guests</short>
  <ingress-zone name="ANY"/>
  <egress-zone name="ANY"/>
</policy>
"""
"""firewalld.policy(5). The host itself is not in ANY: it is the zone HOST."""


@dataclass(frozen=True)
class Service:
    """Whether a service is on, and whether it is enabled at boot."""

    on: bool
    enabled: bool


@dataclass(frozen=True)
class Present:
    """The services of a firewall by name, and the texts of its files by path.

    `unconfirmed` says that a change stands behind it which the host may still undo.
    """

    services: Mapping[str, Service]
    files: Mapping[str, str]
    unconfirmed: bool = False

    @property
    def on(self) -> tuple[str, ...]:
        """The services that are on."""
        return tuple(name for name, service in self.services.items() if service.on)

    @property
    def off(self) -> tuple[str, ...]:
        """The services that are off."""
        return tuple(name for name, service in self.services.items() if not service.on)


@dataclass(frozen=True)
class Firewall:
    """How one of them is dealt with.

    `services` are those that have to be on, and `is_on` returns a shell command that tells whether
    one of them is. `files` returns those that have it begin at boot and let the guests' packets
    through, by the texts of what there is at `paths`. `change` returns what makes them count, and
    all services on.
    """

    services: tuple[str, ...]
    is_on: Callable[[str], str]
    change: Callable[[Present, tuple[File, ...]], Change]
    paths: tuple[str, ...] = ()
    files: Callable[[Mapping[str, str]], tuple[File, ...]] = lambda _: ()


def change(backend: str, present: Present) -> Change | None:
    """Return what has a firewall on, and the guests' packets let through; None: it is so.

    Bridged frames are a firewall's matter wherever br_netfilter is loaded, as CloudStack's
    packages and security groups have it: they go through FORWARD, from the bridge to the bridge.
    What lets them through ufw is among its defaults.
    """
    firewall = FIREWALLS[backend]
    files = firewall.files(present.files)
    as_wanted = all(present.files.get(each.path) == each.content for each in files)
    # all of them, also as they are: a firewall's own program may write them, and they are put back
    return None if as_wanted and not present.off else firewall.change(present, files)


def _ufw(present: Present, files: tuple[File, ...]) -> Change:
    """Return the change; the way back restores the rules of others, and what ufw tells the kernel.

    Its own way out leaves chains with the policy ACCEPT, and has its file say that it is off.
    """
    return Change(
        differences=(),
        files=files,
        apply=Steps(up="ufw --force enable\n"),
        rollback=Steps(
            down="ufw --force disable\n" if present.off else "",
            up=_restored(PROGRAMS.values()) + "sysctl -q -p ./parameters\n",
        ),
        validate=_systemctl("cat", present.services),
        save=_saved(PROGRAMS.values()) + _SAVE_PARAMETERS,
    )


def _ufw_files(texts: Mapping[str, str]) -> tuple[File, ...]:
    """Return the file that ufw's service reads at boot; its program writes the same into it."""
    return (File(_UFW, set_keys(texts.get(_UFW, ""), {"ENABLED": "yes"}, SHELL)),)


def _firewalld(present: Present, files: tuple[File, ...]) -> Change:
    reload = Steps(up="firewall-cmd --reload\n")
    rollback = _stopped(present) if present.off else reload
    return Change(
        differences=(),
        files=files,
        apply=_started(present.off) if present.off else reload,
        rollback=rollback,
        validate=_systemctl("cat", present.services),
        boot=rollback.up if present.off else "",
    )


def _firewalld_files(texts: Mapping[str, str]) -> tuple[File, ...]:
    """Return the files with which firewalld lets all bridged frames through.

    It takes those of IPv6 for spoofed, as the host has no route of the guests' network.
    """
    text = set_keys(texts.get(_FIREWALLD, ""), {"IPv6_rpfilter": "no"}, SHELL)
    return File(_FIREWALLD, text), File(_POLICY, _LETS_GUESTS_THROUGH)


def _iptables(present: Present, files: tuple[File, ...]) -> Change:
    """Return the change of both programs' rules; the way back restores those of others too."""
    apply, rollback = _started(present.off), _stopped(present)
    return Change(
        differences=(),
        files=files,
        apply=Steps(apply.down, apply.up + "".join(map(_forwards, present.on))),
        rollback=Steps(rollback.down, _restored(present.services) + rollback.up),
        validate=_systemctl("cat", present.services),
        save=_saved(present.services),
        boot=rollback.up,
    )


def _iptables_files(texts: Mapping[str, str]) -> tuple[File, ...]:
    return tuple(File(path, forwarding(text), 0o600) for path, text in texts.items())


def _forwards(program: str) -> str:
    """Return the command that does to rules as they are what `forwarding` does to saved ones."""
    edit = f"sed -e 's/^{FORWARD_POLICY}/:FORWARD ACCEPT/' -E -e '/^{STOPS_FORWARDING}/d'"
    return f"{program}-save -c -t filter | {edit} | {program}-restore -c\n"


def _saved(programs: Iterable[str]) -> str:
    """Return the commands that keep the rules as they are; a kernel may be without IPv6."""
    return "".join(f"{_known(each)}{each}-save >{each}.rules\n" for each in programs)


def _restored(programs: Iterable[str]) -> str:
    return "".join(f"{_known(each)}{each}-restore <{each}.rules\n" for each in programs)


def _known(program: str) -> str:
    return "[ ! -e /proc/net/if_inet6 ] || " if program == PROGRAMS[6] else ""


def _started(services: Iterable[str]) -> Steps:
    """Return the commands that start services, which are off at boot until that is confirmed."""
    return Steps(down=_systemctl("disable", services), up=_systemctl("start", services))


def _stopped(present: Present) -> Steps:
    """Return the commands that stop what was off, and have it begin at boot if it did."""
    began = [service for service in present.off if present.services[service].enabled]
    return Steps(down=_systemctl("stop", present.off), up=_systemctl("enable --no-reload", began))


def _systemctl(verb: str, services: Iterable[str]) -> str:
    """Return the command about services, none about no service."""
    units = [f"{service}.service" for service in services]
    return f"systemctl {verb} {join(units)}\n" if units else ""


FIREWALLS: Mapping[str, Firewall] = {
    "ufw": Firewall(
        services=("ufw",),
        # by this `ufw status` tells it, too, once it has started Python (ufw's backend_iptables.py)
        is_on=lambda _: "{ command -v ufw && iptables -n -L ufw-user-input; } >/dev/null 2>&1",
        change=_ufw,
        paths=(_UFW,),
        files=_ufw_files,
    ),
    "firewalld": Firewall(
        services=("firewalld",),
        # one that runs and does not answer is another thing than one that is off
        is_on=lambda _: (
            "{ firewall-cmd --state || systemctl is-active --quiet firewalld; } >/dev/null 2>&1"
        ),
        change=_firewalld,
        paths=(_FIREWALLD, _POLICY),
        files=_firewalld_files,
    ),
    "iptables": Firewall(
        services=tuple(PROGRAMS.values()),
        is_on=in_use,
        change=_iptables,
        paths=tuple(map(saved_path, PROGRAMS.values())),
        files=_iptables_files,
    ),
}
