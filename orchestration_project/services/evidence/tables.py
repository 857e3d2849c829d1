"""The rows of our tables that belong to a subject, as lines of JSON, batch by batch."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import polars as pl
from sqlalchemy import ColumnElement, Connection, Table, or_, select

from orchestration_project.engine.warehouse.frames import match_scope, read_batches
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import PartitionedTable
from orchestration_project.services.evidence.subjects import EvidenceSubject, contains_key
from orchestration_project.tables.catalogue import relation_as_of
from orchestration_project.tables.operations_alerts import (
    operations_alert_deliveries,
    operations_alerts,
)
from orchestration_project.tables.operations_edits import operations_presets
from orchestration_project.tables.operations_events import operations_events
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.queries.relations import Part, Relation
from orchestration_project.tables.spine import (
    audits,
    balances,
    blobs,
    captures,
    deliveries,
    landings,
    rejects,
)

MOMENT = "%Y-%m-%dT%H:%M:%S%.6fZ"


class EvidenceRows(NamedTuple):
    """A member of rows: its name, and where they lie."""

    name: str
    relation: Relation


def select_rows(
    connection: Connection, subject: EvidenceSubject, tables: Mapping[str, PartitionedTable]
) -> list[EvidenceRows]:
    """Return the rows that belong to ``subject``; of a partition, also its published rows then."""
    return [*_select_evidence(subject), *_select_published(connection, subject, tables)]


def _select_evidence(subject: EvidenceSubject) -> Iterator[EvidenceRows]:
    groups, runs = subject.groups, subject.runs
    condition = captures.c.group_id.in_(groups)
    fetched = select(captures.c.capture_id).where(condition)
    contents = select(captures.c.sha256).where(condition)
    of_subject = _filter_alerts(subject)
    alerts = select(operations_alerts.c.alert_id).where(*of_subject)
    yield _select_rows("runs", operations_runs, operations_runs.c.run_id.in_(runs))
    yield _select_rows("steps", operations_steps, operations_steps.c.run_id.in_(runs))
    yield _select_rows("deliveries", deliveries, subject.deliveries)
    yield _select_rows("captures", captures, condition)
    yield _select_rows("blobs", blobs, blobs.c.sha256.in_(contents))
    yield _select_rows("rejects", rejects, rejects.c.capture_id.in_(fetched))
    yield _select_rows("audits", audits, audits.c.group_id.in_(groups))
    named = (balances.c.subject.in_(groups), balances.c.subject.in_(runs))
    yield _select_rows("balances", balances, or_(*named))
    yield _select_rows("landings", landings, landings.c.group_id.in_(groups))
    yield _select_rows("alerts", operations_alerts, *of_subject)
    by_alert = operations_alert_deliveries.c.alert_id.in_(alerts)
    yield _select_rows("alert_deliveries", operations_alert_deliveries, by_alert)
    yield _select_rows("events", operations_events.table, *_filter_events(subject))
    applied = operations_presets.c.applied_at
    yield _select_rows("presets", operations_presets, *subject.until(applied))


def _select_rows(name: str, table: Table, *conditions: ColumnElement[bool]) -> EvidenceRows:
    return EvidenceRows(f"{name}.jsonl", Relation(table, [Part(table, conditions)]))


def _filter_alerts(subject: EvidenceSubject) -> list[ColumnElement[bool]]:
    row = operations_alerts.c
    condition = row.run_id.in_(subject.runs)
    if subject.partition is not None:
        condition = or_(condition, contains_key(row.partitions, subject.partition))
    return [condition, *subject.until(row.raised_at)]


def _filter_events(subject: EvidenceSubject) -> list[ColumnElement[bool]]:
    """Return which events are its own: also that what it fetched was cleaned up."""
    row = operations_events.table.c
    names = (
        select(blobs.c.storage_uri)
        .join(captures, captures.c.sha256 == blobs.c.sha256)
        .where(captures.c.group_id.in_(subject.groups))
    )
    removed = (row.event == "cleaned_up") & row.reference.in_(names)
    if subject.partition is None:
        return [or_(row.run_id.in_(subject.runs), removed)]
    key = subject.partition
    condition = or_(row.partition_key == key, contains_key(row.partition_key, key), removed)
    return [condition, *subject.until(row.happened_at)]


def _select_published(
    connection: Connection, subject: EvidenceSubject, tables: Mapping[str, PartitionedTable]
) -> Iterator[EvidenceRows]:
    if subject.partition is None or subject.at is None:
        return
    named = select(deliveries.c.table_name).where(subject.deliveries).distinct()
    for name in sorted(connection.execute(named).scalars()):
        known_relation = relation_as_of(name, subject.at)
        if name not in tables:
            raise ConfigurationError(
                f"which rows of {name} a partition has is not known here",
                expected=f"a partition of {', '.join(sorted(tables))}",
                remedy="request the evidence of the run that delivered it: run_id",
                partition_key=subject.partition,
            )
        keys = (subject.partition, *subject.inputs.get(name, ()))
        scopes = [tables[name].scope_of(key) for key in keys]
        parts = [
            Part(
                part.rows,
                [*part.conditions, or_(*(match_scope(part.rows, scope) for scope in scopes))],
            )
            for part in known_relation.parts
        ]
        yield EvidenceRows(f"rows/{name}.jsonl", Relation(known_relation.table, parts))


def iterate_lines(connection: Connection, relation: Relation) -> Iterator[str]:
    """Yield each row as a JSON object, by key; whole numbers as text, so that all read them."""
    names = relation.columns([])
    for batch in read_batches(connection, relation.select(names, []), relation.table):
        yield from iterate_frame_lines(batch)


def iterate_frame_lines(batch: pl.DataFrame) -> Iterator[str]:
    """Yield the rows of a frame as `lines_of` does."""
    if not batch.is_empty():
        yield from _format_exactly(batch).write_ndjson()[:-1].split("\n")


def _format_exactly(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.with_columns(
        pl.col(pl.Int64, pl.Decimal).cast(pl.String),
        pl.col(pl.Datetime).dt.strftime(MOMENT),
        pl.col(pl.Date).dt.to_string("iso"),
    )
