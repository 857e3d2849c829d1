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
from tests.resources.saas_syncs import ALL, LABELS
from tests.resources.saas_systems import USERS


def test_a_new_task_becomes_an_issue_and_a_second_look_changes_nothing(saas_sync):
    saas_sync.tasks.add("Order a laptop", assignee_email="anna@example.org")
    poll_result, applied = saas_sync.round()
    assert (poll_result.seen_count, poll_result.planned.actions, applied.outcomes) == (
        1,
        {"planned": 1},
        {"done": 1},
    )
    issue = saas_sync.issue
    assert (issue.summary, issue.assignee_account_id, issue.source_id) == (
        "Order a laptop",
        "712020:anna",
        "peopleforce:task:1000",
    )
    calls = saas_sync.faults.reads, saas_sync.faults.writes
    poll_result, applied = saas_sync.round()
    assert (poll_result.planned.actions, applied.outcomes) == ({}, {})
    pages = 2  # one of the source's, and the end of them
    assert (saas_sync.faults.reads, saas_sync.faults.writes) == (calls[0] + pages, calls[1])


def test_what_no_rule_uses_may_change_without_any_call(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.change(entity)  # a user viewed it
    poll_result, _ = saas_sync.round()
    assert poll_result.planned.actions == {}


def test_a_changed_task_changes_just_those_fields_and_people_keep_what_they_wrote(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.edit(saas_sync.issue.key, summary="Order a laptop, 14 inch")
    saas_sync.tasks.change(entity, description_html="<p>two</p>")
    saas_sync.round()
    assert saas_sync.issue.summary == "Order a laptop, 14 inch"
    assert saas_sync.issue.description["content"][0]["content"][0]["text"] == "two"
    saas_sync.tasks.change(entity, title="Order two laptops")
    saas_sync.round()
    assert saas_sync.issue.summary == "Order two laptops"
    [(detail,)] = saas_sync.rows(saas_audit_log, "detail", operation="overwritten")
    assert "Order a laptop, 14 inch" in detail


def test_a_task_that_is_completed_ends_its_issue_step_by_step_and_never_as_cancelled(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.change(entity, is_completed=True)
    saas_sync.round()
    assert saas_sync.issue.status_name == "Done"


def test_an_issue_that_is_done_completes_its_task_and_our_own_write_comes_back_to_nothing(
    saas_sync,
):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.move(saas_sync.issue.key, "Start", "Done")
    reconciler = saas_sync.reconciler()
    reconciler.compare([saas_sync.issue.key])
    reconciler.apply()
    assert saas_sync.tasks.rows[entity].is_completed
    writes = saas_sync.systems.writes
    poll_result, applied = saas_sync.round()
    assert (poll_result.planned.actions, applied.outcomes) == ({"unchanged": 1}, {})
    assert saas_sync.systems.writes == writes


def test_a_task_that_is_opened_again_opens_its_issue(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.change(entity, is_completed=True)
    saas_sync.round()
    saas_sync.tasks.change(entity, is_completed=False)
    saas_sync.round()
    assert saas_sync.issue.status_category == "new"


def test_an_issue_that_people_opened_again_stays_open(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.change(entity, is_completed=True)
    saas_sync.round()
    saas_sync.issues.move(saas_sync.issue.key, "Reopen")
    assert saas_sync.reconciler().sweep() == []
    saas_sync.tasks.change(entity, title="Order two laptops")
    saas_sync.round()
    assert (saas_sync.issue.status_name, saas_sync.tasks.rows[entity].is_completed) == (
        "To Do",
        True,
    )


def test_an_issue_that_was_deleted_is_made_again(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.rows.clear()
    [drift] = saas_sync.reconciler().sweep()
    assert (drift.target_key, drift.what) == ("IT-1", "missing")
    saas_sync.round()
    assert saas_sync.issue.key == "IT-2"
    assert saas_sync.rows(saas_source_states, "entity_id", "target_key") == [(entity, "IT-2")]


def test_an_issue_that_was_deleted_is_made_again_though_a_search_still_finds_it(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    deleted = saas_sync.issues.rows.pop("IT-1")
    saas_sync.issues.find = lambda _: deleted
    reconciler = saas_sync.reconciler()
    assert reconciler.handle_event(TaskEvent("jira", "deleted", "IT-1")).outcome == "compared"
    assert reconciler.apply().outcomes == {"done": 1}
    assert saas_sync.issue.key == "IT-2"


def test_a_deleted_task_leaves_its_issue_and_is_asked_for_before_it_is_believed(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    row = saas_sync.tasks.rows.pop(entity)
    poll_result, _ = saas_sync.round()
    assert (poll_result.gone_count, saas_sync.issue.summary) == (1, "Order a laptop")
    assert saas_sync.operations()[-1] == "source_deleted"
    saas_sync.tasks.rows[entity] = row
    poll_result, _ = saas_sync.round()
    assert poll_result.planned.actions == {"planned": 1}
    assert len(saas_sync.issues.rows) == 1


def test_an_edited_rule_applies_to_what_it_matches_and_to_nothing_else(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.tasks.add("Payroll of May")
    pay = {
        **ALL,
        "rule_id": "pay",
        "priority": 1,
        "conditions": [{"field": "title", "operator": "starts_with", "value": "payroll"}],
    }
    saas_sync.rule(ALL, pay)
    saas_sync.round()
    saas_sync.rule(ALL, {**pay, "mappings": [LABELS]})
    poll_result, applied = saas_sync.round()
    assert (poll_result.planned.actions, applied.outcomes) == (
        {"unchanged": 1, "planned": 1},
        {"done": 1},
    )
    labels = {row.summary: row.fields.get("labels") for row in saas_sync.issues.rows.values()}
    assert labels == {"Order a laptop": None, "Payroll of May": ["hr"]}


def test_people_whom_the_target_does_not_know_are_counted_and_asked_for_by_the_sweep(saas_sync):
    for email in ("ghost@example.org", "twin@example.org", "gone@example.org"):
        saas_sync.tasks.add("Order a laptop", assignee_email=email)
    saas_sync.round()
    found = saas_sync.rows(saas_source_states, "unresolved_email")
    assert {email for (email,) in found} == {
        "ghost@example.org",
        "twin@example.org",
        "gone@example.org",
    }
    saas_sync.issues.users = [*USERS, User("712020:ghost", "ghost@example.org", True)]
    reconciler = saas_sync.reconciler()
    reconciler.sweep()
    reconciler.apply()
    assert "712020:ghost" in {row.assignee_account_id for row in saas_sync.issues.rows.values()}


def test_a_listing_that_moves_or_comes_back_empty_takes_nothing_away(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    seen = saas_sync.rows(saas_source_states, "gone_at", "last_seen_at")
    saas_sync.clock.at += timedelta(hours=1)
    saas_sync.faults.on("pages", "moved")
    poll_result, _ = saas_sync.round()
    assert "repeat" in str(poll_result.problem)
    assert saas_sync.rows(saas_source_states, "gone_at", "last_seen_at") == seen


def test_a_task_completed_when_first_seen_makes_no_issue(saas_sync):
    saas_sync.tasks.add("Order a laptop", is_completed=True)
    poll_result, _ = saas_sync.round()
    assert poll_result.planned.actions == {"completed_before": 1}
    assert not saas_sync.issues.rows


def test_an_issue_in_the_place_of_a_deleted_one_gets_what_the_task_says(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.create("IT", "Task", {"summary": "a copy"}, saas_sync.issue.source_id)
    saas_sync.issues.remove("IT-1")
    saas_sync.clock.at += timedelta(minutes=1)
    reconciler = saas_sync.reconciler()
    reconciler.compare(["IT-1"])
    reconciler.apply()
    assert (saas_sync.issue.key, saas_sync.issue.summary) == ("IT-2", "Order a laptop")
    assert sorted(saas_sync.operations()[-4:]) == ["found", "lost", "overwritten", "updated"]


def test_an_issue_that_moved_to_another_project_is_known_by_its_new_key(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    rows = saas_sync.issues.rows
    rows["OPS-7"] = rows["IT-1"] = replace(rows["IT-1"], key="OPS-7", project="OPS")
    saas_sync.tasks.change(entity, title="Order a cup")
    saas_sync.round()
    assert saas_sync.rows(saas_source_states, "target_key") == [("OPS-7",)]
    assert rows["OPS-7"].summary == "Order a cup"


def test_a_task_that_is_completed_before_it_has_an_issue_needs_none(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.reconciler().poll()
    saas_sync.tasks.change(entity, is_completed=True)
    _, applied = saas_sync.round()
    assert (applied.outcomes, saas_sync.issues.rows) == ({"done": 1}, {})
    assert saas_sync.operations() == ["rule_added", "not_needed"]


def test_a_comparison_that_finds_nothing_writes_nothing(saas_sync):
    saas_sync.tasks.add("Order a laptop", assignee_email="anna@example.org")
    saas_sync.round()
    writes, operations = saas_sync.systems.writes, saas_sync.operations()
    reconciler = saas_sync.reconciler()
    reconciler.compare(["IT-1"])
    assert reconciler.apply().outcomes == {"done": 1}
    assert (saas_sync.systems.writes, saas_sync.operations()) == (writes, operations)


def test_a_page_that_was_fetched_before_a_webhook_came_takes_nothing_back(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    first, second = saas_sync.reconciler(), saas_sync.reconciler()

    def change_and_expect_plan() -> None:
        saas_sync.clock.at += timedelta(seconds=1)
        saas_sync.tasks.change(entity, title="Order a cup")
        assert second.poll_tasks([entity]).planned.actions == {"planned": 1}

    saas_sync.faults.on("pages", change_and_expect_plan, call=2)
    assert first.poll().planned.actions == {"overtaken": 1}
    first.apply()
    assert saas_sync.issue.summary == "Order a cup"


def test_a_change_after_the_clock_was_set_back_is_followed(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.clock.at -= timedelta(hours=3)
    saas_sync.tasks.change(entity, title="Order a cup")
    saas_sync.round()
    assert saas_sync.issue.summary == "Order a cup"


def test_a_task_that_a_listing_lacks_is_there_if_it_is_there_by_its_id(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    row = saas_sync.tasks.rows.pop(entity)

    def come_back() -> None:
        saas_sync.tasks.rows[entity] = row

    saas_sync.faults.on("task", come_back)
    poll_result, _ = saas_sync.round()
    assert (poll_result.gone_count, saas_sync.rows(saas_source_states, "gone_at")) == (0, [(None,)])


def test_a_deleted_task_is_nothing_to_a_sweep_or_a_webhook_about_its_issue(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.remove(entity)
    saas_sync.round()
    saas_sync.issues.move("IT-1", "Start", "Done")
    assert saas_sync.reconciler().sweep() == []
    assert saas_sync.reconciler().compare(["IT-1"]).actions == {}


def test_a_task_that_a_rule_begins_to_drop_keeps_its_issue_and_the_log_says_so(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.rule({"rule_id": "none", "priority": 1, "action": "drop"})
    saas_sync.round()
    assert saas_sync.issue.summary == "Order a laptop"
    assert saas_sync.operations()[-1] == "dropped"
    saas_sync.round()
    assert saas_sync.operations().count("dropped") == 1


def test_the_tick_says_when_the_look_began_and_not_when_it_ended(saas_sync):
    def pause() -> None:
        saas_sync.clock.at += timedelta(minutes=3)

    began_at = saas_sync.clock.at
    saas_sync.faults.on("pages", pause)
    reconciler = saas_sync.reconciler()
    assert poll_all(reconciler, saas_sync.warehouse, saas_sync.clock).problem is None
    assert Ticks(saas_sync.warehouse, reconciler.pair).tick().synced_at == began_at


@pytest.mark.parametrize("kind", ["created", "updated", "commented"])
def test_a_webhook_about_an_issue_that_ended_nothing_costs_nothing(saas_sync, kind):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    before = saas_sync.rows(outbox, "version_number"), saas_sync.faults.reads
    result = saas_sync.reconciler().handle_event(TaskEvent("jira", kind, "IT-1"))
    assert (result.outcome, result.entities) == ("nothing to do", ())
    assert result.reason
    assert (saas_sync.rows(outbox, "version_number"), saas_sync.faults.reads) == before


def test_what_is_intended_while_its_task_is_completed_stays_intended(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.move("IT-1", "Start", "Done")
    first, second = saas_sync.reconciler(), saas_sync.reconciler()
    first.compare(["IT-1"])

    def change_and_expect_plan() -> None:
        saas_sync.clock.at += timedelta(seconds=1)
        saas_sync.tasks.change(entity, title="Order a cup")
        assert second.poll().planned.actions == {"planned": 1}

    saas_sync.faults.on("complete", change_and_expect_plan)
    assert first.apply().outcomes == {"done": 2}
    assert (saas_sync.issue.summary, saas_sync.issue.status_name) == ("Order a cup", "Done")
    saas_sync.tasks.change(entity, title="Order a laptop")
    saas_sync.round()
    assert (saas_sync.issue.summary, saas_sync.issue.status_name) == ("Order a laptop", "Done")


def test_a_sweep_before_the_next_look_knows_that_we_completed_a_task(saas_sync):
    saas_sync.tasks.add("Order a laptop", assignee_email="ghost@example.org")
    saas_sync.round()
    saas_sync.issues.move("IT-1", "Start", "Done")
    reconciler = saas_sync.reconciler()
    reconciler.compare(["IT-1"])
    reconciler.apply()
    writes = saas_sync.systems.writes
    reconciler.sweep()  # asks again for who is not known
    assert reconciler.apply().outcomes == {"done": 1}
    assert (saas_sync.issue.status_name, saas_sync.systems.writes) == ("Done", writes)


def test_what_another_run_plans_while_a_task_is_worked_on_is_done_by_the_one_at_work(
    saas_sync,
):
    entity_id = saas_sync.tasks.add("first")
    found = []

    def change():
        saas_sync.tasks.change(entity_id, title="second")
        other = saas_sync.reconciler()
        other.poll_tasks([entity_id])
        found.append(other.apply([other.entity(entity_id)]).outcomes)

    reconciler = saas_sync.reconciler()
    reconciler.poll()
    saas_sync.faults.on("create_fields", change)
    assert reconciler.apply().outcomes == {"done": 2}
    assert found == [{"busy": 1}]
    assert [row.summary for row in saas_sync.issues.rows.values()] == ["second"]


def test_a_task_that_is_opened_again_before_the_next_look_opens_its_issue(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.move("IT-1", "Start", "Done")
    reconciler = saas_sync.reconciler()
    reconciler.compare(["IT-1"])
    reconciler.apply()
    saas_sync.tasks.change(entity, is_completed=False)
    saas_sync.round()
    assert (saas_sync.issue.status_category, saas_sync.tasks.rows[entity].is_completed) == (
        "new",
        False,
    )
