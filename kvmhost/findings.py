"""What checks found on the hosts of a run, and how a person gets to read it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kvmhost import table

Outcome = Literal["holds", "waived", "mendable", "later", "risky", "fails", "unknown"]
"""It is so; a setting waives it; this run mends it; what tells it is yet to be installed;
it is not so, which is told and hinders nothing; it is not so; it could not be told."""

_MARKS: dict[Outcome, str] = {
    "holds": "ok",
    "waived": "waived",
    "mendable": "mend",
    "later": "later",
    "risky": "RISK",
    "fails": "FAILS",
    "unknown": "?",
}
_SHORT_RUN = 20
"""Up to so many hosts, each gets its row even when all its checks hold."""


@dataclass(frozen=True)
class Finding:
    """What a check found on one host, and a sentence that names the value and what is needed."""

    check: str
    outcome: Outcome
    detail: str

    @property
    def passes(self) -> bool:
        """Whether the host may be changed, as far as this check goes."""
        return self.outcome in ("holds", "waived", "mendable", "later", "risky")

    @property
    def is_told(self) -> bool:
        """Whether a person is to read its sentence."""
        return self.outcome == "risky" or not self.passes


Findings = Mapping[str, Sequence[Finding]]
"""The findings on each host, by the host's name."""


def report(checks: Sequence[str], found: Findings) -> Iterator[str]:
    """Yield the lines that tell a person what was found: host by check, then what is wrong.

    checks: the names of the checks that make the columns.
    """
    refused = _refused(found)
    shown = found if len(found) <= _SHORT_RUN else refused
    if shown:
        rows = [_row(name, checks, found[name]) for name in shown]
        yield from table.render(("host", *checks), rows).splitlines()
        yield from _legend(found[name] for name in shown)
        yield ""
    if len(found) > len(refused):
        yield f"{_hosts(len(found) - len(refused))}: every check passes."
    if refused:
        yield f"{_hosts(len(refused))}: not every check passes."
    if details := _details(found):
        yield ""
        yield from table.render(("host", "check", "finding"), details).splitlines()


def refusal(found: Findings) -> str | None:
    """Return why no host may be changed and what to do about it; None when every host passes."""
    refused = _refused(found)
    if not refused:
        return None
    excluded = " ".join(f"--exclude {name}" for name in refused)
    way_out = f", or run with {excluded}" if len(refused) < len(found) else ""
    return (
        f"{len(refused)} of {_hosts(len(found))} did not pass every check, so no host was changed. "
        f"Mend what the table names{way_out}"
    )


def _refused(found: Findings) -> list[str]:
    return [name for name, each in found.items() if not all(finding.passes for finding in each)]


def _row(name: str, checks: Sequence[str], each: Sequence[Finding]) -> list[str]:
    """Return a row of marks; a check that was not made on a host could not be told."""
    marks = {finding.check: _MARKS[finding.outcome] for finding in each}
    return [name, *(marks.get(check, _MARKS["unknown"]) for check in checks)]


def _legend(shown: Iterable[Sequence[Finding]]) -> Iterator[str]:
    """Yield what the less obvious marks of the rows mean."""
    outcomes = {finding.outcome for each in shown for finding in each}
    if "mendable" in outcomes:
        yield "mend: this run sets it right"
    if "later" in outcomes:
        yield "later: told once libvirt is there to be asked, before the agent is set up"
    if "waived" in outcomes:
        yield "waived: a setting does without it"
    if "risky" in outcomes:
        yield "RISK: it hinders nothing, but is not as it should be"


def _details(found: Findings) -> list[tuple[str, str, str]]:
    """Return one row for each thing that is told; hosts that share it are named together."""
    hosts: dict[Finding, list[str]] = defaultdict(list)
    for name, each in found.items():
        for finding in each:
            if finding.is_told:
                hosts[finding].append(name)
    return [(few(names), finding.check, finding.detail) for finding, names in hosts.items()]


def few(names: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are."""
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _hosts(count: int) -> str:
    return f"{count} host{'' if count == 1 else 's'}"
