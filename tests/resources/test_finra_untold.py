"""What a landing changed is found once more in the tables, on both databases."""

from datetime import date, timedelta

import pytest

from orchestration_project.domains.finra.restatement import ToldChange
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.resources.finra import untold
from orchestration_project.resources.finra.untold import change_of_landing
from orchestration_project.tables.finra import finra_otc_weekly
from tests.resources.weeks import MONDAY, NOON, row

PARTITION = TierWeek("T1", MONDAY)
WEEK = [row("AAA"), row("AAA", "YATS"), row("BBB"), row("CCC"), row("DDD", market="NON_ATS")]
RESTATED = [
    row("AAA", share_quantity=150, trade_count=3),
    row("BBB", last_update_date=date(2026, 1, 12)),
    row("CCC"),
    row("AAA", "YATS", issue_name="AAA Corp."),
    row("EEE", share_quantity=1),
]


def found(desk) -> ToldChange:
    told = found_or_none(desk)
    assert told is not None
    return told


def found_or_none(desk) -> ToldChange | None:
    state = desk.warehouse.state(finra_otc_weekly, desk.partition_key)
    with desk.warehouse.reading() as connection:
        return change_of_landing(connection, PARTITION, state)


@pytest.mark.parametrize("rows_at_once", [1, 4, 1000])
def test_what_each_landing_changed_is_what_it_said_of_it(desk, clock, monkeypatch, rows_at_once):
    monkeypatch.setattr(untold, "ROWS_AT_ONCE", rows_at_once)
    dates_alone = [*RESTATED[:2], row("CCC", last_update_date=date(2026, 1, 12)), *RESTATED[3:]]
    deliveries = [
        (WEEK, {"version": "v1"}, "first"),
        (RESTATED, {"version": "v2"}, "source"),
        (dates_alone, {"version": "v3"}, "metadata"),
        (
            [row("AAA", share_quantity=7)],
            {"version": "v4", "scope": {"market": ("ATS",)}},
            "source",
        ),
        (WEEK, {"version": "v4", "rule_version": "2"}, "ours"),
    ]
    for days, (rows, how, cause) in enumerate(deliveries):
        clock.at = NOON + timedelta(days=days)
        landed = desk.land(*rows, **how)
        told = found(desk)
        assert (landed.change_cause, landed.change) == (cause, told.figures)
        assert told.cause == cause
        assert told.sentence.endswith(" (Told late: run run, which landed it, died.)")


def test_its_sentence_names_the_part_and_says_if_it_was_set_back(desk, clock):
    desk.land(row("AAA"), row("BBB"), version="v1")
    clock.at = NOON + timedelta(days=1)
    desk.land(row("AAA", share_quantity=7), version="v2", scope={"market": ("ATS",)})
    part = f"T1, week {MONDAY}, market=ATS, was restated: 1 of 2 rows changed, 1 gone; "
    assert found(desk).sentence.startswith(part)
    clock.at = NOON + timedelta(days=2)
    first = f"finra_otc_weekly:{desk.partition_key}#1"
    desk.land(row("AAA"), row("BBB"), version="v1", replay_of=first, is_ours=True)
    assert found(desk).sentence.startswith(
        f"T1, week {MONDAY}, was set back to an earlier delivery: 1 of 1 rows changed, 1 new; "
    )


def test_a_landing_that_wrote_no_row_changed_nothing(desk, clock):
    desk.land(row("AAA"))
    clock.at = NOON + timedelta(days=1)
    desk.land(row("AAA"), version="v2")
    assert found_or_none(desk) is None
