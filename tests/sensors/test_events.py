"""Webhook deliveries become runs: once each, in order, and until they are done or dead."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.connections.clock import Clock
from orchestration_project.definitions import defs
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.sensors.events import webhook_sensor
from orchestration_project.services.inbox import Inbox, Received
from orchestration_project.services.inbox.work import RUNS_PER_TICK
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import captures, inbox, rejects
from orchestration_project.tables.webhooks import events_webhooks
from tests.resources.definitions import RESOURCES
from tests.runs import told_by

SOURCES = """
sources:
  git: {scheme: github, job: events_webhooks, max_attempts: 2}
  pay: {scheme: stripe, job: events_webhooks, in_order: false}
  kept: {scheme: github}
  jira: {scheme: jira, job: saas_reconcile}
  peopleforce: {scheme: peopleforce, job: saas_reconcile}
"""

events_on_webhook = webhook_sensor(REGISTRY)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    file = tmp_path / "webhooks.yaml"
    file.write_text(SOURCES)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("WEBHOOKS_FILE", str(file))
    monkeypatch.setenv("DISK_HEADROOM_MIB", "0")
    return load_settings()


def deliver(
    settings,
    *ids: str,
    source: str = "git",
    body: bytes = b'{"a": 1}',
    clock: Clock | None = None,
) -> None:
    with open_warehouse(settings) as warehouse:
        Inbox(warehouse, clock or Clock()).take(
            [Received(source, each, "push", body, {}, 2 if source != "kept" else 0) for each in ids]
        )


SECOND = timedelta(seconds=1)


class LaterClock(Clock):
    """The real time, and some more."""

    def __init__(self, more: timedelta) -> None:
        super().__init__()
        self._more = more

    def now(self) -> datetime:
        return super().now() + self._more


def tick(instance, later: timedelta = 0 * SECOND) -> tuple[str, list[dg.RunRequest]]:
    opened = {name: RESOURCES[name] for name in ("settings", "warehouse")}
    with dg.build_resources({**opened, "clock": LaterClock(later)}, instance) as resources:
        context = dg.build_sensor_context(instance, resources=resources._asdict())
        assert events_on_webhook is not None
        result = events_on_webhook(context)
    if isinstance(result, dg.SkipReason):
        return str(result.skip_message), []
    assert isinstance(result, dg.SensorResult)
    return "", list(result.run_requests or [])


def attempt(request: dg.RunRequest) -> str:
    """Return source, id and number of the attempt that is asked for."""
    return str(request.run_key).partition(" ")[0]


def note(
    instance, request: dg.RunRequest, status: dg.DagsterRunStatus, **tags: str
) -> dg.DagsterRun:
    """Have Dagster remember a run of that status for what a tick asked for."""
    job = defs.resolve_job_def("events_webhooks")
    return instance.create_run_for_job(job, status=status, tags={**request.tags, **tags})


def fail(instance, request: dg.RunRequest) -> datetime:
    """Have Dagster remember a run that failed; return when it ended."""
    run = note(instance, request, dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    return datetime.fromtimestamp(instance.get_run_record_by_id(run.run_id).end_time, UTC)


def execute(instance, tags=None, job: str = "events_webhooks", **config):
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, tags=tags, raise_on_error=False, run_config=config
    )


def rows(settings, table=inbox, *columns: str) -> list[tuple]:
    with open_warehouse(settings) as warehouse, warehouse.reading() as connection:
        chosen = [table.c[name] for name in columns] or [table]
        return [tuple(row) for row in connection.execute(select(*chosen))]


def test_a_delivery_is_landed_once_with_its_bytes_and_what_follows_waits_for_it(settings, instance):
    deliver(settings, "b", "a")
    _, [first] = tick(instance)
    assert (attempt(first), first.job_name) == ("git|b#1", "events_webhooks")
    assert tick(instance)[1][0].run_key == first.run_key  # as if the first tick had been broken off
    ran = execute(instance, first.tags)
    assert ran.success
    assert told_by(ran)["webhooks"][None]["outcome"] == "landed"
    _, [second] = tick(instance)
    assert attempt(second) == "git|a#1"
    assert rows(settings, inbox, "delivery_id", "state", "attempt_count") == [
        ("a", "received", 0),
        ("b", "done", 1),
    ]
    [row] = rows(settings, events_webhooks)
    assert (row[0], row[1], row[3], row[4]) == ("git", "b", "push", '{"a": 1}')
    [capture] = rows(settings, captures, "capture_id", "source", "dataset", "url")
    assert capture == (row[5], "webhooks", "git", "/hooks/git")
    again = execute(instance, first.tags)
    assert told_by(again)["webhooks"][None]["outcome"] == "unchanged"
    assert len(rows(settings, captures)) == 1


@pytest.mark.parametrize("is_noted", [False, True])
def test_what_a_gateway_whose_clock_is_behind_takes_in_waits_for_the_run_of_what_came_before(
    settings, instance, is_noted
):
    deliver(settings, "1")
    [request] = tick(instance)[1]
    note(instance, request, dg.DagsterRunStatus.STARTED)
    if is_noted:
        tick(instance)
    deliver(settings, "2", clock=LaterClock(-60 * SECOND))
    assert tick(instance)[1] == []
    assert sorted(rows(settings, inbox, "delivery_id", "state")) == [
        ("1", "running"),
        ("2", "received"),
    ]


def test_a_delivery_that_another_database_has_done_is_landed_in_this_one_too(
    settings, instance, monkeypatch
):
    deliver(settings, "1")
    note(instance, tick(instance)[1][0], dg.DagsterRunStatus.SUCCESS)
    tick(instance)
    monkeypatch.setenv("FINRA_SOURCE", "api")
    settings = load_settings()
    deliver(settings, "1")
    [request] = tick(instance)[1]
    assert execute(instance, request.tags).success
    tick(instance)
    assert rows(settings, inbox, "state") == [("done",)]
    assert rows(settings, events_webhooks, "delivery_id") == [("1",)]


def test_a_body_that_is_no_event_is_rejected_with_its_reason_and_done(settings, instance):
    deliver(settings, "1", body=b"[]")
    _, [request] = tick(instance)
    ran = execute(instance, request.tags)
    told = told_by(ran)["webhooks"][None]
    assert (told["outcome"], told["rows"]) == ("rejected", 0)
    assert rows(settings, events_webhooks) == []
    [reject] = rows(settings, rejects, "table_name", "reason_code", "record")
    assert reject == ("events_webhooks", "object", "[]")
    assert "0 deliveries of them are dead" in tick(instance)[0]
    assert rows(settings, inbox, "state") == [("done",)]


@pytest.mark.parametrize(
    ("source", "body", "record", "found"),
    [
        ("jira", b'{"webhookEvent": NaN}', '{"webhookEvent": NaN}', "NaN is no number of JSON"),
        ("peopleforce", b"\xff", "\\xff", "no UTF-8 from byte 0"),
    ],
)
def test_a_body_that_no_system_sends_is_rejected_once_with_its_reason_and_is_a_dead_letter(
    settings, instance, source, body, record, found
):
    deliver(settings, "1", "2", source=source, body=body)
    _, [request] = tick(instance)
    ran = execute(instance, request.tags, "saas_reconcile")
    assert ran.success
    told = told_by(ran)["source_states"][None]
    assert told["webhook"] == "rejected"
    assert found in told["reason"]
    [reject] = rows(settings, rejects, "table_name", "record", "reason")
    assert reject == ("saas_source_states", record, told["reason"])
    [capture] = rows(settings, captures, "source", "dataset", "url")
    assert capture == ("webhooks", source, f"/hooks/{source}")
    _, [following] = tick(instance)
    assert attempt(following) == f"{source}|2#1"
    assert sorted(rows(settings, inbox, "delivery_id", "state", "attempt_count")) == [
        ("1", "dead", 1),
        ("2", "received", 0),
    ]


def test_a_delivery_that_fails_is_tried_again_then_dead_and_can_be_replayed(settings, instance):
    deliver(settings, "1", "2")
    for name, later in (("git|1#1", 0 * SECOND), ("git|1#2", 60 * SECOND)):
        _, [request] = tick(instance, later)
        assert attempt(request) == name
        fail(instance, request)
    _, [following] = tick(instance)
    assert attempt(following) == "git|2#1"
    assert rows(settings, inbox, "state", "attempt_count") == [("dead", 2), ("received", 0)]
    replay = execute(
        instance,
        job="operations_replay_webhook",
        ops={"replay_webhook": {"config": {"source": "git"}}},
    )
    assert replay.success
    _, [request] = tick(instance)
    assert attempt(request) == "git|1#3"  # it came first
    note(instance, request, dg.DagsterRunStatus.SUCCESS)
    tick(instance)
    assert rows(settings, inbox, "state", "attempt_count") == [("done", 3), ("received", 0)]


def test_after_a_failed_run_a_delivery_waits_from_its_end_and_what_follows_waits_with_it(
    settings, instance
):
    deliver(settings, "1", "2")
    _, [request] = tick(instance)
    until = fail(instance, request) + 60 * SECOND
    one_ended = "1 runs ended, 0 deliveries of them are dead letters."
    waits = f"1 wait after a failed run, the first until {until:%H:%M:%S} UTC"
    noted = f"No delivery is due; 0 are under way; {waits}; {one_ended}"
    assert tick(instance, 20 * SECOND) == (noted, [])
    assert tick(instance, 20 * SECOND) == (noted.replace("1 runs", "0 runs"), [])
    assert [attempt(each) for each in tick(instance, 60 * SECOND)[1]] == ["git|1#2"]


def test_a_delivery_waits_neither_for_a_clock_that_was_set_back_nor_after_a_deleted_run(
    settings, instance
):
    deliver(settings, "1")
    _, [request] = tick(instance)
    fail(instance, request)
    tick(instance)
    [again] = tick(instance, -3600 * SECOND)[1]
    assert attempt(again) == "git|1#2"
    deliver(settings, "1", source="pay")
    requests = {attempt(each): each for each in tick(instance)[1]}
    run = note(instance, requests["pay|1#1"], dg.DagsterRunStatus.STARTED)
    tick(instance)
    instance.delete_run(run.run_id)
    assert "pay|1#2" in [attempt(each) for each in tick(instance)[1]]


def test_without_order_other_deliveries_go_on_while_as_many_as_may_run_wait(settings, instance):
    deliver(settings, *(f"{number:02}" for number in range(RUNS_PER_TICK + 2)), source="pay")
    _, requests = tick(instance)
    assert len(requests) == RUNS_PER_TICK
    for request in requests:
        fail(instance, request)
    _, others = tick(instance)
    assert [attempt(each) for each in others] == ["pay|25#1", "pay|26#1"]
    for request in others:
        note(instance, request, dg.DagsterRunStatus.STARTED)
    said, none = tick(instance)
    assert "2 are under way; 25 wait after a failed run, the first until" in said
    assert not none
    _, again = tick(instance, 61 * SECOND)
    assert [attempt(each) for each in again] == [f"pay|{number:02}#2" for number in range(23)]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"source": "kept"}, "nothing works on deliveries of kept"),
        ({"source": "nobody"}, "nothing works on deliveries of nobody"),
        ({"source": "git", "delivery_id": "1"}, "the inbox has no such delivery of git"),
    ],
)
def test_what_cannot_be_replayed_is_refused(settings, instance, config, problem):
    deliver(settings, "1")  # it waits, and is neither done nor dead
    ran = execute(
        instance,
        job="operations_replay_webhook",
        ops={"replay_webhook": {"config": config}},
    )
    assert not ran.success
    failure = ran.failure_data_for_node("replay_webhook")
    assert failure
    assert failure.error
    assert problem in failure.error.to_string()


def test_a_run_that_is_tried_again_by_dagster_is_waited_for_and_the_latest_one_counts(
    settings, instance
):
    deliver(settings, "1")
    _, [request] = tick(instance)
    note(instance, request, dg.DagsterRunStatus.FAILURE, **{"dagster/will_retry": "true"})
    assert tick(instance) == (
        "No delivery is due; 1 are under way; 0 runs ended, 0 deliveries of them are dead letters.",
        [],
    )
    note(instance, request, dg.DagsterRunStatus.SUCCESS)
    assert "1 runs ended, 0 deliveries" in tick(instance)[0]
    assert rows(settings, inbox, "state") == [("done",)]


def test_a_source_without_order_is_worked_on_at_once_and_one_without_job_never(settings, instance):
    deliver(settings, "1", "2", "3", source="pay")
    deliver(settings, "1", source="kept")
    _, requests = tick(instance)
    assert [attempt(each) for each in requests] == ["pay|1#1", "pay|2#1", "pay|3#1"]


def test_a_job_that_does_not_work_on_deliveries_is_a_clear_error(settings, instance):
    settings.webhooks_path.write_text("sources: {git: {scheme: github, job: finra_gold}}")
    with pytest.raises(ConfigurationError, match="jobs that do not work on deliveries") as refused:
        tick(instance)
    assert (refused.value.expected, refused.value.found) == (
        "one of events_webhooks, saas_reconcile",
        "git: finra_gold",
    )


def test_a_run_that_names_no_delivery_is_refused(settings, instance):
    ran = execute(instance)
    failure = ran.failure_data_for_node("land_webhook")
    assert failure
    assert failure.error
    assert "the run does not say which delivery it is for" in failure.error.to_string()
