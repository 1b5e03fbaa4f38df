"""Which packages a host has."""

from collections.abc import Iterable
from dataclasses import dataclass
from shlex import join, quote

from pyinfra.api import FactBase
from typing_extensions import override

_DPKG = r"dpkg-query -W -f='${Status} ${Package} ${Version}\n' %s 2>/dev/null || true"
_RPM = (
    "for name in %s; do "
    r'rpm -q --whatprovides --qf "installed $name %%{VERSION}-%%{RELEASE}\n" "$name" 2>/dev/null; '
    "done; true"
)
_QUERIES = {"apt": _DPKG, "dnf": _RPM, "yum": _RPM}


class Installed(FactBase[dict[str, str]]):
    """The versions of those of the named packages that are installed, by name.

    The package database is queried; no repository is asked.

    + manager: the program that installs packages: apt, dnf or yum
    + packages: names; for dnf and yum what an installed package provides, or a file of it, too
    """

    @override
    def command(self, manager: str, packages: Iterable[str]) -> str:
        return _QUERIES[manager] % join(packages)

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        # the last word of dpkg's status; the others say what is wanted, and whether it is broken
        rows = [line.split()[-3:] for line in output]
        return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "installed"}

    @override
    @staticmethod
    def default() -> dict[str, str]:
        return {}


@dataclass(frozen=True)
class Key:
    """A key's SHA-256, None when it is not there, and the URL that its repository's file names."""

    sha256: str | None
    origin: str | None


class SigningKey(FactBase[Key | None]):
    """The key that signs a repository; None when the host did not answer.

    + path: the key's absolute path
    + repository: the absolute path of the file that names the repository, and the key's origin in
      a comment: `# Key: <URL>`
    """

    @override
    def command(self, path: str, repository: str) -> str:
        return (
            f"echo sha256 $(sha256sum < {quote(path)} 2>/dev/null | cut -d' ' -f1); "
            f"echo origin $(sed -n 's/^# Key: //p' {quote(repository)} 2>/dev/null)"
        )

    @override
    def process(self, output: list[str]) -> Key:
        said = {word: value for word, _, value in (line.partition(" ") for line in output)}
        return Key(said["sha256"] or None, said["origin"] or None)


LISTS_RENEWED = "/var/lib/apt/periodic/update-success-stamp"
"""The file whose modification time says when apt's package lists were last renewed."""

WITH_NEW_PACKAGES = "-o APT::Get::Upgrade-Allow-New=true"
"""What apt-get(8) calls --with-new-pkgs, for an apt too old to know that option as well."""

# dnf(8), yum(8): check-update renews its lists when they have expired, and exits with 100 when
# there are updates; each line begins with name.architecture, what continues one with a blank
_CHECK_UPDATE = (
    "updates=$({manager} -q check-update); status=$?; "
    "if [ $status = 0 ] || [ $status = 100 ]; then echo age 0; "
    r"""echo "$updates" | sed -n 's/^\([^ ]*\)\.[^ .]*\( .*\)*$/Inst \1/p'; """
    "else exit $status; fi"
)
_SIMULATIONS = {
    "apt": (
        f"echo age $(($(date +%s) - $(stat -c %Y {LISTS_RENEWED} 2>/dev/null || echo 0))); "
        f"apt-get -s -qq -o Debug::NoLocking=1 {WITH_NEW_PACKAGES} upgrade"
    ),
    "dnf": _CHECK_UPDATE.format(manager="dnf"),
    "yum": _CHECK_UPDATE.format(manager="yum"),
}


@dataclass(frozen=True)
class Pending:
    """Updates that could be installed, by the package lists as they are.

    `age` is that of the lists in seconds. `packages` are names, new dependencies included.
    """

    age: int
    packages: frozenset[str]


class Updates(FactBase[Pending | None]):
    """The updates that a host has yet to install; None when the host did not answer.

    + manager: the program that installs packages: apt, dnf or yum
    """

    @override
    def command(self, manager: str) -> str:
        return _SIMULATIONS[manager]

    @override
    def process(self, output: list[str]) -> Pending:
        rows = [(word, rest.split()) for word, _, rest in (line.partition(" ") for line in output)]
        [age] = [int("".join(rest)) for word, rest in rows if word == "age"]
        return Pending(age, frozenset(rest[0] for word, rest in rows if word == "Inst"))
