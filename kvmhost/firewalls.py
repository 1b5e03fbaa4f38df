"""Each firewall as a whole: whether it is on, and how it is switched on, and off again."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from shlex import join

from kvmhost.iptables import PROGRAMS, forwarding, in_use, saved_path
from kvmhost.network.change import Change, Steps
from kvmhost.network.files import File

_UFW = "/etc/ufw/ufw.conf"
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
class Firewall:
    """How one of them is dealt with.

    `services` are those that have to be on, and `is_on` is a shell command that tells whether one
    of them is. `paths` are the files that `files`, which gets their texts, makes ready. `steps`
    returns the commands that switch some of the services on, and off; `save` is what the latter
    need, as in `Change`.
    """

    services: tuple[str, ...]
    is_on: Callable[[str], str]
    paths: tuple[str, ...]
    files: Callable[[Mapping[str, str]], Iterator[File]]
    steps: Callable[[Collection[str]], tuple[Steps, Steps]]
    save: Callable[[Collection[str]], str] = lambda _: ""


def switching_on(backend: str, services: Collection[str], texts: Mapping[str, str]) -> Change:
    """Return what switches services of a firewall on, and lets the guests' packets through.

    Bridged frames are a firewall's matter wherever br_netfilter is loaded, as CloudStack's
    packages and security groups have it: they go through FORWARD, from the bridge to the bridge.

    texts: those of the firewall's `paths` that are there.
    """
    firewall = FIREWALLS[backend]
    apply, rollback = firewall.steps(services)
    return Change(
        differences=(),
        files=tuple(firewall.files(texts)),
        apply=apply,
        rollback=rollback,
        validate=f"systemctl cat {join(f'{each}.service' for each in services)}\n",
        save=firewall.save(services),
    )


def _ufws_file(texts: Mapping[str, str]) -> Iterator[File]:
    """Yield the file that says whether ufw is on at boot, as it is, for the guard to put it back.

    `ufw enable` writes it, and is silent about what fails if the file says so already.
    """
    yield from (File(path, text) for path, text in texts.items())


def _firewallds_policy(_: Mapping[str, str]) -> Iterator[File]:
    yield File(_POLICY, _LETS_GUESTS_THROUGH)


def _saved_rules(texts: Mapping[str, str]) -> Iterator[File]:
    for path, text in texts.items():
        if (changed := forwarding(text)) != text:
            yield File(path, changed, 0o600)


def _ufws_steps(_: Collection[str]) -> tuple[Steps, Steps]:
    return Steps(up="ufw --force enable\n"), Steps(down="ufw --force disable\n")


def _units_steps(services: Collection[str]) -> tuple[Steps, Steps]:
    """Return the commands for services that are off at boot until they are confirmed."""
    units = join(f"{service}.service" for service in services)
    apply = Steps(down=f"systemctl disable {units}\n", up=f"systemctl start {units}\n")
    return apply, Steps(down=f"systemctl stop {units}\n")


def _iptables_steps(services: Collection[str]) -> tuple[Steps, Steps]:
    """Return the same, and what puts back all rules, since these services flush them."""
    apply, rollback = _units_steps(services)
    restored = "".join(f"{program}-restore <{program}.rules\n" for program in services)
    return apply, Steps(down=rollback.down, up=restored)


def _iptables_save(services: Collection[str]) -> str:
    return "".join(f"{program}-save >{program}.rules\n" for program in services)


FIREWALLS: Mapping[str, Firewall] = {
    "ufw": Firewall(
        services=("ufw",),
        # translated otherwise
        is_on=lambda _: "LANGUAGE= LC_ALL=C ufw status 2>/dev/null | grep -q '^Status: active'",
        paths=(_UFW,),
        files=_ufws_file,
        steps=_ufws_steps,
    ),
    "firewalld": Firewall(
        services=("firewalld",),
        is_on=lambda _: "firewall-cmd --state >/dev/null 2>&1",
        paths=(_POLICY,),
        files=_firewallds_policy,
        steps=_units_steps,
    ),
    "iptables": Firewall(
        services=tuple(PROGRAMS.values()),
        is_on=in_use,
        paths=tuple(map(saved_path, PROGRAMS.values())),
        files=_saved_rules,
        steps=_iptables_steps,
        save=_iptables_save,
    ),
}
