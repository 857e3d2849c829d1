"""Order of the inbox, and the outcome of a delivery in a run."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.contracts.webhooks.queue import (
    RETRY_PAUSES,
    RUNS_PER_TICK,
    AttemptRun,
    DispatchPlan,
    QueueState,
    Row,
    derive_change,
    fail_unclaimed,
    find_ended_holders,
    find_wait_end,
    plan_batch_run,
    plan_single_runs,
    select_due,
    select_first,
)
from orchestration_project.engine.contracts.work_items import ItemChange, ItemState
from tests.expecting import expect_present
from tests.properties import bounded

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FIRST = Row("git", "1", "ready", 0, 3, NOON, NOON)
SECOND = replace(FIRST, delivery_id="2", received_at=NOON + timedelta(seconds=1))
OTHER = replace(SECOND, source="jira", delivery_id="9")
FAILED = replace(FIRST, state="failed", attempt_count=1)
IN_ORDER = {"git": True, "jira": True}
MINUTE = timedelta(minutes=1)


def ran(status: str, **more) -> AttemptRun:
    return AttemptRun("run", status, **more)


def facts(row: Row, change: ItemChange | None) -> tuple[ItemState, int, str | None, datetime]:
    """Return state, ended attempts, run and time of a delivery after a change."""
    made = expect_present(change)
    return made.state, row.attempt_count + made.attempts_added, made.run_id, made.at


def due_at(now: datetime, *rows: Row, runs: Mapping[str, AttemptRun] | None = None) -> list[Row]:
    return select_due(rows, runs or {}, in_order=IN_ORDER, most=9, now=now)


def test_each_attempt_at_a_delivery_has_a_name_of_its_own():
    assert FIRST.attempt == "git|1#1 (2026-03-02T12:00:00+00:00)"
    assert replace(FIRST, attempt_count=4).attempt == "git|1#5 (2026-03-02T12:00:00+00:00)"
    in_new_york = replace(FIRST, received_at=NOON.astimezone(ZoneInfo("America/New_York")))
    assert in_new_york.attempt == FIRST.attempt


def test_a_row_waits_until_the_one_before_of_its_source_is_over_and_for_no_other_source():
    rows = [OTHER, SECOND, FIRST]
    assert due_at(NOON, *rows) == [FIRST, OTHER]
    assert due_at(NOON, *rows, runs={FIRST.attempt: ran("STARTED")}) == [OTHER]
    assert due_at(NOON + MINUTE, FAILED, SECOND) == [FAILED]
    assert due_at(NOON, SECOND) == [SECOND]


def test_rows_of_a_source_without_order_do_not_wait_and_no_look_asks_for_more_than_it_may():
    running = replace(FIRST, state="leased", run_id="run")
    assert select_due([running, SECOND], {}, in_order={"git": False}, most=9, now=NOON) == [SECOND]
    assert select_due([FIRST, SECOND], {}, in_order={"git": False}, most=1, now=NOON) == [FIRST]


def test_an_attempt_after_a_failed_one_waits_and_so_do_the_rows_behind_it_in_order():
    rows = (FAILED, SECOND, OTHER)
    assert due_at(NOON + MINUTE - timedelta.resolution, *rows) == [OTHER]
    assert due_at(NOON + MINUTE, *rows) == [FAILED, OTHER]


@pytest.mark.parametrize(("attempt_count", "minutes"), [(1, 1), (2, 5), (3, 5), (20, 5)])
def test_the_pause_grows_and_begins_when_the_run_ended(attempt_count, minutes):
    row = replace(FAILED, attempt_count=attempt_count)
    until = NOON + minutes * MINUTE
    assert find_wait_end(row, NOON) == until
    assert find_wait_end(row, until - timedelta.resolution) == until
    assert find_wait_end(row, until) is None


def test_what_was_put_back_does_not_wait():
    row = replace(FAILED, state="ready", attempt_count=3)
    assert find_wait_end(row, NOON) is None
    assert due_at(NOON, row) == [row]


@bounded
@given(
    seconds=st.floats(min_value=-1e6, max_value=1e6),
    attempt_count=st.integers(min_value=1, max_value=40),
)
def test_no_row_waits_longer_than_the_pause_from_now_whatever_became_of_the_clock(
    seconds, attempt_count
):
    now = NOON + timedelta(seconds=seconds)
    until = find_wait_end(replace(FAILED, attempt_count=attempt_count), now)
    assert until is None or now < until <= now + RETRY_PAUSES[-1]


def test_without_order_those_that_wait_leave_their_place_and_those_that_run_keep_it():
    running = replace(OTHER, state="leased", received_at=NOON + MINUTE)
    rows = [FAILED, SECOND, running]
    assert select_first(rows, in_order=False, most=2, now=NOON) == [running, SECOND]
    assert select_first(rows, in_order=False, most=2, now=NOON + MINUTE) == [running, FAILED]
    assert select_first(rows, in_order=True, most=2, now=NOON) == [running, FAILED]


def test_in_order_nothing_is_due_beside_a_run_also_if_it_is_older_than_what_runs():
    late = replace(FIRST, delivery_id="0", received_at=NOON - MINUTE)
    running = replace(SECOND, state="leased", run_id="run")
    assert due_at(NOON, late, running, OTHER) == [OTHER]
    assert due_at(NOON, late, SECOND, runs={SECOND.attempt: ran("QUEUED")}) == []
    assert due_at(NOON, late, SECOND) == [late]


def test_a_row_is_running_while_its_run_is_and_done_when_that_succeeds():
    for status in ("QUEUED", "STARTING", "STARTED"):
        assert facts(FIRST, derive_change(FIRST, ran(status), now=NOON)) == (
            "leased",
            0,
            "run",
            NOON,
        )
    running = replace(FIRST, state="leased", run_id="run")
    assert derive_change(running, ran("STARTED"), now=NOON) is None
    assert facts(running, derive_change(running, ran("SUCCESS"), now=NOON)) == (
        "done",
        1,
        "run",
        NOON,
    )
    assert derive_change(FIRST, None, now=NOON) is None


@pytest.mark.parametrize("status", ["FAILURE", "CANCELED"])
def test_a_row_whose_run_fails_is_tried_again_until_it_is_dead(status):
    states: list[ItemState] = ["failed", "failed", "dead"]
    for attempts, state in enumerate(states):
        row = replace(FIRST, state="leased", attempt_count=attempts, run_id="run")
        found = derive_change(row, ran(status), now=NOON)
        assert facts(row, found) == (state, attempts + 1, "run", NOON)


def test_a_row_whose_run_rejects_it_is_dead_after_that_one_attempt():
    found = derive_change(FIRST, ran("SUCCESS", has_rejected=True), now=NOON)
    assert facts(FIRST, found) == ("dead", 1, "run", NOON)


def test_what_a_run_makes_of_a_row_holds_since_its_end_and_never_from_later_than_now():
    row = replace(FIRST, state="leased", run_id="run")
    for ended_at, at in ((NOON - MINUTE, NOON - MINUTE), (NOON + MINUTE, NOON)):
        found = derive_change(row, ran("FAILURE", ended_at=ended_at), now=NOON)
        assert facts(row, found) == ("failed", 1, "run", at)


def test_a_run_that_dagster_tries_again_is_not_over_for_ten_minutes():
    row = replace(FIRST, state="leased", run_id="run")
    again = ran("FAILURE", will_retry=True, ended_at=NOON)
    assert derive_change(row, again, now=NOON + timedelta(minutes=9)) is None
    found = derive_change(row, again, now=NOON + timedelta(minutes=10))
    assert facts(row, found) == ("failed", 1, "run", NOON)


def test_a_run_that_was_deleted_counts_as_an_attempt_after_which_nothing_waits():
    row = replace(FIRST, state="leased", run_id="run")
    assert facts(row, derive_change(row, None, now=NOON)) == ("ready", 1, "run", NOON)
    last = replace(row, attempt_count=2)
    assert facts(last, derive_change(last, None, now=NOON)) == ("dead", 3, "run", NOON)


@pytest.mark.parametrize(
    ("row", "run", "expected"),
    [
        (FIRST, ran("FAILURE", ended_at=NOON - MINUTE), ("failed", 1, NOON - MINUTE)),
        (FIRST, ran("CANCELED", ended_at=NOON + MINUTE), ("failed", 1, NOON)),
        (FIRST, ran("FAILURE"), ("failed", 1, NOON)),
        (replace(FIRST, attempt_count=2), ran("FAILURE", ended_at=NOON), ("dead", 3, NOON)),
        (FIRST, ran("FAILURE", ended_at=NOON - 9 * MINUTE, will_retry=True), None),
        (
            FIRST,
            ran("FAILURE", ended_at=NOON - 10 * MINUTE, will_retry=True),
            ("failed", 1, NOON - 10 * MINUTE),
        ),
        (FIRST, ran("FAILURE", will_retry=True), None),
        (FIRST, ran("SUCCESS", ended_at=NOON), None),
        (FIRST, ran("STARTED"), None),
        (replace(FIRST, state="leased"), ran("FAILURE", ended_at=NOON), None),
        (FIRST, None, None),
    ],
)
def test_a_delivery_whose_run_failed_before_it_claimed_any_has_one_more_attempt(
    row: Row, run: AttemptRun | None, expected: tuple[ItemState, int, datetime] | None
):
    change = fail_unclaimed(row, run, now=NOON)
    if expected is None:
        assert change is None
    else:
        state, attempt_count, at = expected
        assert facts(row, change) == (state, attempt_count, "run", at)


# -- a poll of the inbox


def state_of(*rows: Row, in_order: bool = True, now: datetime = NOON) -> QueueState:
    queues = {name: [row for row in rows if row.source == name] for name in ("git", "jira")}
    return QueueState(queues=queues, in_order=dict.fromkeys(queues, in_order), now=now)


def test_a_poll_plans_due_rows_and_counts_those_under_way_and_those_that_wait():
    waiting = replace(FAILED, source="jira")
    state = state_of(FIRST, SECOND, waiting)
    runs = {FIRST.attempt: ran("STARTED")}
    assert plan_single_runs(state, {}, []) == DispatchPlan([FIRST], waits=[NOON + MINUTE])
    assert plan_single_runs(state, runs, []) == DispatchPlan(
        [], under_way_count=1, waits=[NOON + MINUTE]
    )


def test_a_poll_changes_first_rows_by_their_runs_and_counts_what_ended():
    running = replace(OTHER, state="leased", run_id="run")
    state = state_of(FIRST, SECOND, running)
    runs = {FIRST.attempt: ran("SUCCESS"), running.attempt: ran("STARTED")}
    [(row, change)] = state.find_changes(runs)
    assert (row, change.state) == (FIRST, "done")
    dead = ItemChange("dead", NOON, "run", 1)
    plan = plan_single_runs(state_of(SECOND), {}, [change, dead])
    assert plan == DispatchPlan([SECOND], ended_run_count=2, dead_count=1, waits=[])


def test_no_poll_considers_or_requests_more_rows_of_a_source_than_its_limit():
    rows = [replace(FIRST, delivery_id=f"{number:03}") for number in range(RUNS_PER_TICK + 5)]
    state = state_of(*rows, replace(OTHER, received_at=NOON), in_order=False)
    assert len(state.first_rows) == RUNS_PER_TICK + 1
    assert len(plan_single_runs(state, {}, []).due) == RUNS_PER_TICK
    assert plan_single_runs(state_of(*rows), {}, []).due == rows[:1]


def test_a_batch_is_requested_for_the_first_due_row_unless_a_run_is_under_way():
    state = state_of(FIRST, SECOND)
    assert plan_batch_run(state, 0, []) == DispatchPlan([FIRST], waits=[])
    assert plan_batch_run(state, 2, []) == DispatchPlan((), under_way_count=2, waits=[])
    waiting = state_of(FAILED, SECOND)
    assert plan_batch_run(waiting, 0, []) == DispatchPlan([], waits=[NOON + MINUTE])
    unordered = state_of(FAILED, SECOND, in_order=False)
    assert plan_batch_run(unordered, 0, []).due == [SECOND]


def test_a_batch_that_failed_before_it_claimed_counts_as_an_attempt_at_its_first_row():
    state = state_of(FIRST, SECOND)
    failure = ran("FAILURE", ended_at=NOON)
    assert state.find_unclaimed({FIRST.attempt: ran("STARTED")}) == []
    assert state.find_unclaimed({SECOND.attempt: failure}) == []
    [(row, change)] = state.find_unclaimed({FIRST.attempt: failure})
    assert facts(row, change) == ("failed", 1, "run", NOON)
    last = replace(FIRST, attempt_count=2)
    [(_, dead)] = state_of(last).find_unclaimed({last.attempt: failure})
    plan = plan_batch_run(state_of(SECOND), 0, [change, dead])
    assert plan == DispatchPlan([SECOND], ended_run_count=2, dead_count=1, waits=[])


def test_leases_end_of_runs_that_ended_or_were_deleted_but_not_of_those_under_way():
    ends = {"ended": NOON, "at work": None, "without end": None}
    holders = ["ended", "at work", "without end", "deleted"]
    assert find_ended_holders(holders, ends, {"at work"}) == {
        "ended": NOON,
        "without end": None,
        "deleted": None,
    }


def test_plans_of_several_sources_add_up():
    one = DispatchPlan([FIRST], 1, 1, 2, [NOON])
    other = DispatchPlan((), 2, 0, 1, [NOON + MINUTE])
    assert one + other == DispatchPlan([FIRST], 3, 1, 3, [NOON, NOON + MINUTE])
