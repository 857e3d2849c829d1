"""A failed intention is retried with backoff, or becomes a dead letter; the others go on."""

from datetime import timedelta

import pytest

from orchestration_project.domains.saas.tables import saas_dead_letters
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.saas.applying import MAX_AMBIGUOUS_ATTEMPTS
from orchestration_project.resources.saas.rules import revalidate
from orchestration_project.resources.saas.systems import UnreadableRecord
from orchestration_project.tables.spine import outbox
from tests.faulty_server import FaultyServer, Reply
from tests.resources.saas_office import ALL
from tests.saas_demo import http_client, jira


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
    assert office.reconciler().retry_refused().actions == {}


def test_a_refusal_of_what_was_superseded_meanwhile_is_nothing_to_mend(office):
    entity = office.tasks.add("poison")
    office.clock.at += timedelta(hours=1)
    first, second = office.reconciler(), office.reconciler()
    first.look()

    def correct() -> None:
        office.clock.at += timedelta(seconds=1)
        office.tasks.change(entity, title="Order a cup")
        second.look_at([entity])

    office.faults.coming, office.faults.on_call = [""] * 3 + ["meanwhile"], correct
    assert first.apply().outcomes == {"dead": 1, "done": 1}
    assert office.issue.summary == "Order a cup"
    assert office.reconciler().refused() == set()


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
    office.faults.coming = []
    assert office.reconciler().apply([reconciler.entity("1000")]).outcomes == {}
    reconciler.sweep()
    assert office.reconciler().apply([reconciler.entity("1000")]).outcomes == {}
    office.clock.at += timedelta(seconds=90)
    assert reconciler.apply().outcomes == {"done": 3}


