"""Changes of loads are stored until they are reported, on both databases."""

from datetime import date, timedelta
from functools import partial

import pytest
from sqlalchemy import delete, select

from orchestration_project.domains.finra.selection import PARTITIONING
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.announcements import Announcements
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.resources.finra.weekly import WeeklyDataset
from orchestration_project.tables.spine import pending_announcements
from tests.resources.weeks import LIMITS, MONDAY, NOON, known, row

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


def announcements(partition_loader, is_reported=known):
    return Announcements(partition_loader.warehouse, WeeklyDataset(limits=LIMITS), is_reported)


def expect_announced_changes(partition_loader, *answers, stays=True):
    """Return the changes announced if Dagster answers so of the loads, the latest first, then yes.

    The pending announcements are the same afterwards.
    """
    before = partition_loader.warehouse.state(finra_otc_weekly, partition_loader.partition_key)

    def knows(_run_id, _partition_key, known_from):
        days = (before.landed_at - known_from).days
        return answers[days] if days < len(answers) else "yes"

    waiting = partition_loader.warehouse.frame(select(pending_announcements), pending_announcements)
    known_from, changes = announcements(partition_loader, knows).take_over(
        partition_loader.partition_key, before.landed_at, stays=stays
    )
    with partition_loader.warehouse.writing() as connection:
        connection.execute(delete(pending_announcements))
        insert_frame(connection, pending_announcements, waiting)
    assert known_from == (None if stays and answers[0] == "not yet" else before.landed_at)
    return list(changes)


def load_and_expect_causes(partition_loader, clock, some, ranges_of=0):
    week = PARTITIONING.partition_of(partition_loader.partition_key, today=LATER)
    for days, (rows, how, cause) in enumerate(some):
        clock.at = NOON + timedelta(days=days)
        recorder = partial(recorded, announcements(partition_loader), week)
        done = partition_loader.write_batch(*rows, ranges_of=ranges_of, recorder=recorder, **how)
        assert done.change_cause == cause
        yield done


def recorded(kept, week, target, delivery):
    return kept.recorder(target, week, delivery)


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("ranges_of", [1, 4, 0])
def test_the_reported_changes_of_each_load_are_its_changes(partition_loader, clock, ranges_of):
    said = [
        change
        for change in load_and_expect_causes(partition_loader, clock, DELIVERIES, ranges_of)
        if change.change_cause != "none"
    ]
    found = expect_announced_changes(partition_loader, *["no"] * len(DELIVERIES))
    assert [change.figures for change in found] == [change.change for change in said]
    assert [change.cause for change in found] == [change.change_cause for change in said]
    late = " (Reported late: run run, which loaded it, had not reported it.)"
    assert all(change.sentence.endswith(late) for change in found)


@pytest.mark.slow_on_postgresql
def test_a_report_and_all_before_it_are_not_repeated(partition_loader, clock):
    list(load_and_expect_causes(partition_loader, clock, DELIVERIES))
    assert expect_announced_changes(partition_loader, "yes", "no") == []
    assert [
        change.cause
        for change in expect_announced_changes(partition_loader, "no", "yes", "no", "no")
    ] == ["ours"]
    assert [
        change.cause
        for change in expect_announced_changes(partition_loader, "no", "no", "no", "yes")
    ] == [
        "source",
        "ours",
    ]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_run_that_goes_on_reports_only_what_stays_the_latest(partition_loader, clock):
    list(load_and_expect_causes(partition_loader, clock, DELIVERIES))
    assert expect_announced_changes(partition_loader, "not yet") == []
    assert [
        change.cause
        for change in expect_announced_changes(partition_loader, "not yet", stays=False)
    ] == ["ours"]
    assert [
        change.cause for change in expect_announced_changes(partition_loader, "no", "no", "not yet")
    ] == [
        "source",
        "ours",
    ]


@pytest.mark.slow_after_first
def test_loads_before_announcements_were_kept_are_not_reported(partition_loader, clock):
    list(load_and_expect_causes(partition_loader, clock, DELIVERIES[:2]))
    with partition_loader.warehouse.writing() as connection:
        connection.execute(delete(pending_announcements))
    assert expect_announced_changes(partition_loader, "no", "no") == []


@pytest.mark.slow_after_first
def test_its_sentence_names_the_part_and_says_if_it_was_set_back(partition_loader, clock):
    first = f"finra_otc_weekly:{partition_loader.partition_key}#1"
    replay = {"version": "v1", "replay_of": first, "turns_back": True}
    both = [row("AAA"), row("BBB")]
    part = [row("AAA", share_quantity=7)]
    three = [
        (both, {"version": "v1"}, "first"),
        (part, {"version": "v2", "scope": OF_ONE_MARKET}, "source"),
        (both, replay, "ours"),
    ]
    list(load_and_expect_causes(partition_loader, clock, three))
    _, restated, set_back = expect_announced_changes(partition_loader, "no", "no", "no")
    assert restated.sentence.startswith(
        f"T1, week {MONDAY}, market=ATS, was restated: 1 of 2 rows changed, 1 gone; "
    )
    assert set_back.sentence.startswith(
        f"T1, week {MONDAY}, was set back to an earlier delivery: 1 of 1 rows changed, 1 new; "
    )
