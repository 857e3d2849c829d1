"""The events of a trace, read from our own tables: no tracing system is needed.

Each statement looks up an index, so that a trace is found as quickly among a million runs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Column, Connection, Select, Table, select

from orchestration_project.engine.contracts.api.traces import (
    Trace,
    TracedAlert,
    TracedEvent,
    TracedFetch,
    TracedLoad,
    TracedPartition,
    TracedRequest,
    TracedRun,
    TracedStep,
    TracedWebhook,
    TraceTotals,
)
from orchestration_project.engine.tracing.traceparent import TRACE_ID_TAG
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.rules.entries import LedgerEntry
from orchestration_project.tables.access import access_audit
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.operations_alerts import operations_alerts
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.spine import captures, deliveries, inbox_states, landings

if TYPE_CHECKING:
    from dagster import DagsterInstance

MAX_LIVE_RUNS = 100
"""Runs whose events are read, as the ledger has not recorded their end."""

MAX_ROWS = 2000
"""Rows of one kind that are read of a trace, such as runs or deliveries."""

MAX_BATCH_KEYS = 500
"""Runs or deliveries that one statement requests."""

UNREAD = frozenset({"body", "headers", "request", "response_headers", "payload", "params"})
"""Columns that may be large, and of which a trace shows nothing."""

Row = Mapping[Any, Any]


def find_unrecorded_runs(
    instance: "DagsterInstance", ledger: Ledger, trace_id: str
) -> Sequence[LedgerEntry]:
    """Return runs of a trace that Dagster has and the ledger does not yet: at most MAX_LIVE_RUNS.

    They are drawn up as the ledger would record them now; nothing is written.
    """
    import dagster as dg

    from orchestration_project.services.ledger.reading import read_facts

    of_trace = dg.RunsFilter(tags={TRACE_ID_TAG: trace_id})
    records = instance.get_run_records(of_trace, limit=MAX_LIVE_RUNS)
    known_moments = ledger.ended([record.dagster_run.run_id for record in records])
    new = [record for record in records if record.dagster_run.run_id not in known_moments]
    return ledger.drawn_up([read_facts(instance, run_record) for run_record in new])


def read_trace(
    warehouse: Warehouse,
    trace_id: str,
    unrecorded: Sequence[LedgerEntry] = (),
    *,
    max_rows: int = MAX_ROWS,
) -> Trace | None:
    """Return the events of a trace; None: there are none.

    Args:
        warehouse: Tables.
        trace_id: 32 hex digits.
        unrecorded: Runs of the trace that replace those of the ledger.
        max_rows: Rows of each kind that are read at most.
    """
    with warehouse.reading() as connection:
        trace = _Reader(connection, max_rows).read(trace_id, unrecorded)
    is_empty = not (trace.requests or trace.webhooks or trace.events or trace.runs or trace.alerts)
    return None if is_empty else trace


class _Reader:
    """Reads rows of one trace, and notes whether a limit was reached."""

    def __init__(self, connection: Connection, max_rows: int) -> None:
        self._connection = connection
        self._max_rows = max_rows
        self._is_whole = True

    def read(self, trace_id: str, unrecorded: Sequence[LedgerEntry]) -> Trace:
        rows = self._of_trace(operations_runs, trace_id, "created_at", "run_id")
        recorded = {row["run_id"]: row for row in rows} | {
            ledger_entry.run["run_id"]: ledger_entry.run for ledger_entry in unrecorded
        }
        runs = sorted(recorded.values(), key=lambda row: (row["created_at"], row["run_id"]))
        parts = self._partitions(list(recorded))
        entries = self._by_keys(operations_steps, operations_steps.c.run_id, list(recorded))
        steps = {
            **_group_rows(entries),
            **{ledger_entry.run["run_id"]: ledger_entry.steps for ledger_entry in unrecorded},
        }
        requests = self._of_trace(access_audit, trace_id, "happened_at", "step_number")
        traced = [
            _run(row, steps.get(row["run_id"], ()), parts.get(row["run_id"], [])) for row in runs
        ]
        return Trace(
            trace_id=trace_id,
            requests=_build_requests(requests),
            webhooks=[
                TracedWebhook(**_select_fields(TracedWebhook, row))
                for row in self._of_trace(inbox_states, trace_id, "received_at")
            ],
            events=[
                TracedEvent(**_select_fields(TracedEvent, row))
                for row in self._of_trace(
                    known_tables()["mqtt_mirror"], str(UUID(trace_id)), "received_at"
                )
            ],
            runs=traced,
            alerts=[
                TracedAlert(**_select_fields(TracedAlert, row))
                for row in self._of_trace(operations_alerts, trace_id, "raised_at")
            ],
            totals=_sum_totals(traced),
            is_whole=self._is_whole,
        )

    def _partitions(self, run_ids: Sequence[str]) -> Mapping[str, list[TracedPartition]]:
        """Return the partitions of runs: deliveries, and loads that have none, as derived ones."""
        delivered = self._by_keys(deliveries, deliveries.c.run_id, run_ids)
        loads = {
            (row["group_id"], row["table_name"]): row
            for row in self._by_keys(landings, landings.c.run_id, run_ids)
        }
        groups = list({row["group_id"]: None for row in delivered})
        fetches = _group_rows(self._by_keys(captures, captures.c.group_id, groups), "group_id")
        partitions = defaultdict[str, list[TracedPartition]](list)
        for row in delivered:
            load = loads.pop((row["group_id"], row["table_name"]), None)
            partitions[row["run_id"]].append(_build_partition(row, fetches[row["group_id"]], load))
        for row in loads.values():
            partitions[row["run_id"]].append(
                _build_partition({**row, "outcome": "derived"}, [], row)
            )
        for partition in partitions.values():
            partition.sort(key=lambda part: (part.table, part.partition))
        return partitions

    def _of_trace(self, table: Table, trace_id: str, *order: str) -> list[Row]:
        query = _read(table).where(table.c.trace_id == trace_id)
        return self._limited(query.order_by(*(table.c[name] for name in order)), self._max_rows)

    def _by_keys(self, table: Table, column: Column[str], keys: Sequence[str]) -> list[Row]:
        """Return the rows of keys in the order of the table's key, up to the limit."""
        rows: list[Row] = []
        for start in range(0, len(keys), MAX_BATCH_KEYS):
            some = keys[start : start + MAX_BATCH_KEYS]
            room = self._max_rows - len(rows)
            rows += self._limited(_read(table).where(column.in_(some)), room)
        key = [text.name for text in table.primary_key.columns]
        return sorted(rows, key=lambda row: [row[name] for name in key])

    def _limited(self, wanted: Select[Any], limit: int) -> list[Row]:
        rows = self._connection.execute(wanted.limit(limit + 1)).mappings().all()
        self._is_whole &= len(rows) <= limit
        return [*rows[:limit]]


