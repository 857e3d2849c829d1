"""The load of one symbol's prices over the months of a run, from its source to the landed table.

What is landed is not asked for again. A symbol whose quota ended, or that its source does not have,
is noted as such and harms no other.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from orchestration_project.contracts import Checked
from orchestration_project.domains.prices.audits import Limits, checked_prices
from orchestration_project.domains.prices.calendar import last_complete_session
from orchestration_project.domains.prices.states import (
    LANDED,
    Days,
    Standing,
    SymbolMonth,
    days_of,
    is_landed,
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
from orchestration_project.resources.intake import Intake, take
from orchestration_project.resources.opening import open_now
from orchestration_project.resources.prices.landing import (
    LoadedPrices,
    PriceChange,
    PriceLanding,
    loaded,
)
from orchestration_project.resources.prices.quota import QuotaEndedError
from orchestration_project.resources.prices.reading import Reading
from orchestration_project.resources.prices.source import PriceSource
from orchestration_project.resources.prices.states import note_standing, read_known
from orchestration_project.resources.warehouse import (
    Between,
    Delivery,
    HeldBackError,
    Order,
    ScopeState,
    Warehouse,
)
from orchestration_project.resources.warehouse.landing import read_state
from orchestration_project.tables.prices import prices_daily

REFUSED_FOR = timedelta(hours=20)
"""A symbol that its source does not have is asked for again the day after."""


@dataclass(frozen=True)
class TakenPrices:
    """A symbol that was looked at; without intake, there is nothing to ask or nothing new.

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
        self.asked[:] = sorted(map(month_of, partitions))
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
        landing = PriceLanding(self.warehouse, self.clock, self.run_id, self.limits)
        order = landing.order(symbol, state, lambda: reading.second_rows)

        def read(kept: list[Capture]) -> Delivery:
            captures = reading.fetch(kept)
            return self._delivery(captures, reading.days)

        def check(_: Delivery) -> Checked:
            return checked_prices(reading.rows, spelled=spelled, limits=self.limits)

        intake = take(self.warehouse, order, self._delivery((), days), read, check)
        through = reading.days.last
        standing = LANDED if through >= days.last else _behind(through)
        is_unchanged = (
            state.source is not None
            and not intake.checked.is_held_back
            and self.warehouse.is_there(order, intake.delivery, intake.prepared)
        )
        found = None if is_unchanged else intake
        widened = Days(reading.days.first, days.last)
        return TakenPrices(symbol, widened, standing, order, found, through)

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
            rows = self._note(symbol, days, taken.standing, taken.through)
            return loaded(symbol, taken.standing, rows)
        with self.warehouse.reading() as connection:
            known = read_known(connection, symbol, days)
        return loaded(symbol, taken.standing, known.values())

    def _landed(
        self, taken: TakenPrices, order: Order[PriceChange], intake: Intake
    ) -> LoadedPrices:
        """Land an intake and note how the symbol stands, in one transaction."""
        rows: list[SymbolMonth] = []

        def note(connection: Connection, error: HeldBackError | None) -> None:
            standing, through = taken.standing, taken.through
            if error is not None:
                standing, through = Standing("refused", _why(error)), None
            rows[:] = self._noted(connection, taken.symbol, taken.days, standing, through)

        landed = self.warehouse.land(replace(order, note=note), intake.delivery, intake.prepared)
        return loaded(taken.symbol, taken.standing, rows, intake.figures, landed)

    def _note(
        self, symbol: str, days: Days, standing: Standing, through: date | None = None
    ) -> Sequence[SymbolMonth]:
        with self.warehouse.writing() as connection:
            return self._noted(connection, symbol, days, standing, through)

    def _noted(
        self,
        connection: Connection,
        symbol: str,
        days: Days,
        standing: Standing,
        through: date | None,
    ) -> Sequence[SymbolMonth]:
        return note_standing(
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


def _why(error: OrchestrationError) -> str:
    """Return what went wrong, without what differs from one look to the next."""
    return f"{error.what}: {error.found}" if error.found else error.what


def _behind(newest: date) -> Standing:
    return Standing("waiting", f"the source's newest price is of {newest}")


def month_of(partition: str) -> date:
    """Return the month that a partition's key names.

    Raises:
        ConfigurationError: It names none.
    """
    try:
        month = date.fromisoformat(partition)
    except ValueError:
        month = None
    if month is None or month.day != 1:
        raise ConfigurationError(
            f"{partition} names no month", expected="its first day, such as 2026-02-01"
        )
    return month
