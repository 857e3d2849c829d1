"""A trace is read from our own tables as a tree, by indexes alone."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from sqlalchemy import BigInteger, Double, text

from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.tracing.traceparent import begin_trace, use_trace
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.services.access import AccessLog, AccessLogEntry
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.traces import read_trace
from orchestration_project.tables.access import access_audit
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.schema import UtcTimestamp
from orchestration_project.tables.spine import captures, deliveries, inbox, landings
from tests.resources.test_growing_tables import plan_of, statements
from tests.resources.test_ledger import LOAD, facts
from tests.resources.weeks import NOON, PartitionLoader, rejected, row

GROWING = (captures, deliveries, landings, operations_runs, operations_steps, access_audit, inbox)


@pytest.fixture
def partition_loader(warehouse, tmp_path) -> PartitionLoader:
    return PartitionLoader(warehouse, tmp_path / "artifacts")


@pytest.fixture
def trace(partition_loader, clock):
    """A request that launched a run, which loaded a partition, beside others of no trace."""
    context, ledger = begin_trace(), Ledger(partition_loader.warehouse, clock)
    ada = Principal("ada", Role.OPERATOR, "key")
    entry = AccessLogEntry("r1", "192.0.2.1", "launchRun", "asked", user=ada)
    with use_trace(context):
        log = AccessLog(partition_loader.warehouse, clock)
        log.record(entry)
        log.record(replace(entry, outcome="done", step=2))
        partition_loader.write_batch(row("AAA"), row("BBB"), rejects=rejected(7))
    Inbox(partition_loader.warehouse, clock).take(
        [NewDelivery("git", "1", "push", b"{}", {}, 3, context)]
    )
    of_trace = replace(facts(seconds=9, steps=[LOAD]), tags=context.as_tags())
    ledger.record([of_trace, facts(run_id="another")])
    return context.trace_id


@pytest.mark.slow_on_postgresql
def test_a_trace_shows_request_webhook_run_step_partition_fetch_and_load(partition_loader, trace):
    found = read_trace(partition_loader.warehouse, trace)
    assert found is not None
    assert [(request.user, request.operation, request.outcome) for request in found.requests] == [
        ("ada", "launchRun", "done")
    ]
    assert [(webhook.source, webhook.state) for webhook in found.webhooks] == [("git", "received")]
    [run] = found.runs
    assert (run.run_id, run.status, run.seconds) == ("run", "SUCCESS", 9)
    assert [(step.step, step.status) for step in run.steps] == [("load", "SUCCESS")]
    [part] = [partition for partition in run.partitions if partition.outcome == "landed"]
    assert (part.table, part.partition) == ("finra_otc_weekly", partition_loader.partition_key)
    assert [(fetch.url, fetch.http_status) for fetch in part.fetches] == [
        ("https://api.finra.org/data", 200)
    ]
    assert part.load is not None
    assert (part.load.rows_added, part.load.rows_rejected) == (2, 1)
    totals = found.totals
    assert (totals.run_count, totals.fetch_count, totals.rows_rejected) == (1, 1, 1)
    assert totals.rows_written >= 2
    assert found.is_whole
    with partition_loader.warehouse.reading() as connection:
        assert connection.execute(text("SELECT trace_id FROM captures")).scalars().all() == [trace]


def test_what_no_row_has_is_no_trace(partition_loader, trace):
    assert read_trace(partition_loader.warehouse, begin_trace().trace_id) is None


def test_a_trace_with_more_rows_than_the_limit_says_so(partition_loader, clock):
    context = begin_trace()
    runs = [replace(facts(run_id=str(number)), tags=context.as_tags()) for number in range(3)]
    Ledger(partition_loader.warehouse, clock).record(runs)
    found = read_trace(partition_loader.warehouse, context.trace_id, max_rows=2)
    assert found is not None
    assert (len(found.runs), found.is_whole) == (2, False)


def grow(partition_loader: PartitionLoader) -> None:
    """Repeat the first row of each table, as rows of other traces, runs and deliveries."""
    numbers, other = pl.DataFrame({"number": range(1, 3000)}), pl.format("other-{}", "number")
    with partition_loader.warehouse.writing() as connection:
        for table in GROWING:
            have = partition_loader.warehouse.frame(table.select(), table).head(1)
            key = next(iter(table.primary_key.columns)).name
            keys = {"run_id": other, "group_id": other, "trace_id": pl.lit("f" * 32)}
            keys[key] = pl.col("number") if have.schema[key].is_integer() else other
            many = have.join(numbers, how="cross").with_columns(
                **{name: value for name, value in keys.items() if name in have.columns}
            )
            insert_frame(connection, table, many.select(have.columns))
        connection.execute(text("ANALYZE"))


@pytest.mark.slow_on_postgresql
def test_a_trace_is_read_by_indexes_whatever_the_history_is(partition_loader, trace):
    grow(partition_loader)
    with statements() as requested:
        found = read_trace(partition_loader.warehouse, trace)
    assert found is not None
    assert found.totals.run_count == 1
    of_tables = [(said, values) for said, values in requested if "FROM" in said]
    assert len(of_tables) >= len(GROWING)
    scans = []
    for said, values in of_tables:
        lines, word = plan_of(partition_loader.warehouse, said, values)
        words = [word.format(table.name) for table in GROWING]
        scans += [line for line in lines if any(word in line for word in words)]
    assert [line for line in scans if "INDEX" not in line] == []


def test_a_run_that_the_ledger_does_not_have_yet_is_drawn_up(partition_loader, clock):
    context, ledger = begin_trace(), Ledger(partition_loader.warehouse, clock)
    running = replace(facts("STARTED", steps=[LOAD]), ended_at=None, tags=context.as_tags())
    found = read_trace(partition_loader.warehouse, context.trace_id, ledger.drawn_up([running]))
    assert found is not None
    assert [(run.status, run.seconds, len(run.steps)) for run in found.runs] == [
        ("STARTED", None, 1)
    ]
    later = NOON + timedelta(seconds=5)
    ledger.record([replace(running, status="SUCCESS", ended_at=later, changed_at=later)])
    again = read_trace(partition_loader.warehouse, context.trace_id)
    assert again is not None
    assert [run.status for run in again.runs] == ["SUCCESS"]


def test_an_event_of_mqtt_is_found_by_its_uuid(partition_loader, clock):
    trace = "3f2504e04f8941d39a0c0305e82c3301"
    table = known_tables()["mqtt_mirror"]
    event = {
        column.name: NOON if isinstance(column.type, UtcTimestamp) else "x"
        for column in table.c
        if not column.nullable
    }
    counts = {column.name: 1 for column in table.c if isinstance(column.type, BigInteger | Double)}
    event |= counts | {"trace_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "kind": "task.created"}
    with partition_loader.warehouse.writing() as connection:
        connection.execute(table.insert().values(event))
    found = read_trace(partition_loader.warehouse, trace)
    assert found is not None
    assert [event.kind for event in found.events] == ["task.created"]
