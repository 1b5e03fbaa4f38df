"""The key that signs CloudStack's packages: nobody can change it, and rpm has to take it."""

import os
import re
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from kvmhost import templates
from kvmhost.facts.packages import Judgement, KeyJudgement
from kvmhost.settings import load
from tests.plan.support import fake_host, host_data, inventory
from tests.runs import pyinfra

PREFLIGHT = "tasks.preflight.preflight"
CHECK = "Preflight | Check that rpm takes the key of CloudStack's packages"
KEY = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"


def fetching(folder: Path, **data: str) -> str:
    """Return the command that fetches a key."""
    host = fake_host(**data)
    host["fake_responses"]["echo sha256"] = ["sha256 ", "origin "]
    hosts = inventory(folder, {"@fake/kvm1": host})
    task = "tasks.cloudstack_agent.cloudstack_agent"
    run = pyinfra(hosts, task, "-y", "--debug", timeout=60)
    found = re.search(r"simulating command on \S+: (set -e; .*curl.*)", run.output)
    assert found, run.output
    return found[1]


def test_a_key_that_is_not_pinned_never_comes_over_http(tmp_path: Path) -> None:
    assert " --proto-redir =https " in fetching(tmp_path)
    pinned = fetching(tmp_path, cloudstack_key_sha256="1" * 64)
    assert "--proto-redir" not in pinned, "EL 6's curl does not know it"


@pytest.mark.parametrize("pinned", [KEY, b"another", None], ids=["pinned", "another", "unpinned"])
def test_another_key_than_the_pinned_one_is_refused(tmp_path: Path, pinned: bytes | None) -> None:
    source, kept = tmp_path / "release.asc", tmp_path / "keyrings" / "cloudstack.asc"
    source.write_bytes(KEY)
    pin = {} if pinned is None else {"cloudstack_key_sha256": sha256(pinned).hexdigest()}
    command = fetching(
        tmp_path, cloudstack_key=source.as_uri(), cloudstack_key_file=str(kept), **pin
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    if pinned == b"another":
        assert done.returncode == 1
        assert f"has the SHA-256 {sha256(KEY).hexdigest()}, asked for is" in done.stderr
        assert list(kept.parent.iterdir()) == []
    else:
        assert done.returncode == 0, done.stderr
        assert kept.read_bytes() == KEY


TAKES = "exit 0"
# captured: rpm 4.20 with rpm-sequoia 1.8, of a key that is signed with SHA-1
REFUSES = r"""echo "error: Certificate A7DCA90301FF870F:
  Policy rejects A7DCA90301FF870F: No binding signature at time 2026-11-25T09:06:57Z
error: $4: key 1 import failed." >&2; exit 1"""


def judged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rpm: str, url: str, pin: str | None = None
) -> tuple[Judgement, str]:
    """Return what a host says of a key, and how its rpm was called: one with this script."""
    programs, scratch = folder / "programs", folder / "scratch"
    programs.mkdir()
    scratch.mkdir()
    scripts = {
        "rpm": f'[ $1 != --query ] || exit 1\necho "$@" >>{folder}/called\n[ -s "$4" ]\n{rpm}\n',
        "update-crypto-policies": "echo DEFAULT\n",
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(scratch))
    command = KeyJudgement().command(url=url, sha256=pin, package="cloudstack-agent")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert list(scratch.iterdir()) == [], "nothing is left behind"
    called = folder / "called"
    judgement = KeyJudgement().process(done.stdout.splitlines())
    return judgement, called.read_text() if called.exists() else ""


def test_rpm_judges_a_key_in_a_database_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release.asc").write_bytes(KEY)
    url = (tmp_path / "release.asc").as_uri()
    judgement, called = judged(tmp_path, monkeypatch, TAKES, url, sha256(KEY).hexdigest())
    assert judgement == Judgement(taken=True)
    assert re.fullmatch(rf"--dbpath {tmp_path}/scratch/\S+ --import \S+/key\n", called)


def test_what_rpm_says_of_a_key_that_it_refuses_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release.asc").write_bytes(KEY)
    judgement, _ = judged(tmp_path, monkeypatch, REFUSES, (tmp_path / "release.asc").as_uri())
    assert not judgement.taken
    assert judgement.policy == "DEFAULT"
    assert judgement.reason.endswith("2026-11-25T09:06:57Z error: key: key 1 import failed.")


@pytest.mark.parametrize(("pin", "said"), [(None, "cannot be fetched"), ("0" * 64, "asked for is")])
def test_a_key_that_is_not_had_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: str | None, said: str
) -> None:
    if pin:
        (tmp_path / "release.asc").write_bytes(KEY)
    url = (tmp_path / "release.asc").as_uri()
    judgement, called = judged(tmp_path, monkeypatch, TAKES, url, pin)
    assert (judgement.taken, judgement.fetched, called) == (False, False, "")
    assert said in judgement.reason


REFUSED = ["fetched", "policy DEFAULT", "reason Hash algorithm SHA1 not available."]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (REFUSED, "SHA1 not available. The crypto policy is DEFAULT."),
        (["reason it cannot be fetched"], "the key of cloudstack-agent: it cannot be fetched"),
        ({"success": False}, "could not load fact"),
    ],
    ids=["refused", "not fetched", "not told"],
)
def test_a_host_whose_rpm_refuses_the_key_fails_before_anything_is_changed(
    tmp_path: Path, answer: object, said: str
) -> None:
    el = {"package_manager": "dnf"}
    hosts = {f"@fake/kvm{number}": fake_host(number, **el) for number in (1, 2)}
    answers = (answer, ["fetched", "taken"])
    for host, judgement in zip(hosts.values(), answers, strict=True):
        host["fake_responses"]["rpm --dbpath"] = judgement
    run = pyinfra(inventory(tmp_path, hosts), PREFLIGHT, "-y", "--json", "--debug", timeout=60)
    assert run.status == 1
    assert run.failed[CHECK] == ["@fake/kvm1"]
    assert run.json["results"]["failed_hosts"] == ["@fake/kvm1"]
    assert re.search(r"simulating command on @fake/kvm2: .*static_file", run.output, re.DOTALL)
    assert not re.search(r"simulating command on @fake/kvm1: [^@]*static_file", run.output)
    assert said in run.output


def test_packages_that_are_not_checked_need_no_key(tmp_path: Path) -> None:
    host = fake_host(package_manager="dnf", cloudstack_gpgcheck=False)
    run = pyinfra(inventory(tmp_path, {"@fake/kvm1": host}), PREFLIGHT, "-y", "--debug", timeout=60)
    assert run.status == 0
    assert "rpm --dbpath" not in run.output


@pytest.mark.parametrize(("checked", "line"), [(True, "gpgcheck=1"), (False, "gpgcheck=0")])
def test_dnf_is_told_whether_to_check(checked: bool, line: str) -> None:
    data = host_data(cloudstack_gpgcheck=checked)
    agent = load({"kvm1": data})["kvm1"].agent
    text = templates.render("/etc/yum.repos.d/cloudstack.repo", agent=agent)
    assert line in text.splitlines()
