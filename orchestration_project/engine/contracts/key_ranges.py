"""Rows in ranges of a text: spilled in pieces of any order, read back range by range."""

from collections.abc import Sequence

import polars as pl

from orchestration_project.engine.contracts.rules import KeyRange, SpillStore

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
        for each in frame.sort(self._column).iter_slices(ROWS_READ_BACK):
            texts = each[self._column]
            self._stretches.append((texts[0], texts[-1], self._spill.put(each)))

    def within(self, span: KeyRange) -> pl.DataFrame:
        """Return the rows whose texts lie in ``span``, in no order, of one frame at least."""
        found = [
            self._spill.get(number).filter(span.holds(pl.col(self._column)))
            for first, last, number in self._stretches
            if span.meets(first, last)
        ]
        return pl.concat([*self._nothing, *found])


def spans_of(counts: pl.DataFrame, most_rows: int) -> Sequence[KeyRange]:
    """Cut texts into spans of at most ``most_rows`` rows each, but never within a text.

    A text with more is alone. The first span has no start, the last one no end.

    Args:
        counts: A column of texts, and a column with the number of rows of each.
        most_rows: Rows of a span.
    """
    ends: list[str] = []
    held, last = 0, ""
    for text, row_count in counts.sort(counts.columns[0]).iter_rows():
        if held and held + row_count > most_rows:
            ends.append(last)
            held = 0
        held += row_count
        last = text
    return [
        KeyRange(after, until) for after, until in zip([None, *ends], [*ends, None], strict=True)
    ]
