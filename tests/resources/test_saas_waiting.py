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
from tests.resources.saas_syncs import ALL
from tests.saas_demo import http_client, jira


def test_a_refusal_is_a_dead_letter_until_the_task_or_a_person_changes_something(saas_sync):
    entity = saas_sync.tasks.add("poison")
    saas_sync.tasks.add("Order a laptop")
    _, applied = saas_sync.round()
    assert applied.outcomes == {"dead": 1, "done": 1}
    writes = saas_sync.systems.writes
    saas_sync.round()
    assert saas_sync.systems.writes == writes
    letters = ("entity_id", "reason_code", "http_status", "ended_at")
    assert saas_sync.rows(saas_dead_letters, *letters) == [(entity, "http_400", 400, None)]
    reconciler = saas_sync.reconciler()
    assert reconciler.retry_refused().actions == {"planned": 1}
    assert reconciler.apply().outcomes == {"dead": 1}
    saas_sync.tasks.change(entity, title="Order a cup")
    assert saas_sync.round()[1].outcomes == {"done": 1}
    assert None not in [ended for (ended,) in saas_sync.rows(saas_dead_letters, "ended_at")]
    assert saas_sync.reconciler().retry_refused().actions == {}


def test_a_refusal_of_what_was_superseded_meanwhile_is_nothing_to_mend(saas_sync):
    entity = saas_sync.tasks.add("poison")
    saas_sync.clock.at += timedelta(hours=1)
    first, second = saas_sync.reconciler(), saas_sync.reconciler()
    first.poll()

    def correct() -> None:
        saas_sync.clock.at += timedelta(seconds=1)
        saas_sync.tasks.change(entity, title="Order a cup")
        second.poll_tasks([entity])

    saas_sync.faults.on("create", correct)
    assert first.apply().outcomes == {"dead": 1, "done": 1}
    assert saas_sync.issue.summary == "Order a cup"
    assert saas_sync.reconciler().refused() == set()


def test_a_throttled_target_ends_the_run_and_is_left_alone_for_as_long_as_it_said(saas_sync):
    for number in range(3):
        saas_sync.tasks.add(f"task {number}")
    saas_sync.clock.at += timedelta(hours=1)
    reconciler = saas_sync.reconciler()
    reconciler.poll()
    saas_sync.faults.on("create_fields", "throttled")
    applied = reconciler.apply()
    assert (applied.outcomes, applied.problem.retry_in_seconds) == ({"waiting": 1}, 90)
    due = {
        at - saas_sync.clock.at for (at,) in saas_sync.rows(outbox, "due_at", entity="task|1000")
    }
    assert due == {timedelta(seconds=90)}
    assert saas_sync.reconciler().apply([reconciler.entity("1000")]).outcomes == {}
    reconciler.sweep()
    assert saas_sync.reconciler().apply([reconciler.entity("1000")]).outcomes == {}
    saas_sync.clock.at += timedelta(seconds=90)
    assert reconciler.apply().outcomes == {"done": 3}


