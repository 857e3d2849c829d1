"""Whose turn it is in the inbox, and what a run makes of a delivery."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestration_project.domains.webhooks.queue import (
    AttemptRun,
    Change,
    Row,
    State,
    changed,
    due,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FIRST = Row("git", "1", "received", 0, 3, NOON)
SECOND = replace(FIRST, delivery_id="2", received_at=NOON + timedelta(seconds=1))
OTHER = replace(SECOND, source="jira", delivery_id="9")
IN_ORDER = {"git": True, "jira": True}


def ran(status: str, **more) -> AttemptRun:
    return AttemptRun("run", status, **more)


def test_each_attempt_at_a_delivery_has_a_name_of_its_own():
    assert FIRST.attempt == "git|1#1"
    assert replace(FIRST, attempt_count=4).attempt == "git|1#5"


def test_a_row_waits_until_the_one_before_of_its_source_is_over_and_for_no_other_source():
    rows = [OTHER, SECOND, FIRST]
    assert due(rows, {}, in_order=IN_ORDER, most=9) == [FIRST, OTHER]
    begun = {FIRST.attempt: ran("STARTED")}
    assert due(rows, begun, in_order=IN_ORDER, most=9) == [OTHER]
    failed = replace(FIRST, state="failed", attempt_count=1)
    assert due([failed, SECOND], {}, in_order=IN_ORDER, most=9) == [failed]
    assert due([SECOND], {}, in_order=IN_ORDER, most=9) == [SECOND]


def test_rows_of_a_source_without_order_do_not_wait_and_no_look_asks_for_more_than_it_may():
    running = replace(FIRST, state="running", run_id="run")
    assert due([running, SECOND], {}, in_order={"git": False}, most=9) == [SECOND]
    assert due([FIRST, SECOND], {}, in_order={"git": False}, most=1) == [FIRST]


def test_a_row_is_running_while_its_run_is_and_done_when_that_succeeds():
    for status in ("QUEUED", "STARTING", "STARTED"):
        assert changed(FIRST, ran(status), now=NOON) == Change(FIRST, "running", 0, "run")
    running = replace(FIRST, state="running", run_id="run")
    assert changed(running, ran("STARTED"), now=NOON) is None
    assert changed(running, ran("SUCCESS"), now=NOON) == Change(running, "done", 1, "run")
    assert changed(FIRST, None, now=NOON) is None


@pytest.mark.parametrize("status", ["FAILURE", "CANCELED"])
def test_a_row_whose_run_fails_is_tried_again_until_it_is_dead(status):
    states: list[State] = ["failed", "failed", "dead"]
    for attempts, state in enumerate(states):
        row = replace(FIRST, state="running", attempt_count=attempts, run_id="run")
        found = changed(row, ran(status), now=NOON)
        assert found == Change(row, state, attempts + 1, "run")


def test_a_run_that_dagster_tries_again_is_not_over_for_ten_minutes():
    row = replace(FIRST, state="running", run_id="run")
    again = ran("FAILURE", will_retry=True, ended_at=NOON)
    assert changed(row, again, now=NOON + timedelta(minutes=9)) is None
    found = changed(row, again, now=NOON + timedelta(minutes=10))
    assert found == Change(row, "failed", 1, "run")


def test_a_run_that_was_deleted_counts_as_an_attempt():
    row = replace(FIRST, state="running", run_id="run")
    assert changed(row, None, now=NOON) == Change(row, "failed", 1, "run")
