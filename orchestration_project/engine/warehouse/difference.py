"""Differences between a delivery and the loaded rows, by key, and their causes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, func, literal, select

from orchestration_project.engine.contracts.values import BATCH_INDEX, count_by_batch
from orchestration_project.engine.warehouse.delivery import Counts, ValidatedBatch
from orchestration_project.engine.warehouse.frames import (
    find_range,
    match_scope,
)
from orchestration_project.engine.warehouse.target import (
    BOOKKEEPING,
    WriteTarget,
)
from orchestration_project.tables.schema import key_names


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
