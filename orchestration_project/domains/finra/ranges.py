"""A week in ranges of its symbols: what is too large to be held at once is spilled.

All that is asked of rows is asked of those of one symbol, or adds up. So a week may come in pieces
of any order, be spilled sorted by symbol, and be read back range by range.
"""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from orchestration_project.contracts.key_ranges import SpilledRanges, spans_of
from orchestration_project.contracts.rules import OFFENDERS_KEPT, KeyRange, SpillStore
from orchestration_project.domains.finra.contract import WeekRows, added_up, in_key_order

ROWS_AT_ONCE = 2**18
"""So many rows and sums are held in memory; a week with more is checked and landed in ranges."""

RANGES_AT_ONCE = 4
"""A range is a fourth of that: what it is put together from is there several times."""


class KeyRangePlanner:
    """The pieces of a week, one at least, taken in one by one and given back by symbol.

    A week that is small enough is never spilled.

    Attributes:
        rejects: Those of the pieces so far, in their order.
        foreign_rows: The first of each piece.
        foreign_row_count: How many there are.
        received_count: Lines that came.
        filtered: Sums that FINRA made, by their summary type.
        is_named: Whether all rows name their week.
    """

    def __init__(self, spill: SpillStore, rows_at_once: int) -> None:
        self.rejects: list[pl.DataFrame] = []
        self.foreign_rows: list[pl.DataFrame] = []
        self.foreign_row_count = self.received_count = 0
        self.filtered = Counter[str]()
        self.is_named = True
        self._rows_at_once = rows_at_once
        self._held: list[WeekRows] = []
        self._rows, self._totals, self._firm_sums = (
            SpilledRanges(spill, "symbol") for _ in range(3)
        )
        self._counts = pl.DataFrame(schema={"symbol": pl.String, "row_count": pl.Int64})

    @property
    def is_shelved(self) -> bool:
        """Whether the rows are spilled."""
        return not self._held

    def add(self, week: WeekRows) -> None:
        """Take in a piece."""
        is_held = bool(self._held) or not self.rejects
        self.rejects.append(week.rejects)
        self.foreign_rows.append(week.foreign_rows.head(OFFENDERS_KEPT))
        self.foreign_row_count += len(week.foreign_rows)
        self.received_count += week.received_count
        self.filtered.update(week.filtered)
        self.is_named &= week.is_named
        self._held.append(week)
        if is_held and sum(map(_height, self._held)) <= self._rows_at_once:
            return
        for each in self._held:
            self._put(each)
        self._held = []

    def _put(self, week: WeekRows) -> None:
        self._rows.add(week.rows)
        self._totals.add(week.totals)
        self._firm_sums.add(week.firm_sums)
        more = week.rows.group_by("symbol").agg(row_count=pl.len().cast(pl.Int64))
        both = pl.concat([self._counts, more])
        self._counts = both.group_by("symbol").agg(pl.col("row_count").sum())

    def ranges(self) -> Iterator[tuple[KeyRange, WeekRows]]:
        """Yield rows in key order and sums, range by range; the rest of each `WeekRows` is empty.

        A symbol's rows are in one range, whichever pieces they came in; the same rows make the
        same ranges.
        """
        if len(self._held) == 1:
            yield KeyRange(), self._held[0]
        elif self._held:
            rows = pl.concat(each.rows for each in self._held)
            totals = pl.concat(each.totals for each in self._held)
            firm_sums = pl.concat(each.firm_sums for each in self._held)
            yield KeyRange(), self._together(rows, totals, firm_sums)
        else:
            for span in spans_of(self._counts, max(self._rows_at_once // RANGES_AT_ONCE, 1)):
                frames = (self._rows, self._totals, self._firm_sums)
                yield span, self._together(*(each.within(span) for each in frames))

    def _together(
        self, rows: pl.DataFrame, totals: pl.DataFrame, firm_sums: pl.DataFrame
    ) -> WeekRows:
        """Return what came in several pieces as one."""
        return WeekRows(
            rows=in_key_order(rows),
            rejects=self.rejects[0].clear(),
            totals=added_up(totals),
            firm_sums=added_up(firm_sums),
            foreign_rows=self.foreign_rows[0].clear(),
            received_count=0,
            filtered={},
        )


def _height(week: WeekRows) -> int:
    return len(week.rows) + len(week.totals) + len(week.firm_sums)
