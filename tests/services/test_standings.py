"""How domains and assets stand: figures by window, and states by thresholds."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from orchestration_project.engine.contracts.pauses import Pause
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.services.ledger.rules.standings import (
    COUNTS,
    ActiveRuns,
    Figures,
    Observation,
    Subject,
    build_rows,
    evaluate_health,
    evaluate_state,
    render_state,
    sum_by_day,
    summarize_states,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATE = OldestMissing("finra/otc_weekly", "T1|2026-02-02", NOON - timedelta(hours=30))
IS_LATE = (
    "finra/otc_weekly is 30 h late, 1 partition missing, oldest T1|2026-02-02; "
    "do this: load it, or see why its runs failed"
)
RETRY = "start retry_failures of operations_runs for"
SOURCE = "source: the source would send the same response; inspect the capture"


def ended(*rows) -> pl.DataFrame:
    """Return counts: key, runs, retries, and where there are any, rows in and rejected."""
    full = [
        (*row[:7], row[7], row[7] - row[8], row[8], 10 * row[7])
        if len(row) > 7
        else (*row, *[0] * 4)
        for row in rows
    ]
    return pl.DataFrame(full, COUNTS, orient="row")


def stand(look: Observation, *overdue: OldestMissing):
    found = evaluate_health(look, overdue, now=NOON, machine_now=NOON)
    return {standing.subject: standing for standing in found}


def state(day=None, week=None, under_way=None, overdue=None):
    figures = [day or Figures(24), week or Figures(168), Figures(672)]
    way = under_way or ActiveRuns()
    late = [overdue] if overdue else []
    return evaluate_state(figures, way, late, now=NOON, machine_now=NOON)


@pytest.mark.parametrize("subject", ["finra", "finra/otc_weekly"])
def test_what_is_paused_is_not_late_and_has_the_reason(subject: str):
    pause = Pause(subject, "maintenance", "ada", NOON - timedelta(days=1), NOON)
    waits = {Subject("finra", "finra/otc_weekly"): ActiveRuns(1, 0, NOON - timedelta(hours=3))}
    found = {
        health.subject: health
        for health in evaluate_health(
            Observation(ended(), waits),
            [LATE],
            now=NOON,
            machine_now=NOON,
            pause_of=lambda one: pause if subject in (one.domain, one.asset) else None,
        )
    }
    paused = found[Subject("finra", "finra/otc_weekly")]
    reason = "is paused until 2026-03-02 12:00 UTC by ada: maintenance"
    assert (paused.state, paused.reasons) == ("healthy", [f"{subject} {reason}"])
    assert found[Subject("finra")].state == "healthy"


def test_windows_hold_the_days_that_they_reach_back():
    look = Observation(
        ended(
            ("finra", "", 0, "SUCCESS", None, 3, 1, 1000, 4),
            ("finra", "", 1, "FAILURE", "source", 1, 0),
            ("finra", "", 6, "FAILURE", "contract", 2, 0),
            ("finra", "", 7, "CANCELED", "canceled", 5, 0),
            ("finra", "", 27, "SUCCESS", None, 7, 0, 500, 0),
        )
    )
    day, week, month = stand(look)[Subject("finra")].figures
    assert (day.run_count, day.retry_count, day.rows_landed, day.byte_count) == (3, 1, 996, 10_000)
    assert (day.success_share, day.reject_share) == (1.0, 0.004)
    assert (week.run_count, week.failure_count, week.success_share) == (6, 3, 0.5)
    assert week.failures == {"source": 1, "contract": 2}
    assert (month.run_count, month.success_count, month.rows_in) == (18, 10, 1500)


def test_an_asset_stands_by_itself_and_its_domain_by_the_runs_and_the_worst_lateness():
    look = Observation(
        ended(
            ("finra", "", 0, "SUCCESS", None, 9, 0),
            ("finra", "finra/tier_week", 0, "FAILURE", "defect", 2, 0),
        ),
        landed_at={"finra/otc_weekly": NOON - timedelta(hours=5), "web/pages": NOON},
    )
    found = stand(look, LATE)
    assert {subject: value.state for subject, value in found.items()} == {
        ("finra", ""): "stale",
        ("finra", "finra/otc_weekly"): "stale",
        ("finra", "finra/tier_week"): "failing",
        ("web", ""): "healthy",
        ("web", "web/pages"): "healthy",
    }
    assert found[Subject("finra")].reasons == [IS_LATE]


def test_a_domain_names_each_asset_that_is_late_the_longest_first():
    daily = OldestMissing("finra/daily", "2026-02-24", NOON - timedelta(hours=40), missing_count=3)
    found = stand(Observation(ended()), LATE, daily)
    remedy = "; do this: load it, or see why its runs failed"
    is_late = f"finra/daily is 40 h late, 3 partitions missing, oldest 2026-02-24{remedy}"
    assert found[Subject("finra")].reasons == [is_late, IS_LATE]
    assert found[Subject("finra")].overdue == daily
    assert found[Subject("finra", "finra/otc_weekly")].reasons == [IS_LATE]


def test_nothing_at_all_is_healthy():
    assert state() == ("healthy", [])


@pytest.mark.parametrize(
    ("good", "bad", "expected"), [(0, 1, "failing"), (1, 2, "failing"), (1, 1, "attention")]
)
def test_more_failures_than_successes_are_failing_and_any_failure_asks_for_attention(
    good, bad, expected
):
    day = Figures(24, good + bad, good, bad, failures={"source": bad})
    reason = f"{bad} of {good + bad} failed in the last 24 h: {bad} source; do this: {SOURCE}"
    assert state(day) == (expected, [reason])


def test_without_an_end_within_a_day_the_week_decides():
    week = Figures(168, 3, 0, 3, failures={"crash": 3})
    crashed = "3 of 3 failed in the last 7 days: 3 crash"
    assert state(week=week) == ("failing", [f"{crashed}; do this: {RETRY} crash"])
    assert state(Figures(24, 1, 1), week) == ("healthy", [])


@pytest.mark.parametrize(
    ("failures", "remedy", "is_retry_useful"),
    [
        ({"crash": 1, "transient": 1}, f"{RETRY} crash, transient", True),
        (
            {"database": 1, "source": 1},
            f"{RETRY} database; {SOURCE}",
            True,
        ),
        (
            {"contract": 2},
            "contract: it stays quarantined until the source or a rule changes; "
            "then load or replay it",
            False,
        ),
        ({"configuration": 2}, "configuration: a setting or run config has to be corrected", False),
    ],
)
def test_a_retry_is_advised_only_where_it_can_help(failures, remedy, is_retry_useful):
    rows = [("finra", "", 0, "FAILURE", kind, count, 0, 0, 0) for kind, count in failures.items()]
    health = stand(Observation(ended(*rows)))[Subject("finra")]
    [reason] = health.reasons
    assert reason.partition("; do this: ")[2].startswith(remedy)
    assert health.is_retry_useful is is_retry_useful


QUARANTINE = "; do this: open Attention in the bar, which has reasons and what can be done"


def test_quarantined_partitions_are_counted_by_asset_and_domain():
    look = Observation(ended(), quarantined={"finra/otc_weekly": 2, "finra/daily": 1})
    found = stand(look)
    of_weekly = f"2 partitions of finra/otc_weekly quarantined{QUARANTINE}"
    of_daily = f"1 partition of finra/daily quarantined{QUARANTINE}"
    domain, weekly = found[Subject("finra")], found[Subject("finra", "finra/otc_weekly")]
    assert (domain.state, domain.reasons) == ("attention", [of_daily, of_weekly])
    assert (domain.quarantined_count, weekly.quarantined_count) == (3, 2)
    assert weekly.reasons == [of_weekly]


def test_quarantined_partitions_that_are_late_are_reported_once():
    late = OldestMissing(
        *("finra/otc_weekly", "T1|2026-02-02", NOON - timedelta(hours=30)),
        missing_count=3,
        quarantined_count=1,
    )
    is_late = "finra/otc_weekly is 30 h late, 2 partitions missing, 1 partition quarantined, "
    is_late += "oldest T1|2026-02-02; do this: load it, or see why its runs failed"
    weekly = Subject("finra", "finra/otc_weekly")
    standing = stand(Observation(ended(), quarantined={"finra/otc_weekly": 1}), late)[weekly]
    assert standing.reasons == [is_late]
    more = stand(Observation(ended(), quarantined={"finra/otc_weekly": 2}), late)[weekly]
    assert more.reasons == [is_late, f"2 partitions of finra/otc_weekly quarantined{QUARANTINE}"]


def test_failing_is_worse_than_stale_and_both_are_reported():
    day = Figures(24, 1, 0, 1, failures={"source": 1})
    worst, reasons = state(day, overdue=LATE)
    assert worst == "failing"
    assert reasons == [f"1 of 1 failed in the last 24 h: 1 source; do this: {SOURCE}", IS_LATE]


def test_lateness_of_over_two_days_is_in_days_with_its_remedy():
    late = OldestMissing(
        *("finra/otc_weekly", "T1|2025-06-02", NOON - timedelta(days=203)),
        missing_count=84,
        unit="week",
        remedy="start finra_otc_weekly",
    )
    expected = "finra/otc_weekly is 203 days late, 84 weeks missing, oldest T1|2025-06-02"
    assert state(overdue=late) == ("stale", [f"{expected}; do this: start finra_otc_weekly"])


@pytest.mark.parametrize(
    ("quarantined_count", "expected"),
    [
        (2, "1 week missing, 2 weeks quarantined, oldest T1|2026-02-02; do this: start it"),
        (
            3,
            "3 weeks quarantined, oldest T1|2026-02-02; do this: open Attention in the bar, "
            "which has reasons and what can be done",
        ),
    ],
)
def test_weeks_that_are_quarantined_are_not_called_missing(quarantined_count, expected):
    late = OldestMissing(
        *("finra/otc_weekly", "T1|2026-02-02", NOON - timedelta(hours=30)),
        missing_count=3,
        unit="week",
        remedy="start it",
        quarantined_count=quarantined_count,
    )
    assert state(overdue=late) == ("stale", [f"finra/otc_weekly is 30 h late, {expected}"])


def test_the_verdict_names_the_domains_of_each_state_the_worst_first():
    counts = ended(("saas", "", 0, "FAILURE", "source", 1, 0), ("fx", "", 0, "SUCCESS", None, 1, 0))
    look = Observation(counts, landed_at={"finra/otc_weekly": NOON, "web/pages": NOON})
    found = [value for value in stand(look, LATE).values() if not value.subject.asset]
    assert summarize_states(found) == "failing: saas; stale: finra; healthy: fx, web"
    assert summarize_states([]) == "no run has ended, and nothing is loaded"
    assert [render_state(standing) for standing in found][:2] == [
        "**stale**\n\n"
        "- finra/otc_weekly is 30 h late, 1 partition  \n"
        "  missing, oldest T1|2026-02-02  \n"
        "  do this: load it, or see why its runs  \n  failed",
        "**healthy**",
    ]


@pytest.mark.parametrize(
    ("figures", "under_way", "reason"),
    [
        (
            Figures(24, 1, 1, rows_in=1000, rows_rejected=6),
            ActiveRuns(),
            "0.60% of the lines of the last 24 h were rejected; do this: read the table rejects",
        ),
        (Figures(24, 3, 3, retry_count=3), ActiveRuns(), "3 retries in the last 24 h"),
        (
            Figures(24),
            ActiveRuns(1, 0, NOON - timedelta(minutes=90)),
            "a run has waited for 1.5 h to start; "
            "do this: see what runs, and whether the daemon does",
        ),
    ],
)
def test_rejects_retries_and_a_long_queue_ask_for_attention(figures, under_way, reason):
    assert state(figures, under_way=under_way) == ("attention", [reason])


def test_values_at_a_threshold_are_still_healthy():
    figures = Figures(24, 2, 2, retry_count=2, rows_in=1000, rows_rejected=5)
    way = ActiveRuns(1, 0, NOON - timedelta(hours=1))
    assert state(figures, under_way=way) == ("healthy", [])


def test_the_table_has_a_row_for_each_subject_and_window():
    look = Observation(
        ended(("finra", "", 0, "FAILURE", "source", 2, 0), ("finra", "", 0, "SUCCESS", None, 6, 0)),
        under_way={Subject("finra"): ActiveRuns(4, 1)},
        landed_at={"finra/otc_weekly": NOON - timedelta(hours=5)},
    )
    found = evaluate_health(look, [LATE], now=NOON, machine_now=NOON)
    first, *others = build_rows(found, NOON)
    assert [(standing["asset"], standing["window_hours"]) for standing in (first, *others)] == [
        *(("", hours) for hours in (24, 168, 672)),
        *(("finra/otc_weekly", hours) for hours in (24, 168, 672)),
    ]
    wanted = {
        "state": "stale",
        "run_count": 8,
        "success_share": 0.75,
        "runs_per_hour": 8 / 24,
        "reject_share": None,
        "queue_depth": 4,
        "running_count": 1,
        "hours_since_landing": 5.0,
        "oldest_unlanded_partition": "T1|2026-02-02",
        "hours_late": 30.0,
    }
    assert {name: first[name] for name in wanted} == wanted
    assert json.loads(first["failures_by_category"]) == {"source": 2}
    assert len(json.loads(first["reasons"])) == 2


def test_days_without_a_run_are_days_with_nothing():
    counts = ended(
        ("finra", "", 0, "SUCCESS", None, 2, 0, 10, 0),
        ("web", "", 0, "FAILURE", "source", 1, 0),
        ("finra", "finra/otc_weekly", 0, "SUCCESS", None, 2, 0, 10, 0),
    )
    days = sum_by_day(counts)
    assert days.height == 28
    assert days.row(-1) == (0, 2, 1, 10)
    assert days.head(27).drop("days_ago").sum().row(0) == (0, 0, 0)
    assert sum_by_day(counts, "web").row(-1) == (0, 0, 1, 0)
