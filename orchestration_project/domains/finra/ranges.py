"""A week in ranges of its symbols: what is too large to be held at once is put on a shelf.

All that is asked of rows is asked of those of one symbol, or adds up. So a week may come in pieces
of any order, be put on the shelf sorted by symbol, and be read back range by range.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from orchestration_project.contracts import OFFENDERS_KEPT, Shelf, Span
from orchestration_project.domains.finra.contract import WeekRows, added_up, in_key_order

ROWS_AT_ONCE = 2**17
"""So many rows are held in memory; a week that has more is checked and landed in ranges."""

ROWS_READ_BACK = 1_000
"""So many rows of a piece are read back together: a range needs few of each piece."""


class Sorted:
    """Frames with symbols on a shelf, of which ranges can be had."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._stretches: list[tuple[str, str, int]] = []
        self._nothing: pl.DataFrame | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Put a frame on the shelf."""
        self._nothing = frame.clear()
        for each in frame.sort("symbol").iter_slices(ROWS_READ_BACK):
            symbols = each["symbol"]
            self._stretches.append((symbols[0], symbols[-1], self._shelf.put(each)))

    def within(self, span: Span) -> pl.DataFrame:
        """Return the rows whose symbols lie in ``span``, in no order, of one frame at least."""
        found = [
            self._shelf.get(number)
            for first, last, number in self._stretches
            if span.meets(first, last)
        ]
        nothing = [] if self._nothing is None else [self._nothing]
        return pl.concat([*nothing, *found]).filter(span.holds(pl.col("symbol")))


class Spread:
    """The pieces of a week, one at least, taken in one by one and given back by symbol.

    A week that is small enough never sees the shelf.

    Attributes:
        rejects: Those of the pieces so far, in their order.
        strangers: The first of them.
        stranger_count: How many there are.
        received_count: Lines that came.
    """

    def __init__(self, shelf: Shelf, rows_at_once: int) -> None:
        self.rejects: list[pl.DataFrame] = []
        self.strangers: list[pl.DataFrame] = []
        self.stranger_count = self.received_count = 0
        self._rows_at_once = rows_at_once
        self._only: WeekRows | None = None
        self._rows, self._totals, self._firm_sums = (Sorted(shelf) for _ in range(3))
        self._counts = pl.DataFrame(schema={"symbol": pl.String, "row_count": pl.Int64})

    def add(self, week: WeekRows) -> None:
        """Take in a piece."""
        is_first = not self.rejects
        self.rejects.append(week.rejects)
        self.strangers.append(week.strangers.head(OFFENDERS_KEPT))
        self.stranger_count += len(week.strangers)
        self.received_count += week.received_count
        if is_first and len(week.rows) <= self._rows_at_once:
            self._only = week
            return
        if self._only is not None:
            self._put(self._only)
            self._only = None
        self._put(week)

    @property
    def is_shelved(self) -> bool:
        """Whether the shelf has the rows."""
        return self._only is None

    def _put(self, week: WeekRows) -> None:
        self._rows.add(week.rows)
        self._totals.add(week.totals)
        self._firm_sums.add(week.firm_sums)
        more = week.rows.group_by("symbol").agg(row_count=pl.len().cast(pl.Int64))
        both = pl.concat([self._counts, more])
        self._counts = both.group_by("symbol").agg(pl.col("row_count").sum())

    def ranges(self) -> Iterator[tuple[Span, WeekRows]]:
        """Yield rows in key order and sums, range by range; the rest of each `WeekRows` is empty.

        A symbol's rows are in one range, whichever pieces they came in; equal rows make equal
        ranges.
        """
        if self._only is not None:
            yield Span(), self._only
            return
        most = max(self._rows_at_once // 2, 1)  # a range is there twice while it is sorted
        for span in spans_of(self._counts, most):
            yield (
                span,
                WeekRows(
                    rows=in_key_order(self._rows.within(span)),
                    rejects=self.rejects[0].clear(),
                    totals=added_up(self._totals.within(span)),
                    firm_sums=added_up(self._firm_sums.within(span)),
                    strangers=self.strangers[0].clear(),
                    received_count=0,
                ),
            )


def spans_of(counts: pl.DataFrame, most_rows: int) -> Sequence[Span]:
    """Cut symbols into spans of at most ``most_rows`` rows each, and never within a symbol.

    ``counts`` has a ``symbol`` and its ``row_count``. The first and the last span have no end.
    """
    ends: list[str] = []
    held, last = 0, ""
    for symbol, row_count in counts.sort("symbol").iter_rows():
        if held and held + row_count > most_rows:
            ends.append(last)
            held = 0
        held += row_count
        last = symbol
    return [Span(after, until) for after, until in zip([None, *ends], [*ends, None], strict=True)]
