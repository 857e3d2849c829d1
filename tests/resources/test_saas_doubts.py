"""One issue per task, also where an answer never came, a process ended or another one took over."""

import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event

from orchestration_project.domains.saas.tables import saas_source_states
from tests.resources.saas_syncs import SaasSync
from tests.resources.saas_systems import Killed


@pytest.mark.parametrize("fault", ["unanswered", "killed after"])
def test_an_issue_whose_creation_had_no_answer_is_found_again(saas_sync, fault):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.faults.on("create", fault)
    with suppress(Killed):
        saas_sync.round()
    saas_sync.clock.at += timedelta(hours=1)
    assert len(saas_sync.issues.rows) == 1
    saas_sync.round()
    assert len(saas_sync.issues.rows) == 1
    assert saas_sync.rows(saas_source_states, "target_key") == [("IT-1",)]
    assert "found" in saas_sync.operations()


MINUTE, NEVER = 60, 20 * 3_600


@pytest.mark.slow_after_first
@pytest.mark.parametrize("fault", ["unanswered", "killed after"])
@pytest.mark.parametrize("index_lag_seconds", [MINUTE // 2, 2 * MINUTE, NEVER])
def test_it_is_found_even_while_no_search_finds_it_yet(saas_sync, fault, index_lag_seconds):
    saas_sync.issues.make("of another user")
    saas_sync.issues.slow_down(index_lag_seconds)
    saas_sync.tasks.add("Order a laptop")
    saas_sync.faults.on("create", fault)
    with suppress(Killed):
        saas_sync.round()
    saas_sync.issues.make("of another user")
    for _ in range(8):  # a lease runs out after five
        saas_sync.clock.at += timedelta(minutes=1)
        saas_sync.reconciler().apply()
    assert [row.source_id for row in saas_sync.issues.rows.values()] == [
        None,
        "peopleforce:task:1000",
        None,
    ]
    assert saas_sync.rows(saas_source_states, "target_key") == [("IT-2",)]
    assert "found" in saas_sync.operations()


def test_a_task_that_changes_meanwhile_gets_no_second_issue_either(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.issues.slow_down(NEVER)
    saas_sync.faults.on("create", "unanswered")
    saas_sync.round()
    saas_sync.tasks.change(entity, title="Order two laptops")
    reconciler = saas_sync.reconciler()
    assert reconciler.poll().planned.actions == {"planned": 1}
    assert reconciler.apply().outcomes == {"done": 1}  # seconds later, by a newer intention
    assert saas_sync.issue.summary == "Order two laptops"


def test_an_issue_that_may_still_be_made_is_waited_for_a_minute_and_then_made(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.faults.on("create", "down")
    saas_sync.round()
    saas_sync.tasks.change(entity, title="Order two laptops")
    reconciler = saas_sync.reconciler()
    reconciler.poll()
    applied = reconciler.apply()
    assert (applied.outcomes, applied.problem, saas_sync.issues.rows) == ({"waiting": 1}, None, {})
    saas_sync.clock.at += timedelta(minutes=1)
    assert reconciler.apply().outcomes == {"done": 1}
    assert saas_sync.issue.summary == "Order two laptops"


def test_a_run_that_was_killed_holds_its_task_until_the_lease_runs_out(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.faults.on("create_fields", "killed")
    with pytest.raises(Killed):
        saas_sync.round()
    assert saas_sync.reconciler().apply().outcomes == {"busy": 1}
    saas_sync.clock.at += timedelta(minutes=5)
    assert saas_sync.reconciler().apply().outcomes == {"done": 1}


@pytest.mark.parametrize(("fault", "outcome"), [("killed", "busy"), ("down", None)])
def test_what_is_held_or_waits_since_before_the_clock_was_set_back_is_done(
    saas_sync, fault, outcome
):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.faults.on("create_fields", fault)
    with suppress(Killed):
        saas_sync.round()
    assert saas_sync.reconciler().apply().outcomes == ({outcome: 1} if outcome else {})
    saas_sync.clock.at -= timedelta(days=365)
    assert saas_sync.reconciler().apply().outcomes == {"done": 1}


@pytest.mark.parametrize("operation", ["find", "mark"])
def test_a_run_that_was_overtaken_writes_nothing_more(saas_sync, operation):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.clock.at += timedelta(hours=1)
    first, second = saas_sync.reconciler(), saas_sync.reconciler()
    first.poll()

    def pause_and_expect_done() -> None:
        saas_sync.clock.at += timedelta(minutes=6)
        assert second.apply().outcomes == {"done": 1}

    saas_sync.faults.on(operation, pause_and_expect_done)
    assert first.apply().outcomes == {"overtaken": 1}
    assert len(saas_sync.issues.rows) == 1
    [(applied,)] = saas_sync.rows(saas_source_states, "applied")
    assert "fields" in applied  # what the second one recorded


def test_a_create_of_long_ago_is_in_no_doubt_any_more(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.faults.on("create", "down")
    saas_sync.round()
    saas_sync.clock.at += timedelta(days=1)
    reads = saas_sync.faults.reads
    assert saas_sync.reconciler().apply().outcomes == {"done": 1}
    assert saas_sync.faults.reads - reads == 3  # the form, a search, the newest issue


@pytest.mark.parametrize(
    ("does", "last_read"),
    [
        ("create", "mark"),
        ("update", "get"),
        ("transition", "transitions"),
        ("complete", "get"),
    ],
)
def test_a_run_whose_lease_ran_out_writes_nothing_more(saas_sync, does, last_read):
    entity = saas_sync.tasks.add("Order a laptop")
    if does != "create":
        saas_sync.round()
        saas_sync.tasks.change(entity, title="Order a cup", is_completed=does == "transition")
    if does == "transition":
        saas_sync.issues.edit("IT-1", summary="Order a cup")
    if does == "complete":
        saas_sync.issues.edit("IT-1", summary="Order a cup")
        saas_sync.issues.move("IT-1", "Start", "Done")
    saas_sync.clock.at += timedelta(hours=1)
    reconciler = saas_sync.reconciler()
    reconciler.poll()
    before, tasks = dict(saas_sync.issues.rows), dict(saas_sync.tasks.rows)

    def pause() -> None:
        saas_sync.clock.at += timedelta(minutes=5)

    saas_sync.faults.on(last_read, pause)
    assert reconciler.apply().outcomes == {"overtaken": 1}
    assert (saas_sync.issues.rows, saas_sync.tasks.rows) == (before, tasks)
    saas_sync.clock.at += timedelta(minutes=5)
    assert saas_sync.reconciler().apply().outcomes == {"done": 1}
    assert (saas_sync.issues.rows, saas_sync.tasks.rows) != (before, tasks)


@pytest.mark.parametrize("warehouse", ["postgresql"], indirect=True)
def test_what_is_recorded_of_an_issue_while_a_look_writes_stays_recorded(warehouse, clock):
    saas_sync = SaasSync(warehouse, clock)
    saas_sync.issues.slow_down(NEVER)
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.clock.at += timedelta(hours=1)
    first, second = saas_sync.reconciler(), saas_sync.reconciler()
    first.poll()
    saas_sync.tasks.change(entity, title="Order two laptops")

    def make_an_issue_and_die() -> None:
        with suppress(Killed):
            first.apply()

    dying = threading.Thread(target=make_an_issue_and_die)

    def meanwhile(_connection, _cursor, statement, *_) -> None:
        if statement.startswith("DELETE FROM saas_source_states") and not dying.ident:
            saas_sync.faults.on("create", "killed after")
            dying.start()
            dying.join(timeout=1)  # it has to wait for the look

    event.listen(Engine, "before_cursor_execute", meanwhile)
    try:
        second.poll()
    finally:
        event.remove(Engine, "before_cursor_execute", meanwhile)
    dying.join()
    saas_sync.clock.at += timedelta(minutes=6)
    assert second.apply().outcomes == {"done": 1}
    assert saas_sync.issue.summary == "Order two laptops"
