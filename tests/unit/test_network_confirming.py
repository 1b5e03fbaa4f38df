"""Where a host is looked for after a change of its network, and how its word is understood."""

import json
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest
from pyinfra.api import Host

from kvmhost.operations import guarded
from kvmhost.operations.guarded import (
    Pending,
    UnconfirmedError,
    UnderWayError,
    UndoneError,
    _question,
    _understood,
)
from kvmhost.operations.network import AsModelled, _addresses
from tests.unit import network_examples

OLD, NEW, OTHER = "10.0.0.11", "192.168.42.11", "203.0.113.7"
TOKEN = "1a2b3c4d" + "0" * 24
GOAL = AsModelled(network_examples.network(), "ifupdown", frozenset((OLD,)))
PENDING = Pending(GOAL, TOKEN, 60)
EARLIER = (
    "2025-12-31T23:00:00Z 99999999 armed: rolls back in 60 s unless confirmed",
    "2025-12-31T23:00:09Z 99999999 rolled back: nobody confirmed in time",
    "2025-12-31T23:10:00Z 88888888 confirmed",
)
ARMED, APPLYING, APPLIED, ROLLING, ROLLED, CONFIRMED = (
    f"2026-01-01T00:00:0{second}Z 1a2b3c4d {said}"
    for second, said in enumerate(
        (
            "armed: rolls back in 60 s unless confirmed",
            "applying",
            "applied",
            "rolling back: nobody confirmed in time",
            "rolled back: nobody confirmed in time",
            "confirmed",
        )
    )
)


@pytest.mark.parametrize(
    ("present", "peer", "before", "expected"),
    [
        pytest.param(NEW, NEW, {NEW}, (NEW,), id="it keeps its address"),
        pytest.param("kvm1", NEW, {NEW}, ("kvm1",), id="it keeps its address, which has a name"),
        pytest.param(OLD, OLD, {OLD}, (NEW, OLD), id="it is renumbered"),
        pytest.param("kvm1", OLD, {OLD}, (NEW, "kvm1"), id="what the name stands for goes"),
        pytest.param(OLD, OLD, {OLD, NEW}, (NEW, OLD), id="one of two addresses goes"),
        pytest.param(NEW, None, {NEW}, (NEW,), id="through a jump host it keeps its address"),
        pytest.param(OLD, None, {OLD}, (NEW, OLD), id="through a jump host it is renumbered"),
        pytest.param("kvm1", None, {OLD}, (NEW, "kvm1"), id="the jump host knows the name"),
        pytest.param("kvm1", None, {NEW}, ("kvm1", NEW), id="the name may be of another address"),
        pytest.param(OTHER, OTHER, {OLD}, (NEW, OTHER), id="renumbered behind a NAT"),
        pytest.param(OTHER, OTHER, {NEW}, (OTHER, NEW), id="a NAT may lead to another address"),
    ],
)
def test_a_host_is_looked_for_where_it_may_be(
    present: str, peer: str | None, before: set[str], expected: tuple[str, ...]
) -> None:
    assert _addresses(present, peer, NEW, frozenset(before)) == expected


@pytest.mark.parametrize(
    ("answer", "stage"),
    [
        (["applied", ARMED, APPLYING, APPLIED], "applied"),
        (["applied"], "applied"),  # the log could not be written
        (["applied", ARMED, APPLYING, APPLIED, CONFIRMED], "confirmed"),
        (["over", ARMED, APPLYING, APPLIED, CONFIRMED], "confirmed"),
        (["over", ARMED, APPLYING, APPLIED], "over"),
        (["over"], "over"),
        (["a shell's greeting", "over", CONFIRMED], "confirmed"),
    ],
)
def test_a_stage_is_understood(answer: list[str], stage: str) -> None:
    assert _understood(answer) == stage


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (["armed", ARMED, APPLYING], "the change is being applied"),
        (["armed"], "the change is being applied"),
        (["applied", ARMED, ROLLING], "it is rolling back: nobody confirmed in time"),
        (["armed", ARMED, ROLLING], "it is rolling back: nobody confirmed in time"),
        ([], "it does not say how far the change is"),
        (["a shell's greeting"], "it does not say how far the change is"),
    ],
)
def test_what_is_under_way_is_not_confirmed_yet(answer: list[str], said: str) -> None:
    with pytest.raises(UnderWayError) as caught:
        _understood(answer)
    assert str(caught.value) == said
    assert isinstance(caught.value, UnconfirmedError)


