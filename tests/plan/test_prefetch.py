"""Whole runs over SSH, against this machine: what is asked together, and that nothing is stale."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from shlex import quote
from typing import Any

import pytest

from kvmhost.prefetch import LONGEST, Question, answers, portions, script
from tests.runs import Run, pyinfra
from tests.unit.ssh_server import listening, reaching

LIMIT = 120
"""Seconds after which a run hangs."""
HEAD = """\
from io import StringIO
from pathlib import Path
from pyinfra import host
from pyinfra.api import FactBase, FunctionCommand, StringCommand
from pyinfra.operations import files as pyinfras, python, server
from kvmhost import lock, prefetch
from kvmhost.facts.files import Text
from kvmhost.operations import files
from kvmhost.operations.commands import Commands, operation

lock.LOCK = {folder!r} + "/lock"
A, B, C = ({folder!r} + "/" + name for name in "abc")
"""


@dataclass(frozen=True)
class Site:
    """A host that is this machine, and what it has for a run: a folder and programs."""

    folder: Path
    port: int

    def run(self, operations: str, *arguments: str) -> Run:
        data = reaching(self.port, self.folder) | {"ssh_file_transfer_protocol": "scp"}
        inventory = self.folder / "inventory.py"
        inventory.write_text(f"hosts = [('kvm1', {data!r})]\n")
        deploy = self.folder / "deploy.py"
        deploy.write_text(HEAD.format(folder=str(self.folder)) + operations)
        how = ("--json", "--debug", *(arguments or ("-y",)))
        return pyinfra(str(inventory), str(deploy), *how, timeout=LIMIT)

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.folder / name).write_text(text)

    @property
    def texts(self) -> dict[str, str]:
        return {name: (self.folder / name).read_text() for name in "abc"}

    def program(self, name: str, text: str) -> None:
        path = self.folder / "programs" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "programs").mkdir()
    with listening(tmp_path / "programs") as port:
        site = Site(tmp_path, port)
        site.program("logger", "")
        yield site


def answered(run: Run) -> int:
    """Return how many questions of a run were answered beforehand."""
    return run.output.count("Answered beforehand on kvm1: ")


def content(text: str, files: str = "ABC") -> str:
    """Return the operations that have files with that text."""
    lines = (f'files.content(name="{each} {text}", path={each}, text="{text}")' for each in files)
    return "\n".join(lines) + "\n"


def test_a_run_that_changes_nothing_asks_together(site: Site) -> None:
    site.write(a="1", b="1", c="1")
    run = site.run(content("1") * 3)
    assert run.status == 0, run.output
    assert not run.changed
    assert run.commands() == {"kvm1": 2}
    assert answered(run) == 8


def test_after_a_change_ever_more_ask_together(site: Site) -> None:
    """One by itself, then two, then four: a host that is made ready changes much."""
    site.write(a="1", b="1", c="1")
    run = site.run(content("2", "A") + content("1", "BC") * 4)
    assert list(run.changed) == ["A 2"]
    of_the_change = 2
    assert run.commands() == {"kvm1": of_the_change + 1 + 1 + 1 + 1}
    assert answered(run) == 2 + 4 + 1


CHANGES = {
    "an operation": content("2", "B"),
    "an operation of pyinfra": 'server.shell(name="change", commands=[f"printf 2 >{B}"])\n',
    "an upload": 'pyinfras.put(name="change", src=StringIO("2"), dest=B)\n',
    "a nested operation": """\
def nested():
    files.content(name="nested", path=B, text="2")
python.call(name="change", function=nested)
""",
    "a function on the workstation": (
        'python.call(name="change", function=lambda: Path(B).write_text("2") and None)\n'
    ),
    "what asks before and after": """\
@operation()
def twice() -> Commands:
    assert host.get_fact(Text, path=B).text == "1"
    yield FunctionCommand(lambda state, host: bool(Path(B).write_text("2")), (), {})
    assert host.get_fact(Text, path=B).text == "2"
twice(name="change")
""",
    "what changes it otherwise than by a command": """\
@operation()
def otherwise() -> Commands:
    assert host.get_fact(Text, path=B).text == "1"
    yield FunctionCommand(lambda state, host: bool(Path(B).write_text("2")), (), {})
otherwise(name="change")
""",
    "what sends by itself": """\
@operation()
def sends() -> Commands:
    assert host.get_fact(Text, path=B).text == "1"
    if host.state.is_executing:
        host.run_shell_command(StringCommand(f"printf 2 >{B}"))
    yield from ()
sends(name="change")
""",
    "what uploads by itself": """\
@operation()
def uploads() -> Commands:
    assert host.get_fact(Text, path=B).text == "1"
    if host.state.is_executing:
        host.put_file(StringIO("2"), B)
    yield from ()
uploads(name="change")
""",
    "a function that asks": """\
def call():
    Path(B).write_text("2")
    assert host.get_fact(Text, path=B).text == "2"
python.call(name="change", function=call)
""",
    "a nested operation that finds it changed": """\
def nested():
    Path(B).write_text("1.5")
    files.content(name="nested", path=B, text="2")
python.call(name="change", function=nested)
""",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_stale_answer_is_never_used(site: Site, change: str) -> None:
    """Each operation acts as if it alone had asked, whoever changes what it asks about."""
    site.write(a="1", b="1", c="1")
    run = site.run(content("1") + content("1") + change + content("1") + content("2", "B"))
    assert run.status == 0, run.output
    assert not run.failed
    assert run.changed.keys() - {"change", "nested"} == {"B 1", "B 2"}
    assert site.texts == {"a": "1", "b": "2", "c": "1"}
    assert answered(run) >= 5


HEARS = """
class Said(FactBase[str | None]):
    def command(self, what: str) -> str:
        return what

