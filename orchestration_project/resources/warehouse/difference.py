"""Two states of one scope, compared by key."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Table

from orchestration_project.tables.kinds import key_names

BOOKKEEPING = ("capture_id", "known_from")
"""Columns that say where a row came from; a difference in them alone is none."""


@dataclass(frozen=True)
class Difference:
    """A scope as it is to be, and how it gets there from what is landed.

    Attributes:
        rows: All rows of the scope, those that are unchanged with their old bookkeeping.
        written: Of these, the new and the changed ones.
        replaced: The landed rows that are changed or removed, to move to the history.
    """

    rows: pl.DataFrame
    written: pl.DataFrame
    replaced: pl.DataFrame
    added: int
    changed: int
    metadata_changed: int
    removed: int
    unchanged: int

    @property
    def is_any(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.added or len(self.replaced))


def no_difference(incoming: pl.DataFrame) -> Difference:
    """Return that ``incoming`` is what is landed already."""
    nothing = incoming.clear()
    return Difference(incoming, nothing, nothing, 0, 0, 0, 0, len(incoming))


def difference(
    table: Table, metadata_columns: Sequence[str], current: pl.DataFrame, incoming: pl.DataFrame
) -> Difference:
    """Compare two states of one scope by key.

    Unchanged rows keep their bookkeeping. ``replaced`` holds the current rows that changed or
    went, with ``is_metadata``: only metadata columns differ.
    """
    if current.is_empty():
        nothing = current.with_columns(is_metadata=pl.lit(value=False))
        return Difference(incoming, incoming, nothing, len(incoming), 0, 0, 0, 0)
    key = key_names(table)
    judged = _judged(key, metadata_columns, current, incoming)
    kept = ~pl.col("is_new") & ~pl.col("differs")
    rows = judged.with_columns(
        pl.when(kept).then(pl.col(f"{name}_now")).otherwise(pl.col(name)).alias(name)
        for name in BOOKKEEPING
    ).select(incoming.columns)
    differing = judged.filter("differs").select(*key, "is_metadata")
    removed = current.join(incoming, on=key, how="anti").with_columns(
        is_metadata=pl.lit(value=False)
    )
    replaced = pl.concat([current.join(differing, on=key), removed])
    added = int(judged["is_new"].sum())
    return Difference(
        rows,
        rows.filter(judged.select(~kept).to_series()),
        replaced,
        added,
        len(differing),
        int(differing["is_metadata"].sum()),
        len(removed),
        len(incoming) - added - len(differing),
    )


def _judged(
    key: Sequence[str],
    metadata_columns: Sequence[str],
    current: pl.DataFrame,
    incoming: pl.DataFrame,
) -> pl.DataFrame:
    """Return ``incoming`` beside the current row of its key, with is_new, differs, is_metadata."""
    values = [name for name in incoming.columns if name not in (*key, *BOOKKEEPING)]
    both = incoming.join(current, on=key, how="left", suffix="_now", maintain_order="left")
    is_new = pl.col("known_from_now").is_null()
    differs = {name: pl.col(name).ne_missing(pl.col(f"{name}_now")) for name in values}
    value_differs = pl.any_horizontal(
        differs[name] for name in values if name not in metadata_columns
    )
    any_differs = pl.any_horizontal(differs.values())
    return both.with_columns(
        is_new=is_new,
        differs=~is_new & any_differs,
        is_metadata=~is_new & any_differs & ~value_differs,
    )
