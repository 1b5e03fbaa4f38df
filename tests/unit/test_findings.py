"""What a person gets to read of a handful of hosts, and of very many."""

from kvmhost.findings import Finding, refusal, report

CHECKS = ("memory", "NIC")
GOOD = [Finding("memory", "holds", "enough"), Finding("NIC", "holds", "there is eth0")]
WAIVED = [Finding("memory", "waived", "not needed"), Finding("NIC", "mendable", "will be set")]
LATER = [Finding("memory", "later", "no libvirt yet"), Finding("NIC", "holds", "there is eth0")]
SMALL = [Finding("memory", "fails", "too little"), Finding("NIC", "holds", "there is eth0")]
RISKY = [Finding("memory", "risky", "just enough"), Finding("NIC", "holds", "there is eth0")]
SILENT = [Finding("answer", "unknown", "the host did not answer")]


def lines(found: dict[str, list[Finding]]) -> list[str]:
    return [line.rstrip() for line in report(CHECKS, found)]


def test_hosts_that_pass_are_shown_one_a_row() -> None:
    assert lines({"kvm1": GOOD, "kvm2": GOOD}) == [
        "host  memory  NIC",
        "----  ------  ---",
        "kvm1  ok      ok",
        "kvm2  ok      ok",
        "",
        "2 hosts: every check passes.",
    ]
    assert refusal({"kvm1": GOOD, "kvm2": GOOD}) is None


def test_what_passes_without_holding_is_marked_and_the_marks_are_explained() -> None:
    assert lines({"kvm1": WAIVED}) == [
        "host  memory  NIC",
        "----  ------  ----",
        "kvm1  waived  mend",
        "mend: this run sets it right",
        "waived: a setting does without it",
        "",
        "1 host: every check passes.",
    ]
    assert refusal({"kvm1": WAIVED}) is None


def test_what_is_told_later_stops_nobody() -> None:
    assert lines({"kvm1": LATER})[2:4] == [
        "kvm1  later   ok",
        "later: told once libvirt is there to be asked, before the agent is set up",
    ]
    assert refusal({"kvm1": LATER}) is None


def test_what_hinders_nothing_is_said_in_full_too() -> None:
    assert lines({"kvm1": GOOD, "kvm2": RISKY}) == [
        "host  memory  NIC",
        "----  ------  ---",
        "kvm1  ok      ok",
        "kvm2  RISK    ok",
        "RISK: it hinders nothing, but is not as it should be",
        "",
        "2 hosts: every check passes.",
        "",
        "host  check   finding",
        "----  ------  -----------",
        "kvm2  memory  just enough",
    ]
    assert refusal({"kvm1": GOOD, "kvm2": RISKY}) is None


def test_of_very_many_hosts_what_hinders_nothing_is_said_all_the_same() -> None:
    shown = lines({f"kvm{number}": RISKY for number in range(200)})
    assert shown[0] == "200 hosts: every check passes."
    assert shown[-1] == "kvm0, kvm1, kvm2, kvm3, kvm4 and 195 more  memory  just enough"


def test_what_is_wrong_is_said_in_full() -> None:
    assert lines({"kvm1": GOOD, "kvm2": SMALL, "kvm3": SILENT}) == [
        "host  memory  NIC",
        "----  ------  ---",
        "kvm1  ok      ok",
        "kvm2  FAILS   ok",
        "kvm3  ?       ?",
        "",
        "1 host: every check passes.",
        "2 hosts: not every check passes.",
        "",
        "host  check   finding",
        "----  ------  -----------------------",
        "kvm2  memory  too little",
        "kvm3  answer  the host did not answer",
    ]


def test_the_refusal_says_how_many_and_the_way_out() -> None:
    assert refusal({"kvm1": GOOD, "kvm2": SMALL, "kvm3": SILENT}) == (
        "2 of 3 hosts did not pass every check, so no host was changed. "
        "Mend what the table names, or run with --exclude kvm2 --exclude kvm3"
    )


def test_excluding_every_host_is_no_way_out() -> None:
    assert "--exclude" not in (refusal({"kvm1": SMALL}) or "--exclude")


def test_of_very_many_hosts_only_those_are_shown_that_need_a_look() -> None:
    many = {f"kvm{number}": GOOD for number in range(200)}
    assert lines(many) == ["200 hosts: every check passes."]
    shown = lines(many | {"kvm7": SMALL})
    assert [line for line in shown if line.startswith("kvm")] == [
        "kvm7  FAILS   ok",
        "kvm7  memory  too little",
    ]
    assert "199 hosts: every check passes." in shown


def test_hosts_that_share_what_is_wrong_are_named_together() -> None:
    shown = lines({f"kvm{number}": SMALL for number in range(200)})
    assert shown[-1] == "kvm0, kvm1, kvm2, kvm3, kvm4 and 195 more  memory  too little"
