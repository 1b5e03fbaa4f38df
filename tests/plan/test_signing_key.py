"""The key that signs CloudStack's packages is fetched in no way that lets anyone change it."""

import re
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.plan.support import fake_host, inventory
from tests.runs import pyinfra

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
    pinned = fetching(tmp_path, cloudstack_key_sha256="0" * 64)
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
