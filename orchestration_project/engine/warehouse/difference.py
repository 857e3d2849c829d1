"""Two states of scopes, compared by key, the rows of several deliveries at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Table

from orchestration_project.contracts.frames import PLACE, counted
from orchestration_project.tables.kinds import key_names

BOOKKEEPING = ("capture_id", "known_from")
"""Columns that say where a row came from; a difference in them alone is none."""


@dataclass(frozen=True)
class Counts:
    """How many rows of one delivery are new, changed, and so on."""

    added: int = 0
    changed: int = 0
    metadata_changed: int = 0
    removed: int = 0
    unchanged: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Return those of both, of rows in several ranges."""
        return Counts(
            self.added + other.added,
            self.changed + other.changed,
            self.metadata_changed + other.metadata_changed,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
        )

    @property
    def replaced(self) -> int:
        """How many landed rows are changed or removed."""
        return self.changed + self.removed

    @property
    def is_any(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.added or self.replaced)


@dataclass(frozen=True)
class Difference:
    """Scopes as they are to be, and how they get there from what is landed.

    All frames have `PLACE`.

    Attributes:
        rows: All rows of the scopes, those that are unchanged with their old bookkeeping.
        written: Of these, the new and the changed ones.
        replaced: The landed rows that are changed or removed, to move to the history.
        counts: The numbers of each delivery, by its place.
    """

    rows: pl.DataFrame
    written: pl.DataFrame
    replaced: pl.DataFrame
    counts: Sequence[Counts]


def difference(
    table: Table,
    metadata_columns: Sequence[str],
    current: pl.DataFrame,
    incoming: pl.DataFrame,
    of: int,
) -> Difference:
    """Compare two states of the scopes of ``of`` deliveries by key; the frames have `PLACE`.

    Unchanged rows keep their bookkeeping. ``replaced`` holds the current rows that changed or
    went, with ``is_metadata``: only metadata columns differ.
    """
    if current.is_empty():
        nothing = current.with_columns(is_metadata=pl.lit(value=False))
        counts = [Counts(added=count) for count in counted(incoming, of)]
        return Difference(incoming, incoming, nothing, counts)
    key = key_names(table)
    judged = _judged(key, metadata_columns, current.drop(PLACE), incoming)
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
    return Difference(
        rows,
        rows.filter(judged.select(~kept).to_series()),
        replaced,
        [
            Counts(*numbers)
            for numbers in zip(
                counted(judged.filter("is_new"), of),
                counted(judged.filter("differs"), of),
                counted(judged.filter("is_metadata"), of),
                counted(removed, of),
                counted(judged.filter(kept), of),
                strict=True,
            )
        ],
    )


def _judged(
    key: Sequence[str],
    metadata_columns: Sequence[str],
    current: pl.DataFrame,
    incoming: pl.DataFrame,
) -> pl.DataFrame:
    """Return ``incoming`` beside the current row of its key, with is_new, differs, is_metadata."""
    values = [name for name in incoming.columns if name not in (*key, *BOOKKEEPING, PLACE)]
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
