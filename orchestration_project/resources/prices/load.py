"""The load of one symbol's prices over the months of a run, from its source to the landed table.

What is landed is not asked for again. A symbol whose quota ended, or that its source does not have,
is noted as such and harms no other.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial

import polars as pl
from sqlalchemy import Connection, select

from orchestration_project.contracts import Audit, Checked
from orchestration_project.domains.prices.audits import Limits, checked_prices, warnings_about
from orchestration_project.domains.prices.calendar import last_complete_session
from orchestration_project.domains.prices.contract import RULE_VERSION
from orchestration_project.domains.prices.states import (
    LANDED,
    Days,
    Standing,
    SymbolMonth,
    days_of,
    is_landed,
    rows_by_month,
    standing_of,
)
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
)
from orchestration_project.resources.captures import Capture
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.intake import Intake, IntakeFigures, take
from orchestration_project.resources.opening import open_now
from orchestration_project.resources.prices.quota import QuotaEndedError
from orchestration_project.resources.prices.reading import Reading
from orchestration_project.resources.prices.source import PriceSource
from orchestration_project.resources.prices.states import read_known, write_standing
from orchestration_project.resources.warehouse import (
    Between,
    Delivery,
    Landed,
    Order,
    ScopeState,
    Warehouse,
)
from orchestration_project.resources.warehouse.frames import frame_of
from orchestration_project.resources.warehouse.landing import read_state
from orchestration_project.tables.prices import prices_daily, prices_daily_history

REFUSED_FOR = timedelta(hours=20)
"""A symbol that its source does not have is asked for again the day after."""

_daily = prices_daily.c


@dataclass(frozen=True)
class PriceChange:
    """How many rows of each month a landing wrote, and how many it replaced or removed."""

    written: Mapping[date, int]
    replaced: Mapping[date, int]


@dataclass(frozen=True)
class TakenPrices:
    """A symbol that was asked for, or of which there is nothing to ask: then without intake.

    ``days`` begin before those of the run where all that is landed was asked for again.
    ``through`` is the last day for which the intake vouches.
    """

    symbol: str
    days: Days
    standing: Standing = LANDED
    order: Order[PriceChange] | None = None
    intake: Intake | None = None
    through: date | None = None
    is_asked: bool = True


@dataclass(frozen=True)
class LoadedPrices:
    """How a symbol ended, in figures; without ``landed`` nothing was landed by this run.

    A run keeps these of all its symbols: of each month the number of rows, and of those that are
    not landed all there is to say.
    """

    symbol: str
    standing: Standing
    row_counts: Mapping[date, int]
    open: Mapping[date, SymbolMonth]
    figures: IntakeFigures | None = None
    landed: Landed[PriceChange] | None = None

    def __str__(self) -> str:
        if self.landed is None:
            reason = f": {self.standing.reason}" if self.standing.reason else ""
            return f"{'unchanged' if self.standing == LANDED else self.standing.state}{reason}"
        warned = f"; unusual: {', '.join(self.landed.warnings)}" if self.landed.warnings else ""
        return (
            f"{self.landed.rows_added} rows added, {self.landed.rows_changed} changed, "
            f"{self.landed.rows_removed} removed, {self.landed.rows_unchanged} unchanged{warned}"
        )


@dataclass(frozen=True)
class PriceLoad:
    """Loads symbols of `prices_daily` over months.

    ``full`` asks also for what is landed, and before it may help; ``force`` replaces what came from
    another source.
    """

    source: PriceSource
    warehouse: Warehouse
    clock: Clock
    symbols: Callable[[], Sequence[str]]
    run_id: str
    limits: Limits
    second: PriceSource | None = None
    full: bool = False
    force: bool = False
    asked: list[date] = field(default_factory=list)

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides symbol and run."""
        return {"asset": "prices/daily", "source": self.source.name}

    def ready(self) -> None:
        """Open the database and the source.

        Raises:
            OrchestrationError: One of them cannot be opened.
        """
        open_now(self.warehouse, self.source, self.second)

    def pieces(self, partitions: Sequence[str]) -> Sequence[str]:
        """Return the symbols to be loaded for these months.

        Raises:
            ConfigurationError: There is none, or a key names no month.
        """
        self.asked[:] = sorted(map(_month, partitions))
        found = self.symbols()
        if not found:
            raise ConfigurationError(
                "no symbol's prices are wanted",
                expected="symbols in PRICES_SYMBOLS, or landed weeks of FINRA that tell which",
                remedy="load weeks by the job finra_otc_weekly, or set PRICES_SYMBOLS",
            )
        return found

    def take(self, key: str) -> TakenPrices:
        """Fetch and check what is missing of a symbol, if there is anything.

        Raises:
            OrchestrationError: As the source and the contract do; how it stands is noted.
        """
        symbol, now = key, self.clock.now()
        days = days_of(self.asked, last_complete_session(now))
        if days is None:
            raise ConfigurationError(
                f"no session of {self.asked[0]:%Y-%m} is over",
                expected="a month with prices",
                remedy="wait for the close of its first session",
            )
        spelled = self.source.vendor_symbol(symbol)
        if spelled is None:
            reason = f"nobody says how {self.source.name} spells it"
            return TakenPrices(symbol, days, Standing("unmapped", reason))
        with self.warehouse.reading() as connection:
            known = read_known(connection, symbol, days)
            state = read_state(connection, prices_daily, symbol)
        if not self.full and is_landed(known, days, self.source.name):
            return TakenPrices(symbol, days, is_asked=False)
        standing = None if self.full else standing_of(known, days, now)
        if standing is not None:
            return TakenPrices(symbol, days, standing, is_asked=False)
        return self._asked(state, symbol, spelled, days, now)

    def _asked(
        self, state: ScopeState, symbol: str, spelled: str, days: Days, now: datetime
    ) -> TakenPrices:
        """Ask the source, and note what keeps a symbol from landing."""
        try:
            return self._taken(state, symbol, spelled, days)
        except QuotaEndedError as error:
            return TakenPrices(symbol, days, Standing("waiting", error.what, error.resumes_at))
        except SourceError as error:
            return TakenPrices(symbol, days, Standing("refused", _why(error), now + REFUSED_FOR))
        except ContractError as error:
            self._note(symbol, days, Standing("refused", _why(error)))
            raise
        except OrchestrationError as error:
            self._note(symbol, days, Standing("waiting", _why(error)))
            raise

    def _taken(self, state: ScopeState, symbol: str, spelled: str, days: Days) -> TakenPrices:
        self._refuse_other_source(symbol, state.source)
        reading = Reading(self.source, self.second, self.warehouse, symbol, spelled, days)
        order = self._order(symbol, state, reading)

        def read(kept: list[Capture]) -> Delivery:
            captures = reading.fetch(kept)
            return self._delivery(captures, reading.days)

        def check(_: Delivery) -> Checked:
            return checked_prices(reading.rows, spelled=spelled, limits=self.limits)

        intake = take(self.warehouse, order, self._delivery((), days), read, check)
        through = reading.days.last
        standing = LANDED if through >= days.last else _behind(through)
        widened = Days(reading.days.first, days.last)
        return TakenPrices(symbol, widened, standing, order, intake, through)

    def land(self, taken: TakenPrices) -> LoadedPrices:
        """Land what was taken of a symbol, and note how it stands.

        Raises:
            HeldBackError: An audit failed.
            SupersededError: Another run delivered the symbol meanwhile.
        """
        symbol, days = taken.symbol, taken.days
        if taken.intake is not None and taken.order is not None:
            return self._landed(taken, taken.order, taken.intake)
        if taken.is_asked:
            return self._ended(taken, self._note(symbol, days, taken.standing))
        with self.warehouse.reading() as connection:
            known = read_known(connection, symbol, days)
        return self._ended(taken, known.values())

    def _landed(
        self, taken: TakenPrices, order: Order[PriceChange], intake: Intake
    ) -> LoadedPrices:
        try:
            with self.warehouse.landing(order, intake.delivery, intake.prepared) as (
                connection,
                landed,
            ):
                rows = self._written(
                    connection, taken.symbol, taken.days, taken.standing, taken.through
                )
        except ContractError as error:
            self._note(taken.symbol, taken.days, Standing("refused", _why(error)))
            raise
        return replace(self._ended(taken, rows), figures=intake.figures, landed=landed)

    def _ended(self, taken: TakenPrices, rows: Collection[SymbolMonth]) -> LoadedPrices:
        counts = {row.month_start: row.row_count for row in rows}
        is_open = {row.month_start: row for row in rows if row.state != "landed"}
        return LoadedPrices(taken.symbol, taken.standing, counts, is_open)

    def _note(self, symbol: str, days: Days, standing: Standing) -> Sequence[SymbolMonth]:
        with self.warehouse.writing() as connection:
            return self._written(connection, symbol, days, standing, None)

    def _written(
        self,
        connection: Connection,
        symbol: str,
        days: Days,
        standing: Standing,
        through: date | None,
    ) -> Sequence[SymbolMonth]:
        return write_standing(
            connection,
            symbol,
            days,
            standing,
            through,
            source=self.source.name,
            now=self.clock.now(),
            run_id=self.run_id,
        )

    def _refuse_other_source(self, symbol: str, source: str | None) -> None:
        if source not in (None, self.source.name) and not self.force:
            raise ConfigurationError(
                f"prices of {symbol} were landed from another source",
                expected=f"more from {source}: sources write splits in different ways",
                found=f"PRICES_SOURCE={self.source.name}",
                remedy="set PRICES_SOURCE back, use another DATABASE_URL, or replace the symbol by "
                "force: true in the run's config",
            )

    def _order(self, symbol: str, state: ScopeState, reading: Reading) -> Order[PriceChange]:
        return Order(
            table=prices_daily,
            history=prices_daily_history,
            partition_key=symbol,
            partition={"symbol": symbol},
            token=state.token,
            metadata_columns=("source",),
            rule_version=RULE_VERSION,
            run_id=self.run_id,
            derive={},
            summarise=_change,
            warn=partial(self._warnings, reading),
            before=state,
        )

    def _delivery(self, captures: Sequence[Capture], days: Days) -> Delivery:
        digests = "".join(each.sha256 for each in captures)
        return Delivery(
            source=self.source.name,
            dataset="daily",
            source_version=hashlib.sha256(digests.encode()).hexdigest() if digests else "",
            record_total=None,
            scope={"trade_date": Between(days.first, days.last)},
            captures=captures,
        )

    def _warnings(
        self, reading: Reading, connection: Connection, delivery: Delivery, checked: Checked
    ) -> Sequence[Audit]:
        """Look at the delivery beside the landed day before it, and a second source."""
        if checked.rows.is_empty():
            return ()
        last_before = connection.execute(
            select(prices_daily)
            .where(_daily.symbol == reading.symbol, _daily.trade_date < reading.days.first)
            .order_by(_daily.trade_date.desc())
            .limit(1)
        )
        before = frame_of([row._asdict() for row in last_before], prices_daily)
        landed = [name for name in checked.rows.columns if name in _daily]
        return warnings_about(
            checked.rows.select(landed).unique("trade_date", maintain_order=True),
            before,
            reading.second_rows,
            through=reading.days.last,
            newest_session=last_complete_session(self.clock.now()),
            limits=self.limits,
        )


def _change(*, replaced: pl.DataFrame, written: pl.DataFrame, kept: pl.DataFrame) -> PriceChange:
    return PriceChange(
        rows_by_month(written["trade_date"]),
        rows_by_month(replaced["trade_date"]),
    )


def _why(error: OrchestrationError) -> str:
    """Return what went wrong, without what differs from one look to the next."""
    return f"{error.what}: {error.found}" if error.found else error.what


def _behind(newest: date) -> Standing:
    return Standing("waiting", f"the source's newest price is of {newest}")


def _month(partition: str) -> date:
    try:
        month = date.fromisoformat(partition)
    except ValueError:
        month = None
    if month is None or month.day != 1:
        raise ConfigurationError(
            f"{partition} names no month", expected="its first day, such as 2026-02-01"
        )
    return month
