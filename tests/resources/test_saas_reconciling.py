"""Tasks and issues are brought into agreement, whatever the two systems answer."""

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestration_project.domains.saas.events import TaskEvent
from orchestration_project.domains.saas.records import User
from orchestration_project.domains.saas.tables import saas_audit_log, saas_source_states
from orchestration_project.resources.saas.runs import poll_all
from orchestration_project.resources.saas.ticks import Ticks
from orchestration_project.tables.spine import outbox
from tests.resources.saas_office import ALL, LABELS
from tests.resources.saas_world import USERS


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


def test_an_issue_that_was_deleted_is_made_again(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.rows.clear()
    [drift] = office.reconciler().sweep()
    assert (drift.target_key, drift.what) == ("IT-1", "missing")
    office.round()
    assert office.issue.key == "IT-2"
    assert office.rows(saas_source_states, "entity_id", "target_key") == [(entity, "IT-2")]


def test_an_issue_that_was_deleted_is_made_again_though_a_search_still_finds_it(office):
    office.tasks.add("Order a laptop")
    office.round()
    deleted = office.issues.rows.pop("IT-1")
    office.issues.find = lambda _: deleted
    reconciler = office.reconciler()
    assert reconciler.handle_event(TaskEvent("jira", "deleted", "IT-1")).outcome == "compared"
    assert reconciler.apply().outcomes == {"done": 1}
    assert office.issue.key == "IT-2"


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
    seen = office.rows(saas_source_states, "gone_at", "last_seen_at")
    office.clock.at += timedelta(hours=1)
    office.faults.coming = ["moved"]
    looked, _ = office.round()
    assert "repeat" in str(looked.problem)
    assert office.rows(saas_source_states, "gone_at", "last_seen_at") == seen


def test_a_task_completed_when_first_seen_makes_no_issue(office):
    office.tasks.add("Order a laptop", is_completed=True)
    looked, _ = office.round()
    assert looked.planned.actions == {"completed_before": 1}
    assert not office.issues.rows


def test_an_issue_in_the_place_of_a_deleted_one_gets_what_the_task_says(office):
    office.tasks.add("Order a laptop")
    office.round()
    office.issues.create("IT", "Task", {"summary": "a copy"}, office.issue.source_id)
    office.issues.remove("IT-1")
    office.clock.at += timedelta(minutes=1)
    reconciler = office.reconciler()
    reconciler.compare(["IT-1"])
    reconciler.apply()
    assert (office.issue.key, office.issue.summary) == ("IT-2", "Order a laptop")
    assert sorted(office.operations()[-4:]) == ["found", "lost", "overwritten", "updated"]


def test_an_issue_that_moved_to_another_project_is_known_by_its_new_key(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    rows = office.issues.rows
    rows["OPS-7"] = rows["IT-1"] = replace(rows["IT-1"], key="OPS-7", project="OPS")
    office.tasks.change(entity, title="Order a cup")
    office.round()
    assert office.rows(saas_source_states, "target_key") == [("OPS-7",)]
    assert rows["OPS-7"].summary == "Order a cup"


def test_a_task_that_is_completed_before_it_has_an_issue_needs_none(office):
    entity = office.tasks.add("Order a laptop")
    office.reconciler().look()
    office.tasks.change(entity, is_completed=True)
    _, applied = office.round()
    assert (applied.outcomes, office.issues.rows) == ({"done": 1}, {})
    assert office.operations() == ["rule_added", "not_needed"]


def test_a_comparison_that_finds_nothing_writes_nothing(office):
    office.tasks.add("Order a laptop", assignee_email="anna@example.org")
    office.round()
    writes, operations = office.world.writes, office.operations()
    reconciler = office.reconciler()
    reconciler.compare(["IT-1"])
    assert reconciler.apply().outcomes == {"done": 1}
    assert (office.world.writes, office.operations()) == (writes, operations)


def test_a_page_that_was_fetched_before_a_webhook_came_takes_nothing_back(office):
    entity = office.tasks.add("Order a laptop")
    first, second = office.reconciler(), office.reconciler()

    def change() -> None:
        office.clock.at += timedelta(seconds=1)
        office.tasks.change(entity, title="Order a cup")
        assert second.look_at([entity]).planned.actions == {"planned": 1}

    office.faults.coming, office.faults.on_call = ["", "meanwhile"], change
    assert first.look().planned.actions == {"overtaken": 1}
    first.apply()
    assert office.issue.summary == "Order a cup"


def test_a_change_after_the_clock_was_set_back_is_followed(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.clock.at -= timedelta(hours=3)
    office.tasks.change(entity, title="Order a cup")
    office.round()
    assert office.issue.summary == "Order a cup"


def test_a_task_that_a_listing_lacks_is_there_if_it_is_there_by_its_id(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    row = office.tasks.rows.pop(entity)

    def come_back() -> None:
        office.tasks.rows[entity] = row

    office.faults.coming, office.faults.on_call = ["", "", "meanwhile"], come_back
    looked, _ = office.round()
    assert (looked.gone_count, office.rows(saas_source_states, "gone_at")) == (0, [(None,)])


def test_a_deleted_task_is_nothing_to_a_sweep_or_a_webhook_about_its_issue(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.remove(entity)
    office.round()
    office.issues.move("IT-1", "Start", "Done")
    assert office.reconciler().sweep() == []
    assert office.reconciler().compare(["IT-1"]).actions == {}


def test_a_task_that_a_rule_begins_to_drop_keeps_its_issue_and_the_log_says_so(office):
    office.tasks.add("Order a laptop")
    office.round()
    office.rule({"rule_id": "none", "priority": 1, "action": "drop"})
    office.round()
    assert office.issue.summary == "Order a laptop"
    assert office.operations()[-1] == "dropped"
    office.round()
    assert office.operations().count("dropped") == 1


def test_the_tick_says_when_the_look_began_and_not_when_it_ended(office):
    def pause() -> None:
        office.clock.at += timedelta(minutes=3)

    began_at = office.clock.at
    office.faults.coming, office.faults.on_call = ["meanwhile"], pause
    reconciler = office.reconciler()
    assert poll_all(reconciler, office.warehouse, office.clock).problem is None
    assert Ticks(office.warehouse, reconciler.pair).tick().synced_at == began_at


@pytest.mark.parametrize("kind", ["created", "updated", "commented"])
def test_a_webhook_about_an_issue_that_ended_nothing_costs_nothing(office, kind):
    office.tasks.add("Order a laptop")
    office.round()
    before = office.rows(outbox, "version_number"), office.faults.reads
    result = office.reconciler().handle_event(TaskEvent("jira", kind, "IT-1"))
    assert (result.outcome, result.entities) == ("nothing to do", ())
    assert result.reason
    assert (office.rows(outbox, "version_number"), office.faults.reads) == before


def test_what_is_intended_while_its_task_is_completed_stays_intended(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.move("IT-1", "Start", "Done")
    first, second = office.reconciler(), office.reconciler()
    first.compare(["IT-1"])

    def change() -> None:
        office.clock.at += timedelta(seconds=1)
        office.tasks.change(entity, title="Order a cup")
        assert second.look().planned.actions == {"planned": 1}

    office.faults.coming, office.faults.on_call = ["", "", "meanwhile"], change
    assert first.apply().outcomes == {"done": 2}
    assert (office.issue.summary, office.issue.status_name) == ("Order a cup", "Done")
    office.tasks.change(entity, title="Order a laptop")
    office.round()
    assert (office.issue.summary, office.issue.status_name) == ("Order a laptop", "Done")


def test_a_sweep_before_the_next_look_knows_that_we_completed_a_task(office):
    office.tasks.add("Order a laptop", assignee_email="ghost@example.org")
    office.round()
    office.issues.move("IT-1", "Start", "Done")
    reconciler = office.reconciler()
    reconciler.compare(["IT-1"])
    reconciler.apply()
    writes = office.world.writes
    reconciler.sweep()  # asks again for who is not known
    assert reconciler.apply().outcomes == {"done": 1}
    assert (office.issue.status_name, office.world.writes) == ("Done", writes)


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
    assert [row.summary for row in office.issues.rows.values()] == ["second"]


def test_a_task_that_is_opened_again_before_the_next_look_opens_its_issue(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.move("IT-1", "Start", "Done")
    reconciler = office.reconciler()
    reconciler.compare(["IT-1"])
    reconciler.apply()
    office.tasks.change(entity, is_completed=False)
    office.round()
    assert (office.issue.status_category, office.tasks.rows[entity].is_completed) == ("new", False)
