"""One issue per task, also where an answer never came, a process ended or another one took over."""

import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event

from orchestration_project.domains.saas.tables import saas_source_states
from tests.resources.saas_office import BEFORE_A_CREATE, Office
from tests.resources.saas_world import Killed


@pytest.mark.parametrize("fault", ["unanswered", "killed after"])
def test_an_issue_whose_creation_had_no_answer_is_found_again(office, fault):
    office.tasks.add("Order a laptop")
    office.faults.coming = [*BEFORE_A_CREATE, fault]
    with suppress(Killed):
        office.round()
    office.clock.at += timedelta(hours=1)
    assert len(office.issues.rows) == 1
    office.round()
    assert len(office.issues.rows) == 1
    assert office.rows(saas_source_states, "target_key") == [("IT-1",)]
    assert "found" in office.operations()


MINUTE, NEVER = 60, 20 * 3_600


@pytest.mark.parametrize("fault", ["unanswered", "killed after"])
@pytest.mark.parametrize("index_lag_seconds", [MINUTE // 2, 2 * MINUTE, NEVER])
def test_it_is_found_even_while_no_search_finds_it_yet(office, fault, index_lag_seconds):
    office.issues.make("somebody else's")
    office.issues.slow_down(index_lag_seconds)
    office.tasks.add("Order a laptop")
    office.faults.coming = [*BEFORE_A_CREATE, fault]
    with suppress(Killed):
        office.round()
    office.issues.make("somebody else's")
    for _ in range(8):  # a lease runs out after five
        office.clock.at += timedelta(minutes=1)
        office.reconciler().apply()
    assert [row.source_id for row in office.issues.rows.values()] == [
        None,
        "peopleforce:task:1000",
        None,
    ]
    assert office.rows(saas_source_states, "target_key") == [("IT-2",)]
    assert "found" in office.operations()


def test_a_task_that_changes_meanwhile_gets_no_second_issue_either(office):
    entity = office.tasks.add("Order a laptop")
    office.issues.slow_down(NEVER)
    office.faults.coming = [*BEFORE_A_CREATE, "unanswered"]
    office.round()
    office.tasks.change(entity, title="Order two laptops")
    reconciler = office.reconciler()
    assert reconciler.look().planned.actions == {"planned": 1}
    assert reconciler.apply().outcomes == {"done": 1}  # seconds later, by a newer intention
    assert office.issue.summary == "Order two laptops"


def test_an_issue_that_may_still_be_made_is_waited_for_a_minute_and_then_made(office):
    entity = office.tasks.add("Order a laptop")
    office.faults.coming = [*BEFORE_A_CREATE, "down"]
    office.round()
    office.tasks.change(entity, title="Order two laptops")
    reconciler = office.reconciler()
    reconciler.look()
    applied = reconciler.apply()
    assert (applied.outcomes, applied.problem, office.issues.rows) == ({"waiting": 1}, None, {})
    office.clock.at += timedelta(minutes=1)
    assert reconciler.apply().outcomes == {"done": 1}
    assert office.issue.summary == "Order two laptops"


def test_a_run_that_was_killed_holds_its_task_until_the_lease_runs_out(office):
    office.tasks.add("Order a laptop")
    office.faults.coming = ["", "", "killed"]
    with pytest.raises(Killed):
        office.round()
    assert office.reconciler().apply().outcomes == {"busy": 1}
    office.clock.at += timedelta(minutes=5)
    assert office.reconciler().apply().outcomes == {"done": 1}


@pytest.mark.parametrize(("fault", "outcome"), [("killed", "busy"), ("down", None)])
def test_what_is_held_or_waits_since_before_the_clock_was_set_back_is_done(office, fault, outcome):
    office.tasks.add("Order a laptop")
    office.faults.coming = ["", "", fault]
    with suppress(Killed):
        office.round()
    assert office.reconciler().apply().outcomes == ({outcome: 1} if outcome else {})
    office.clock.at -= timedelta(days=365)
    assert office.reconciler().apply().outcomes == {"done": 1}


@pytest.mark.parametrize("calls_before", [1, 2])
def test_a_run_that_was_overtaken_writes_nothing_more(office, calls_before):
    office.tasks.add("Order a laptop")
    office.clock.at += timedelta(hours=1)
    first, second = office.reconciler(), office.reconciler()
    first.look()

    def pause() -> None:
        office.clock.at += timedelta(minutes=6)
        assert second.apply().outcomes == {"done": 1}

    office.faults.coming, office.faults.on_call = [*[""] * calls_before, "meanwhile"], pause
    assert first.apply().outcomes == {"overtaken": 1}
    assert len(office.issues.rows) == 1
    [(applied,)] = office.rows(saas_source_states, "applied")
    assert "fields" in applied  # what the second one recorded


def test_a_create_of_long_ago_is_in_no_doubt_any_more(office):
    office.tasks.add("Order a laptop")
    office.faults.coming = [*BEFORE_A_CREATE, "down"]
    office.round()
    office.clock.at += timedelta(days=1)
    reads = office.faults.reads
    assert office.reconciler().apply().outcomes == {"done": 1}
    assert office.faults.reads - reads == 3  # the form, a search, the newest issue


@pytest.mark.parametrize(
    ("does", "calls_before"),
    [
        ("create", 2),  # the form, a search; then the newest issue
        ("update", 1),  # the form; then the issue
        ("transition", 2),  # the form, the issue; then its transitions
        ("complete", 1),
    ],
)
def test_a_run_whose_lease_ran_out_writes_nothing_more(office, does, calls_before):
    entity = office.tasks.add("Order a laptop")
    if does != "create":
        office.round()
        office.tasks.change(entity, title="Order a cup", is_completed=does == "transition")
    if does == "transition":
        office.issues.edit("IT-1", summary="Order a cup")
    if does == "complete":
        office.issues.edit("IT-1", summary="Order a cup")
        office.issues.move("IT-1", "Start", "Done")
    office.clock.at += timedelta(hours=1)
    reconciler = office.reconciler()
    reconciler.look()
    before, tasks = dict(office.issues.rows), dict(office.tasks.rows)

    def pause() -> None:
        office.clock.at += timedelta(minutes=5)

    office.faults.coming = [*[""] * calls_before, "meanwhile"]
    office.faults.on_call = pause
    assert reconciler.apply().outcomes == {"overtaken": 1}
    assert (office.issues.rows, office.tasks.rows) == (before, tasks)
    office.clock.at += timedelta(minutes=5)
    assert office.reconciler().apply().outcomes == {"done": 1}
    assert (office.issues.rows, office.tasks.rows) != (before, tasks)


@pytest.mark.parametrize("warehouse", ["postgresql"], indirect=True)
def test_what_is_recorded_of_an_issue_while_a_look_writes_stays_recorded(warehouse, clock):
    office = Office(warehouse, clock)
    office.issues.slow_down(NEVER)
    entity = office.tasks.add("Order a laptop")
    office.clock.at += timedelta(hours=1)
    first, second = office.reconciler(), office.reconciler()
    first.look()
    office.tasks.change(entity, title="Order two laptops")

    def make_an_issue_and_die() -> None:
        with suppress(Killed):
            first.apply()

    dying = threading.Thread(target=make_an_issue_and_die)

    def meanwhile(_connection, _cursor, statement, *_) -> None:
        if statement.startswith("DELETE FROM saas_source_states") and not dying.ident:
            office.faults.coming = [*BEFORE_A_CREATE[2:], "killed after"]
            dying.start()
            dying.join(timeout=1)  # it has to wait for the look

    event.listen(Engine, "before_cursor_execute", meanwhile)
    try:
        second.look()
    finally:
        event.remove(Engine, "before_cursor_execute", meanwhile)
    dying.join()
    office.clock.at += timedelta(minutes=6)
    assert second.apply().outcomes == {"done": 1}
    assert office.issue.summary == "Order two laptops"