def test_work_done_until_a_key_ended_is_reported_and_continued(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.change(entity, title="Order a cup", is_completed=True)

    def refuse(_):
        raise ConfigurationError("the target does not know who asks")

    office.issues.transitions = refuse
    with pytest.raises(ConfigurationError):
        office.round()
    assert office.operations()[-1] == "updated"
    del office.issues.transitions
    office.clock.at += timedelta(minutes=1)
    assert office.reconciler().apply().outcomes == {"done": 1}
    assert (office.issue.summary, office.issue.status_name) == ("Order a cup", "Done")


@pytest.mark.parametrize("status", [403, 404])
def test_a_target_that_refuses_everything_ends_the_run_and_proves_nothing(office, tmp_path, status):
    for number in range(3):
        office.tasks.add(f"task {number}")
    page = Reply(status, {}, b"<html>no entry</html>")
    with FaultyServer(lambda _: page) as server, http_client(tmp_path) as http:
        target = office.world.target = jira(server.url, http)
        for _ in range(MAX_AMBIGUOUS_ATTEMPTS):
            with pytest.raises(ConfigurationError, match="Jira rejects every request"):
                office.round()
        examined = revalidate(office.warehouse, target, at=office.clock.now(), run_id="x")
        assert (examined.proven, list(examined.unknown)) == ({}, ["all"])
    assert office.rows(saas_dead_letters, "entity_id") == []
    assert office.rows(outbox, "state") == [("waiting",)] * 3


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


def test_each_try_in_vain_waits_twice_as_long_until_it_is_an_hour(office):
    office.tasks.add("Order a laptop")
    office.reconciler().look()
    minutes = []
    for _ in range(8):
        office.faults.coming = ["down"]
        assert office.reconciler().apply().outcomes == {"waiting": 1}
        [(due_at,)] = office.rows(outbox, "due_at")
        minutes.append((due_at - office.clock.at).total_seconds() / 60)
        office.clock.at = due_at
    assert minutes == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_try_in_vain_now_and_then_ends_no_run(office):
    for number in range(8):
        office.tasks.add(f"task {number}")
    well = [""] * 4
    office.faults.coming = ["", "", "", "", "", *["down", *well] * 4]
    office.clock.at += timedelta(hours=1)
    reconciler = office.reconciler()
    reconciler.look()
    applied = reconciler.apply()
    assert (applied.outcomes, applied.problem) == ({"waiting": 4, "done": 4}, None)


def test_what_another_run_tried_meanwhile_is_left_alone_until_it_is_due(office):
    office.tasks.add("Order a laptop")
    office.tasks.add("Order a cup")
    first, second = office.reconciler(), office.reconciler()
    first.look()

    def try_in_vain() -> None:
        office.faults.coming = ["down"]
        assert second.apply([second.entity("1001")]).outcomes == {"waiting": 1}

    office.faults.coming, office.faults.on_call = ["meanwhile"], try_in_vain
    assert first.apply().outcomes == {"done": 1, "done_before": 1}


def test_an_issue_that_is_deleted_just_before_its_change_is_made_again_later(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.change(entity, title="Order a cup")
    office.faults.coming = ["", "", "", "", "meanwhile"]  # page, its end, form, issue; its change
    office.faults.on_call = office.issues.rows.clear
    assert office.round()[1].outcomes == {"waiting": 1}
    assert office.round()[1].outcomes == {"done": 1}
    assert office.issue.summary == "Order a cup"


def test_what_may_pass_is_tried_five_times_and_then_a_dead_letter(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.move("IT-1", "Start", "Done")
    office.tasks.remove(entity)
    office.reconciler().compare(["IT-1"])
    outcomes = []
    for _ in range(6):
        outcomes.append(office.reconciler().apply().outcomes)
        office.clock.at += timedelta(hours=1)
    assert outcomes == [{"waiting": 1}] * 4 + [{"dead": 1}, {}]
    letters = office.rows(saas_dead_letters, "reason_code", "http_status")
    assert letters == [("http_404", 404)]


def test_a_sweep_leaves_what_was_refused_to_people(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.change(entity, title="poison")
    assert office.round()[1].outcomes == {"dead": 1}
    office.issues.move("IT-1", "Start", "Done")
    reconciler = office.reconciler()
    assert [each.what for each in reconciler.sweep()] == ["to_source"]
    assert reconciler.apply().outcomes == {}


def test_a_sweep_does_not_hurry_what_waits(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.change(entity, title="Order a cup")
    office.faults.coming = ["", "", "down"]
    assert office.round()[1].outcomes == {"waiting": 1}
    office.issues.move("IT-1", "Start", "Done")
    reconciler = office.reconciler()
    assert [each.what for each in reconciler.sweep()] == ["to_source"]
    assert reconciler.apply().outcomes == {}


def test_a_replay_is_of_those_that_were_chosen(office):
    office.tasks.add("poison 1")
    office.tasks.add("poison 2")
    office.round()
    reconciler = office.reconciler()
    assert reconciler.retry_refused([reconciler.entity("1001")]).actions == {"planned": 1}
    assert reconciler.apply().outcomes == {"dead": 1}


def test_a_task_that_cannot_be_read_holds_no_other_one_back(office):
    office.tasks.add("Order a laptop")
    read = office.tasks.task

    def refuse_one(entity_id):
        if entity_id == "999":
            raise ContractError("the task 999 cannot be read")
        return read(entity_id)

    office.tasks.task = refuse_one
    looked = office.reconciler().look_at(["999", "1000"])
    assert looked.unreadable == ["the task 999 cannot be read"]
    assert (looked.planned.actions, looked.problem) == ({"planned": 1}, None)


def test_a_task_that_is_listed_and_cannot_be_read_is_not_asked_for_by_its_id(office):
    first, *_ = [office.tasks.add(f"task {number}") for number in range(6)]
    office.round()
    del office.tasks.rows[first]  # in the world's pages
    office.tasks.unreadable = [UnreadableRecord("x", 1, "{}", "no task", first)]
    reads = office.faults.reads
    looked, _ = office.round()
    assert (looked.problem, looked.gone_count, looked.unreadable) == (None, 0, ["no task"])
    assert office.faults.reads - reads == 4  # three pages, and their end


def test_of_several_changes_before_a_run_the_last_one_is_intended(office):
    entity = office.tasks.add("Order a laptop")
    office.reconciler().look()
    office.tasks.change(entity, title="Order a cup")
    office.clock.at += timedelta(seconds=1)
    office.reconciler().look()
    assert office.rows(outbox, "state") == [("superseded",), ("waiting",)]
    assert office.reconciler().apply().outcomes == {"done": 1}
    assert office.issue.summary == "Order a cup"
