"""Webhook deliveries become runs: once each, in order, and until they are done or dead."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import REPLAY_WEBHOOK
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.sensors.webhooks import webhook_sensor
from orchestration_project.services.inbox.rows import Inbox, NewDelivery, build_topic
from orchestration_project.services.inbox.work import RUNS_PER_TICK, InboxQueue
from orchestration_project.services.retries.retrying import ItemRetries
from orchestration_project.services.retries.rules import ItemFilter
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import captures, inbox_states, rejects, work_items
from orchestration_project.tables.webhooks import events_webhooks
from tests.expecting import expect_present, expect_success, expect_type
from tests.prepared import write_default
from tests.resources.definitions import RESOURCES
from tests.runs import executed, expect_failure, metadata_by_partition, op_metadata

SOURCES = """
sources:
  git: {scheme: github, job: saas_reconcile, max_attempts: 2}
  pay: {scheme: stripe, job: saas_reconcile, in_order: false}
  hub: {scheme: github, job: events_webhooks, max_attempts: 2}
  shop: {scheme: stripe, job: events_webhooks, in_order: false}
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
    return write_default(load_settings())


def deliver(
    settings,
    *ids: str,
    source: str = "git",
    body: bytes = b'{"a": 1}',
    clock: Clock | None = None,
) -> None:
    with open_warehouse(settings) as warehouse:
        Inbox(warehouse, clock or Clock()).take(
            [
                NewDelivery(source, delivery_id, "push", body, {}, 2 if source != "kept" else 0)
                for delivery_id in ids
            ]
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
        result = expect_present(events_on_webhook)(context)
    if isinstance(result, dg.SkipReason):
        return str(result.skip_message), []
    return "", list(expect_type(result, dg.SensorResult).run_requests or [])


def attempt(request: dg.RunRequest) -> str:
    """Return source, id and number of the attempt that is requested."""
    return request.tags["webhook"].partition(" ")[0]


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


def rows(settings, table=inbox_states, *columns: str) -> list[tuple]:
    with open_warehouse(settings) as warehouse, warehouse.reading() as connection:
        chosen = [table.c[name] for name in columns] or [table]
        return [tuple(row) for row in connection.execute(select(*chosen))]


@pytest.mark.slow
def test_a_delivery_is_requested_once_and_what_follows_waits_for_it(settings, instance):
    deliver(settings, "b", "a")
    _, [first] = tick(instance)
    assert (attempt(first), first.job_name) == ("git|b#1", "saas_reconcile")
    assert tick(instance)[1][0].run_key == first.run_key  # as if the first tick had been broken off
    note(instance, first, dg.DagsterRunStatus.SUCCESS)
    _, [second] = tick(instance)
    assert attempt(second) == "git|a#1"
    assert sorted(rows(settings, inbox_states, "delivery_id", "state", "attempt_count")) == [
        ("a", "received", 0),
        ("b", "done", 1),
    ]


@pytest.mark.slow
def test_one_run_loads_all_due_deliveries_with_their_bytes(settings, instance):
    deliver(settings, "b", "a", source="hub")
    _, [request] = tick(instance)
    assert (attempt(request), request.job_name) == ("hub|b#1", "events_webhooks")
    assert (request.tags["webhook_source"], request.run_key) == ("hub", None)
    ran = execute(instance, request.tags)
    assert ran.success
    metadata = metadata_by_partition(ran)["webhooks"][None]
    assert (metadata["outcome"], metadata["rows"], metadata["landed_count"], metadata["bytes"]) == (
        "landed",
        2,
        2,
        16,
    )
    assert [record.data["delivery_id"] for record in metadata["deliveries"].records] == ["b", "a"]
    assert metadata["table_rows"] == "/api/v1/tables/events_webhooks?where=source%3Dhub"
    states = rows(settings, inbox_states, "delivery_id", "state", "attempt_count", "run_id")
    assert sorted(states) == [("a", "done", 1, ran.run_id), ("b", "done", 1, ran.run_id)]
    loaded = rows(settings, events_webhooks)
    assert [delivery[:2] for delivery in loaded] == [("hub", "a"), ("hub", "b")]
    assert [(delivery[3], delivery[4]) for delivery in loaded] == [("push", '{"a": 1}')] * 2
    kept = rows(settings, captures, "capture_id", "source", "dataset", "url")
    assert sorted(kept) == sorted(
        (delivery[5], "webhooks", "hub", "/hooks/hub") for delivery in loaded
    )
    again = execute(instance, request.tags)
    assert metadata_by_partition(again)["webhooks"][None]["outcome"] == "nothing was due"
    assert tick(instance)[1] == []


@pytest.mark.slow
def test_replaying_a_loaded_delivery_changes_nothing(settings, instance):
    deliver(settings, "1", source="hub")
    execute(instance, tick(instance)[1][0].tags)
    replay(instance, source="hub", delivery_id="1")
    assert rows(settings, inbox_states, "state", "attempt_count") == [("received", 1)]
    ran = execute(instance, tick(instance)[1][0].tags)
    assert metadata_by_partition(ran)["webhooks"][None]["outcome"] == "unchanged"
    assert rows(settings, inbox_states, "state", "attempt_count") == [("done", 2)]
    assert len(rows(settings, captures)) == len(rows(settings, events_webhooks)) == 1
    assert rows(settings, work_items, "state") == [("skipped",)]
    replay(instance, source="hub", delivery_id="1")
    assert rows(settings, inbox_states, "state", "attempt_count") == [("received", 2)]


def replay(instance, **config: str | bool):
    ran = execute(
        instance,
        job="operations_runs",
        **REPLAY_WEBHOOK.run_config({"dry_run": False, **config}),
    )
    expect_success(ran)


@pytest.mark.slow
def test_a_replay_without_a_config_for_it_lists_and_requeues_nothing(settings, instance):
    deliver(settings, "1", source="hub")
    execute(instance, tick(instance)[1][0].tags)
    config = {"source": "hub", "delivery_id": "1"}
    ran = executed(instance, "operations_runs", **REPLAY_WEBHOOK.run_config(config))
    listed = op_metadata(ran)
    assert list(listed.items())[:2] == [("dry_run", True), ("put_back_count", 1)]
    assert rows(settings, inbox_states, "state", "attempt_count") == [("done", 1)]


@pytest.mark.slow
def test_a_run_that_is_requested_for_a_delivery_is_not_a_dry_run(settings, instance):
    deliver(settings, "1", source="jira")
    [request] = tick(instance)[1]
    assert request.run_config == {"ops": {"reconcile_saas": {"config": {"dry_run": False}}}}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["hub", "shop"])
