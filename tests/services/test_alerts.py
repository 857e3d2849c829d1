"""Alerts that a run raises, repeats and recovers, and their texts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestration_project.engine.contracts.problems import CheckResult, EndedRun, Problem, Unit
from orchestration_project.errors import cut
from orchestration_project.services.alerts import Links
from orchestration_project.services.alerts.rules.channels import Channel, parse_channels
from orchestration_project.services.alerts.rules.decisions import (
    READ_OVERLAP,
    AlertDecision,
    OpenAlert,
    Progress,
    decide,
    find_problems,
    is_admitted,
    match_resolved,
    wait_after,
)
from orchestration_project.services.alerts.rules.messages import (
    MAX_BODY_LENGTH,
    format_list,
    run_messages,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
WEEKS = [f"T1|2026-01-{day:02}" for day in (5, 12, 19)]
ASSET = "finra/otc_weekly"
UNITS = [Unit(ASSET, week) for week in WEEKS]
FAILED = [Problem("failed", *unit) for unit in UNITS]


def run(outcome: Any = "failure", **facts: Any) -> EndedRun:
    usual = {"run_id": "r1", "job": "finra_otc_weekly", "partitions": WEEKS, "error": "no host"}
    return EndedRun(**{**usual, "outcome": outcome, "wanted": frozenset(UNITS), **facts})


def check(passed: bool, severity: Any = "error") -> CheckResult:
    return CheckResult(ASSET, "has_few_rejects", passed, severity, "9 of 10")


def open_alert(
    *found: Problem, at: datetime = NOON - timedelta(hours=1), name: str = "a1"
) -> OpenAlert:
    return OpenAlert(name, "error", f"alert {name}", frozenset(found), at)


def decision(ended: EndedRun, *known: OpenAlert) -> AlertDecision:
    return decide(find_problems(ended), match_resolved(ended), known, now=NOON, window=DAY)


def test_a_failed_run_has_problems_and_quarantined_partitions():
    ended = run(loaded=frozenset(UNITS[:1]), refused={UNITS[1]: "sums differ"})
    assert find_problems(ended) == {Problem("held_back", *UNITS[1]), Problem("failed", *UNITS[2])}


def test_a_failed_run_that_loaded_all_is_a_problem_of_its_job():
    assert find_problems(run(loaded=frozenset(UNITS), partitions=["p"])) == {
        Problem("job_failed", "finra_otc_weekly", "p")
    }
    assert find_problems(run(wanted=frozenset(), partitions=[])) == {
        Problem("job_failed", "finra_otc_weekly", "")
    }


@pytest.mark.parametrize("outcome", ["success", "canceled"])
def test_a_run_that_did_not_fail_has_just_the_problems_of_its_checks(outcome):
    ended = run(outcome, checks=[check(False, "warning")])
    assert find_problems(ended) == {Problem("check_warning", ASSET, "has_few_rejects")}


def test_a_new_problem_raises_and_the_same_within_the_window_repeats():
    assert decision(run()) == AlertDecision(frozenset(FAILED), [], {}, [])
    known = open_alert(*FAILED)
    other = open_alert(Problem("failed", ASSET, "T2|2026-01-05"), name="a2")
    assert decision(run(), known, other) == AlertDecision(frozenset(), [known], {}, [])


def test_after_the_window_the_same_is_raised_again_in_place_of_the_old():
    old = open_alert(*FAILED, at=NOON - DAY)
    assert decision(run(), old) == AlertDecision(frozenset(FAILED), [], {"a1": frozenset()}, [])


@pytest.mark.parametrize(
    ("window", "early", "is_reported"),
    [
        (DAY, timedelta(seconds=40), True),
        (DAY, timedelta(minutes=11), False),
        (timedelta(minutes=10), timedelta(seconds=40), True),
        (timedelta(minutes=10), timedelta(seconds=61), False),
    ],
)
def test_a_daily_failure_some_seconds_earlier_is_reported_daily(window, early, is_reported):
    known = open_alert(*FAILED, at=NOON - window + early)
    bad = frozenset(FAILED)
    found = decide(bad, lambda _: False, [known], now=NOON, window=window)
    assert bool(found.raised) == is_reported


def test_one_new_partition_raises_all_of_the_run_and_takes_them_from_older_alerts():
    known = open_alert(FAILED[0], Problem("failed", ASSET, "T2|2026-01-05"))
    left = frozenset([Problem("failed", ASSET, "T2|2026-01-05")])
    assert decision(run(), known) == AlertDecision(frozenset(FAILED), [], {"a1": left}, [])


def test_an_alert_recovers_with_its_last_problem_whichever_run_made_it_well():
    known = open_alert(*FAILED[:2])
    first = run("failure", wanted=frozenset(), loaded=frozenset(UNITS[:1]), partitions=["x"])
    left = frozenset(FAILED[1:2])
    assert decision(first, known).remaining == {"a1": left}
    assert decision(first, known).recovered == []
    known = open_alert(*left)
    second = EndedRun("r2", "__ASSET_JOB", "success", wanted=frozenset(UNITS[1:2]))
    assert decision(second, known).recovered == [known]


def test_a_problem_without_partition_ends_once_any_is_loaded():
    known = open_alert(Problem("failed", ASSET, ""))
    for ended in (run("success"), run(loaded=frozenset(UNITS[:1]))):
        assert decision(ended, known).recovered == [known]
    assert decision(run(), known).recovered == []


def test_a_check_recovers_when_it_passes_and_worsens_when_it_becomes_an_error():
    known = open_alert(check(False, "warning").problem)
    assert decision(run("success", checks=[check(True)]), known).recovered == [known]
    worse = decision(run("success", checks=[check(False, "error")]), known)
    assert worse.raised == {Problem("check_error", ASSET, "has_few_rejects")}


def test_what_is_bad_in_a_run_is_not_made_well_by_the_same_run():
    known = open_alert(check(False).problem)
    ended = run("success", checks=[check(False)])
    assert decision(ended, known) == AlertDecision(frozenset(), [known], {}, [])


def test_a_job_without_assets_recovers_when_it_succeeds_for_that_partition():
    known = open_alert(Problem("job_failed", "finra_otc_weekly", WEEKS[0]))
    assert decision(run("success", partitions=WEEKS[1:]), known).recovered == []
    assert decision(run("success"), known).recovered == [known]


def test_156_partitions_that_fail_are_one_message_of_bounded_length():
    weeks = [f"T1|{number:04}" for number in range(156)]
    units = frozenset(Unit(ASSET, week) for week in weeks)
    refused = {unit: f"{unit.partition} " + "x" * 5000 for unit in units}
    ended = run(partitions=weeks, wanted=units, refused=refused)
    (message,) = run_messages(ended, decision(ended), Links("http://ui/"))
    assert message.title == (
        "finra_otc_weekly: 156 of 156 partitions did not load: "
        "T1|0000, T1|0001, T1|0002, T1|0003, T1|0004 and 151 more"
    )
    assert len(message.body) <= MAX_BODY_LENGTH + 10
    assert "Run: http://ui/runs/r1\n" in message.body
    assert message.body.count("view=partitions") == 5
    assert len(message.partitions) == 156


@pytest.mark.parametrize(("reasons", "more"), [(5, None), (7, "and 2 more reasons: see the run")])
def test_five_reasons_are_shown_and_how_many_more_there_are(reasons: int, more: str | None):
    units = [Unit(ASSET, f"T1|{number}") for number in range(reasons)]
    refused = {unit: f"why {unit.partition}" for unit in units}
    ended = run(
        partitions=[unit.partition for unit in units], wanted=frozenset(units), refused=refused
    )
    (message,) = run_messages(ended, decision(ended), Links("http://ui/"))
    lines = message.body.splitlines()
    shown = [line for line in lines if line.startswith("why ")]
    assert shown == [f"why T1|{number}" for number in range(5)]
    assert [line for line in lines if "more reasons" in line] == ([more] if more else [])


def test_long_texts_and_lists_are_cut():
    assert (cut("abc", 3), cut("abcdef", 4)) == ("abc", "ab …")
    assert (format_list(["a", "b"]), format_list(list("abcdefg"))) == (
        "a, b",
        "a, b, c, d, e and 2 more",
    )


def test_waits_between_attempts_double_up_to_an_hour():
    minutes = [wait_after(attempts) / timedelta(minutes=1) for attempts in (1, 2, 3, 6, 7, 900)]
    assert minutes == [1, 2, 4, 32, 60, 60]


def test_a_channel_gets_its_least_severity_and_worse():
    levels: list[Any] = ["info", "warning", "error"]
    assert [[is_admitted(least, level) for level in levels] for least in levels] == [
        [True, True, True],
        [False, True, True],
        [False, False, True],
    ]


def test_entries_are_read_with_their_severity_and_named_by_scheme_and_place():
    read, errors = parse_channels(["slack://a/b/c", "WARNING=mailto://u:p@h?to=x", "info=json://h"])
    assert read == (
        Channel("slack-1", "error", "slack://a/b/c", "entry 1 of ALERT_URLS"),
        Channel("mailto-2", "warning", "mailto://u:p@h?to=x", "entry 2 of ALERT_URLS"),
        Channel("json-3", "info", "json://h", "entry 3 of ALERT_URLS"),
    )
    assert "u:p" not in repr(read)
    assert errors == ()
    assert parse_channels(()) == ((), ())


def test_channels_with_names_of_their_own_come_after_the_entries():
    read, _ = parse_channels(["json://h"], {"ops": "info=json://o", "data": " mailto://u:p@h "})
    assert [(channel.name, channel.least, channel.url, channel.setting) for channel in read] == [
        ("json-1", "error", "json://h", "entry 1 of ALERT_URLS"),
        ("data", "error", "mailto://u:p@h", "ALERT_URL_DATA"),
        ("ops", "info", "json://o", "ALERT_URL_OPS"),
    ]
    (kept,), (error,) = parse_channels((), {"data": "json://d", "ops": "hunter2"})
    assert (kept.name, error.what) == ("data", "ALERT_URL_OPS cannot be used")
    assert "hunter2" not in str(error)


MALFORMED = ("hunter2", "loud=json://hunter2", "=json://hunter2", "x://")


@pytest.mark.parametrize("entry", [*MALFORMED, "json://hunter2 json://b"])
def test_a_malformed_entry_is_refused_by_its_number_without_its_text(entry):
    read, (error,) = parse_channels(["json://good", entry, "json://third"])
    assert error.what == "entry 2 of ALERT_URLS cannot be used"
    assert "hunter2" not in str(error)
    assert [channel.name for channel in read] == ["json-1", "json-3"]


def test_progress_keeps_the_latest_places_so_that_late_ones_are_still_read():
    progress = Progress(seen=[0]).with_seen(list(range(1, 101)))
    assert progress.since == 100 - READ_OVERLAP
    assert Progress.model_validate_json(progress.model_dump_json()) == progress
