"""Tasks and issues are brought into agreement, whatever the two systems answer."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import delete, select

from orchestration_project.domains.saas.records import User
from orchestration_project.domains.saas.rules import Rule
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.rules import put_in_effect
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.tables.saas import (
    saas_audit_log,
    saas_dead_letters,
    saas_source_states,
)
from orchestration_project.tables.spine import outbox
from tests.resources.saas_histories import OWN_TABLES
from tests.resources.saas_world import USERS, Killed, world_in_memory
from tests.resources.weeks import StoppedClock

ALL = {
    "rule_id": "all",
    "priority": 9,
    "action": "sync",
    "target_project": "IT",
    "issue_type": "Task",
}
LABELS = {"target_field": "labels", "source_type": "static", "value": "hr"}


class Office:
    """A world, a database, and the rules between them."""

    def __init__(self, warehouse, clock) -> None:
        self.warehouse, self.clock, self.runs = warehouse, clock, 0
        self.world = world_in_memory("peopleforce")
        self.tasks, self.issues = self.world.tasks, self.world.issues
        self.faults = self.world.faults
        self.rule(ALL)

    def rule(self, *rules) -> None:
        given = [Rule.model_validate(each) for each in rules]
        with self.warehouse.writing() as connection:
            put_in_effect(connection, given, by="test", at=self.clock.now(), run_id="test")

    def reconciler(self) -> Reconciler:
        self.runs += 1
        return Reconciler(
            self.warehouse,
            self.clock,
            self.world.source,
            self.world.target,
            run_id=f"run {self.runs}",
        )

    def round(self):
        """Look and apply as a run does, an hour after the one before."""
        self.clock.at += timedelta(hours=1)
        reconciler = self.reconciler()
        looked = reconciler.look()
        return looked, reconciler.apply()

    def rows(self, table, *names, **where):
        wanted = select(*(table.c[name] for name in names)).order_by(*table.primary_key.columns)
        wanted = wanted.where(*(table.c[name] == value for name, value in where.items()))
        with self.warehouse.reading() as connection:
            return [tuple(row) for row in connection.execute(wanted)]

    def operations(self):
        return [operation for (operation,) in self.rows(saas_audit_log, "operation")]

    @property
    def issue(self):
        [issue] = self.issues.rows.values()
        return issue


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Iterator[Warehouse]:
    """A database that the tests of this module share; the histories are tried on both kinds."""
    url = f"sqlite:///{tmp_path_factory.mktemp('saas')}/warehouse.sqlite"
    with Warehouse(url, clock=StoppedClock()) as warehouse:
        warehouse.prepare(holds="real")
        yield warehouse


@pytest.fixture
def office(opened, clock) -> Office:
    with opened.writing() as connection:
        for table in OWN_TABLES:
            connection.execute(delete(table))
    return Office(opened, clock)


def test_a_new_task_becomes_an_issue_and_a_second_look_changes_nothing(office):
    office.tasks.add("Order a laptop", assignee_email="anna@example.org")
    looked, applied = office.round()
    assert (looked.seen_count, looked.planned.actions, applied.outcomes) == (
        1,
        {"planned": 1},
        {"done": 1},
    )
    issue = office.issue
    assert (issue.summary, issue.assignee_account_id, issue.source_id) == (
        "Order a laptop",
        "712020:anna",
        "peopleforce:task:1000",
    )
    calls = office.faults.reads, office.faults.writes
    looked, applied = office.round()
    assert (looked.planned.actions, applied.outcomes) == ({}, {})
    pages = 2  # one of the source's, and the end of them
    assert (office.faults.reads, office.faults.writes) == (calls[0] + pages, calls[1])


def test_what_no_rule_uses_may_change_without_any_call(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.change(entity)  # somebody looked at it
    looked, _ = office.round()
    assert looked.planned.actions == {}


def test_a_changed_task_changes_just_those_fields_and_people_keep_what_they_wrote(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.edit(office.issue.key, summary="Order a laptop, 14 inch")
    office.tasks.change(entity, description_html="<p>two</p>")
    office.round()
    assert office.issue.summary == "Order a laptop, 14 inch"
    assert office.issue.description["content"][0]["content"][0]["text"] == "two"
    office.tasks.change(entity, title="Order two laptops")
    office.round()
    assert office.issue.summary == "Order two laptops"
    [(detail,)] = office.rows(saas_audit_log, "detail", operation="overwritten")
    assert "Order a laptop, 14 inch" in detail


def test_a_task_that_is_completed_ends_its_issue_step_by_step_and_never_as_cancelled(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.change(entity, is_completed=True)
    office.round()
    assert office.issue.status_name == "Done"


def test_an_issue_that_is_done_completes_its_task_and_our_own_write_comes_back_to_nothing(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.move(office.issue.key, "Start", "Done")
    reconciler = office.reconciler()
    reconciler.compare([office.issue.key])
    reconciler.apply()
    assert office.tasks.rows[entity].is_completed
    writes = office.world.writes
    looked, applied = office.round()
    assert (looked.planned.actions, applied.outcomes) == ({"unchanged": 1}, {})
    assert office.world.writes == writes


def test_a_task_that_is_opened_again_opens_its_issue(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.change(entity, is_completed=True)
    office.round()
    office.tasks.change(entity, is_completed=False)
    office.round()
    assert office.issue.status_category == "new"


def test_an_issue_that_people_opened_again_stays_open(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.change(entity, is_completed=True)
    office.round()
    office.issues.move(office.issue.key, "Reopen")
    assert office.reconciler().sweep() == []
    office.tasks.change(entity, title="Order two laptops")
    office.round()
    assert (office.issue.status_name, office.tasks.rows[entity].is_completed) == ("To Do", True)


@pytest.mark.parametrize("fault", ["unanswered", "killed after"])
def test_an_issue_whose_making_nobody_heard_of_is_found_again(office, fault):
    office.tasks.add("Order a laptop")
    office.faults.coming = ["", "", "", "", fault]  # page, its end, form, search, create
    with suppress(Killed):
        office.round()
    office.clock.at += timedelta(hours=1)
    assert len(office.issues.rows) == 1
    office.round()
    assert len(office.issues.rows) == 1
    assert office.rows(saas_source_states, "target_key") == [("IT-1",)]
    assert "found" in office.operations()


def test_a_run_that_was_killed_holds_its_task_until_the_lease_runs_out(office):
    office.tasks.add("Order a laptop")
    office.faults.coming = ["", "", "killed"]
    with pytest.raises(Killed):
        office.round()
    assert office.reconciler().apply().outcomes == {"busy": 1}
    office.clock.at += timedelta(minutes=5)
    assert office.reconciler().apply().outcomes == {"done": 1}


def test_a_run_that_was_overtaken_writes_nothing_more(office):
    office.tasks.add("Order a laptop")
    office.clock.at += timedelta(hours=1)
    first, second = office.reconciler(), office.reconciler()
    first.look()

    def pause() -> None:
        office.clock.at += timedelta(minutes=6)
        assert second.apply().outcomes == {"done": 1}

    office.faults.coming, office.faults.on_call = ["", "meanwhile"], pause
    assert first.apply().outcomes == {"overtaken": 1}
    assert len(office.issues.rows) == 1


def test_an_issue_that_was_deleted_is_made_again(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.rows.clear()
    [drift] = office.reconciler().sweep()
    assert (drift.target_key, drift.what) == ("IT-1", "missing")
    office.round()
    assert office.issue.key == "IT-2"
    assert office.rows(saas_source_states, "entity_id", "target_key") == [(entity, "IT-2")]


def test_a_deleted_task_leaves_its_issue_and_is_asked_for_before_it_is_believed(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    row = office.tasks.rows.pop(entity)
    looked, _ = office.round()
    assert (looked.gone_count, office.issue.summary) == (1, "Order a laptop")
    assert office.operations()[-1] == "source_deleted"
    office.tasks.rows[entity] = row
    looked, _ = office.round()
    assert looked.planned.actions == {"planned": 1}
    assert len(office.issues.rows) == 1


def test_a_refusal_is_a_dead_letter_until_the_task_or_a_person_changes_something(office):
    entity = office.tasks.add("poison")
    office.tasks.add("Order a laptop")
    _, applied = office.round()
    assert applied.outcomes == {"dead": 1, "done": 1}
    writes = office.world.writes
    office.round()
    assert office.world.writes == writes
    letters = ("entity_id", "reason_code", "http_status", "ended_at")
    assert office.rows(saas_dead_letters, *letters) == [(entity, "http_400", 400, None)]
    reconciler = office.reconciler()
    assert reconciler.retry_refused().actions == {"planned": 1}
    assert reconciler.apply().outcomes == {"dead": 1}
    office.tasks.change(entity, title="Order a cup")
    assert office.round()[1].outcomes == {"done": 1}
    assert None not in [ended for (ended,) in office.rows(saas_dead_letters, "ended_at")]


def test_a_throttled_target_ends_the_run_and_is_left_alone_for_as_long_as_it_said(office):
    for number in range(3):
        office.tasks.add(f"task {number}")
    office.clock.at += timedelta(hours=1)
    reconciler = office.reconciler()
    reconciler.look()
    office.faults.coming = ["throttled"]
    applied = reconciler.apply()
    assert (applied.outcomes, applied.problem.retry_in_seconds) == ({"waiting": 1}, 90)
    due = {at - office.clock.at for (at,) in office.rows(outbox, "due_at", entity="task|1000")}
    assert due == {timedelta(seconds=90)}
    office.clock.at += timedelta(seconds=90)
    assert reconciler.apply().outcomes == {"done": 3}


def test_a_target_that_is_down_costs_three_tries_a_run_and_never_makes_a_dead_letter(office):
    for number in range(5):
        office.tasks.add(f"task {number}")
    for _ in range(4):
        office.faults.coming = [""] * 4 + ["down"] * 9
        _, applied = office.round()
        assert applied.outcomes == {"waiting": 3}
    assert office.rows(saas_dead_letters, "entity_id") == []
    office.faults.coming = []
    office.round()
    office.round()
    assert len(office.issues.rows) == 5


def test_an_edited_rule_applies_to_what_it_matches_and_to_nothing_else(office):
    office.tasks.add("Order a laptop")
    office.tasks.add("Payroll of May")
    pay = {
        **ALL,
        "rule_id": "pay",
        "priority": 1,
        "conditions": [{"field": "title", "operator": "starts_with", "value": "payroll"}],
    }
    office.rule(ALL, pay)
    office.round()
    office.rule(ALL, {**pay, "mappings": [LABELS]})
    looked, applied = office.round()
    assert (looked.planned.actions, applied.outcomes) == (
        {"unchanged": 1, "planned": 1},
        {"done": 1},
    )
    labels = {row.summary: row.fields.get("labels") for row in office.issues.rows.values()}
    assert labels == {"Order a laptop": None, "Payroll of May": ["hr"]}


def test_people_whom_the_target_does_not_know_are_counted_and_asked_for_by_the_sweep(office):
    for email in ("ghost@example.org", "twin@example.org", "gone@example.org"):
        office.tasks.add("Order a laptop", assignee_email=email)
    office.round()
    found = office.rows(saas_source_states, "unresolved_email")
    assert {email for (email,) in found} == {
        "ghost@example.org",
        "twin@example.org",
        "gone@example.org",
    }
    office.issues.users = [*USERS, User("712020:ghost", "ghost@example.org", True)]
    reconciler = office.reconciler()
    reconciler.sweep()
    reconciler.apply()
    assert "712020:ghost" in {row.assignee_account_id for row in office.issues.rows.values()}


def test_a_listing_that_moves_or_comes_back_empty_takes_nothing_away(office):
    office.tasks.add("Order a laptop")
    office.round()
    office.faults.coming = ["moved"]
    looked, _ = office.round()
    assert "repeat" in str(looked.problem)
    assert office.rows(saas_source_states, "gone_at") == [(None,)]


def test_a_task_that_was_completed_before_anybody_heard_of_it_makes_no_issue(office):
    office.tasks.add("Order a laptop", is_completed=True)
    looked, _ = office.round()
    assert looked.planned.actions == {"completed_before": 1}
    assert not office.issues.rows


def test_a_mapping_that_needs_what_a_task_lacks_is_a_dead_letter_that_names_it(office):
    office.rule(
        {
            **ALL,
            "mappings": [
                {"target_field": "labels", "source_type": "template", "value": "{fields.team.name}"}
            ],
        }
    )
    office.tasks.add("Order a laptop")
    looked, _ = office.round()
    assert looked.planned.actions == {"refused": 1}
    [(reason,)] = office.rows(saas_dead_letters, "reason")
    assert reason == "the task has no fields.team.name, which a mapping of all@2 needs"


def test_what_another_run_plans_while_a_task_is_worked_on_is_done_by_the_one_at_work(
    office,
):
    entity_id = office.tasks.add("first")
    found = []

    def change():
        office.tasks.change(entity_id, title="second")
        other = office.reconciler()
        other.look_at([entity_id])
        found.append(other.apply([other.entity(entity_id)]).outcomes)

    reconciler = office.reconciler()
    reconciler.look()
    office.faults.coming, office.faults.on_call = ["meanwhile"], change
    assert reconciler.apply().outcomes == {"done": 2}
    assert found == [{"busy": 1}]
    assert [each.summary for each in office.issues.rows.values()] == ["second"]
