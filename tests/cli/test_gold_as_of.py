"""Gold as of a time equals the gold that was derived at that time."""

import random
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import delete

from orchestration_project.__main__ import main
from orchestration_project.domains.finra.calendar import session_days
from orchestration_project.engine.warehouse.frames import insert_frame, read_scope
from orchestration_project.resources.finra.value import value_load
from orchestration_project.tables.prices import prices_daily, prices_daily_history
from tests.domains.prices import row as price
from tests.domains.prices import rows as prices
from tests.resources.gold_desk import WEEKS, derive, land_week, read
from tests.resources.test_gold_by_pandas import TIERS, rows_of
from tests.resources.weeks import Desk

WINDOW = WEEKS[:3]
LAST = WINDOW[-1]
OF_TIER = (
    *("finra_symbol_week", "finra_venue_week", "finra_symbol_rolling_6w"),
    *("finra_concentration_week", "finra_symbol_movers_week", "finra_venue_movers_week"),
)
OF_ALL = ("finra_tier_week", "finra_venue_week_all_tiers")


def stored(desk: Desk, name: str) -> list[dict[str, Any]]:
    """Return the rows of the last week, of T1 where there are tiers."""
    return [
        each
        for each in read(desk.warehouse, name)
        if str(each["week_start"]) == str(LAST) and (name in OF_ALL or each["tier"] == "T1")
    ]


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without what databases write differently from Parquet."""
    unlike = ("week_start", "known_from", "published_at", "is_stale")
    return [
        {
            name: int(value) if isinstance(value, bool) else value
            for name, value in row.items()
            if name not in unlike
        }
        for row in rows
    ]


def as_of(folder: Any, name: str, *options: str) -> list[dict[str, Any]]:
    file = folder / f"{name}.parquet"
    key = str(LAST) if name in OF_ALL else f"T1|{LAST}"
    assert main(["gold", name, key, *options, "--output", str(file), "--force"]) == 0
    return pl.read_parquet(file).to_dicts()


def sorted_rows(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(map(repr, comparable(rows)))


@pytest.mark.parametrize(
    "desk", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_gold_as_of_a_time_is_what_was_derived_then(desk, clock, tmp_path):
    chance = random.Random(5)  # noqa: S311
    states = []
    for version in range(2):
        clock.at += timedelta(days=1)
        for week in WINDOW if version == 0 else WINDOW[1:2]:
            for tier in TIERS:
                rows = rows_of(chance, tier, week)
                land_week(desk, tier, week, rows)
        derive(desk, WINDOW)
        states.append((clock.at, {name: stored(desk, name) for name in (*OF_TIER, *OF_ALL)}))
    for at, tables in states:
        for name, rows in tables.items():
            found = as_of(tmp_path, name, "--as-of", (at + timedelta(hours=1)).isoformat())
            assert sorted_rows(found) == sorted_rows(rows), name
            assert rows


def test_gold_published_by_a_day_leaves_out_what_was_restated_later(desk, clock, tmp_path, capfd):
    early, late = LAST + timedelta(days=21), LAST + timedelta(days=90)
    first = {"symbol": "A", "share_quantity": 10, "last_update_date": early}
    for tier in TIERS:
        land_week(desk, tier, LAST, [first, {**first, "symbol": "B"}])
    clock.at += timedelta(days=100)
    restated = {"symbol": "A", "share_quantity": 30, "last_update_date": late}
    unknown = {"symbol": "C", "last_update_date": late, "initial_published_date": early}
    land_week(desk, "T1", LAST, [restated, {**first, "symbol": "B"}, unknown])
    days = {early: {"A": 10, "B": 10}, late: {"A": 30, "B": 10, "C": 100}}
    for day, shares in days.items():
        found = as_of(tmp_path, "finra_symbol_week", "--published-by", str(day))
        assert {row["symbol"]: row["total_share_quantity"] for row in found} == shares
        is_told = "missing_earlier_state: 1 weekly rows" in capfd.readouterr().err
        assert is_told == (day == early)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finra_symbol_week_value", "T1|2025-11-10"], "invalid partition"),
        (["finra_symbols", "all"], "invalid gold table"),
        (["finra_symbol_week", "2025-11-10"], "invalid partition 2025-11-10"),
        (["finra_tier_week", "T1|2025-11-10"], "invalid partition 'T1|2025-11-10'"),
        (["finra_symbol_week", "T1|2025-11-10"], "no rows then: T1|2025-11-10"),
    ],
)
def test_what_cannot_be_derived_is_a_clear_message(desk, capfd, arguments, message):
    assert main(["gold", *arguments]) == 1
    assert message in capfd.readouterr().err


def test_estimates_as_of_a_time_have_its_shares_and_its_prices(desk, clock, tmp_path):
    """A split of 4 for 1 is loaded on the second day, and all closes are written after it."""
    days, following = session_days(LAST), session_days(LAST + timedelta(weeks=1))
    states = []
    for shares, close, splits in ((100, 40, {}), (500, 10, {following[1]: 4})):
        clock.at += timedelta(days=1)
        for tier in TIERS:
            land_week(desk, tier, LAST, [{"symbol": "AAA", "share_quantity": shares}])
        given = [
            price(each, close, split_ratio=splits.get(each, 1) * 10**6)
            for each in (*days, *following)
        ]
        store_prices(desk, clock.at, given)
        load = value_load(desk.warehouse)
        load.land(load.take(str(LAST)))
        states.append((clock.at, read(desk.warehouse, "finra_symbol_week_value")))
    dollars = [[row["estimated_notional_usd"] for row in rows] for _, rows in states]
    assert dollars == [[4000 * 10**6] * 3, [20_000 * 10**6] * 3]
    for at, rows in states:
        at_the_time = (at + timedelta(hours=1)).isoformat()
        file = tmp_path / "value.parquet"
        options = ["--as-of", at_the_time, "--output", str(file), "--force"]
        assert main(["gold", "finra_symbol_week_value", str(LAST), *options]) == 0
        assert sorted_rows(pl.read_parquet(file).to_dicts()) == sorted_rows(rows)


def store_prices(desk, now: datetime, given: list[dict[str, Any]]) -> None:
    """Replace the loaded prices, and keep those before in the history, as a load does."""
    at = pl.lit(now).cast(pl.Datetime("us", "UTC"))
    new = prices(*given).with_columns(capture_id=pl.lit(1, pl.Int64), known_from=at)
    with desk.warehouse.writing() as connection:
        old = read_scope(connection, prices_daily, {"symbol": "AAA"})
        connection.execute(delete(prices_daily))
        moved = old.with_columns(
            known_to=at, change_cause=pl.lit("values"), rule_version=pl.lit("1")
        )
        insert_frame(connection, prices_daily_history, moved)
        insert_frame(connection, prices_daily, new)
