"""What a source, and a second one beside it, answer of one symbol, and for which days it holds."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import polars as pl
from sqlalchemy import func, select

from orchestration_project.domains.prices.audits import is_new_action
from orchestration_project.domains.prices.contract import (
    Answer,
    PriceRows,
    actions_of,
    check_prices,
    read_prices,
)
from orchestration_project.domains.prices.states import Days
from orchestration_project.errors import OrchestrationError, SourceError
from orchestration_project.resources.captures import Capture, parts_of
from orchestration_project.resources.prices.source import PriceRange, PriceSource
from orchestration_project.resources.warehouse import Between, Warehouse
from orchestration_project.resources.warehouse.frames import read_frame, within
from orchestration_project.tables.prices import prices_daily


class Reading:
    """Reads the days of a symbol that are asked for, and perhaps earlier ones with them.

    Attributes:
        symbol: Ours.
        days: What was asked for; once it was fetched, the days for which the answer holds.
        second_rows: What the second source has of these days; None: there is nothing to compare.
    """

    def __init__(
        self,
        source: PriceSource,
        second: PriceSource | None,
        warehouse: Warehouse,
        symbol: str,
        spelled: str,
        days: Days,
    ) -> None:
        self.symbol, self.days = symbol, days
        self.second_rows: pl.DataFrame | None = None
        self._source, self._second, self._warehouse = source, second, warehouse
        self._spelled = spelled
        self._asked = days
        self._sorted: PriceRows | None = None

    @property
    def rows(self) -> PriceRows:
        """The fetched days, sorted into rows and rejects."""
        if self._sorted is None:
            raise AssertionError("nothing was fetched yet")
        return self._sorted

    def fetch(self, kept: list[Capture]) -> Sequence[Capture]:
        """Fetch the days, and return what makes them up.

        A new dividend or split restates earlier prices: then all that is landed is asked for.

        Raises:
            SourceError: The source has no price as late as the first day.
            OrchestrationError: As the source does.
        """
        captures, answer, rows = self._answered(self._asked, kept)
        days, since = self._asked, self._landed_since(rows)
        if since is not None and since < days.first:
            days = Days(since, days.last)
            captures, answer, rows = self._answered(days, kept)
        self.days = self._vouched(answer, days)
        self._sorted = rows
        self.second_rows = self._of_second(kept)
        return captures

    def _answered(
        self, days: Days, kept: list[Capture]
    ) -> tuple[Sequence[Capture], Answer, PriceRows]:
        asked = PriceRange(self.symbol, days.first, days.last)
        captures = self._source.fetch(asked, kept)
        answer = read_prices(self._source.name, parts_of(captures))
        return captures, answer, self._rows_of(self._source, self._spelled, answer, days)

    def _rows_of(self, source: PriceSource, spelled: str, answer: Answer, days: Days) -> PriceRows:
        return check_prices(
            answer,
            symbol=self.symbol,
            spelled=spelled,
            source=source.name,
            first=days.first,
            last=days.last,
        )

    def _vouched(self, answer: Answer, days: Days) -> Days:
        """Return the days for which an answer holds: up to the newest that the source has."""
        newest = answer.newest
        if newest is None or newest < days.first:
            raise SourceError(
                f"{self._source.name} has no price of {self.symbol} from {days.first} on",
                expected="a price of at least one day",
                found=f"the newest is of {newest}" if newest else "no day at all",
                remedy="nothing, where the symbol is not traded any more; it is asked for again "
                "the day after",
            )
        return Days(days.first, min(days.last, newest))

    def _landed_since(self, rows: PriceRows) -> date | None:
        """Return the first landed day, if the answer tells of a dividend or split that is new."""
        told = rows.rows
        if actions_of(told).is_empty():
            return None
        own = within(prices_daily, {"symbol": self.symbol})
        days = {"trade_date": Between(self._asked.first, self._asked.last)}
        in_days = select(prices_daily).where(own, within(prices_daily, days))
        with self._warehouse.reading() as connection:
            known = read_frame(connection, in_days, prices_daily)
            first = connection.execute(select(func.min(prices_daily.c.trade_date)).where(own))
            return first.scalar() if is_new_action(told, known) else None

    def _of_second(self, kept: list[Capture]) -> pl.DataFrame | None:
        """Ask the second source, which a load does not depend on, for the same days."""
        second = self._second
        if second is None or (spelled := second.vendor_symbol(self.symbol)) is None:
            return None
        asked = PriceRange(self.symbol, self.days.first, self.days.last)
        seen: list[Capture] = []
        try:
            answer = read_prices(second.name, parts_of(second.fetch(asked, seen)))
        except OrchestrationError:
            return None
        finally:
            kept += [replace(each, source=second.name) for each in seen]
        return self._rows_of(second, spelled, answer, self.days).rows
