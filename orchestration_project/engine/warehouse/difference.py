"""Differences between a delivery and the loaded state, and rows that are derived of both.

A fence keeps what the partition was made of where a loaded one's keeps the source's version.
Who derives reads the token and the inputs in one state of the database, and must find the token
unchanged under the lock: of two runs the slower cannot put older figures over newer ones.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import polars as pl
from sqlalchemy import Connection, Table, delete, func, literal, select

from orchestration_project.engine.contracts.values import BATCH_INDEX, count_by_batch
from orchestration_project.engine.warehouse.delivery import Counts, ValidatedBatch
from orchestration_project.engine.warehouse.fencing import take_fences
from orchestration_project.engine.warehouse.frames import (
    Scope,
    delete_rows,
    find_range,
    insert_frame,
    join_scopes,
    match_scope,
    read_scope,
    validate_frame,
)
from orchestration_project.engine.warehouse.target import (
    BOOKKEEPING,
    KNOWN_FROM,
    Transform,
    WriteTarget,
    fill_known_from,
)
from orchestration_project.tables.schema import HISTORY, key_names


def find_value_cause(batch: ValidatedBatch) -> str:
    """Return who changed values, where any did: the source (`source`), or our rules (`ours`)."""
    before, delivery = batch.target.state, batch.delivery
    same_source = before.source_version == delivery.source_version
    new_rules = before.rule_version != batch.target.rule_version
    return "ours" if delivery.is_ours or (same_source and new_rules) else "source"


def classify_change(
    connection: Connection, batch: ValidatedBatch, counts: Counts, known_from: datetime
) -> str:
    """Return the `change_cause` of a load, whose rows are written."""
    if batch.target.state.source is None:
        return "first"
    only_adds = counts.added and not counts.replaced and not batch.delivery.is_ours
    if only_adds and _is_extension(connection, batch, known_from):
        return "more"  # days that follow, or precede, or another market restate nothing
    if counts.added or counts.removed or counts.changed > counts.metadata_changed:
        return find_value_cause(batch)
    return "metadata" if counts.metadata_changed else "none"


def _is_extension(connection: Connection, batch: ValidatedBatch, known_from: datetime) -> bool:
    """Whether new rows restate nothing: of markets that had no row, of a range, a merge or append.

    Only a delivery that replaces its scope says that what it lacked before was not there.
    """
    if find_range(batch.delivery.scope) is not None or not batch.target.replaces_scope:
        return True
    table = batch.target.table
    columns = [table.c[name] for name, value in batch.scope.items() if isinstance(value, tuple)]
    if not columns:
        return False
    oldest, newest = func.min(table.c.known_from), func.max(table.c.known_from)
    query = select(literal(1)).where(match_scope(table, batch.scope)).group_by(*columns)
    query = query.having(oldest < known_from, newest == known_from).limit(1)
    return connection.execute(query).first() is None


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
    target, seconds = batch.target, dict[str, float]()
    if not target.spec.transforms:
        return seconds
    derived = batch.derived
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


@dataclass(frozen=True)
class Difference:
    """Scopes as they are to be, and how they get there from what is loaded.

    All frames have `BATCH_INDEX`.

    Attributes:
        rows: All rows of the scopes, those that are unchanged with their old bookkeeping; of a
            merge or append those with the delivery's keys.
        written: Of these, the new and the changed ones.
        replaced: The loaded rows that are changed or removed, to move to the history.
        counts: The numbers of each delivery, by its place.
    """

    rows: pl.DataFrame
    written: pl.DataFrame
    replaced: pl.DataFrame
    counts: Sequence[Counts]


def compare_states(
    target: WriteTarget, current: pl.DataFrame, incoming: pl.DataFrame, of: int
) -> Difference:
    """Compare two states of the scopes of ``of`` deliveries by key; the frames have `BATCH_INDEX`.

    Unchanged rows keep their bookkeeping; of an append also their metadata columns, which are not
    compared. ``replaced`` holds the current rows that changed or went, with ``is_metadata``: only
    metadata columns differ.
    """
    if current.is_empty():
        nothing = current.with_columns(is_metadata=pl.lit(value=False))
        counts = [Counts(added=count) for count in count_by_batch(incoming, of)]
        return Difference(incoming, incoming, nothing, counts)
    key = key_names(target.table)
    judged = _judge_rows(target, current.drop(BATCH_INDEX), incoming)
    stays = target.spec.metadata_columns if target.write_disposition == "append" else ()
    kept_expression = ~pl.col("is_new") & ~pl.col("differs")
    rows = judged.with_columns(
        pl.when(kept_expression).then(pl.col(f"{name}_now")).otherwise(pl.col(name)).alias(name)
        for name in (*BOOKKEEPING, *stays)
    ).select(incoming.columns)
    differing = judged.filter("differs").select(*key, "is_metadata")
    removed = current.join(incoming, on=key, how="anti").with_columns(
        is_metadata=pl.lit(value=False)
    )
    replaced = pl.concat([current.join(differing, on=key), removed])
    return Difference(
        rows,
        rows.filter(judged.select(~kept_expression).to_series()),
        replaced,
        [
            Counts(*numbers)
            for numbers in zip(
                count_by_batch(judged.filter("is_new"), of),
                count_by_batch(judged.filter("differs"), of),
                count_by_batch(judged.filter("is_metadata"), of),
                count_by_batch(removed, of),
                count_by_batch(judged.filter(kept_expression), of),
                strict=True,
            )
        ],
    )


def _judge_rows(target: WriteTarget, current: pl.DataFrame, incoming: pl.DataFrame) -> pl.DataFrame:
    """Return ``incoming`` beside the current row of its key, with is_new, differs, is_metadata."""
    key = key_names(target.table)
    values = [name for name in incoming.columns if name not in (*key, *BOOKKEEPING, BATCH_INDEX)]
    frame = incoming.join(current, on=key, how="left", suffix="_now", maintain_order="left")
    is_new = pl.col("known_from_now").is_null()
    differs = {name: pl.col(name).ne_missing(pl.col(f"{name}_now")) for name in values}
    value_differs = pl.any_horizontal(
        differs[name] for name in values if name not in target.spec.metadata_columns
    )
    is_append = target.write_disposition == "append"
    any_differs = value_differs if is_append else pl.any_horizontal(differs.values())
    return frame.with_columns(
        is_new=is_new,
        differs=~is_new & any_differs,
        is_metadata=~is_new & any_differs & ~value_differs,
    )


@dataclass(frozen=True)
class Derivation:
    """The rows of a derived partition.

    Attributes:
        table: The derived table.
        partition_key: Dagster's key, which is the fence's.
        partition: The same as a condition on the table's columns.
        token: The fence's token when the inputs were read.
        version: What the rows are made of.
        rows: All rows of the partition.
        excluded: Numbers of keys of its inputs that no row is derived of, by their reason.
        before: What the partition was last derived of.
    """

    table: Table
    partition_key: str
    partition: Scope
    token: int
    version: str
    rows: pl.DataFrame
    excluded: Mapping[str, int] = field(default_factory=dict[str, int])
    before: str | None = None

    @property
    def rule_version(self) -> str:
        """Version of the rules that made the rows: the beginning of ``version``."""
        return self.version.partition(": ")[0]

    @property
    def change_cause(self) -> str:
        """Cause of a change: new rules alone (`ours`), or other inputs (`source`)."""
        made_of = self.version.partition(": ")[2]
        return "ours" if made_of == (self.before or "").partition(": ")[2] else "source"


def write_derived(connection: Connection, derivations: Sequence[Derivation], now: datetime) -> None:
    """Put the rows of derived partitions in the place of those that are there.

    Raises:
        SupersededError: Another run derived one of them since its inputs were read.
    """
    # all lock in one order, so that no two deadlock
    for table in sorted(
        {derivation.table for derivation in derivations}, key=lambda each: each.name
    ):
        _derive(
            connection,
            table,
            [derivation for derivation in derivations if derivation.table is table],
            now,
        )


def _derive(
    connection: Connection, table: Table, derivations: Sequence[Derivation], now: datetime
) -> None:
    versions = [(each, each.version) for each in derivations]
    known_from, overtaken = take_fences(connection, versions, now)
    for error in overtaken.values():
        raise error
    if HISTORY in table.info:
        for derivation in derivations:
            _derive_with_history(connection, derivation, known_from)
        return
    for scope in join_scopes(each.partition for each in derivations):
        connection.execute(delete(table).where(match_scope(table, scope)))
    insert_frame(connection, table, pl.concat(each.rows for each in derivations))


def _derive_with_history(
    connection: Connection, derivation: Derivation, known_from: datetime
) -> None:
    """Write the rows of a partition that are new or differ; move those they replace to the history.

    Equal rows stay, with the time from which they are known.
    """
    table, rows = derivation.table, derivation.rows
    history: Table = table.info[HISTORY]
    key = key_names(table)
    values = [name for name in rows.columns if name not in (*key, KNOWN_FROM)]
    current = read_scope(connection, table, derivation.partition)
    frame = current.join(rows, on=key, suffix="_new")
    is_same = [pl.col(name).eq_missing(pl.col(f"{name}_new")) for name in values]
    kept_frame = frame.filter(pl.all_horizontal(pl.lit(value=True), *is_same)).select(key)
    replaced = current.join(kept_frame, on=key, how="anti")
    if kept_frame.is_empty():
        connection.execute(delete(table).where(match_scope(table, derivation.partition)))
    else:
        delete_rows(connection, table, replaced.select(key))
    ended = replaced.with_columns(
        known_to=pl.lit(known_from, pl.Datetime("us", "UTC")),
        change_cause=pl.lit(derivation.change_cause),
        rule_version=pl.lit(derivation.rule_version),
    )
    insert_frame(connection, history, ended.select(history.columns.keys()))
    insert_frame(
        connection, table, fill_known_from(rows.join(kept_frame, on=key, how="anti"), known_from)
    )