def test_while_a_run_that_claims_deliveries_goes_on_no_other_one_is_requested(
    settings, instance, source
):
    deliver(settings, "1", source=source)
    [request] = tick(instance)[1]
    run = note(instance, request, dg.DagsterRunStatus.STARTED)
    claim(settings, source, run)
    deliver(settings, "2", source=source, clock=LaterClock(-60 * SECOND))
    said, none = tick(instance)
    assert (said.partition(";")[2].partition(";")[0], none) == (" 1 are under way", [])
    assert sorted(rows(settings, inbox_states, "delivery_id", "state", "run_id")) == [
        ("1", "running", run.run_id),
        ("2", "received", None),
    ]


def claim(settings, source: str, run: dg.DagsterRun, later: timedelta = 0 * SECOND) -> list[str]:
    """Claim what is due to a run, as it does itself."""
    with open_warehouse(settings) as warehouse:
        clock = LaterClock(later)
        claimed = InboxQueue(warehouse, clock).claim(
            build_topic(source),
            limit=9,
            run_id=run.run_id,
            until=clock.now() + timedelta(minutes=15),
            in_order=source == "hub",
        )
    return [work_item.key for work_item in claimed]


@pytest.mark.slow
def test_the_next_run_loads_once_what_a_killed_run_claimed(settings, instance):
    deliver(settings, "1", "2", source="hub")
    [request] = tick(instance)[1]
    run = note(instance, request, dg.DagsterRunStatus.STARTED)
    assert claim(settings, "hub", run) == ["1", "2"]
    instance.report_run_failed(run)
    said, none = tick(instance)
    assert ("2 wait after a failed run" in said, none) == (True, [])
    assert "1 runs ended, 0 deliveries of them are dead letters" in said
    assert rows(settings, inbox_states, "state", "attempt_count") == [("failed", 1), ("failed", 1)]
    [again] = tick(instance, 60 * SECOND)[1]
    assert attempt(again) == "hub|1#2"
    ran = execute(instance, again.tags)
    assert metadata_by_partition(ran)["webhooks"][None]["landed_count"] == 2
    assert rows(settings, inbox_states, "state", "attempt_count") == [("done", 2), ("done", 2)]
    assert [row[1] for row in rows(settings, events_webhooks)] == ["1", "2"]


