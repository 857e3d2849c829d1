"""Queries of analysts on a year of trading: a symbol, a venue, and all symbols of a week."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Connection, Executable, Table

from benchmarks.bench import Bench
from benchmarks.report import Line, at_most, line
from benchmarks.source import BASE_WEEK, lines_of_a_week, pages_of, weeks
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.contract import RULE_VERSION, check_week
from orchestration_project.domains.finra.gold import symbol_week, venue_sums, venue_week
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.values import fit_to_table
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.tables.catalogue import relation, relation_as_of
from orchestration_project.tables.queries.aggregates import aggregate
from orchestration_project.tables.queries.published import published_by

LOADED = datetime(2026, 3, 2, 12, tzinfo=UTC)
ASKED = LOADED + timedelta(days=1)
RESTATED_EVERY = 13
"""Of one week in so many, a tenth of the rows has an earlier state."""

CALLS = 5
MAX_GROUPS = 10**6
WEEKLY = ("week_start", "tier", "market", "symbol", "venue_id", "share_quantity", "trade_count")
VENUES = ("week_start", "tier", "market", "venue_id", "share_quantity")


class Query(NamedTuple):
    """A query, and the seconds that it may take."""

    name: str
    statement: Executable
    most_seconds: float


def queries(bench: Bench) -> list[Line]:
    """Seconds of typical queries, on both databases."""
    with bench.rig.sqlite_place() as place:
        url = f"sqlite:///{place.state / 'year.sqlite'}"
        found = list(_lines(bench, "SQLite", url, lambda: None))
    with bench.rig.place() as place:
        url = str(place.database_url)
        return found + list(_lines(bench, "PostgreSQL", url, lambda: bench.rig.settle(url)))


def _lines(bench: Bench, database: str, url: str, settle: Callable[[], None]) -> Iterator[Line]:
    found = weeks(bench.sizes.backfill_weeks)
    rows = _rows_of_a_week(bench.sizes.year_rows // (len(found) * len(TIERS)))
    count = f"{len(rows) * len(found) * len(TIERS):,} rows"
    with closing(Warehouse(url, clock=Clock())) as warehouse:
        warehouse.prepare(holds="real")
        for week in found:
            with warehouse.writing() as connection:
                _fill(connection, rows, week, has_history=found.index(week) % RESTATED_EVERY == 0)
        settle()
        for query in _queries(rows, found[-1]):
            with warehouse.reading() as connection:
                took, returned = _seconds(connection, query.statement, bench.repeats)
            yield line(
                f"{query.name}, {database}, against {query.most_seconds} s",
                *("s", took, [query.most_seconds], at_most(1)),
                note=f"{count}; {returned:,} returned",
            )


def _rows_of_a_week(count: int) -> pl.DataFrame:
    """Return rows of one week and tier, as the contract reads them."""
    pages = pages_of(lines_of_a_week(count))
    parts = [Part(number, page) for number, page in enumerate(pages, 1)]
    week = date.fromisoformat(BASE_WEEK)
    return check_week(parts, week_start=week, tier="T1").rows.drop("part_number")


def _fill(connection: Connection, rows: pl.DataFrame, week: date, *, has_history: bool) -> None:
    """Insert a week of each tier with its gold: each tier has symbols of its own."""
    for tier in TIERS:
        loaded = rows.with_columns(
            week_start=pl.lit(week),
            week_end=pl.lit(week + timedelta(days=4)),
            tier=pl.lit(tier),
            symbol=_symbol_of(pl.col("symbol"), tier),
            capture_id=pl.lit(1),
            known_from=pl.lit(LOADED),
        )
        made: dict[Table, pl.DataFrame] = {
            finra_otc_weekly: loaded,
            finra_symbol_week: symbol_week(loaded),
            finra_venue_week: venue_week(venue_sums(loaded)),
        }
        if has_history:
            made[finra_otc_weekly_history] = loaded.gather_every(10).with_columns(
                known_from=pl.lit(LOADED - timedelta(days=7)),
                known_to=pl.lit(LOADED),
                change_cause=pl.lit("source"),
                rule_version=pl.lit(RULE_VERSION),
                ended_on=pl.lit(LOADED.date()),
                is_load_day=pl.lit(value=False),
            )
        for table, frame in made.items():
            stamped = frame.with_columns(pl.col("known_from").fill_null(LOADED))
            insert_frame(connection, table, fit_to_table(stamped, table))


def _symbol_of(symbol: pl.Expr, tier: str) -> pl.Expr:
    return pl.format("{}{}", symbol, pl.lit(tier.removeprefix("T")))


def _queries(rows: pl.DataFrame, week: date) -> Iterator[Query]:
    """Yield the queries: of the symbol with a median of rows, and the venue with most."""
    counts = rows.group_by("symbol").len().sort("len", "symbol")
    name = counts.select(_symbol_of(pl.col("symbol"), "T1"))["symbol"][len(counts) // 2]
    of_symbol = [f"symbol={name}"]
    venue = rows["venue_id"].value_counts(sort=True)["venue_id"][0]
    present, venues = relation("finra_otc_weekly"), relation("finra_venue_week")
    past = relation_as_of("finra_otc_weekly", ASKED)
    published = published_by("finra_otc_weekly", ASKED.date()).relation
    of_week, shares = f"week_start={week}", ["sum(share_quantity)", "sum(trade_count)"]
    all_columns = [column.key for column in finra_symbol_week.columns]
    yield Query("a symbol over a year", present.select(WEEKLY, of_symbol), 0.05)
    yield Query("a symbol over a year as of a time", past.select(WEEKLY, of_symbol), 0.05)
    yield Query("a symbol over a year as published", published.select(WEEKLY, of_symbol), 0.1)
    yield Query("a venue over a year", venues.select(VENUES, [f"venue_id={venue}"]), 0.05)
    by_venue = aggregate(venues, ["venue_id", "week_start"], shares[:1], [], limit=MAX_GROUPS)
    yield Query("venues by week of a year", by_venue, 0.2)
    gold = relation("finra_symbol_week").select(all_columns, [of_week])
    yield Query("all symbols of a week, all columns", gold, 0.25)
    by_symbol = aggregate(present, ["symbol"], shares, [of_week], limit=MAX_GROUPS)
    yield Query("sums by symbol of a week's rows", by_symbol, 0.25)


def _seconds(connection: Connection, statement: Any, repeats: int) -> tuple[list[float], int]:
    """Return the seconds of calls after a first one, and how many rows each returned."""
    returned = len(connection.execute(statement).all())
    took = []
    for _ in range(CALLS * repeats):
        begun = time.perf_counter()
        connection.execute(statement).all()
        took.append(time.perf_counter() - begun)
    return took, returned
