"""Ranges of days and texts: rows that are spilled in pieces, and read back range by range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from orchestration_project.engine.contracts import lazy_polars as pl


class SpillStore(Protocol):
    """Keeps frames that are too many to be held in memory at once."""

    def put(self, frame: pl.DataFrame) -> int:
        """Keep ``frame``; return the number that it is had back by."""
        ...

    def get(self, number: int) -> pl.DataFrame:
        """Return the frame that was kept under ``number``."""
        ...


@dataclass(frozen=True)
class Days:
    """The days from ``first`` to ``last``, both counted."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


@dataclass(frozen=True)
class KeyRange:
    """Range of texts: exclusive start, inclusive end; None is unbounded.

    They are compared by their bytes, as our tables compare them.
    """

    after: str | None = None
    until: str | None = None

    def meets(self, first: str, last: str) -> bool:
        """Whether any text from ``first`` to ``last``, both counted, may lie in it."""
        is_before = self.after is not None and last <= self.after
        return not is_before and (self.until is None or first <= self.until)

    def holds(self, text: pl.Expr) -> pl.Expr:
        """Whether a text lies in it."""
        is_after = pl.lit(value=True) if self.after is None else text > self.after
        return is_after if self.until is None else is_after & (text <= self.until)


@dataclass(frozen=True)
class SpilledRows:
    """Rows that are too many to be held at once: those that meet each condition, in key order.

    A condition is of a column's value, tuple of values or `KeyRange`; each row meets one of them.
    """

    spill: SpillStore
    places: Sequence[tuple[Mapping[str, object], int]]
    row_count: int

    def __iter__(self) -> Iterator[tuple[Mapping[str, object], pl.DataFrame]]:
        """Yield each condition with its rows."""
        for condition, number in self.places:
            yield condition, self.spill.get(number)


ROWS_READ_BACK = 1_000
"""So many rows of a piece are read back together: a range needs few of each piece."""


class SpilledRanges:
    """Spilled frames, which are read back by ranges of a column of texts."""

    def __init__(self, spill: SpillStore, column: str) -> None:
        self._spill = spill
        self._column = column
        self._stretches: list[tuple[str, str, int]] = []
        self._nothing: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Spill a frame."""
        self._nothing = [frame.clear()]
        for iter_slice in frame.sort(self._column).iter_slices(ROWS_READ_BACK):
            texts = iter_slice[self._column]
            self._stretches.append((texts[0], texts[-1], self._spill.put(iter_slice)))

    def within(self, span: KeyRange) -> pl.DataFrame:
        """Return the rows whose texts lie in ``span``, in no order, of one frame at least."""
        frames = [
            self._spill.get(number).filter(span.holds(pl.col(self._column)))
            for first, last, number in self._stretches
            if span.meets(first, last)
        ]
        return pl.concat([*self._nothing, *frames])


def split_keys(counts: pl.DataFrame, most_rows: int) -> Sequence[KeyRange]:
    """Cut texts into spans of at most ``most_rows`` rows each, but never within a text.

    A text with more is alone. The first span has no start, the last one no end.

    Args:
        counts: A column of texts, and a column with the number of rows of each.
        most_rows: Rows of a span.
    """
    ends: list[str] = []
    held_name, last = 0, ""
    for text, row_count in counts.sort(counts.columns[0]).iter_rows():
        if held_name and held_name + row_count > most_rows:
            ends.append(last)
            held_name = 0
        held_name += row_count
        last = text
    return [
        KeyRange(after, until) for after, until in zip([None, *ends], [*ends, None], strict=True)
    ]