@pytest.mark.slow
def test_a_delivery_that_ends_every_run_is_dead_and_the_others_of_its_runs_are_not(
    settings, instance
):
    deliver(settings, "1", "2", source="hub")
    found = []
    for later in (0, 60):
        [request] = tick(instance, later * SECOND)[1]
        run = note(instance, request, dg.DagsterRunStatus.STARTED)
        found.append(claim(settings, "hub", run, later * SECOND))
        instance.report_run_failed(run)
    assert found == [["1", "2"], ["1"]]  # one that failed before comes alone
    [request] = tick(instance, 120 * SECOND)[1]
    assert attempt(request) == "hub|2#2"
    assert rows(settings, inbox_states, "state", "attempt_count") == [("dead", 2), ("failed", 1)]
    replay(instance, source="hub")
    [request] = tick(instance, 120 * SECOND)[1]
    assert attempt(request) == "hub|1#3"


@pytest.mark.slow
def test_a_run_that_fails_before_it_claims_anything_is_an_attempt_at_its_first_delivery(
    settings, instance
):
    deliver(settings, "1", "2", source="hub")
    for name, later in (("hub|1#1", 0), ("hub|1#2", 60)):
        [request] = tick(instance, later * SECOND)[1]
        assert attempt(request) == name
        fail(instance, request)
    [following] = tick(instance, 60 * SECOND)[1]
    assert attempt(following) == "hub|2#1"
    assert rows(settings, inbox_states, "state", "attempt_count") == [("dead", 2), ("received", 0)]


@pytest.mark.slow
def test_a_run_whose_captures_cannot_be_stored_is_an_attempt_at_its_first_delivery(
    settings, instance, monkeypatch
):
    def fail(*_: object, **__: object) -> None:
        raise TransientError("the store does not answer")

    deliver(settings, "1", "2", source="hub")
    [request] = tick(instance)[1]
    with monkeypatch.context() as patch:
        patch.setattr(Captures, "keep_all", fail)
        ran = execute(instance, request.tags)
    assert "the store does not answer" in expect_failure(ran, "land_webhook")
    assert "1 wait after a failed run" in tick(instance)[0]
    assert rows(settings, inbox_states, "state", "attempt_count") == [
        ("failed", 1),
        ("received", 0),
    ]
    [again] = tick(instance, 60 * SECOND)[1]
    assert attempt(again) == "hub|1#2"


@pytest.mark.slow
def test_bodies_without_events_are_rejected_beside_loaded_ones(settings, instance):
    deliver(settings, "1", "3", source="shop")
    deliver(settings, "2", source="shop", body=b"[]")
    ran = execute(instance, tick(instance)[1][0].tags)
    metadata = metadata_by_partition(ran)["webhooks"][None]
    counts = [metadata[f"{name}_count"] for name in ("deliveries", "landed", "rejected", "failed")]
    assert (metadata["outcome"], counts) == ("mixed", [3, 2, 1, 0])
    assert metadata["reason"] == "the body is a JSON list, not an object"
    shown = {
        record.data["delivery_id"]: record.data["outcome"]
        for record in metadata["deliveries"].records
    }
    assert shown == {"1": "landed", "3": "landed", "2": "rejected"}
    assert {state for (state,) in rows(settings, inbox_states, "state")} == {"done"}
    [item] = [row for row in rows(settings, work_items, "item_key", "reason_code") if row[1]]
    assert item == ("2", "object")


