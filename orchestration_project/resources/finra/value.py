"""What a week's shares were worth, derived of FINRA's gold and of landed prices, by table."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, cast, func, select

from orchestration_project.contracts.rules import Days, content_sha256
from orchestration_project.domains.finra import recomputation
from orchestration_project.domains.finra.activity import first_week_shown
from orchestration_project.domains.finra.calendar import session_days
from orchestration_project.domains.finra.value import (
    ONE,
    SPLIT_COLUMNS,
    coverage,
    symbol_week_value,
)
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.warehouse import Derivation, Warehouse
from orchestration_project.engine.warehouse.difference import (
    changes,
    derived_versions,
    read_fence,
)
from orchestration_project.engine.warehouse.frames import read_frame, within
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.finra import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_symbol_week_value,
)
from orchestration_project.tables.prices import prices_daily

AND_ROWS = "; rows "
"""In what a week was made of, between FINRA's deliveries and the hash of the rows: of prices, which
are revised symbol by symbol, nothing shorter tells."""

_week, _daily = finra_symbol_week.c, prices_daily.c


@dataclass(frozen=True)
class TakenValue:
    """The new rows of a week; ``is_new`` where they, or what FINRA landed, are not as they were."""

    derivation: Derivation
    coverage_ratio: float
    is_new: bool
    seconds: float


@dataclass(frozen=True)
class DerivedValue:
    """What was derived of a week; ``coverage_ratio`` is the share of its shares with a value."""

    week: str
    row_count: int
    coverage_ratio: float
    notional_dollars: float
    is_new: bool
    seconds: float

    def __str__(self) -> str:
        return f"{self.row_count} symbols, {self.coverage_ratio:.1%} of the shares"


@dataclass(frozen=True)
class ValueLoad:
    """Derives weeks of `finra_symbol_week_value`; rows that are the same are not written again."""

    warehouse: Warehouse

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        return {"asset": "finra/symbol_week_value"}

    def ready(self) -> None:
        """Open the database.

        Raises:
            OrchestrationError: It cannot be opened.
        """
        open_all(self.warehouse)

    def take(self, key: str) -> TakenValue:
        """Read, in one state of the database, what a week is made of.

        Raises:
            ConfigurationError: A tier of the week is not landed.
        """
        started, week = time.monotonic(), date.fromisoformat(key)
        with self.warehouse.reading() as connection:
            landed = changes(connection, finra_otc_weekly)
            _refuse_part_of_a_week(key, landed)
            token, before = read_fence(connection, finra_symbol_week_value, key)
            weeks = _symbol_weeks(connection, week)
            rows = symbol_week_value(
                weeks,
                _prices(connection, week),
                _splits(connection, week),
                week_start=week,
                session_days=session_days(week),
            )
        shares = recomputation.version_of(recomputation.CROSS_TIER, key, landed)
        version = f"{shares}{AND_ROWS}{content_sha256(rows)}"
        derivation = Derivation(
            finra_symbol_week_value, key, {"week_start": week}, token, version, rows
        )
        seconds = time.monotonic() - started
        return TakenValue(derivation, coverage(rows, weeks), before != version, seconds)

    def land(self, taken: TakenValue) -> DerivedValue:
        """Write what was taken.

        Raises:
            SupersededError: Another run derived the week meanwhile.
        """
        started, derivation = time.monotonic(), taken.derivation
        if taken.is_new:
            self.warehouse.derive([derivation])
        return DerivedValue(
            derivation.partition_key,
            len(derivation.rows),
            taken.coverage_ratio,
            float(derivation.rows["notional_dollars"].sum()),
            taken.is_new,
            taken.seconds + time.monotonic() - started,
        )


def complete_weeks(warehouse: Warehouse) -> list[str]:
    """Return the weeks of which all tiers are landed, oldest first."""
    return list(recomputation.CROSS_TIER.candidates(warehouse.changes(finra_otc_weekly)))


def restated_weeks(warehouse: Warehouse) -> list[str]:
    """Return the derived weeks of which FINRA's shares changed since, oldest first."""
    landed = warehouse.changes(finra_otc_weekly)
    derived = {
        week: version.partition(AND_ROWS)[0]
        for week, version in warehouse.derived_versions(finra_symbol_week_value).items()
    }
    due = recomputation.out_of_date(recomputation.CROSS_TIER, landed, derived)
    return [week for week in due if week in derived]


