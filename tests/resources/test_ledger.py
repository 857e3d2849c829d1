"""The ledger of runs on both databases, over an instance of Dagster with small jobs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import delete, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.errors import ConfigurationError, SourceError
from orchestration_project.services.ledger import Written, follow, reconcile
from orchestration_project.services.ledger.control_tower import read_observation
from orchestration_project.services.ledger.rules.entries import RunFacts, StepFacts
from orchestration_project.tables.operations_runs import (
    operations_runs,
    operations_steps,
    workflow_runs,
    workflow_step_runs,
)
from tests.resources.weeks import FAILED, NOON, PartitionLoader, rejected, row


@dg.op
def ask():
    raise dg.Failure("FINRA says no") from SourceError("FINRA says no")


@dg.op
def read():
    said = ConfigurationError("the file cannot be read", remedy="correct its permissions")
    raise said from PermissionError("errno 13")


@dg.op
def work():
    pass


@dg.op(ins={"before": dg.In(dg.Nothing)})
def after():
    pass


@dg.job(tags={"domain": "demo"})
def demo_bad():
    after(ask())


@dg.job
def demo_unread():
    read()


@dg.job
def demo_good():
    work()


ON_SQLITE = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
"""One database for tests of Dagster's part; tests of rows use both."""


def run(instance, job=demo_good, **tags) -> str:
    result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    return result.run_id


def rows(warehouse, table, *names):
    columns = [table.c[name] for name in names]
    with warehouse.reading() as connection:
        found = connection.execute(select(*columns).order_by(*table.primary_key.columns))
        return [tuple(record) for record in found]


def only(warehouse, table, run_id):
    with warehouse.reading() as connection:
        return connection.execute(select(table).where(table.c.run_id == run_id)).mappings().one()


@ON_SQLITE
def test_runs_that_ended_failed_and_wait_are_followed_once(instance, ledger, warehouse, clock):
    failed = run(
        instance, demo_bad, session="evening", user="ada", config_hash="c0ffee", preset="full#2"
    )
    waiting = instance.create_run_for_job(demo_good, status=dg.DagsterRunStatus.NOT_STARTED).run_id
    first = follow(instance, ledger, None)
    assert (first.written, first.is_all) == (Written(2, 0, 0), True)
    assert follow(instance, ledger, first.seen).written == Written()

    found = only(warehouse, operations_runs, failed)
    assert {name: found[name] for name in ("status", "domain", "session", "user_name")} == {
        "status": "FAILURE",
        "domain": "demo",
        "session": "evening",
        "user_name": "ada",
    }
    assert (found["error_category"], found["error_message"]) == ("source", "ask: FINRA says no")
    assert (found["config_hash"], found["trigger_kind"]) == ("c0ffee", "person")
    assert found["preset"] == "full#2"
    assert found["created_at"] <= found["started_at"] <= found["ended_at"]
    seconds = (found["ended_at"] - found["started_at"]).total_seconds()
    assert found["duration_seconds"] == seconds
    assert found["recorded_at"] == clock.now()
    assert rows(warehouse, operations_steps, "step_key", "status", "attempt_count") == [
        ("ask", "FAILURE", 1)
    ]  # what never began has no row
    queued = only(warehouse, operations_runs, waiting)
    assert (queued["status"], queued["started_at"], queued["ended_at"]) == (
        "NOT_STARTED",
        None,
        None,
    )


@ON_SQLITE
def test_of_an_error_of_ours_its_own_words_are_kept_not_those_of_what_caused_it(
    instance, ledger, warehouse
):
    failed = run(instance, demo_unread)
    follow(instance, ledger, None)
    said = only(warehouse, operations_runs, failed)["error_message"]
    assert "ConfigurationError: the file cannot be read" in said
    assert "what to do: correct its permissions" in said


@ON_SQLITE
def test_a_run_that_changes_is_followed_to_its_end(instance, ledger, warehouse):
    waiting = instance.create_run_for_job(demo_good, status=dg.DagsterRunStatus.STARTED)
    seen = follow(instance, ledger, None).seen
    assert only(warehouse, operations_runs, waiting.run_id)["status"] == "STARTED"
    instance.report_run_canceled(waiting)
    assert follow(instance, ledger, seen).written == Written(0, 1, 0)
    found = only(warehouse, operations_runs, waiting.run_id)
    assert (found["status"], found["error_category"]) == ("CANCELED", "canceled")


@ON_SQLITE
def test_runs_are_followed_after_the_clock_was_set_back(instance, ledger, warehouse):
    early = instance.create_run_for_job(demo_good).run_id
    stamp = RunsTable.update().values(update_timestamp=datetime(2099, 1, 1))  # noqa: DTZ001 - as Dagster stores it
    with instance.run_storage.connect() as connection:
        connection.execute(stamp)
    seen = follow(instance, ledger, None).seen
    late = instance.create_run_for_job(demo_good).run_id
    assert follow(instance, ledger, seen).written == Written(1, 0, 0)
    assert rows(warehouse, operations_runs, "run_id") == sorted([(early,), (late,)])