@operation()
def hears(what: str, expected: str) -> Commands:
    assert host.get_fact(Said, what=what) == expected
    yield from ()

hears(name="first", what="echo 1", expected="1")
"""


def test_a_question_that_failed_is_asked_again(site: Site) -> None:
    once = f"[ -e {site.folder}/asked ] || {{ touch {site.folder}/asked; exit 1; }}; echo 2"
    run = site.run(
        f"""{HEARS}
hears(name="second", what={once!r}, expected="2")
hears(name="third", what="echo 3", expected="3")
"""
    )
    assert run.status == 0, run.output
    assert run.commands() == {"kvm1": 4}


def test_a_question_that_always_fails_fails_its_host_as_ever(site: Site) -> None:
    run = site.run(f"""{HEARS}hears(name="second", what="echo why >&2; exit 1", expected="")\n""")
    assert run.status == 1
    assert re.search(r"\[kvm1\] why\n.*could not load fact", run.output), run.output


def test_answers_are_kept_apart_by_how_they_are_asked_for(site: Site) -> None:
    site.program("sudo", f'echo "$*" >>{site.folder}/asked; shift 2; WHO=root exec "$@"')
    run = site.run(
        f"""{HEARS}
who = "echo $WHO"
hears(name="as root", what=who, expected="root", _sudo=True)
hears(name="as another", what=who, expected="another", _env={{"WHO": "another"}})
hears(name="as root again", what=who, expected="root", _sudo=True)
hears(name="given something", what="cat", expected="given", _stdin="given")
"""
    )
    assert run.status == 0, run.output
    assert answered(run) == 3
    assert (site.folder / "asked").read_text().count("-H -n sh -c ") == 1


def test_an_answer_holds_for_a_while_only(site: Site) -> None:
    site.write(a="1", b="1", c="1")
    run = site.run(f"prefetch.VALID = 0\n{content('1') * 3}")
    assert run.status == 0, run.output
    assert answered(run) == 0


def test_an_answer_is_as_old_as_its_question(site: Site) -> None:
    """Not younger by what the questions beside it have taken."""
    run = site.run(
        f"""prefetch.VALID = 2
{HEARS}
hears(name="slow", what="sleep 3; echo 2", expected="2")
hears(name="third", what="echo 3", expected="3")
"""
    )
    assert run.status == 0, run.output
    assert "Answered beforehand on kvm1: sleep" not in run.output


def test_what_is_more_than_a_host_takes_is_asked_in_portions(site: Site) -> None:
    long = "".join(
        f"hears(name='{n}', what=\": '{n}{'x' * 9000}'; echo {n}\", expected='{n}')\n"
        for n in range(20)
    )
    run = site.run(HEARS + long)
    assert run.status == 0, run.output
    assert answered(run) == 20
    assert 3 < run.commands()["kvm1"] < 8
    scripts = portions([Question("'" * 3000, {"_shell_executable": "sh"})] * 10)
    assert all(len(quote(script(each, MARK).get_raw_value())) < 2 * LONGEST for each in scripts)


def test_a_condition_on_what_is_yet_to_come_is_not_tried_out(site: Site) -> None:
    site.write(a="1", b="1", c="1")
    run = site.run(
        f"""{content("1", "AB")}
change = files.content(name="change", path=A, text="2")
files.content(name="after it", path=B, text="2", _if=change.did_change)
files.content(name="not after it", path=C, text="2", _if=change.did_not_change)
"""
    )
    assert run.status == 0, run.output
    assert site.texts == {"a": "2", "b": "2", "c": "1"}


def test_a_host_that_says_more_is_asked_one_by_one(site: Site) -> None:
    """Whatever is wrong with the answers together, none of them is used."""
    site.write(a="1", b="1", c="1")
    run = site.run(f"prefetch.script = lambda *_: StringCommand('echo 1')\n{content('1') * 3}")
    assert run.status == 0, run.output
    assert not run.changed
    assert run.commands() == {"kvm1": 10}


ODD = (
    "printf 'no end'",
    "printf 'two\\n\\n'",
    "printf '\\n'",
    "true",
    "echo 'single' \"double\" \\\\ '$HOME'",
    "echo before; exit; echo after",
    "exec 2>/dev/null; echo; exec true",
    "trap 'echo trapped' EXIT; set -e; echo set",
    "cat; echo read",
    "printf 'caf\\351\\n'",
    "echo fedcba987654321 0",
)
"""Questions that succeed, and what they say or do is odd."""
MARK = "fedcba9876543210"
FAILING = ("false", "echo half; exit 3", "if", "echo 'open", "kill -9 $$", ")")


def said(command: str) -> list[str]:
    """Return the lines that pyinfra would have of a command."""
    done = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    lines = done.stdout.decode(errors="backslashreplace").split("\n")
    return lines if lines[-1] else lines[:-1]


def test_an_answer_is_what_the_question_alone_says() -> None:
    commands = [each for pair in zip(ODD, cycle(FAILING)) for each in pair]
    arguments: dict[str, Any] = {"_shell_executable": "sh"}
    together = script([Question(each, arguments) for each in commands], MARK)
    found = answers(said(together.get_raw_value()), MARK)
    expected = [None if each in FAILING else said(each) for each in commands]
    assert list(found) == expected