def coverage_by_week(warehouse: Warehouse) -> dict[str, float]:
    """Return the share (0-1) of each derived week's shares that has a value, oldest week first."""
    valued = finra_symbol_week_value.c
    of_values = select(valued.week_start, func.sum(valued.share_quantity)).group_by(
        valued.week_start
    )
    with warehouse.reading() as connection:
        derived = derived_versions(connection, finra_symbol_week_value)  # one may have no row
        parts = {week: int(shares) for week, shares in connection.execute(of_values)}
        of_weeks = (
            select(_week.week_start, func.sum(_week.total_share_quantity))
            .where(_week.week_start.in_([date.fromisoformat(week) for week in derived]))
            .group_by(_week.week_start)
        )
        wholes = {week: int(shares) for week, shares in connection.execute(of_weeks)}
    return {
        week.isoformat(): parts.get(week, 0) / whole
        for week, whole in sorted(wholes.items())
        if whole
    }


def read_valued_weeks(warehouse: Warehouse) -> pl.DataFrame | None:
    """Return the trading of the latest weeks by week and tier; None: none has a value.

    Columns: week_start, tier, share_quantity, trade_count, valued_share_quantity and
    notional_dollars (US dollars); the last two are null where nothing is derived.
    """
    valued = finra_symbol_week_value.c
    with warehouse.reading() as connection:
        newest = connection.execute(select(func.max(valued.week_start))).scalar()
        if newest is None:
            return None
        first = first_week_shown(newest)
        traded = _sums(
            connection,
            [_week.week_start, _week.tier],
            [_week.total_share_quantity, _week.total_trade_count],
            first,
        )
        worth = _sums(
            connection,
            [valued.week_start, valued.tier],
            [valued.share_quantity, valued.notional_dollars],
            first,
        )
    columns = {"week_start": pl.Date, "tier": pl.String}
    of_trading = dict.fromkeys(("share_quantity", "trade_count"), pl.Int64)
    of_value = {"valued_share_quantity": pl.Int64, "notional_dollars": pl.Float64}
    return (
        pl.DataFrame(traded, {**columns, **of_trading}, orient="row")
        .join(
            pl.DataFrame(worth, {**columns, **of_value}, orient="row"),
            on=list(columns),
            how="left",
        )
        .sort("week_start", "tier")
    )


def _sums(
    connection: Connection,
    key: Sequence[ColumnElement[Any]],
    quantities: Sequence[ColumnElement[Any]],
    first: date,
) -> list[tuple[Any, ...]]:
    """Return the key and the sums of ``quantities`` for each week from ``first`` on, and tier."""
    exact = [cast(func.sum(each), each.type) for each in quantities]
    statement = select(*key, *exact).where(key[0] >= first).group_by(*key)
    return [tuple(row) for row in connection.execute(statement)]


def _refuse_part_of_a_week(key: str, landed: recomputation.Landed) -> None:
    missing = [each for each in recomputation.CROSS_TIER.required(key) if each not in landed]
    if missing:
        raise ConfigurationError(
            f"{key} is not worth anything yet",
            expected="all tiers of the week are landed",
            found=f"not landed: {', '.join(missing)}",
            remedy="load that first, by the job finra_otc_weekly",
        )


def _symbol_weeks(connection: Connection, week: date) -> pl.DataFrame:
    columns: list[ColumnElement[Any]] = [_week.tier, _week.symbol, _week.total_share_quantity]
    statement = select(*columns).where(_week.week_start == week)
    return read_frame(connection, statement, finra_symbol_week)


def _prices(connection: Connection, week: date) -> pl.DataFrame:
    """Return the prices of the week, of just the symbols that it has."""
    traded = select(_week.symbol).where(_week.week_start == week)
    days = {"trade_date": Days(week, week + timedelta(days=6))}
    columns: list[ColumnElement[Any]] = [
        *(_daily.symbol, _daily.trade_date, _daily.close, _daily.volume)
    ]
    statement = select(*columns).where(_daily.symbol.in_(traded), within(prices_daily, days))
    return read_frame(connection, statement, prices_daily)


def _splits(connection: Connection, week: date) -> pl.DataFrame:
    """Return all splits since the week of the symbols that it has, with the closes around them.

    Read of the prices themselves: what is derived of them may be of earlier ones.
    """
    traded = select(_week.symbol).where(_week.week_start == week)
    before = prices_daily.alias("before")
    close_before = (
        select(before.c.close)
        .where(before.c.symbol == _daily.symbol, before.c.trade_date < _daily.trade_date)
        .order_by(before.c.trade_date.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = select(
        *(_daily[name] for name in SPLIT_COLUMNS[:-1]), close_before.label(SPLIT_COLUMNS[-1])
    ).where(_daily.symbol.in_(traded), _daily.trade_date > week, _daily.split_ratio != ONE)
    schema = {
        "symbol": pl.String,
        "trade_date": pl.Date,
        **dict.fromkeys(SPLIT_COLUMNS[2:], pl.Int64),
    }
    found = [tuple(row) for row in connection.execute(statement)]
    return pl.DataFrame(found, schema, orient="row")
