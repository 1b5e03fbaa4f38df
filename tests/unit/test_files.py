"""The script that replaces a file runs here, in a folder of its own."""

import os
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from kvmhost.operations.files import NEW, PIPED, replacing_script

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
REFUSED = ("grep", "-q", "accepted", NEW)


def replace(
    path: Path,
    text: str,
    mode: str = "644",
    validate: tuple[str, ...] = (),
    shell: str = "sh",
    keep_original: bool = False,
) -> int:
    """Replace a file, and return the script's exit status."""
    result = subprocess.run(
        [shell, "-c", replacing_script(str(path), mode, validate, keep_original)],
        input=b64encode(text.encode()).decode(),
        text=True,
        timeout=30,
    )
    return result.returncode


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("text", ["", "a line\n", "no end of line", "$HOME `id` '\"\\ äöü\n"])
def test_a_new_file_has_just_that_text_and_mode(text: str, shell: str, tmp_path: Path) -> None:
    file = tmp_path / "a folder" / "file's name"
    assert replace(file, text, mode="600", shell=shell) == 0
    assert file.read_text() == text
    assert mode_of(file) == 0o600
    assert names(file.parent) == {file.name}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_file_keeps_its_mode(shell: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old\n" * 1000)
    file.chmod(0o640)
    assert replace(file, "new\n", shell=shell) == 0
    assert file.read_text() == "new\n"
    assert mode_of(file) == 0o640
    assert names(tmp_path) == {"file"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old\n")
    os.chown(file, 1, 2)
    assert replace(file, "new\n") == 0
    assert (file.stat().st_uid, file.stat().st_gid) == (1, 2)


def test_a_file_keeps_what_a_label_is_made_of(tmp_path: Path) -> None:
    """SELinux's label is an extended attribute, which only its own kernel lets anyone set."""
    file = tmp_path / "file"
    file.write_text("old\n")
    try:
        os.setxattr(file, "user.label", b"etc_t")
    except OSError:
        pytest.skip("there are no extended attributes here")
    assert replace(file, "new\n", keep_original=True) == 0
    assert os.getxattr(file, "user.label") == b"etc_t"
    assert os.getxattr(f"{file}.orig", "user.label") == b"etc_t"


def test_only_a_new_file_is_given_the_label_of_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    restorecon = programs / "restorecon"
    restorecon.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/labelled\n')
    restorecon.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for text in ("first\n", "second\n"):
        assert replace(tmp_path / "file", text) == 0
    assert (tmp_path / "labelled").read_text() == f"{tmp_path}/file\n"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old\n")
    link = tmp_path / "link"
    link.symlink_to("file")
    assert replace(link, "new\n") == 0
    assert link.is_symlink()
    assert (tmp_path / "file").read_text() == "new\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_refused_text_leaves_everything_as_it_was(shell: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert replace(file, "wrong\n", validate=REFUSED, shell=shell) != 0
    assert names(tmp_path) == set()
    file.write_text("old\n")
    assert replace(file, "wrong\n", validate=REFUSED, shell=shell, keep_original=True) != 0
    assert file.read_text() == "old\n"
    assert names(tmp_path) == {"file"}
    assert replace(file, "accepted\n", validate=REFUSED, shell=shell) == 0


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("text", ["", "a line\n" * 100_000], ids=["empty", "longer than a pipe"])
def test_a_check_may_read_a_pipe_or_the_file(text: str, shell: str, tmp_path: Path) -> None:
    piped = ("sh", "-c", f'test -p {PIPED} && cmp {PIPED} "$0"', NEW)
    for number, validate in enumerate((piped, ("test", "-f", NEW))):
        file = tmp_path / f"file {number}"
        assert replace(file, text, validate=validate, shell=shell) == 0
        assert file.read_text() == text


@pytest.mark.parametrize("shell", SHELLS)
def test_a_text_that_is_refused_on_a_pipe_leaves_everything_as_it_was(
    shell: str, tmp_path: Path
) -> None:
    assert replace(tmp_path / "file", "wrong\n", validate=(*REFUSED[:-1], PIPED), shell=shell) != 0
    assert names(tmp_path) == set()


def test_what_stood_there_first_is_kept_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert replace(file, "first\n", keep_original=True) == 0
    assert names(tmp_path) == {"file"}
    for text in ("second\n", "third\n"):
        assert replace(file, text, keep_original=True) == 0
    assert (tmp_path / "file.orig").read_text() == "first\n"


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old\n")
    script = replacing_script(str(file), "644")
    result = subprocess.run(
        ["sh", "-c", f"ulimit -f 1; trap '' XFSZ; {script}"],
        input=b64encode(b"long\n" * 1000).decode(),
        text=True,
        capture_output=True,
        timeout=30,
    )
    assert result.returncode != 0
    assert file.read_text() == "old\n"
    assert names(tmp_path) == {"file"}