def test_work_done_until_a_key_ended_is_reported_and_continued(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.change(entity, title="Order a cup", is_completed=True)

    def refuse(_):
        raise ConfigurationError("the target does not know who asks")

    saas_sync.issues.transitions = refuse
    with pytest.raises(ConfigurationError):
        saas_sync.round()
    assert saas_sync.operations()[-1] == "updated"
    del saas_sync.issues.transitions
    saas_sync.clock.at += timedelta(minutes=1)
    assert saas_sync.reconciler().apply().outcomes == {"done": 1}
    assert (saas_sync.issue.summary, saas_sync.issue.status_name) == ("Order a cup", "Done")


@pytest.mark.parametrize("status", [403, 404])
def test_a_target_that_refuses_everything_ends_the_run_and_proves_nothing(
    saas_sync, tmp_path, status
):
    for number in range(3):
        saas_sync.tasks.add(f"task {number}")
    page = Reply(status, {}, b"<html>no entry</html>")
    with FaultyServer(lambda _: page) as server, http_client(tmp_path) as http:
        target = saas_sync.systems.target = jira(server.url, http)
        for _ in range(MAX_AMBIGUOUS_ATTEMPTS):
            with pytest.raises(ConfigurationError, match="Jira rejects every request"):
                saas_sync.round()
        examined = revalidate(saas_sync.warehouse, target, at=saas_sync.clock.now(), run_id="x")
        assert (examined.proven, list(examined.unknown)) == ({}, ["all"])
    assert saas_sync.rows(saas_dead_letters, "entity_id") == []
    assert saas_sync.rows(outbox, "state") == [("waiting",)] * 3


def test_a_target_that_is_down_costs_three_tries_a_run_and_never_makes_a_dead_letter(saas_sync):
    for number in range(5):
        saas_sync.tasks.add(f"task {number}")
    saas_sync.faults.on_each("create_fields", "down")
    for _ in range(4):
        _, applied = saas_sync.round()
        assert applied.outcomes == {"waiting": 3}
    assert saas_sync.rows(saas_dead_letters, "entity_id") == []
    saas_sync.faults.clear()
    saas_sync.round()
    saas_sync.round()
    assert len(saas_sync.issues.rows) == 5


def test_a_mapping_that_needs_what_a_task_lacks_is_a_dead_letter_that_names_it(saas_sync):
    saas_sync.rule(
        {
            **ALL,
            "mappings": [
                {"target_field": "labels", "source_type": "template", "value": "{fields.team.name}"}
            ],
        }
    )
    saas_sync.tasks.add("Order a laptop")
    poll_result, _ = saas_sync.round()
    assert poll_result.planned.actions == {"refused": 1}
    [(reason,)] = saas_sync.rows(saas_dead_letters, "reason")
    assert reason == "the task has no fields.team.name, which a mapping of all@2 needs"


def test_each_try_in_vain_waits_twice_as_long_until_it_is_an_hour(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.reconciler().poll()
    minutes = []
    for _ in range(8):
        saas_sync.faults.on("create_fields", "down")
        assert saas_sync.reconciler().apply().outcomes == {"waiting": 1}
        [(due_at,)] = saas_sync.rows(outbox, "due_at")
        minutes.append((due_at - saas_sync.clock.at).total_seconds() / 60)
        saas_sync.clock.at = due_at
    assert minutes == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_try_in_vain_now_and_then_ends_no_run(saas_sync):
    for number in range(8):
        saas_sync.tasks.add(f"task {number}")
    for call in (1, 3, 5, 7):
        saas_sync.faults.on("create_fields", "down", call=call)
    saas_sync.clock.at += timedelta(hours=1)
    reconciler = saas_sync.reconciler()
    reconciler.poll()
    applied = reconciler.apply()
    assert (applied.outcomes, applied.problem) == ({"waiting": 4, "done": 4}, None)


def test_what_another_run_tried_meanwhile_is_left_alone_until_it_is_due(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.tasks.add("Order a cup")
    first, second = saas_sync.reconciler(), saas_sync.reconciler()
    first.poll()

    def try_in_vain_and_expect_wait() -> None:
        saas_sync.faults.on("create_fields", "down")
        assert second.apply([second.entity("1001")]).outcomes == {"waiting": 1}

    saas_sync.faults.on("create_fields", try_in_vain_and_expect_wait)
    assert first.apply().outcomes == {"done": 1, "done_before": 1}


def test_an_issue_that_is_deleted_just_before_its_change_is_made_again_later(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.change(entity, title="Order a cup")
    saas_sync.faults.on("update", saas_sync.issues.rows.clear)
    assert saas_sync.round()[1].outcomes == {"waiting": 1}
    assert saas_sync.round()[1].outcomes == {"done": 1}
    assert saas_sync.issue.summary == "Order a cup"


def test_what_may_pass_is_tried_five_times_and_then_a_dead_letter(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.move("IT-1", "Start", "Done")
    saas_sync.tasks.remove(entity)
    saas_sync.reconciler().compare(["IT-1"])
    outcomes = []
    for _ in range(6):
        outcomes.append(saas_sync.reconciler().apply().outcomes)
        saas_sync.clock.at += timedelta(hours=1)
    assert outcomes == [{"waiting": 1}] * 4 + [{"dead": 1}, {}]
    letters = saas_sync.rows(saas_dead_letters, "reason_code", "http_status")
    assert letters == [("http_404", 404)]


def test_a_sweep_leaves_what_was_refused_to_people(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.change(entity, title="poison")
    assert saas_sync.round()[1].outcomes == {"dead": 1}
    saas_sync.issues.move("IT-1", "Start", "Done")
    reconciler = saas_sync.reconciler()
    assert [difference.what for difference in reconciler.sweep()] == ["to_source"]
    assert reconciler.apply().outcomes == {}


def test_a_sweep_does_not_hurry_what_waits(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.change(entity, title="Order a cup")
    saas_sync.faults.on("create_fields", "down")
    assert saas_sync.round()[1].outcomes == {"waiting": 1}
    saas_sync.issues.move("IT-1", "Start", "Done")
    reconciler = saas_sync.reconciler()
    assert [difference.what for difference in reconciler.sweep()] == ["to_source"]
    assert reconciler.apply().outcomes == {}


def test_a_replay_is_of_those_that_were_chosen(saas_sync):
    saas_sync.tasks.add("poison 1")
    saas_sync.tasks.add("poison 2")
    saas_sync.round()
    reconciler = saas_sync.reconciler()
    assert reconciler.retry_refused([reconciler.entity("1001")]).actions == {"planned": 1}
    assert reconciler.apply().outcomes == {"dead": 1}


def test_a_task_that_cannot_be_read_holds_no_other_one_back(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    read = saas_sync.tasks.task

    def refuse_one(entity_id):
        if entity_id == "999":
            raise ContractError("the task 999 cannot be read")
        return read(entity_id)

    saas_sync.tasks.task = refuse_one
    poll_result = saas_sync.reconciler().poll_tasks(["999", "1000"])
    assert poll_result.unreadable == ["the task 999 cannot be read"]
    assert (poll_result.planned.actions, poll_result.problem) == ({"planned": 1}, None)


def test_a_task_that_is_listed_and_cannot_be_read_is_not_asked_for_by_its_id(saas_sync):
    first, *_ = [saas_sync.tasks.add(f"task {number}") for number in range(6)]
    saas_sync.round()
    del saas_sync.tasks.rows[first]  # in the source's pages
    saas_sync.tasks.unreadable = [UnreadableRecord("x", 1, "{}", "no task", first)]
    reads = saas_sync.faults.reads
    poll_result, _ = saas_sync.round()
    assert (poll_result.problem, poll_result.gone_count, poll_result.unreadable) == (
        None,
        0,
        ["no task"],
    )
    assert saas_sync.faults.reads - reads == 4  # three pages, and their end


def test_of_several_changes_before_a_run_the_last_one_is_intended(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.reconciler().poll()
    saas_sync.tasks.change(entity, title="Order a cup")
    saas_sync.clock.at += timedelta(seconds=1)
    saas_sync.reconciler().poll()
    assert saas_sync.rows(outbox, "state") == [("superseded",), ("waiting",)]
    assert saas_sync.reconciler().apply().outcomes == {"done": 1}
    assert saas_sync.issue.summary == "Order a cup"
