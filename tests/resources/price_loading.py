"""Loads of prices from a folder of files, as a run makes them, symbol by symbol."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from sqlalchemy import select

from orchestration_project.domains.prices.audits import PriceLimits
from orchestration_project.domains.prices.calendar import sessions
from orchestration_project.domains.prices.tables import prices_daily, prices_symbol_months
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.prices.files import PriceFiles
from orchestration_project.resources.prices.load import LoadedPrices, PriceLoad
from orchestration_project.resources.prices.quota import Quota
from orchestration_project.resources.prices.source import PriceRange
from orchestration_project.resources.prices.work import SYMBOLS_TOPIC, SymbolWork
from tests.domains.prices import csv
from tests.resources.weeks import StoppedClock

FRIDAY_EVENING = datetime(2026, 2, 27, 23, 30, tzinfo=UTC)
"""After the close of the last session of February."""

JANUARY = sessions(date(2026, 1, 1), date(2026, 1, 31))
FEBRUARY = sessions(date(2026, 2, 1), date(2026, 2, 28))
BOTH = ("2026-01-01", "2026-02-01")
MONTH = date(2026, 2, 1)

LIMITS = PriceLimits(
    max_reject_ratio=0.1, jump_ratio=0.4, stale_sessions=3, disagreement_ratio=0.01
)


NOT_REQUESTED = (
    "not asked: its months are loaded; to ask the source: --full, or full: true in the run's "
    "config, or the preset prices_full"
)


class Metered(PriceFiles):
    """A folder that grants a number of requests a day, as vendors do, and knows what was asked.

    What it sends of the symbols in ``errors`` turns out to be unusable.
    """

    quota: Quota | None = None
    is_local = False

    def __init__(self, folder: Path, captures: Captures, clock: StoppedClock) -> None:
        self.overrides = {"UNKNOWN": ""}
        super().__init__(folder, captures, clock, overrides=self.overrides)
        self.requested: list[PriceRange] = []
        self.errors: Mapping[str, OrchestrationError] = {}

    def close(self) -> None:
        """Close the quota, if there is one."""
        if self.quota is not None:
            self.quota.close()

    def fetch(self, requested: PriceRange, kept: list[Capture]) -> Sequence[Capture]:
        """Answer as long as the quota lasts."""
        if self.quota is not None:
            self.quota.take()
        self.requested.append(requested)
        captures = super().fetch(requested, kept)
        if requested.symbol in self.errors:
            raise self.errors[requested.symbol]
        return captures


class PriceLoader:
    """Writes files of prices, loads them, and looks at what is loaded."""

    def __init__(self, warehouse: Warehouse, folder: Path, clock: StoppedClock) -> None:
        self.warehouse, self.clock, self.folder = warehouse, clock, folder / "prices"
        self.folder.mkdir()
        self.source = Metered(self.folder, Captures(FolderStore(folder / "artifacts")), clock)
        self.second: PriceFiles | None = None
        self.runs = 0
        self.under_way: set[str] = set()

    def write(self, symbol: str, *lines: str) -> None:
        """Have the source hold these days of a symbol."""
        (self.folder / f"{symbol}.csv").write_bytes(csv(*lines))

    def load(
        self,
        *symbols: str,
        months: Sequence[str] = ("2026-02-01",),
        full: bool = False,
        force: bool = False,
    ) -> Mapping[str, LoadedPrices | OrchestrationError]:
        """Load symbols as the runner does, and return how each ended."""
        load = self.loading(*symbols, full=full, force=force)
        ended: dict[str, LoadedPrices | OrchestrationError] = {}
        for taken in load.batches(load.pieces(months)):
            ended |= load.write_batch(taken)
        return ended

    def loading(self, *symbols: str, full: bool = False, force: bool = False) -> PriceLoad:
        """Return the load of a new run."""
        self.runs += 1
        return PriceLoad(
            self.source,
            self.warehouse,
            self.clock,
            symbols=lambda: symbols,
            run_id=f"run {self.runs}",
            limits=LIMITS,
            second=self.second,
            full=full,
            force=force,
            is_under_way=self.under_way.__contains__,
        )

    def items(self) -> dict[str, tuple[str, int, str | None]]:
        """Return state, attempts and lease holder of each symbol's latest work."""
        found = WorkItems(self.warehouse, self.clock).list_items(topic=SYMBOLS_TOPIC)
        return {
            SymbolWork.of(work_item.item_key).symbol: (
                work_item.state,
                work_item.attempt_count,
                work_item.lease_holder,
            )
            for work_item in sorted(found, key=lambda each: each.changed_at)
        }

    def closes(self, symbol: str) -> dict[date, float]:
        """Return what is loaded of a symbol."""
        statement = select(prices_daily).where(prices_daily.c.symbol == symbol)
        rows = self.warehouse.frame(statement, prices_daily)
        return {row["trade_date"]: row["close"] / 1e6 for row in rows.iter_rows(named=True)}

    def states(self, month: date) -> dict[str, str]:
        """Return the state of each symbol in a month."""
        rows = self.months().filter(pl.col("month_start") == month)
        return dict(rows.select("symbol", "state").rows())

    def months(self) -> pl.DataFrame:
        """Return all rows of `prices_symbol_months`."""
        return self.warehouse.frame(select(prices_symbol_months), prices_symbol_months)


@contextmanager
def light(folder: Path, clock: StoppedClock) -> Iterator[PriceLoader]:
    """Give a price loader on SQLite."""
    folder.mkdir(exist_ok=True)
    with Warehouse(f"sqlite:///{folder}/w.sqlite", clock=clock) as warehouse:
        warehouse.prepare(holds="real")
        price_loader = PriceLoader(warehouse, folder, clock)
        yield price_loader
        price_loader.source.close()
