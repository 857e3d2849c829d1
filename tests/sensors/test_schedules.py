"""Schedules that are data as the daemon starts them: each due time once, or disabled with alert."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import event, insert, select, update

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.edits import Action, EditConflictError
from orchestration_project.engine.contracts.ticks import PlannedRun
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.sensors.schedules import scheduled_sensor
from orchestration_project.services.edits import Edit, EditStore
from orchestration_project.services.flags import FLAG_STORE
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.launching import TickResult, launch_due
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_alerts import operations_alerts
from orchestration_project.tables.operations_edits import (
    operations_schedule_launches as launches,
)
from orchestration_project.tables.operations_edits import operations_schedule_versions
from orchestration_project.tables.operations_edits import operations_schedules as schedules
from tests.expecting import expect_present
from tests.resources.definitions import RESOURCES
from tests.sensors.test_operations import url

__all__ = ["url"]

BOTH = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOURLY = {"job": "operations_checks", "cron": "0 * * * *"}
REPOSITORY = defs.get_repository_def()


@pytest.fixture
def instance(kept_instance):
    return kept_instance


@pytest.fixture
def warehouse(url: str) -> Iterator[Warehouse]:
    with open_warehouse(load_settings()) as opened:
        yield opened


def create(warehouse: Warehouse, name: str = "verify", **fields: Any) -> None:
    """Create a schedule at half past eight."""
    at = NINE - timedelta(minutes=30)
    fields = {**HOURLY, **fields}
    SCHEDULE_STORE.apply(warehouse, Edit(Action.CREATE, name, by="ada", at=at, fields=fields))


def tick(instance: Any, warehouse: Warehouse, now: datetime) -> TickResult:
    return launch_due(warehouse, instance, ScheduledJobs(REPOSITORY), (), now)


def make_runs(instance: Any, requests: Sequence[PlannedRun]) -> None:
    """Make the runs of requests as the daemon does: one for each run key."""
    for request in requests:
        key = {"dagster/run_key": str(request.run_key)}
        if not instance.get_runs(dg.RunsFilter(tags=key)):
            tags = {**request.tags, **key}
            instance.add_run(dg.DagsterRun(request.job_name or "", str(uuid4()), tags=tags))


def stored(warehouse: Warehouse, *columns: Any) -> list[tuple[Any, ...]]:
    wanted = select(*columns).order_by(*columns[0].table.primary_key.columns)
    with warehouse.reading() as connection:
        return [tuple(row) for row in connection.execute(wanted)]


@BOTH
def test_a_due_time_starts_one_run_and_the_next_tick_notes_it(instance, warehouse: Warehouse):
    create(warehouse, preset=None, run_config={}, owner="ada")
    assert tick(instance, warehouse, NINE - timedelta(seconds=1)).requests == ()
    [request] = tick(instance, warehouse, NINE).requests
    assert (request.job_name, request.run_config) == ("operations_checks", {})
    assert request.tags["schedule"] == "verify"
    make_runs(instance, [request])
    assert tick(instance, warehouse, NINE + timedelta(seconds=30)).requests == []
    [run] = instance.get_runs()
    found = stored(warehouse, launches.c.due_at, launches.c.state, launches.c.run_id)
    assert found == [(NINE, "launched", run.run_id)]
    [later] = tick(instance, warehouse, NINE + timedelta(hours=1)).requests
    assert later.run_key != request.run_key


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_launch_whose_daemon_was_killed_is_asked_for_again_by_the_same_key(
    instance, warehouse: Warehouse
):
    create(warehouse)
    [lost] = tick(instance, warehouse, NINE).requests
    assert tick(instance, warehouse, NINE + timedelta(minutes=4)).requests == []
    [again] = tick(instance, warehouse, NINE + timedelta(minutes=5)).requests
    assert again == lost
    make_runs(instance, [again])  # and is killed before the next tick
    make_runs(instance, [again])
    assert tick(instance, warehouse, NINE + timedelta(minutes=20)).requests == []
    assert len(instance.get_runs()) == 1


@pytest.mark.slow_on_postgresql
@BOTH
def test_two_daemons_ask_for_each_due_time_once(instance, warehouse: Warehouse):
    for number in range(20):
        create(warehouse, f"verify_{number}")
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: tick(instance, warehouse, NINE), range(4)))
    keys = [request.run_key for evaluation in found for request in evaluation.requests]
    assert len(keys) == len(set(keys)) == 20


@BOTH
def test_of_edits_of_one_version_at_the_same_time_one_is_made(warehouse: Warehouse):
    create(warehouse)
    fields = {"owner": "ada", "share": 0.5}
    FLAG_STORE.apply(warehouse, Edit(Action.CREATE, "verify", by="ada", at=NINE, fields=fields))

    def change(store: EditStore[Any, Any], number: int) -> int | None:
        owner = {"owner": f"editor {number}"}
        edit = Edit(Action.CHANGE, "verify", "ada", NINE, owner, expected_version=1)
        try:
            return store.apply(warehouse, edit).version_number
        except EditConflictError:
            return None

    for store in (SCHEDULE_STORE, FLAG_STORE):
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(partial(change, store), range(8)))
        assert sorted(count for count in found if count) == [2]


def test_a_tick_that_is_killed_before_it_commits_loses_nothing(instance, warehouse: Warehouse):
    create(warehouse)
    engine = warehouse._engine

    def kill(*_: Any) -> None:
        raise ConnectionAbortedError

    event.listen(engine, "commit", kill)
    with pytest.raises(ConnectionAbortedError):
        tick(instance, warehouse, NINE)
    event.remove(engine, "commit", kill)
    assert stored(warehouse, launches.c.state) == []
    assert len(tick(instance, warehouse, NINE).requests) == 1


@pytest.mark.parametrize(
    ("catch_up", "hours"), [("none", []), ("latest", [17]), ("all", [15, 16, 17])]
)
def test_after_downtime_the_rule_decides_and_what_is_skipped_is_stored(
    instance, warehouse: Warehouse, catch_up: str, hours: list[int]
):
    create(warehouse, catch_up=catch_up, max_catch_up=3)
    found = tick(instance, warehouse, NINE.replace(hour=17, minute=30))
    due = [
        datetime.fromisoformat(request.tags[".dagster/schedule_due_at"]).hour
        for request in found.requests
    ]
    assert due == hours
    [skipped] = [
        row
        for row in stored(warehouse, launches.c.due_at, launches.c.state, launches.c.reason)
        if row[1] == "skipped"
    ]
    assert skipped[0] == NINE
    assert f"not caught up ({catch_up})" in str(skipped[2])


def test_a_run_has_the_partition_of_its_due_time_and_none_is_asked_for_before_there_is_one(
    instance, warehouse: Warehouse
):
    create(warehouse, "fx", job="fx_rates_daily", partitions="latest")
    create(warehouse, "old", job="fx_rates_daily", partitions="days_before", days_before=366)
    [request] = tick(instance, warehouse, NINE).requests
    assert request.partition_key == "2026-02-27"
    found = stored(warehouse, launches.c.name, launches.c.state, launches.c.partition_key)
    assert ("fx", "requested", "2026-02-27") in found
    assert found[1][:2] in {("old", "skipped"), ("old", "requested")}


def test_a_schedule_whose_job_or_config_broke_is_disabled_with_an_alert(
    instance, warehouse: Warehouse
):
    create(warehouse, "gone")
    create(warehouse, "broken")
    create(warehouse, "good")
    with warehouse.writing() as connection:
        is_it = schedules.c.name
        connection.execute(update(schedules).where(is_it == "gone").values(job="removed"))
        broken = {"run_config": '{"ops": {"nope": {}}}'}
        connection.execute(update(schedules).where(is_it == "broken").values(broken))
    assert said(instance, NINE).requests == ["good at 2026-03-02T09:00:00+00:00"]
    columns = schedules.c
    found = dict(stored(warehouse, columns.name, columns.disabled_reason))
    assert found["gone"] == "job not found: removed"
    assert "refuses the run config" in str(found["broken"])
    assert found["good"] is None
    version = operations_schedule_versions.c
    actions = stored(warehouse, version.name, version.action)
    assert ("gone", "disable") in actions
    alerts = stored(warehouse, operations_alerts.c.kind, operations_alerts.c.title)
    assert len(alerts) == 2
    assert {kind for kind, _ in alerts} == {"schedule_disabled"}
    assert said(instance, NINE + timedelta(hours=1)).requests
    assert len(stored(warehouse, operations_alerts.c.kind)) == 2  # none is repeated
    edit = Edit(Action.DELETE, "gone", by="ada", at=NINE, expected_version=2)
    SCHEDULE_STORE.apply(warehouse, edit)
    said(instance, NINE + timedelta(hours=1))
    kinds = [kind for (kind,) in stored(warehouse, operations_alerts.c.kind)]
    assert sorted(kinds) == ["recovered", "schedule_disabled", "schedule_disabled"]


@pytest.mark.slow_on_postgresql
@BOTH
def test_only_due_times_that_the_flag_holds_for_start_a_run(instance, warehouse: Warehouse):
    keys = ["2026-02-27", NINE.isoformat()]
    fields = {"owner": "ada", "listed_keys": keys}
    flag = Edit(Action.CREATE, "some", by="ada", at=NINE, fields=fields)
    FLAG_STORE.apply(warehouse, flag)
    create(warehouse, "fx", job="fx_rates_daily", partitions="latest", flag="some")
    create(warehouse, "fx_before", job="fx_rates_daily", partitions="previous", flag="some")
    create(warehouse, "hourly", flag="some")
    found = tick(instance, warehouse, NINE)
    assert sorted(request.tags["schedule"] for request in found.requests) == ["fx", "hourly"]
    assert found.skipped_count == 1
    make_runs(instance, found.requests)
    [later] = tick(instance, warehouse, NINE + timedelta(hours=1)).requests
    make_runs(instance, [later])
    assert later.tags["schedule"] == "fx"  # of a day that is listed; no hour after nine is
    columns = launches.c
    reasons = dict(stored(warehouse, columns.name, columns.reason)[-1:])
    assert reasons == {"hourly": "the flag some is off for 2026-03-02T10:00:00+00:00"}
    expired = {"expires_at": (NINE + timedelta(hours=2)).isoformat()}
    over = Edit(Action.CHANGE, "some", "ada", NINE, expired, expected_version=1)
    FLAG_STORE.apply(warehouse, over)
    assert tick(instance, warehouse, NINE + timedelta(hours=2)).requests == []


def test_the_sensor_requests_a_partition_that_its_job_takes(instance, warehouse: Warehouse):
    fields = {"job": "finra_otc_weekly", "partitions": "latest"}
    create(warehouse, "weekly", **fields, partition_values={"tier": "T1"})
    create(warehouse, "fx", job="fx_rates_daily", partitions="previous")
    found = said(instance, NINE)
    assert {name: tag["dagster/partition"] for name, tag in found.tags.items()} == {
        "weekly": "T1|2026-02-09",
        "fx": "2026-02-26",
    }


def test_a_schedule_of_another_code_location_is_left_alone(instance, warehouse: Warehouse):
    create(warehouse)
    with warehouse.writing() as connection:
        connection.execute(update(schedules).values(job="elsewhere"))
    found = launch_due(warehouse, instance, ScheduledJobs(REPOSITORY), ["elsewhere"], NINE)
    assert (found.requests, found.disabled) == ((), {})


def test_an_edit_between_the_reads_and_writes_of_a_tick_wins(instance, warehouse: Warehouse):
    create(warehouse)

    class EditedMeanwhile(ScheduledJobs):
        def problems(self, schedule: Any) -> list[str]:
            edit = Edit(Action.PAUSE, "verify", "ada", NINE, expected_version=1)
            SCHEDULE_STORE.apply(warehouse, edit)
            return super().problems(schedule)

    found = launch_due(warehouse, instance, EditedMeanwhile(REPOSITORY), (), NINE)
    assert found.requests == []
    assert stored(warehouse, launches.c.state) == []


def test_a_tick_of_1000_schedules_asks_in_portions_with_a_bounded_count_of_statements(
    instance, warehouse: Warehouse
):
    create(warehouse, "verify_0000")
    with warehouse.writing() as connection:
        [row] = connection.execute(select(schedules)).mappings()
        rows = [{**row, "name": f"verify_{number:04}"} for number in range(1, 1_000)]
        connection.execute(insert(schedules), rows)
    statements: list[str] = []

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    engine = warehouse._engine
    event.listen(engine, "before_cursor_execute", count)
    keys = [request.run_key for request in tick(instance, warehouse, NINE).requests]
    assert len(statements) < 20
    for minute in range(1, 5):
        now = NINE + timedelta(minutes=minute)
        keys += [request.run_key for request in tick(instance, warehouse, now).requests]
    assert len(keys) == len(set(keys)) == 1_000
    event.remove(engine, "before_cursor_execute", count)


class FixedClock(Clock):
    """A time that a test sets."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        return self.at


class Said:
    """Result of a tick of the sensor itself."""

    def __init__(self, found: Any) -> None:
        self.requests = [run_request.run_key for run_request in found.run_requests or []]
        self.tags = {
            run_request.tags["schedule"]: run_request.tags
            for run_request in found.run_requests or []
        }


def said(instance: Any, now: datetime) -> Said:
    """Tick the sensor as the daemon does."""
    sensor = expect_present(scheduled_sensor(REGISTRY))
    resources = {name: RESOURCES[name] for name in ("alerts", "warehouse")}
    with dg.build_sensor_context(
        instance,
        repository_def=REPOSITORY,
        resources={**resources, "clock": FixedClock(now)},
    ) as context:
        return Said(sensor.evaluate_tick(context))
