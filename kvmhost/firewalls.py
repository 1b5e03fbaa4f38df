"""Each firewall as a whole: whether it is on, and what switches it on, and off again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from shlex import join

from kvmhost.iptables import PROGRAMS, forwarding, in_use, saved_path
from kvmhost.keyvalue import SHELL, set_keys
from kvmhost.network.change import Change, Steps
from kvmhost.network.files import File

_UFW = "/etc/ufw/ufw.conf"
_FIREWALLD = "/etc/firewalld/firewalld.conf"
_POLICY = "/etc/firewalld/policies/cloudstack-guests.xml"
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
    one of them is. `files` returns those that let the guests' packets through, by the texts of what
    there is at `paths`. `change` returns what makes them count, and all services on.
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
    wanted = firewall.files(present.files)
    files = tuple(each for each in wanted if present.files.get(each.path) != each.content)
    return firewall.change(present, files) if present.off or files else None


def _ufw(present: Present, files: tuple[File, ...]) -> Change:
    return Change(
        differences=(),
        files=files,
        apply=Steps(up="ufw --force enable\n"),
        rollback=Steps(down="ufw --force disable\n"),
        validate=_systemctl("cat", present.services),
        # which ufw's service reads next
        boot=f"sed -i 's/^ENABLED=.*/ENABLED=no/' {_UFW}\n",
    )


def _firewalld(present: Present, files: tuple[File, ...]) -> Change:
    reload = Steps(up="firewall-cmd --reload\n")
    return Change(
        differences=(),
        files=files,
        apply=_started(present.off) if present.off else reload,
        rollback=_stopped(present.off) if present.off else reload,
        validate=_systemctl("cat", present.services),
    )


def _firewalld_files(texts: Mapping[str, str]) -> tuple[File, ...]:
    """Return the files with which firewalld lets all bridged frames through.

    It takes those of IPv6 for spoofed, as the host has no route of the guests' network.
    """
    text = set_keys(texts.get(_FIREWALLD, ""), {"IPv6_rpfilter": "no"}, SHELL)
    return File(_FIREWALLD, text), File(_POLICY, _LETS_GUESTS_THROUGH)


def _iptables(present: Present, files: tuple[File, ...]) -> Change:
    """Return the change of both programs' rules; the way back restores those of others too."""
    apply = _started(present.off)
    return Change(
        differences=(),
        files=files,
        apply=Steps(apply.down, apply.up + "".join(map(_forwards, present.on))),
        rollback=Steps(
            down=_stopped(present.off).down,
            up="".join(f"{each}-restore <{each}.rules\n" for each in present.services),
        ),
        validate=_systemctl("cat", present.services),
        save="".join(f"{each}-save >{each}.rules\n" for each in present.services),
    )


def _iptables_files(texts: Mapping[str, str]) -> tuple[File, ...]:
    return tuple(File(path, forwarding(text), 0o600) for path, text in texts.items())


def _forwards(program: str) -> str:
    """Return the commands that do to the rules as they are what `forwarding` does to saved ones."""
    refusal = r"s/^-A \(FORWARD -j \(REJECT\|DROP\)\b.*\)/" + program + r" -D \1/p"
    return f"{program} -S FORWARD | sed -n '{refusal}' | sh -e\n{program} -P FORWARD ACCEPT\n"


def _started(services: Iterable[str]) -> Steps:
    """Return the commands that start services, which are off at boot until that is confirmed."""
    return Steps(down=_systemctl("disable", services), up=_systemctl("start", services))


def _stopped(services: Iterable[str]) -> Steps:
    return Steps(down=_systemctl("stop", services))


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
    ),
    "firewalld": Firewall(
        services=("firewalld",),
        is_on=lambda _: "firewall-cmd --state >/dev/null 2>&1",
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