@pytest.mark.slow
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
    assert sorted(rows(settings, inbox_states, "delivery_id", "state")) == [
        ("1", "running"),
        ("2", "received"),
    ]


@pytest.mark.slow
def test_a_delivery_done_in_another_database_is_loaded_here_too(settings, instance, monkeypatch):
    deliver(settings, "1", source="hub")
    note(instance, tick(instance)[1][0], dg.DagsterRunStatus.SUCCESS)
    tick(instance)
    monkeypatch.setenv("FINRA_SOURCE", "api")
    settings = load_settings()
    deliver(settings, "1", source="hub")
    [request] = tick(instance)[1]
    assert execute(instance, request.tags).success
    tick(instance)
    assert rows(settings, inbox_states, "state") == [("done",)]
    assert rows(settings, events_webhooks, "delivery_id") == [("1",)]


@pytest.mark.slow
def test_a_body_that_is_no_event_is_rejected_with_its_reason_and_done(settings, instance):
    deliver(settings, "1", source="hub", body=b"[]")
    _, [request] = tick(instance)
    ran = execute(instance, request.tags)
    metadata = metadata_by_partition(ran)["webhooks"][None]
    assert (metadata["outcome"], metadata["rows"]) == ("rejected", 0)
    assert rows(settings, events_webhooks) == []
    [reject] = rows(settings, rejects, "table_name", "reason_code", "record")
    assert reject == ("events_webhooks", "object", "[]")
    assert "0 deliveries of them are dead" in tick(instance)[0]
    assert rows(settings, inbox_states, "state") == [("done",)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "body", "record", "found"),
    [
        ("jira", b'{"webhookEvent": NaN}', '{"webhookEvent": NaN}', "NaN is not a JSON number"),
        pytest.param(
            *("peopleforce", b"\xff", "\\xff", "invalid UTF-8 from byte 0"), marks=pytest.mark.slow
        ),
    ],
)
def test_a_body_that_no_system_sends_is_rejected_once_with_its_reason_and_is_a_dead_letter(
    settings, instance, source, body, record, found
):
    deliver(settings, "1", "2", source=source, body=body)
    _, [request] = tick(instance)
    ran = execute(instance, request.tags, "saas_reconcile")
    assert ran.success
    metadata = metadata_by_partition(ran)["source_states"][None]
    assert metadata["webhook"] == "rejected"
    assert found in metadata["reason"]
    [reject] = rows(settings, rejects, "table_name", "record", "reason")
    assert reject == ("saas_source_states", record, metadata["reason"])
    [capture] = rows(settings, captures, "source", "dataset", "url")
    assert capture == ("webhooks", source, f"/hooks/{source}")
    _, [following] = tick(instance)
    assert attempt(following) == f"{source}|2#1"
    assert sorted(rows(settings, inbox_states, "delivery_id", "state", "attempt_count")) == [
        ("1", "dead", 1),
        ("2", "received", 0),
    ]
    codes = dict(rows(settings, work_items, "item_key", "reason_code"))
    assert codes == {"1": "contract", "2": None}  # another attempt would be rejected, too


@pytest.mark.slow
def test_a_delivery_that_fails_is_tried_again_then_dead_and_can_be_replayed(settings, instance):
    deliver(settings, "1", "2")
    for name, later in (("git|1#1", 0 * SECOND), ("git|1#2", 60 * SECOND)):
        _, [request] = tick(instance, later)
        assert attempt(request) == name
        fail(instance, request)
    _, [following] = tick(instance)
    assert attempt(following) == "git|2#1"
    assert rows(settings, inbox_states, "state", "attempt_count") == [("dead", 2), ("received", 0)]
    replay(instance, source="git")
    _, [request] = tick(instance)
    assert attempt(request) == "git|1#3"  # it came first
    note(instance, request, dg.DagsterRunStatus.SUCCESS)
    tick(instance)
    assert rows(settings, inbox_states, "state", "attempt_count") == [("done", 3), ("received", 0)]


