"""What landings changed is found once more in the tables, on both databases."""

from datetime import date, timedelta

import pytest
from sqlalchemy import delete

from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.resources.finra import unreported_changes as untold
from orchestration_project.resources.finra.unreported_changes import UnreportedChanges
from orchestration_project.tables.finra import finra_otc_weekly
from orchestration_project.tables.spine import deliveries
from tests.resources.weeks import MONDAY, NOON, row

LATER = date(2026, 1, 12)
WEEK = [row("AAA"), row("AAA", "YATS"), row("BBB"), row("CCC"), row("DDD", market="NON_ATS")]
RESTATED = [
    row("AAA", share_quantity=150, trade_count=3),
    row("BBB", last_update_date=LATER),
    row("CCC"),
    row("AAA", "YATS", issue_name="AAA Corp."),
    row("EEE", share_quantity=1),
]
RELABELLED = [*RESTATED[:2], row("CCC", last_update_date=LATER), *RESTATED[3:]]
OF_ONE_MARKET = {"market": ("ATS",)}
DELIVERIES = [
    (WEEK, {"version": "v1"}, "first"),
    (RESTATED, {"version": "v2"}, "source"),
    (RELABELLED, {"version": "v3"}, "metadata"),
    ([row("AAA", share_quantity=7)], {"version": "v4", "scope": OF_ONE_MARKET}, "source"),
    ([row("AAA", share_quantity=7)], {"version": "v5", "scope": OF_ONE_MARKET}, "none"),
    (WEEK, {"version": "v5", "rule_version": "2"}, "ours"),
]


def told_of(desk, *answers, stays=True):
    """Return what is told if Dagster answers so of the landings, the latest first, and then yes."""
    before = desk.warehouse.state(finra_otc_weekly, desk.partition_key)

    def knows(_run_id, _partition_key, known_from):
        days = (before.landed_at - known_from).days
        return answers[days] if days < len(answers) else "yes"

    partition = TierWeek(desk.tier, desk.week_start)
    known_from, changes = UnreportedChanges(desk.warehouse, knows).changes(
        partition, before, stays=stays
    )
    assert known_from == (None if stays and answers[0] == "not yet" else before.landed_at)
    return list(changes)


def landed(desk, clock, some):
    for days, (rows, how, cause) in enumerate(some):
        clock.at = NOON + timedelta(days=days)
        done = desk.land(*rows, **how)
        assert done.change_cause == cause
        yield done


@pytest.mark.parametrize("rows_at_once", [1, 4, 1000])
def test_what_each_landing_changed_is_what_it_said_of_it(desk, clock, monkeypatch, rows_at_once):
    monkeypatch.setattr(untold, "ROWS_AT_ONCE", rows_at_once)
    said = [each for each in landed(desk, clock, DELIVERIES) if each.change_cause != "none"]
    found = told_of(desk, *["no"] * len(DELIVERIES))
    assert [each.figures for each in found] == [each.change for each in said]
    assert [each.cause for each in found] == [each.change_cause for each in said]
    late = " (Told late: run run, which landed it, had not told of it.)"
    assert all(each.sentence.endswith(late) for each in found)


def test_what_was_told_of_and_all_before_it_is_not_told_again(desk, clock):
    list(landed(desk, clock, DELIVERIES))
    assert told_of(desk, "yes", "no") == []
    assert [each.cause for each in told_of(desk, "no", "yes", "no", "no")] == ["ours"]
    assert [each.cause for each in told_of(desk, "no", "no", "no", "yes")] == ["source", "ours"]


def test_a_run_that_goes_on_is_left_to_tell_only_of_what_stays_the_latest(desk, clock):
    list(landed(desk, clock, DELIVERIES))
    assert told_of(desk, "not yet") == []
    assert [each.cause for each in told_of(desk, "not yet", stays=False)] == ["ours"]
    assert [each.cause for each in told_of(desk, "no", "no", "not yet")] == ["source", "ours"]


def test_what_landed_before_deliveries_were_recorded_is_not_told(desk, clock):
    list(landed(desk, clock, DELIVERIES[:2]))
    with desk.warehouse.writing() as connection:
        connection.execute(delete(deliveries))
    assert told_of(desk, "no", "no") == []


def test_its_sentence_names_the_part_and_says_if_it_was_set_back(desk, clock):
    first = f"finra_otc_weekly:{desk.partition_key}#1"
    replay = {"version": "v1", "replay_of": first, "turns_back": True}
    both = [row("AAA"), row("BBB")]
    part = [row("AAA", share_quantity=7)]
    three = [
        (both, {"version": "v1"}, "first"),
        (part, {"version": "v2", "scope": OF_ONE_MARKET}, "source"),
        (both, replay, "ours"),
    ]
    list(landed(desk, clock, three))
    _, restated, set_back = told_of(desk, "no", "no", "no")
    assert restated.sentence.startswith(
        f"T1, week {MONDAY}, market=ATS, was restated: 1 of 2 rows changed, 1 gone; "
    )
    assert set_back.sentence.startswith(
        f"T1, week {MONDAY}, was set back to an earlier delivery: 1 of 1 rows changed, 1 new; "
    )
