"""Captures, and what in them is rejected, recorded for a delivery or for themselves.

A group of captures is what was fetched together. It needs no table that it is loaded into, no fence
and no audit; where there is a delivery, `fencing.record_evidence` makes the group of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias

from sqlalchemy import Connection, Update, bindparam, delete, literal, select, update

from orchestration_project.engine.captures import Capture
from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.values import (
    BATCH_INDEX,
    combine_batches,
    derive_schema,
)
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.tracing.traceparent import find_current_trace
from orchestration_project.engine.warehouse.delivery import Outcome, capture_id
from orchestration_project.engine.warehouse.frames import (
    Scope,
    build_frame,
    encode_scope,
    insert_absent,
    insert_frame,
    read_keys,
)
from orchestration_project.engine.warehouse.target import WriteDisposition
from orchestration_project.tables.spine import blobs, captures, deliveries, rejects


@dataclass(frozen=True, kw_only=True)
class CaptureGroup:
    """Delivery that captures belong to: a row of `deliveries`, which describes its columns."""

    group_id: str
    table_name: str
    partition_key: str
    source: str
    dataset: str
    source_version: str
    part_count: int
    rule_version: str
    run_id: str
    record_total: int | None = None
    scope: Scope = field(default_factory=dict)
    outcome: Outcome = "landed"
    replay_of: str | None = None
    write_disposition: WriteDisposition = "replace_scope"
    published_on: date | None = None
    is_load_day: bool | None = None


FetchedGroup: TypeAlias = "tuple[Sequence[Capture], CaptureGroup, pl.DataFrame]"
"""Captures in the order of their parts, what they are of, and their rejects (`REJECT_SCHEMA`)."""


class CaptureLog:
    """Records captures, fetched at one time."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def record(
        self,
        connection: Connection,
        captures: Sequence[Capture],
        group: CaptureGroup,
        rejects: pl.DataFrame | None = None,
    ) -> None:
        """Record captures of one group, and those of their records that are rejected.

        The caller commits: nothing is recorded of a group, or all of it.
        """
        from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA

        none = pl.DataFrame(schema=REJECT_SCHEMA)
        self.record_all(connection, [(captures, group, none if rejects is None else rejects)])

    def record_all(self, connection: Connection, batch: Sequence[FetchedGroup]) -> None:
        """Record several groups, one at least, with as many statements as one takes."""
        groups = [self._delivery_row(group) for _, group, _ in batch]
        insert_frame(connection, deliveries, build_frame(groups, deliveries))
        fetched = [capture for those, _, _ in batch for capture in those]
        self._record_blobs(connection, [capture.blob_row for capture in fetched])
        fetches = [row for those, group, _ in batch for row in _capture_rows(those, group)]
        insert_frame(connection, captures, build_frame(fetches, captures))
        rejecting = [(rejected, group) for _, group, rejected in batch if not rejected.is_empty()]
        if rejecting:
            self._record_rejects(connection, rejecting)

    def _record_blobs(self, connection: Connection, rows: Sequence[dict[str, object]]) -> None:
        """Record where captured bytes are; the latest place of a blob counts."""
        if any(not row["storage_uri"] for row in rows):
            raise ValueError("a capture is recorded before its bytes are stored")
        contents = [{**row, "stored_at": self.at} for row in rows]
        inserted = {key for (key,) in insert_absent(connection, blobs, contents)}
        other_entries = {row["sha256"]: row for row in rows if row["sha256"] not in inserted}
        if not other_entries:
            return
        query = select(blobs.c.sha256, blobs.c.storage_uri).where(blobs.c.sha256.in_(other_entries))
        entries = [
            {"of": sha256, **other_entries[sha256]}
            for sha256, storage_uri in connection.execute(query)
            if storage_uri != other_entries[sha256]["storage_uri"]
        ]
        if entries:
            connection.execute(move_blob(self.at), entries)

    def _delivery_row(self, group: CaptureGroup) -> dict[str, object]:
        return {**vars(group), "scope": encode_scope(group.scope), "recorded_at": self.at}

    def _record_rejects(
        self, connection: Connection, batch: Sequence[tuple[pl.DataFrame, CaptureGroup]]
    ) -> None:
        groups = [group for _, group in batch]
        rows = combine_batches([rejected for rejected, _ in batch])
        ids = find_capture_ids(rows, [group.group_id for group in groups])
        if "capture_id" in rows.columns:  # the same lines may have been rejected before
            pair = (
                rejects.c.table_name == groups[0].table_name,
                rejects.c.capture_id == bindparam("of"),
            )
            connection.execute(
                delete(rejects).where(*pair), [{"of": each} for each in ids.unique()]
            )
        recorded = rows.with_columns(
            capture_id=ids,
            table_name=pl.lit(groups[0].table_name),
            run_id=pl.lit(groups[0].run_id),
            rejected_at=pl.lit(self.at, pl.Datetime("us", "UTC")),
        )
        insert_frame(connection, rejects, recorded.select(list(derive_schema(rejects))))


def read_blobs(connection: Connection, wanted: Sequence[str]) -> dict[str, Blob]:
    """Return those blobs of some SHA-256 that the database has."""
    keys = pl.DataFrame({"sha256": wanted}, {"sha256": pl.String()})
    query = read_keys(connection, blobs, keys).select(Blob._fields)
    return {row[0]: Blob(*row) for row in query.iter_rows()}


def move_blob(at: datetime) -> Update:
    """Return the statement that gives a blob another place at a time; ``of`` is its SHA-256."""
    names = ("stored_byte_count", "storage_uri", "byte_offset")
    values = {name: bindparam(name) for name in names} | {
        "stored_at": literal(at, type_=blobs.c.stored_at.type)
    }
    return update(blobs).where(blobs.c.sha256 == bindparam("of")).values(values)


def _capture_rows(fetched: Sequence[Capture], group: CaptureGroup) -> list[dict[str, object]]:
    trace = find_current_trace()
    return [
        {
            **capture.capture_row,
            "capture_id": capture_id(group.group_id, part_number),
            "part_number": part_number,
            "source": capture.source or group.source,
            "dataset": group.dataset,
            "partition_key": group.partition_key,
            "group_id": group.group_id,
            "run_id": capture.run_id or group.run_id,
            "trace_id": trace.trace_id if trace else None,
        }
        for part_number, capture in enumerate(fetched, start=1)
    ]


def find_capture_ids(rows: pl.DataFrame, groups: Sequence[str]) -> pl.Series:
    """Return the capture of each row: its own ``capture_id`` if it has one, as `capture_ids` else.

    Rows have one if they were read from captures that an earlier delivery recorded.
    """
    return rows["capture_id"] if "capture_id" in rows.columns else capture_ids(rows, groups)


def capture_ids(rows: pl.DataFrame, groups: Sequence[str]) -> pl.Series:
    """Return the capture of each row, by its ``part_number`` and `BATCH_INDEX`."""
    count = 1 + (rows.select(pl.col("part_number").max()).item() or 0)
    ids = pl.Series([capture_id(group, part) for group in groups for part in range(count)])
    return ids.gather(rows[BATCH_INDEX] * count + rows["part_number"])