def _read(table: Table) -> Select[Any]:
    return select(*(column for column in table.c if column.name not in UNREAD))


def _select_fields(model: type[BaseModel], row: Row, **renamed: str) -> dict[str, Any]:
    """Return the fields of a model from a row; ``renamed`` has columns of other names."""
    return {name: row[renamed.get(name, name)] for name in model.model_fields}


def _group_rows(rows: Iterable[Row], name: str = "run_id") -> Mapping[str, list[Row]]:
    entries = defaultdict[str, list[Row]](list)
    for row in rows:
        entries[row[name]].append(row)
    return entries


def _build_requests(rows: Sequence[Row]) -> list[TracedRequest]:
    """Return one entry per request: the row of its answer, else the one of its receipt."""
    latest = {row["request_id"]: row for row in rows}
    return [
        TracedRequest(**_select_fields(TracedRequest, row, user="user_name"))
        for row in latest.values()
    ]


def _run(row: Row, steps: Sequence[Row], partitions: list[TracedPartition]) -> TracedRun:
    started = row["started_at"]
    values = {
        "partition": row["partition_key"],
        "trigger": row["trigger_kind"],
        "user": row["user_name"],
        "queue_seconds": (started - row["created_at"]).total_seconds() if started else None,
        "seconds": row["duration_seconds"],
        "error": row["error_message"],
        "steps": sorted(
            (_build_step(entry) for entry in steps),
            key=lambda step: (step.started_at is None, step.started_at, step.step),
        ),
        "partitions": partitions,
    }
    same = {name: row[name] for name in TracedRun.model_fields if name not in values}
    return TracedRun(**same, **values)


def _build_step(row: Row) -> TracedStep:
    renamed = {"step": "step_key", "seconds": "duration_seconds", "error": "error_message"}
    return TracedStep(**_select_fields(TracedStep, row, **renamed))


def _build_partition(row: Row, fetches: Sequence[Row], load: Row | None) -> TracedPartition:
    return TracedPartition(
        table=row["table_name"],
        partition=row["partition_key"],
        outcome=row["outcome"],
        fetches=[
            TracedFetch(
                **{**_select_fields(TracedFetch, fetch), "capture_id": str(fetch["capture_id"])}
            )
            for fetch in sorted(fetches, key=lambda each: each["part_number"])
        ],
        load=TracedLoad(**_select_fields(TracedLoad, load)) if load else None,
    )


def _sum_totals(runs: Sequence[TracedRun]) -> TraceTotals:
    parts = [part for run in runs for part in run.partitions]
    loads = [part.load for part in parts if part.load]
    return TraceTotals(
        run_count=len(runs),
        partition_count=len(parts),
        fetch_count=sum(len(part.fetches) for part in parts),
        load_count=len(loads),
        rows_written=sum(load.rows_added + load.rows_changed + load.rows_removed for load in loads),
        rows_rejected=sum(load.rows_rejected for load in loads),
    )