@pytest.mark.slow
def test_failed_and_dead_deliveries_of_a_job_with_a_run_each_are_requested_after_a_retry(
    settings, instance
):
    deliver(settings, "1", "2")
    for later in (0, 60):
        fail(instance, tick(instance, later * SECOND)[1][0])
    fail(instance, tick(instance, 60 * SECOND)[1][0])
    assert tick(instance)[1] == []
    assert rows(settings, inbox_states, "state", "attempt_count") == [("dead", 2), ("failed", 1)]
    with open_warehouse(settings) as warehouse:
        retried = ItemRetries(warehouse, Clock(), REGISTRY).retry(ItemFilter())
    assert retried == {"webhooks/git": 2}
    [first] = tick(instance)[1]
    assert attempt(first) == "git|1#3"
    note(instance, first, dg.DagsterRunStatus.SUCCESS)
    [second] = tick(instance)[1]
    assert attempt(second) == "git|2#2"  # without the pause


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_without_order_other_deliveries_go_on_while_as_many_as_may_run_wait(settings, instance):
    deliver(settings, *(f"{number:02}" for number in range(RUNS_PER_TICK + 2)), source="pay")
    _, requests = tick(instance)
    assert len(requests) == RUNS_PER_TICK
    for request in requests:
        fail(instance, request)
    _, others = tick(instance)
    assert [attempt(other) for other in others] == ["pay|25#1", "pay|26#1"]
    for request in others:
        note(instance, request, dg.DagsterRunStatus.STARTED)
    said, none = tick(instance)
    assert "2 are under way; 25 wait after a failed run, the first until" in said
    assert not none
    _, again = tick(instance, 61 * SECOND)
    assert [attempt(each) for each in again] == [f"pay|{number:02}#2" for number in range(23)]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"source": "kept"}, "no job loads the deliveries of kept"),
        ({"source": "unknown"}, "no job loads the deliveries of unknown"),
        ({"source": "git", "delivery_id": "1"}, "the inbox has no such delivery of git"),
    ],
)
def test_what_cannot_be_replayed_is_refused(settings, instance, config, problem):
    deliver(settings, "1")  # it waits, and is neither done nor dead
    ran = execute(
        instance,
        job="operations_runs",
        **REPLAY_WEBHOOK.run_config(config),
    )
    assert not ran.success
    failure = ran.failure_data_for_node("handle_runs")
    assert failure
    assert failure.error
    assert problem in failure.error.to_string()


@pytest.mark.slow
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
    assert rows(settings, inbox_states, "state") == [("done",)]


def test_a_source_without_order_is_worked_on_at_once_and_one_without_job_never(settings, instance):
    deliver(settings, "1", "2", "3", source="pay")
    deliver(settings, "1", source="kept")
    _, requests = tick(instance)
    assert [attempt(request) for request in requests] == ["pay|1#1", "pay|2#1", "pay|3#1"]


def test_deliveries_of_a_domain_that_is_off_wait_until_it_is_on(settings, instance, monkeypatch):
    deliver(settings, "a")
    deliver(settings, "b", source="hub")
    monkeypatch.setenv("DOMAINS", "events")
    assert [request.job_name for request in tick(instance)[1]] == ["events_webhooks"]
    monkeypatch.setenv("DOMAINS", "events,saas")
    assert {attempt(request) for request in tick(instance)[1]} > {"git|a#1"}


def test_a_job_that_does_not_work_on_deliveries_is_a_clear_error(settings, instance):
    settings.webhooks_path.write_text("sources: {git: {scheme: github, job: finra_gold}}")
    with pytest.raises(ConfigurationError, match="jobs that do not work on deliveries") as refused:
        tick(instance)
    assert (refused.value.expected, refused.value.found) == (
        "one of events_webhooks, saas_reconcile",
        "git: finra_gold",
    )


def test_a_run_that_names_no_source_is_refused(settings, instance):
    ran = execute(instance)
    failure = ran.failure_data_for_node("land_webhook")
    assert failure
    assert failure.error
    assert "the run has no source tag" in failure.error.to_string()
