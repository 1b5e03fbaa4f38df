"""The names that a host has, and where it has them from."""

from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from kvmhost.facts.files import decoded
from kvmhost.facts.machine import values

HOSTNAME = "/etc/hostname"
"""The file with nothing but the name that the kernel gets at boot (hostname(5))."""
SYSCONFIG = "/etc/sysconfig/network"
"""EL 6's file in which the variable HOSTNAME is that name (initscripts' sysconfig.txt)."""


@dataclass(frozen=True)
class Hostname:
    """A host's names and the texts of the files that hold them.

    `kernel` is the name that runs, `qualified` what `hostname --fqdn` returns ("": nothing).
    `static_path` is the file that the host reads its name from at boot, `HOSTNAME` or
    `SYSCONFIG`. `static_file` and `hosts_file` are the texts of that file and of /etc/hosts.
    `template_path` is the template from which cloud-init, where its configuration or the data of
    the instance say `manage_etc_hosts`, makes /etc/hosts at each boot, and `template_file` its text
    ("": there is none).
    """

    kernel: str
    qualified: str
    static_path: str
    static_file: str
    hosts_file: str
    template_path: str = ""
    template_file: str = ""


class Names(FactBase[Hostname | None]):
    """The names of a host; None when the host did not answer.

    systemd reads /etc/hostname, on EL too, where the other file may still be there.
    """

    @override
    def command(self) -> str:
        return (
            "echo kernel=$(uname -n); "
            "echo qualified=$(timeout 6 hostname --fqdn 2>/dev/null); "
            f"if [ -f {SYSCONFIG} ] && [ ! -d /run/systemd/system ]; then file={SYSCONFIG}; "
            f"else file={HOSTNAME}; fi; "
            "echo static_path=$file; "
            "echo static_file=$(base64 -w0 $file 2>/dev/null); "
            "echo hosts_file=$(base64 -w0 /etc/hosts 2>/dev/null); "
            "if [ -e /etc/redhat-release ]; then family=redhat; else family=debian; fi; "
            "template=/etc/cloud/templates/hosts.$family.tmpl; "
            "echo template_path=$template; "
            "echo template_file=$(base64 -w0 $template 2>/dev/null)"
        )

    @override
    def process(self, output: list[str]) -> Hostname:
        said = values(output)
        return Hostname(
            said["kernel"],
            said["qualified"],
            said["static_path"],
            decoded(said["static_file"]),
            decoded(said["hosts_file"]),
            said.get("template_path", ""),
            decoded(said.get("template_file", "")),
        )
