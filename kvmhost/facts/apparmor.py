"""AppArmor's profiles on a host."""

from collections.abc import Iterable
from dataclasses import dataclass
from shlex import join

from pyinfra.api import FactBase
from typing_extensions import override


@dataclass(frozen=True)
class AppArmor:
    """Whether the kernel runs AppArmor, and which of the asked profiles are disabled, loaded."""

    enabled: bool
    disabled: frozenset[str] = frozenset()
    loaded: frozenset[str] = frozenset()


class Profiles(FactBase[AppArmor | None]):
    """The state of profiles; None when the host did not answer.

    + profiles: file names below /etc/apparmor.d
    """

    @override
    def command(self, profiles: Iterable[str]) -> str:
        return (
            "echo enabled $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null); "
            f"for profile in {join(profiles)}; do "
            "[ -L /etc/apparmor.d/disable/$profile ] && echo disabled $profile; "
            "apparmor_parser -N /etc/apparmor.d/$profile 2>/dev/null | while read -r name; do "
            'grep -qsF "$name (" /sys/kernel/security/apparmor/profiles && echo loaded $profile; '
            "done; done; true"
        )

    @override
    def process(self, output: list[str]) -> AppArmor:
        said = {(word, value) for word, _, value in (line.partition(" ") for line in output)}
        if "enabled" not in {word for word, _ in said}:
            raise ValueError(f"nothing is said of AppArmor: {output[0]!r}")
        return AppArmor(
            enabled=("enabled", "Y") in said,
            disabled=frozenset(profile for word, profile in said if word == "disabled"),
            loaded=frozenset(profile for word, profile in said if word == "loaded"),
        )