@ON_SQLITE
def test_a_tick_takes_so_many_runs_and_the_next_one_goes_on(instance, ledger, warehouse):
    waiting = [instance.create_run_for_job(demo_good).run_id for _ in range(5)]
    seen, taken = None, []
    for _ in range(3):
        found = follow(instance, ledger, seen, limit=2, page_size=2)
        taken.append((found.written.added, found.is_all))
        seen = found.seen
    assert taken == [(2, False), (2, False), (1, True)]
    assert rows(warehouse, operations_runs, "run_id") == sorted((run_id,) for run_id in waiting)
    assert follow(instance, ledger, seen, limit=2, page_size=2).written == Written()


@ON_SQLITE
def test_a_look_that_takes_long_ends_and_the_next_one_goes_on(instance, ledger, warehouse):
    ids = [instance.create_run_for_job(demo_good).run_id for _ in range(6)]
    with instance.run_storage.connect() as connection:
        for hour, run_id in enumerate(ids):  # the last of them is the one that the ledger lacks
            stamp = RunsTable.update().where(RunsTable.c.run_id == run_id)
            connection.execute(stamp.values(update_timestamp=datetime(2026, 1, 1, hour)))  # noqa: DTZ001 - as Dagster stores it
    reconcile(instance, ledger, None)
    with warehouse.writing() as connection:
        connection.execute(delete(operations_runs).where(operations_runs.c.run_id == ids[-1]))
    seen, ends = None, []
    for _ in range(4):
        found = follow(instance, ledger, seen, page_size=3, seconds=0)
        ends.append((found.written.added, found.is_all))
        seen = found.seen
    assert ends == [(0, False), (0, False), (1, True), (0, True)]


@ON_SQLITE
def test_a_run_at_the_end_of_a_page_is_recorded_once(instance, ledger, warehouse):
    for _ in range(5):
        instance.create_run_for_job(demo_good)
    found = follow(instance, ledger, None, page_size=2)
    assert (found.written, found.is_all) == (Written(5, 0, 0), True)


