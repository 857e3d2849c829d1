"""States of work items: what each end of an attempt makes of one, without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestration_project.engine.contracts.work_items import (
    RETRY_PAUSES,
    ItemChange,
    ItemSettlement,
    WorkItem,
    abandon_item,
    expire_item,
    format_reason,
    pause_after,
    put_back,
    settle_item,
)
from orchestration_project.errors import ContractError, SourceError, ThrottledError

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LEASED = WorkItem(
    topic="files",
    item_key="a",
    version="1",
    state="leased",
    attempt_count=0,
    allowed_count=3,
    enqueued_at=NOON,
    due_at=NOON,
    lease_holder="run1",
    lease_token=4,
    expires_at=NOON,
    input_sha256=None,
    result_version=None,
    reason_code=None,
    reason=None,
    run_id="run1",
    changed_at=NOON,
)
LAST = replace(LEASED, attempt_count=2)


def test_a_claim_is_current_while_the_item_has_its_lease():
    claimed = replace(LEASED, state="ready", lease_token=3).claimed_by("run1")
    assert (claimed.lease_token, claimed.run_id) == (4, "run1")
    assert claimed.is_current(LEASED)
    assert not claimed.is_current(replace(LEASED, lease_token=5))
    assert not claimed.is_current(replace(LEASED, state="done"))
    assert not claimed.is_current(None)


def test_a_failed_item_waits_until_it_is_due_unless_the_clock_was_set_back():
    failed = replace(LEASED, state="failed", due_at=NOON + timedelta(minutes=1))
    assert failed.waits(NOON)
    assert not failed.waits(NOON + timedelta(minutes=1))
    assert not failed.waits(NOON - timedelta(seconds=1))
    assert not replace(failed, state="ready").waits(NOON)


@pytest.mark.parametrize(("attempt_count", "minutes"), [(1, 1), (2, 5), (3, 30), (4, 60), (9, 60)])
def test_pauses_grow_and_the_last_one_repeats(attempt_count: int, minutes: int):
    assert pause_after(attempt_count) == timedelta(minutes=minutes)


def test_an_item_that_was_not_begun_loses_no_attempt():
    settlement = ItemSettlement(LEASED.claimed_by("run2"), "ready")
    assert settle_item(settlement, LEASED, NOON, RETRY_PAUSES) == ItemChange("ready", NOON, "run2")


def test_a_result_ends_the_item_with_its_version():
    settlement = ItemSettlement(LEASED.claimed_by("run2"), "done", result_version="7")
    change = settle_item(settlement, LEASED, NOON, RETRY_PAUSES)
    assert (change.state, change.attempts_added, change.result_version) == ("done", 1, "7")
    assert (settlement.is_retried, settlement.is_dead) == (False, False)


@pytest.mark.parametrize(
    ("error", "item", "state", "seconds"),
    [
        (ThrottledError("later", retry_in_seconds=600), LEASED, "failed", 600),
        (ThrottledError("later"), LEASED, "failed", 60),
        (ThrottledError("later"), LAST, "dead", None),
        (ContractError("a rule"), LEASED, "dead", None),
    ],
)
def test_an_error_waits_as_long_as_it_asks_for_or_is_the_last(
    error: ThrottledError | ContractError, item: WorkItem, state: str, seconds: int | None
):
    settlement = ItemSettlement.of_error(item.claimed_by("run2"), error)
    change = settle_item(settlement, item, NOON, RETRY_PAUSES)
    due_at = None if seconds is None else NOON + timedelta(seconds=seconds)
    assert (change.state, change.due_at, change.attempts_added) == (state, due_at, 1)
    assert (change.reason_code, settlement.error) == (error.category, error)
    assert (settlement.is_retried, settlement.is_dead) == (state == "failed", state == "dead")


def test_a_reason_has_what_failed_and_what_to_do_first():
    error = SourceError("no answer", expected="200", found="404")
    assert format_reason(error) == (
        "no answer; what to do: the source has to change its answer; expected: 200; found: 404"
    )
    assert format_reason(SourceError("no answer", remedy="ask again")) == (
        "no answer; what to do: ask again"
    )
    assert format_reason(ThrottledError("slow down")) == "slow down"
    assert len(format_reason(SourceError("a" * 3_000))) == 2_000


def test_a_run_that_ended_costs_an_attempt_and_an_expired_lease_is_due_at_once():
    ended, late = abandon_item(LEASED, NOON, RETRY_PAUSES), expire_item(LEASED, NOON)
    assert (ended.state, ended.reason_code) == ("failed", "run_ended")
    assert ended.due_at == NOON + timedelta(minutes=1)
    assert (late.state, late.reason_code, late.due_at) == ("failed", "lease_expired", NOON)
    assert {abandon_item(LAST, NOON, RETRY_PAUSES).state, expire_item(LAST, NOON).state} == {"dead"}


def test_an_item_that_a_run_names_has_the_attempts_of_a_new_one():
    assert put_back(replace(LEASED, state="ready"), NOON) is None
    assert put_back(replace(LEASED, state="failed"), NOON) is None
    dead, leased = put_back(replace(LAST, state="dead"), NOON), put_back(LAST, NOON)
    assert dead is not None
    assert leased is not None
    assert (dead.state, dead.attempts_added, leased.attempts_added) == ("ready", 0, 1)
    assert leased.attempts_allowed == (dead.attempts_allowed or 0) + 1
