"""Derived rows that follow from the rows of one load, replaced in its transaction."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import polars as pl
from sqlalchemy import Connection, Table, delete

from orchestration_project.engine.warehouse.delivery import ValidatedBatch
from orchestration_project.engine.warehouse.frames import (
    delete_rows,
    insert_frame,
    join_scopes,
    match_scope,
    read_scope,
    validate_frame,
)
from orchestration_project.engine.warehouse.target import (
    Transform,
    WriteTarget,
    fill_known_from,
)
from orchestration_project.tables.schema import key_names

PARTITIONS_PER_STATEMENT = 1000


def derive_all(
    connection: Connection,
    batches: Sequence[ValidatedBatch],
    are_derived: Sequence[bool],
    known_from: datetime,
) -> list[dict[str, float]]:
    """Replace partitions in each derived table; return the seconds that each table took of each.

    Rows that were made before are written together: a statement for each partition takes longer
    than its few rows.

    Args:
        connection: The transaction.
        batches: Deliveries of partitions of one table.
        are_derived: Whether the derived tables of each are replaced.
        known_from: The time of the load.
    """
    chosen = [batch for batch, is_derived in zip(batches, are_derived, strict=True) if is_derived]
    together = [
        validated_batch for validated_batch in chosen if validated_batch.derived is not None
    ]
    seconds = {
        id(validated_batch): derive(connection, validated_batch, known_from)
        for validated_batch in chosen
        if validated_batch.derived is None
    }
    for start in range(0, len(together), PARTITIONS_PER_STATEMENT):
        some = together[start : start + PARTITIONS_PER_STATEMENT]
        shared = _replace_together(connection, some, known_from)
        seconds |= {id(validated_batch): shared for validated_batch in some}
    return [seconds.get(id(batch), {}) for batch in batches]


def _replace_together(
    connection: Connection, batches: Sequence[ValidatedBatch], known_from: datetime
) -> dict[str, float]:
    """Replace partitions whose derived rows are made; return the seconds of one, by table."""
    seconds: dict[str, float] = {}
    for table in batches[0].target.spec.transforms:
        started = time.monotonic()
        for scope in join_scopes([batch.target.partition for batch in batches]):
            connection.execute(delete(table).where(match_scope(table, scope)))
        frames = [batch.derived[table] for batch in batches if batch.derived is not None]
        for frame in frames:
            validate_frame(frame, table)
        insert_frame(connection, table, fill_known_from(pl.concat(frames), known_from))
        seconds[table.name] = (time.monotonic() - started) / len(batches)
    return seconds


def derive(connection: Connection, batch: ValidatedBatch, known_from: datetime) -> dict[str, float]:
    """Replace the partition in each derived table; return the seconds that each took.

    The rows of the partition that the delivery left as they were count too.
    """
    target, seconds, derived = batch.target, dict[str, float](), batch.derived
    if derived is None:
        rows = read_scope(connection, target.table, target.partition)
        derived = {table: maker.of_all(rows) for table, maker in target.spec.transforms.items()}
    for table, rows in derived.items():
        started = time.monotonic()
        connection.execute(delete(table).where(match_scope(table, target.partition)))
        insert_frame(connection, table, fill_known_from(rows, known_from))
        seconds[table.name] = time.monotonic() - started
    return seconds


def derive_rows(
    connection: Connection, target: WriteTarget, replaced: pl.DataFrame, written: pl.DataFrame
) -> dict[str, float]:
    """Replace the derived rows of rows that a load changed or removed; return the seconds by table.

    Args:
        connection: The transaction.
        target: Its derived tables follow from single rows.
        replaced: Rows that were changed or removed.
        written: Rows that are new or changed.
    """
    seconds, width = dict[str, float](), len(key_names(target.table))
    for table, maker in target.spec.transforms.items():
        started = time.monotonic()
        delete_rows(connection, table, replaced, first=width)
        insert_frame(connection, table, maker.of_all(written))
        seconds[table.name] = time.monotonic() - started
    return seconds


class _RangeTransform:
    """Rows that a transform makes range by range, and the sums of those they are made of."""

    def __init__(self, maker: Transform) -> None:
        self._maker = maker
        self._unfinished: list[pl.DataFrame] = []
        self._sums: Counter[str] = Counter()

    def make(self, rows: pl.DataFrame) -> pl.DataFrame | None:
        """Return the finished rows of a range; None: they need those of all ranges."""
        made_frame = self._maker.of_rows(rows)
        if self._maker.of_ranges is None:
            return made_frame
        if self._maker.conservation is not None:
            self._sums.update(self._maker.conservation.read_source(rows))
        self._unfinished.append(made_frame)
        return None

    def finish(self) -> pl.DataFrame | None:
        """Return the rows of all ranges; None: each range finished its own.

        Raises:
            ContractError: A sum that they keep differs.
        """
        if self._maker.of_ranges is None:
            return None
        rows = self._maker.of_ranges(pl.concat(self._unfinished))
        if self._maker.conservation is not None:
            self._maker.conservation.refuse_loss(self._sums, rows)
        return rows


def derive_ranges(
    connection: Connection, batch: ValidatedBatch, known_from: datetime
) -> Mapping[str, float]:
    """Do the same for a delivery in ranges that was written, range by range."""
    target, scope = batch.target, batch.delivery.scope
    made_by = {table: _RangeTransform(maker) for table, maker in target.spec.transforms.items()}
    seconds: defaultdict[str, float] = defaultdict(float)
    for table in made_by:
        connection.execute(delete(table).where(match_scope(table, target.partition)))

    def insert(table: Table, make: Callable[[], pl.DataFrame | None]) -> None:
        started = time.monotonic()
        if (rows := make()) is not None:
            insert_frame(connection, table, fill_known_from(rows, known_from))
        seconds[table.name] += time.monotonic() - started

    for condition, delivered in batch.validated.ranges or ():
        rows = delivered
        if scope or not target.replaces_scope:  # the rest of the partition counts too
            rows = read_scope(connection, target.table, {**target.partition, **condition})
        for table, range_transform in made_by.items():
            insert(table, partial(range_transform.make, rows))
    for table, range_transform in made_by.items():
        insert(table, range_transform.finish)
    return seconds
