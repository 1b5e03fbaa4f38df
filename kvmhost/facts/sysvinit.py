"""The state of services without systemd: scripts below /etc/init.d, and Upstart's jobs."""

from collections.abc import Iterable
from dataclasses import dataclass
from shlex import join, quote

from pyinfra.api import FactBase
from typing_extensions import override


@dataclass(frozen=True)
class Service:
    """Whether the host has a service, starts it when it boots, and runs it now."""

    exists: bool = False
    enabled: bool = False
    running: bool = False


class Services(FactBase[dict[str, Service]]):
    """The state of each named service, by name; empty when the host did not answer.

    A job of Upstart starts by itself, since its own file says when; `status` exits with 0 whether
    such a job runs or not, and says so instead (initctl(8)).

    + services: names
    """

    @override
    def command(self, services: Iterable[str]) -> str:
        return (
            f"for service in {join(services)}; do echo service $service; "
            "if [ -e /etc/init/$service.conf ]; then echo exists; echo enabled; "
            "status $service 2>/dev/null | grep -q start/ && echo running; "
            "elif [ -e /etc/init.d/$service ]; then echo exists; "
            "ls /etc/rc[2-5].d/S??$service >/dev/null 2>&1 && echo enabled; "
            "service $service status >/dev/null 2>&1 && echo running; fi; done; true"
        )

    @override
    def process(self, output: list[str]) -> dict[str, Service]:
        said: dict[str, set[str]] = {}
        words = set[str]()
        for line in output:
            word, _, name = line.partition(" ")
            if word == "service":
                words = said[name] = set()
            else:
                words.add(word)
        return {
            name: Service("exists" in words, "enabled" in words, "running" in words)
            for name, words in said.items()
        }

    @override
    @staticmethod
    def default() -> dict[str, Service]:
        return {}


_STAYS_UP = """(
state() {{
    if [ -e /etc/init/{service}.conf ]; then status {service} | grep start/running
    else service {service} status >/dev/null && echo running; fi
}}
begun=$(state) look=0
while [ -n "$begun" ] && [ "$(state)" = "$begun" ]; do
    look=$((look + 1))
    [ $look -le {seconds} ] || exit 0
    sleep 1
done
grep -hs {service} /var/log/messages /var/log/syslog | tail -n 10
echo "{service} does not stay up"
exit 1
)"""


def stays_up(service: str, seconds: int) -> str:
    """Return the shell command that succeeds when a service stays up for so long.

    Else it prints the last lines that the system's log has of it, says so, and fails. Upstart
    starts a job again that has ended, and the number of its process is another then.

    service: its name.
    seconds: how long it is looked at.
    """
    return _STAYS_UP.format(service=quote(service), seconds=seconds)
