"""The outbox: an entry is due, claimed by one process, settled once, and retried with backoff."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select

from orchestration_project.engine.contracts.attempts import (
    MAX_ATTEMPTS,
    MAX_WAIT,
    REQUEST_LEASE,
)
from orchestration_project.engine.outbox import (
    DONE,
    Claim,
    Ended,
    Entry,
    Intention,
    OutboxLoop,
    OutboxWindow,
    Outcome,
    add_intentions,
    claim,
    fail,
    fail_with,
    read_due,
    read_latest,
    settle,
    supersede,
    take_entity,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ContractError, TransientError
from orchestration_project.tables.spine import outbox
from tests.resources.weeks import StoppedClock

TOPIC = "shop>warehouse"


@pytest.fixture
def add(warehouse: Warehouse, clock: StoppedClock):
    def add_entity(entity: str, version_number: int = 1, refusal: str | None = None) -> None:
        intention = Intention(TOPIC, entity, version_number, refusal=refusal)
        with warehouse.writing() as connection:
            add_intentions(connection, [intention], now=clock.now(), run_id="planner")

    return add_entity


@pytest.fixture
def due(warehouse: Warehouse, clock: StoppedClock):
    def due_entries(**limits: Any) -> list[Entry]:
        with warehouse.reading() as connection:
            return read_due(connection, [TOPIC], clock.now(), **limits)

    return due_entries


@pytest.fixture
def settled(warehouse: Warehouse, clock: StoppedClock):
    def settle_entry(entry: Entry, outcome: Outcome) -> int:
        with warehouse.writing() as connection:
            return settle(connection, [entry], outcome, now=clock.now(), run_id="run")

    return settle_entry


def claimed(warehouse: Warehouse, clock: StoppedClock, entry: Entry) -> Entry | None:
    with warehouse.writing() as connection:
        return claim(connection, entry, now=clock.now(), run_id="run")


def test_the_oldest_entries_are_due_first(add, due, clock):
    add("second")
    clock.at -= timedelta(minutes=1)
    add("first")
    add("refused", refusal="a field is missing")
    clock.at += timedelta(minutes=1)
    assert [entry.entity for entry in due()] == ["first", "second"]
    assert [entry.entity for entry in due(limit=1)] == ["first"]
    assert [entry.entity for entry in due(entity="second")] == ["second"]


def test_one_process_claims_an_entry_until_its_lease_ends(add, due, settled, warehouse, clock):
    add("one")
    [entry] = due()
    first = claimed(warehouse, clock, entry)
    assert first is not None
    assert claimed(warehouse, clock, entry) is None
    assert due() == []
    clock.at += REQUEST_LEASE
    [expired] = due()
    second = claimed(warehouse, clock, expired)
    assert second is not None
    assert settled(first, DONE) == 0, "another process has claimed it"
    assert settled(second, DONE) == 1
    assert settled(second, DONE) == 0


def test_entries_of_a_clock_that_was_set_back_are_due(add, due, warehouse, clock):
    add("one")
    clock.at -= REQUEST_LEASE + timedelta(hours=1)
    [entry] = due()
    assert claimed(warehouse, clock, entry) is not None
    assert due() == []


def test_what_was_superseded_is_not_settled(add, due, settled, warehouse, clock):
    add("one")
    [entry] = due()
    with warehouse.writing() as connection:
        supersede(connection, TOPIC, ["one"], now=clock.now(), run_id="planner")
    add("one", 2)
    assert settled(entry, DONE) == 0
    assert [latest.version_number for latest in due()] == [2]
    with warehouse.reading() as connection:
        assert read_latest(connection, TOPIC, "one") == (2, "waiting", "{}")
        assert read_latest(connection, TOPIC, "none") == (0, "", "")


def test_failed_attempts_wait_twice_as_long_each_time_and_end(add, due, settled, clock):
    add("one")
    waits = []
    for _ in range(MAX_ATTEMPTS):
        [entry] = due()
        outcome = fail(entry, "HTTP 503")
        settled(entry, outcome)
        waits.append(outcome.wait)
        clock.at += outcome.wait
    assert waits[:3] == [timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=2)]
    assert max(waits) == MAX_WAIT
    assert due() == []


def test_a_dead_entry_keeps_its_reason_and_a_done_one_has_none(add, due, settled, warehouse, clock):
    for entity in ("dead", "done"):
        add(entity)
    dead, done = due()
    settled(dead, fail_with(dead, ContractError("no such field"), "no such field"))
    settled(done, fail_with(done, TransientError("away", retry_in_seconds=90), "away"))
    clock.at += timedelta(seconds=89)
    assert due() == []
    clock.at += timedelta(seconds=1)
    [again] = due()
    settled(again, DONE)
    columns = outbox.c.entity, outbox.c.state, outbox.c.attempt_count, outbox.c.reason
    with warehouse.reading() as connection:
        rows = connection.execute(select(*columns).order_by(outbox.c.entity)).all()
    assert rows == [("dead", "dead", 1, "no such field"), ("done", "done", 1, None)]


def test_a_window_is_settled_at_once(add, due, warehouse, clock):
    for number in range(3):
        add(f"event {number}")
    window = due()
    with warehouse.writing() as connection:
        assert settle(connection, window, DONE, now=clock.now()) == 3
    assert due() == []


def test_the_loop_settles_each_entry_before_the_next_begins(add, due, warehouse, clock):
    for entity in ("bad", "good"):
        add(entity)
    loop = OutboxLoop(warehouse, clock, "run")
    left: list[list[str]] = []

    def send(claimed: Claim) -> Outcome:
        left.append([entry.entity for entry in due()])
        return DONE if claimed.entry.entity == "good" else fail(claimed.entry, "no", may_pass=False)

    ends = [(ended.key.entity, ended.outcome) for ended in loop.apply(due(), loop.claim, send)]
    assert ends == [("bad", "dead"), ("good", "done")]
    assert left == [["good"], []]
    assert due() == []


def test_an_entry_without_an_outcome_stays_and_one_with_a_run_names_it(add, due, warehouse, clock):
    for entity in ("asked", "found"):
        add(entity)
    loop = OutboxLoop(warehouse, clock, "run")

    def send(claimed: Claim) -> Outcome | None:
        if claimed.entry.entity == "asked":
            return None
        claimed.run_id = "other run"
        return DONE

    before = due()
    ends = [
        (ended.key.entity, ended.outcome, ended.is_current)
        for ended in loop.apply(before, lambda _, entry: Claim(entry), send)
    ]
    assert ends == [("asked", "sent", False), ("found", "done", True)]
    assert due() == before[:1]
    with warehouse.reading() as connection:
        found = select(outbox.c.run_id).where(outbox.c.entity == "found")
        assert connection.scalars(found).all() == ["other run"]


def test_an_attempt_whose_claim_expired_records_nothing_once_another_has_it(
    add, due, warehouse, clock
):
    add("one")
    first, second = OutboxLoop(warehouse, clock, "first"), OutboxLoop(warehouse, clock, "second")
    recorded: list[str] = []

    def send_late_and_expect_done(claimed: Claim) -> Outcome:
        with first.recording(claimed):
            recorded.append("before")
        clock.at += REQUEST_LEASE
        [ended] = second.apply(due(), second.claim, lambda _: DONE)
        assert (ended.outcome, ended.is_current) == ("done", True)
        with first.recording(claimed):
            recorded.append("after")
        return DONE

    [ended] = first.apply(due(), first.claim, send_late_and_expect_done)
    assert (ended.outcome, ended.is_current) == ("overtaken", False)
    assert recorded == ["before"]


def test_a_late_answer_of_an_expired_claim_is_not_settled(add, due, warehouse, clock):
    add("one")
    first, second = OutboxLoop(warehouse, clock, "first"), OutboxLoop(warehouse, clock, "second")
    noted: list[bool] = []

    def answer_late_and_expect_dead(_: Claim) -> Outcome:
        clock.at += REQUEST_LEASE
        [ended] = second.apply(due(), second.claim, lambda _: Outcome("dead", "refused"))
        assert ended.outcome == "dead"
        return DONE

    def note(_: Connection, __: Claim, ___: Outcome, is_current: bool) -> None:
        noted.append(is_current)

    [ended] = first.apply(due(), first.claim, answer_late_and_expect_dead, note)
    assert (ended.is_current, noted) == (False, [False])
    with warehouse.reading() as connection:
        assert read_latest(connection, TOPIC, "one") == (1, "dead", "{}")


def test_versions_of_an_entity_exclude_each_other_by_its_lease(add, due, warehouse, clock):
    add("one")

    def loop_of(run_id: str) -> tuple[OutboxLoop, Any]:
        def begin(connection: Connection, entry: Entry) -> Claim | Ended[Entry, Claim]:
            lease = take_entity(connection, TOPIC, "one", now=clock.now(), run_id=run_id)
            return Ended(entry, "busy") if lease is None else Claim(entry, lease)

        return OutboxLoop(warehouse, clock, run_id), begin

    first, begin_first = loop_of("first")
    second, begin_second = loop_of("second")

    def send_and_expect_busy(claimed: Claim) -> Outcome:
        with warehouse.writing() as connection:
            supersede(connection, TOPIC, ["one"], now=clock.now(), run_id="planner")
        add("one", 2)
        [ended] = second.apply(due(), begin_second, lambda _: DONE)
        assert ended.outcome == "busy"
        first.verify_lease(claimed)
        clock.at += REQUEST_LEASE
        first.verify_lease(claimed)
        return DONE

    [ended] = first.apply(due(), begin_first, send_and_expect_busy)
    assert ended.outcome == "overtaken", "the lease has expired"
    [ended] = second.apply(due(), begin_second, lambda _: DONE)
    assert (ended.key.version_number, ended.outcome) == (2, "done")


@pytest.fixture
def window(warehouse: Warehouse, clock: StoppedClock) -> OutboxWindow:
    return OutboxWindow(warehouse, clock, lambda _: [TOPIC], 2, timedelta(seconds=1))


def test_a_window_has_room_again_once_an_answer_came(add, window):
    for entity in ("a", "b", "c", "d"):
        add(entity)
    sent: list[str] = []

    def send(entry: Entry) -> int:
        sent.append(entry.entity)
        return len(sent)

    assert window.send_due(send) == 2
    assert window.send_due(send) == 0
    window.answer(1)
    window.answer(9)
    assert window.send_due(send) == 1
    assert sent == ["a", "b", "c"]
    assert (window.settle(), window.settle()) == (1, 0)


def test_what_failed_in_a_window_waits_and_is_then_sent_alone(add, due, window, clock):
    for entity in ("invalid", "refused", "unanswered"):
        add(entity)
    numbers = {"refused": 1, "unanswered": 2, "new": 3}
    sent: list[str] = []

    def send(entry: Entry) -> int:
        sent.append(entry.entity)
        if entry.entity not in numbers:
            raise ValueError("no topic")
        return numbers[entry.entity]

    assert window.send_due(send) == 2
    window.answer(1, "not authorized")
    assert window.settle() == 2
    assert window.send_due(send) == 1
    window.close(None)
    assert (window.settle(), [entry.entity for entry in due()]) == (0, ["unanswered"])
    window.send_due(send)
    window.close("the connection ended")
    assert window.settle() == 1
    clock.at += timedelta(seconds=1)
    add("new")
    assert sent == ["invalid", "refused", "unanswered", "unanswered"]
    assert [window.send_due(send) for _ in range(2)] == [1, 1]
    assert sent[4:] == ["invalid", "new"]
    assert window.send_due(send) == 0, "what failed is not sent beside another"
