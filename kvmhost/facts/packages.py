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


_CURL = "curl --fail --silent --show-error --location --max-time 120"
_NEVER_TO_HTTP = "--proto-redir =https"
"""EL 6's curl has no such option (curl has it since 7.20.2), and fetches with a checksum only."""


def fetching(url: str, path: str, sha256: str | None) -> str:
    """Return the shell commands that fetch a key, or exit with 1 and the reason on stderr.

    path: where the key goes, as a word of the shell.
    sha256: the checksum that the key must have; None: any, but no redirection leads to http.
    """
    curl = _CURL if sha256 else f"{_CURL} {_NEVER_TO_HTTP}"
    unfetched = quote(f"{url} cannot be fetched")
    steps = [f"{curl} --output {path} {quote(url)} || {{ echo {unfetched} >&2; exit 1; }}"]
    if sha256:
        other = f'echo {quote(url)} "has the SHA-256 $found, asked for is {sha256}" >&2; exit 1'
        steps += [
            f"found=$(sha256sum <{path}); found=${{found%% *}}",
            f'[ "$found" = {sha256} ] || {{ {other}; }}',
        ]
    return "; ".join(steps)


@dataclass(frozen=True)
class Judgement:
    """Whether rpm takes a key, and else why not, in the words of the program that failed.

    `fetched` says whether there was a key to judge; `policy` is what the host's cryptography
    follows (crypto-policies(7)), None where there is no such thing.
    """

    taken: bool
    fetched: bool = True
    reason: str = ""
    policy: str | None = None


# rpm's own judgement, in a database of its own: since EL 9 it depends on the crypto policy
_JUDGE = r"""rpm --query {package} >/dev/null 2>&1 && {{ echo taken; exit; }}
new=$(mktemp -d) || exit
trap 'rm -rf "$new"' EXIT
told() {{ echo "reason $(sed "s|$new/||g" "$new/said" | tr '\n' ' ')"; exit; }}
( {fetch} ) 2>"$new/said" || told
echo fetched
rpm --dbpath "$new" --import "$new/key" >"$new/said" 2>&1 && {{ echo taken; exit; }}
exec 2>/dev/null
echo policy $(update-crypto-policies --show || grep -v '^#' /etc/crypto-policies/config)
told"""


class KeyJudgement(FactBase[Judgement | None]):
    """Whether rpm takes the key that signs a package; None when the host did not answer.

    The key is fetched, tried, and thrown away. Where the package is installed, its key was taken.

    + url: where the key comes from
    + sha256: the key's checksum; None: any
    + package: the name of the package
    """

    @override
    def command(self, url: str, sha256: str | None, package: str) -> str:
        return _JUDGE.format(package=quote(package), fetch=fetching(url, '"$new/key"', sha256))

    @override
    def process(self, output: list[str]) -> Judgement:
        said = {word: value for word, _, value in (line.partition(" ") for line in output)}
        if "taken" in said:
            return Judgement(taken=True)
        return Judgement(
            False, "fetched" in said, said["reason"].strip(), said.get("policy") or None
        )


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
