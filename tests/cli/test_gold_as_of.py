"""Gold as of a time equals the gold that was derived at that time."""

import random
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from orchestration_project.__main__ import main
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
        (["finra_symbol_week_value", "T1|2025-11-10"], "invalid gold table"),
        (["finra_symbol_week", "2025-11-10"], "invalid partition 2025-11-10"),
        (["finra_tier_week", "T1|2025-11-10"], "invalid partition 'T1|2025-11-10'"),
        (["finra_symbol_week", "T1|2025-11-10"], "no rows then: T1|2025-11-10"),
    ],
)
def test_what_cannot_be_derived_is_a_clear_message(desk, capfd, arguments, message):
    assert main(["gold", *arguments]) == 1
    assert message in capfd.readouterr().err
