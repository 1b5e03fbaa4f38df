"""Packages, whatever program installs them."""

from pathlib import PurePosixPath
from shlex import join, quote

from pyinfra import host
from pyinfra.api import StringCommand

from kvmhost.facts.packages import (
    LISTS_RENEWED,
    WITH_NEW_PACKAGES,
    Installed,
    KeyJudgement,
    SigningKey,
    Updates,
    fetching,
)
from kvmhost.operations.commands import Commands, fail, operation, unknown
from kvmhost.settings import Platform

_APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get -y -q"
    " -o DPkg::Lock::Timeout={timeout}"
    " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
    " {command}"
)
"""Configuration files that someone has changed stay: they are not the package's to replace."""

_RENEW = "-o APT::Update::Error-Mode=any update"
"""A repository that cannot be read fails the host; by itself apt-get goes on with old lists.

apt knows that since 2.1.16; before, the option says nothing to it.
"""

_DNF = (
    "end=$(($(date +%s) + {timeout})); "
    "until {manager} -y -q --setopt=exit_on_lock=1 {command}; do status=$?; "
    "[ $status = 200 ] && [ $(date +%s) -lt $end ] || exit $status; sleep 1; done"
)
"""dnf and yum wait for each other without end; told not to, they exit with 200 (dnf(8)).

EL 6's yum exits with 1 then, as for any failure (yummain.py of 3.2.29), and is not run again.
"""

_DAY = 24 * 60 * 60


@operation()
def installed(packages: tuple[str, ...], platform: Platform) -> Commands:
    """
    Have packages installed, of whatever version; the package lists are renewed only when needed.

    + packages: names; for dnf and yum what a package provides, or a file of it, too
    + platform: the host's package manager, and how long to wait for it
    """
    present = host.get_fact(Installed, manager=platform.package_manager, packages=packages)
    missing = [package for package in packages if package not in present]
    if missing:
        if platform.package_manager == "apt":
            yield StringCommand(_command(platform, _RENEW))
        yield StringCommand(_command(platform, f"install {join(missing)}"))


@operation()
def acceptable_key(url: str, sha256: str | None, package: str) -> Commands:
    """
    Refuse a host whose rpm does not take the key that signs a package: since EL 9, its crypto
    policy refuses signatures made with SHA-1, those of a key on itself included (CloudStack issues
    10133, 11154). Where the package is installed there is nothing to judge.

    + url: where the key comes from
    + sha256: the key's checksum; None: any
    + package: the name of the package
    """
    present = host.get_fact(KeyJudgement, url=url, sha256=sha256, package=package)
    if present is None:
        yield from unknown(f"whether rpm takes the key of {package}")
    elif not present.fetched:
        yield from fail(f"the key of {package}: {present.reason}")
    elif not present.taken:
        yield from fail(
            f"rpm does not take {url}, the key of {package}: {present.reason.rstrip('.')}"
            f"{'' if present.policy is None else _ways_out(present.policy)}"
        )


def _ways_out(policy: str) -> str:
    """Name what may be done, the least harmful first."""
    return (
        f". The crypto policy is {policy}. Should it be the key's SHA-1 that it refuses: another "
        "cloudstack_key, where its owner has signed it anew; or `update-crypto-policies --set "
        f"{policy}:SHA1`, with which all programs of the host take such signatures; or "
        "cloudstack_gpgcheck = False, with which nothing but TLS vouches for these packages"
    )


@operation()
def signing_key(url: str, path: str, repository: str, sha256: str | None) -> Commands:
    """
    Have the key that signs a repository. It is fetched when it is missing or not the one that is
    asked for; a key that has another checksum, or cannot be fetched, does not replace it.

    + url: where the key comes from
    + path: where it is kept
    + repository: the file that names the repository, and in a comment the URL of its present key
    + sha256: the key's checksum; None: the first key seen at the URL is trusted, which must not
      lead to one without TLS
    """
    present = host.get_fact(SigningKey, path=path, repository=repository)
    if present is None:
        yield from unknown(path)
    elif present.origin != url or present.sha256 is None or sha256 not in (None, present.sha256):
        new = quote(f"{path}.new")
        steps = [
            "set -e",
            f"trap 'rm -f {new}' EXIT",
            f"mkdir -p {quote(str(PurePosixPath(path).parent))}",
            fetching(url, new, sha256),
            f"chmod 644 {new}",
            f"mv -f {new} {quote(path)}",
        ]
        yield StringCommand("; ".join(steps))


@operation()
def updated(platform: Platform) -> Commands:
    """
    Have the latest version of every installed package. New dependencies come along, but nothing
    is removed, except what dnf knows to be obsolete. Package lists that are too old are renewed
    first: apt's after a day, dnf's when they expire.

    + platform: the host's package manager, and how long to wait for it
    """
    pending = host.get_fact(Updates, manager=platform.package_manager)
    if pending and pending.age > _DAY:
        yield StringCommand(f"{_command(platform, _RENEW)} && touch {LISTS_RENEWED}")
        pending = host.get_fact(Updates, manager=platform.package_manager)
    if pending is None:
        yield from unknown("the list of updates")
    elif pending.packages:
        new = f"{WITH_NEW_PACKAGES} " if platform.package_manager == "apt" else ""
        yield StringCommand(_command(platform, f"{new}upgrade"))


def _command(platform: Platform, command: str) -> str:
    form = _APT if platform.package_manager == "apt" else _DNF
    return form.format(
        manager=platform.package_manager, command=command, timeout=platform.package_lock_timeout
    )