@ON_SQLITE
def test_a_run_whose_process_is_gone_has_crashed(instance, ledger, warehouse):
    started = instance.create_run_for_job(demo_good, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(started, "process 7 is gone")
    follow(instance, ledger, None)
    found = only(warehouse, operations_runs, started.run_id)
    assert (found["error_category"], found["error_message"]) == ("crash", "process 7 is gone")


@ON_SQLITE
def test_what_the_sensor_missed_and_what_somebody_changed_is_repaired(instance, ledger, warehouse):
    changed, missed, untouched = (run(instance) for _ in range(3))
    assert reconcile(instance, ledger, None).written == Written(3, 0, 0)
    with warehouse.writing() as connection:
        connection.execute(
            update(operations_runs)
            .where(operations_runs.c.run_id == changed)
            .values(status="FAILURE", rows_landed=7)
        )
        connection.execute(delete(operations_runs).where(operations_runs.c.run_id == missed))
        connection.execute(delete(operations_steps).where(operations_steps.c.run_id == missed))
    assert reconcile(instance, ledger, None).written == Written(1, 1, 1)
    found = only(warehouse, operations_runs, changed)
    assert (found["status"], found["rows_landed"]) == ("SUCCESS", 0)
    assert len(rows(warehouse, operations_steps, "run_id")) == 3
    assert reconcile(instance, ledger, None).written == Written(0, 0, 3)
    assert reconcile(instance, ledger, datetime.now(UTC) + timedelta(days=1)).written == Written()  # noqa: TID251 - Dagster's own time
    assert untouched


@ON_SQLITE
def test_only_what_is_missing_or_has_changed_since_is_read_again_when_asked_for_so(
    instance, ledger, warehouse
):
    current, missed = run(instance), run(instance)
    begun = instance.create_run_for_job(demo_good, status=dg.DagsterRunStatus.STARTED)
    assert reconcile(instance, ledger, None, only_changed=True).written == Written(3, 0, 0)
    with warehouse.writing() as connection:
        connection.execute(delete(operations_runs).where(operations_runs.c.run_id == missed))
        connection.execute(
            update(operations_runs).where(operations_runs.c.run_id == current).values(user_name="x")
        )
    instance.report_run_failed(begun, "gone")
    assert reconcile(instance, ledger, None, only_changed=True).written == Written(1, 1, 1)
    assert only(warehouse, operations_runs, begun.run_id)["status"] == "FAILURE"
    assert only(warehouse, operations_runs, current)["user_name"] == "x"


@ON_SQLITE
def test_a_run_that_dagster_has_deleted_stays_and_one_that_never_ended_is_marked(
    instance, ledger, warehouse, clock
):
    ended = run(instance)
    begun = instance.create_run_for_job(demo_good, status=dg.DagsterRunStatus.STARTED).run_id
    follow(instance, ledger, None)
    for run_id in (ended, begun):
        instance.delete_run(run_id)
    before = Clock().now()
    assert reconcile(instance, ledger, None).gone == 1
    assert only(warehouse, operations_runs, ended)["status"] == "SUCCESS"
    found = only(warehouse, operations_runs, begun)
    assert (found["status"], found["recorded_at"]) == ("DELETED", clock.now())
    assert before <= found["ended_at"] <= Clock().now()  # the machine's time, as other ends are
    assert reconcile(instance, ledger, None).gone == 0


def facts(status="SUCCESS", seconds=0, steps=(), run_id="run") -> RunFacts:
    at = NOON + timedelta(seconds=seconds)
    return RunFacts(run_id, "finra_otc_weekly", status, NOON, at, NOON, at, steps=steps)


LOAD = StepFacts("load", "SUCCESS", ["finra/otc_weekly"], NOON, NOON, 1)


@pytest.mark.slow_on_postgresql
def test_the_steps_of_a_run_that_dagster_has_deleted_are_at_work_no_more(
    instance, ledger, warehouse
):
    at_work = StepFacts("load", "IN_PROGRESS", ["finra/otc_weekly"], NOON, None, 1)
    begun = replace(
        facts("STARTED", steps=[LOAD, replace(at_work, step_key="last")]), ended_at=None
    )
    ledger.record([begun, replace(begun, run_id="marked before")])
    with warehouse.writing() as connection:
        connection.execute(
            update(operations_runs)
            .where(operations_runs.c.run_id == "marked before")
            .values(status="DELETED", ended_at=NOON)
        )
    assert reconcile(instance, ledger, None).gone == 1
    assert rows(warehouse, operations_steps, "run_id", "step_key", "status") == [
        ("marked before", "last", "CANCELED"),
        ("marked before", "load", "SUCCESS"),
        ("run", "last", "CANCELED"),
        ("run", "load", "SUCCESS"),
    ]
    assert read_observation(warehouse, NOON).under_way == {}


def test_an_earlier_state_of_a_run_does_not_replace_a_later_one(ledger, warehouse):
    ledger.record([facts(seconds=5)])
    assert ledger.record([facts("STARTED", seconds=4)]) == Written(0, 0, 1)
    assert only(warehouse, operations_runs, "run")["status"] == "SUCCESS"


def test_an_end_by_a_slow_clock_replaces_what_came_before(ledger, warehouse):
    ledger.record([replace(facts("CANCELING", seconds=5), ended_at=None)])
    assert ledger.ended(["run"]) == {}
    assert ledger.record([facts("SUCCESS", seconds=4)]) == Written(0, 1, 0)
    assert ledger.ended(["run"]) == {"run": NOON + timedelta(seconds=4)}
    assert ledger.under_way() == []


def test_steps_stay_when_dagsters_event_log_has_lost_them(ledger, warehouse):
    ledger.record([facts(steps=[LOAD])])
    assert ledger.record([facts(seconds=9)]) == Written(0, 0, 1)
    assert rows(warehouse, operations_steps, "step_key") == [("load",)]


def test_rows_and_bytes_are_of_loaded_and_quarantined_deliveries(partition_loader, ledger):
    good = partition_loader.capture(row_count=4)
    partition_loader.write_batch(row("AAA"), row("BBB"), captures=[good], rejects=rejected(3, 4))
    bad = partition_loader.capture(b"other\nlines\n", row_count=3)
    quarantined = PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier="T2")
    with pytest.raises(Exception, match="is quarantined"):
        quarantined.write_batch(row("CCC"), captures=[bad], audits=[FAILED], rejects=rejected(2))
    ledger.record([facts(steps=[LOAD]), facts(run_id="other")])
    figures = {"rows_in": 7, "rows_landed": 2, "rows_rejected": 3, "byte_count": 23}
    for table in (operations_runs, operations_steps):
        found = only(partition_loader.warehouse, table, "run")
        assert {name: found[name] for name in figures} == figures
    assert only(partition_loader.warehouse, operations_runs, "other")["rows_in"] == 0


def test_text_that_a_database_could_not_hold_is_kept_without_it(ledger, warehouse):
    step = StepFacts("load", "FAILURE", attempts=1, error="bad \0 byte \ud800")
    ledger.record([facts("FAILURE", steps=[step])])
    assert only(warehouse, operations_steps, "run")["error_message"] == "bad  byte \\ud800"


def test_the_views_have_the_states_of_other_workflow_systems(ledger, warehouse):
    states = {
        "QUEUED": "PENDING",
        "STARTED": "RUNNING",
        "SUCCESS": "COMPLETED",
        "FAILURE": "FAILED",
        "CANCELED": "CANCELLED",
    }
    ledger.record([facts(status, steps=[LOAD], run_id=status) for status in states])
    names = ("run_id", "workflow_name", "status", "triggered_by")
    assert rows(warehouse, workflow_runs.table, *names) == [
        (status, "finra_otc_weekly", states[status], "person") for status in sorted(states)
    ]
    names = ("run_id", "step_name", "status", "quality_passed")
    assert rows(warehouse, workflow_step_runs.table, *names) == [
        (status, "load", "COMPLETED", None) for status in sorted(states)
    ]