@pytest.mark.parametrize("stage", ["over", "applied"])
def test_a_change_that_was_rolled_back_is_undone_for_the_hosts_reason(stage: str) -> None:
    with pytest.raises(UndoneError) as caught:
        _understood([stage, ARMED, APPLYING, APPLIED, ROLLING, ROLLED])
    assert str(caught.value) == "rolled back: nobody confirmed in time"


def test_a_run_is_locked_in_again_before_the_guard_lets_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    def answer(host: Host, command: str) -> list[str]:
        done.append(command)
        gateways = GOAL.network.gateways
        return [json.dumps([{"dst": str(each), "lladdr": "52:54:00:0:0:1"} for each in gateways])]

    monkeypatch.setattr(guarded, "_stage", lambda host, pending: "applied")
    monkeypatch.setattr(AsModelled, "difference", lambda goal, host: None)
    monkeypatch.setattr(guarded, "answer", answer)
    monkeypatch.setattr(guarded.lock, "hold", lambda host: done.append("locked"))
    guarded._verify(Mock(Host), PENDING)
    assert done[-2:] == ["locked", f"sh {guarded.GUARD}/guard confirm {TOKEN}"]


def asked(
    folder: Path, log: tuple[str, ...] | None, token: str | None, *files: str
) -> subprocess.CompletedProcess[str]:
    """Return what a shell answers to the question, on a host with this log and this guard."""
    guard, log_file = folder / "guard", folder / "log"
    if token is not None:
        guard.mkdir()
        (guard / "token").write_text(token)
        for file in files:
            (guard / file).touch()
    if log is not None:
        log_file.write_bytes(b"".join(line.encode("latin-1") + b"\n" for line in log))
    question = _question(PENDING).replace(guarded.GUARD, str(guard))
    return subprocess.run(
        ["sh", "-c", question.replace(guarded.LOG, str(log_file))], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("log", "token", "files", "answer"),
    [
        pytest.param((*EARLIER, ARMED), TOKEN, ["armed"], ["armed", ARMED], id="applying"),
        pytest.param(
            (*EARLIER, ARMED, APPLIED),
            TOKEN,
            ["armed", "applied"],
            ["applied", ARMED, APPLIED],
            id="applied",
        ),
        pytest.param(
            (*EARLIER, ARMED, CONFIRMED), None, [], ["over", ARMED, CONFIRMED], id="confirmed"
        ),
        pytest.param(EARLIER, None, [], ["over"], id="the log tells of other changes only"),
        pytest.param(None, None, [], ["over"], id="there is no log"),
        pytest.param(
            (ARMED, "RTNETLINK answers: 1a2b3c4d confirmed", "1a2b3c4d confirmed", "\xff\x00"),
            None,
            [],
            ["over", ARMED],
            id="a command's output is not the guard's word",
        ),
        pytest.param(
            (ARMED, ROLLED, EARLIER[0]),
            "9" * 32,
            ["armed", "applied"],
            ["over", ARMED, ROLLED],
            id="the next change is under way",
        ),
    ],
)
def test_the_host_is_asked_about_this_change_alone(
    tmp_path: Path, log: tuple[str, ...] | None, token: str | None, files: list[str], answer: str
) -> None:
    result = asked(tmp_path, log, token, *files)
    assert (result.returncode, result.stdout.splitlines(), result.stderr) == (0, answer, "")
