"""Gold as of a time equals the gold that was derived at that time."""

import random
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Table, delete, select

from orchestration_project.__main__ import main
from orchestration_project.catalog import REGISTRY
from orchestration_project.cli.finra_gold import AS_OF_MODULES
from orchestration_project.domains.cboe.tables import market_volume_daily, off_exchange_share_daily
from orchestration_project.domains.cboe.volume import off_exchange_daily
from orchestration_project.domains.finra.calendar import session_days
from orchestration_project.domains.finra.tables.datasets import finra_short_interest
from orchestration_project.domains.finra.tables.equity_datasets import finra_reg_sho_daily
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week, finra_venue_week
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse.frames import insert_frame, read_frame
from orchestration_project.engine.warehouse.target import fill_known_from
from orchestration_project.registry import AsOfModule
from orchestration_project.resources.cboe import weekly_load
from orchestration_project.resources.finra.short import short_load
from orchestration_project.resources.finra.symbols import derive_symbols
from orchestration_project.resources.finra.value import value_load
from orchestration_project.resources.prices.gold import derive_outdated
from orchestration_project.tables.schema import HISTORY, as_number
from orchestration_project.tables.spine import fences
from tests.commands import run_without_failure
from tests.domains.prices import row as price
from tests.domains.prices import rows as prices
from tests.resources.gold_loads import WEEKS, derive, load_week, read
from tests.resources.test_gold_by_pandas import TIERS, rows_of
from tests.resources.weeks import PartitionLoader

WINDOW = WEEKS[:3]
LAST = WINDOW[-1]
OF_TIER = (
    *("finra_symbol_week", "finra_venue_week", "finra_symbol_rolling_6w"),
    *("finra_concentration_week", "finra_symbol_movers_week", "finra_venue_movers_week"),
)
OF_ALL = ("finra_tier_week", "finra_venue_week_all_tiers")


def stored(partition_loader: PartitionLoader, name: str) -> list[dict[str, Any]]:
    """Return the rows of the last week, of T1 where there are tiers."""
    return [
        record
        for record in read(partition_loader.warehouse, name)
        if str(record["week_start"]) == str(LAST) and (name in OF_ALL or record["tier"] == "T1")
    ]


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without what databases write differently from Parquet."""
    unlike = ("known_from", "published_at", "is_stale")
    texts = {date: str, bool: int, Decimal: as_number}
    return [
        {
            name: texts.get(type(value), lambda it: it)(value)
            for name, value in row.items()
            if name not in unlike
        }
        for row in rows
    ]


def as_of(folder: Any, name: str, *options: str) -> list[dict[str, Any]]:
    file = folder / f"{name}.parquet"
    key = str(LAST) if name in OF_ALL else f"T1|{LAST}"
    run_without_failure("gold", name, key, *options, "--output", str(file), "--force")
    return pl.read_parquet(file).to_dicts()


def sorted_rows(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(map(repr, comparable(rows)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "partition_loader",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)],
    indirect=True,
)
def test_gold_as_of_a_time_is_what_was_derived_then(partition_loader, clock, tmp_path):
    chance = random.Random(5)  # noqa: S311
    states = []
    for version in range(2):
        clock.at += timedelta(days=1)
        for week in WINDOW if version == 0 else WINDOW[1:2]:
            for tier in TIERS:
                rows = rows_of(chance, tier, week)
                load_week(partition_loader, tier, week, rows)
        derive(partition_loader, WINDOW)
        states.append(
            (clock.at, {name: stored(partition_loader, name) for name in (*OF_TIER, *OF_ALL)})
        )
    for at, tables in states:
        for name, rows in tables.items():
            found = as_of(tmp_path, name, "--as-of", (at + timedelta(hours=1)).isoformat())
            assert sorted_rows(found) == sorted_rows(rows), name
            assert rows


@pytest.mark.slow_on_postgresql
def test_gold_published_by_a_day_leaves_out_what_was_restated_later(
    partition_loader, clock, tmp_path, capfd
):
    early, late = LAST + timedelta(days=21), LAST + timedelta(days=90)
    first = {"symbol": "A", "share_quantity": 10, "last_update_date": early}
    for tier in TIERS:
        load_week(partition_loader, tier, LAST, [first, {**first, "symbol": "B"}])
    clock.at += timedelta(days=100)
    restated = {"symbol": "A", "share_quantity": 30, "last_update_date": late}
    unknown = {"symbol": "C", "last_update_date": late, "initial_published_date": early}
    undated = {"symbol": "D", "last_update_date": None, "initial_published_date": None}
    load_week(partition_loader, "T1", LAST, [restated, {**first, "symbol": "B"}, unknown, undated])
    keys = tmp_path / "keys.csv"
    days = {early: {"A": 10, "B": 10}, late: {"A": 30, "B": 10, "C": 100}}
    for day, shares in days.items():
        options = ["--published-by", str(day), "--missing", str(keys)]
        found = as_of(tmp_path, "finra_symbol_week", *options)
        assert {row["symbol"]: row["total_share_quantity"] for row in found} == shares
        said = capfd.readouterr().err
        missing = f"{LAST}|T1|ATS|C|XATS"
        is_named = "missing_earlier_state: 1 rows" in said and f"left out: {missing}\n" in said
        assert is_named == (day == early)
        assert "1 rows have no date of publication" in said
        written = keys.read_text().splitlines()
        assert written[0] == "week_start,tier,market,symbol,venue_id,reason"
        named = [f"{missing.replace('|', ',')},missing_earlier_state"] if day == early else []
        assert written[1:] == [*named, f"{LAST},T1,ATS,D,XATS,undated"]
    assert main(["gold", "finra_symbol_week", f"T1|{LAST}", "--missing", str(keys)]) == 1
    assert "--missing needs --published-by" in capfd.readouterr().err


@pytest.mark.slow
def test_gold_as_of_a_time_is_the_same_where_the_stored_gold_was_dropped(
    partition_loader, clock, tmp_path
):
    """A week that has not changed since is read as it is stored: so it may be missing there."""
    chance = random.Random(6)  # noqa: S311
    for week in WINDOW:
        for tier in TIERS:
            load_week(partition_loader, tier, week, rows_of(chance, tier, week))
    names = (*OF_TIER, *OF_ALL)
    day = ("--published-by", "2100-01-01")
    found = {name: [as_of(tmp_path, name, *options) for options in ((), day)] for name in names}
    with partition_loader.warehouse.writing() as connection:
        connection.execute(delete(finra_symbol_week))
        connection.execute(delete(finra_venue_week))
    for name, rows in found.items():
        again = [as_of(tmp_path, name, *options) for options in ((), day)]
        assert all(rows[0])
        assert [sorted(map(repr, records)) for records in again] == [
            sorted(map(repr, row)) for row in rows
        ], name


def test_the_command_knows_the_gold_of_every_domain():
    declared = {module.name for module in REGISTRY.registered(AsOfModule)}
    assert set(AS_OF_MODULES) == declared


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finra_symbol_week_value", "T1|2025-11-10"], "invalid partition"),
        (["finra_otc_weekly", "T1|2025-11-10"], "invalid gold table"),
        (["finra_symbols", "T1"], "invalid partition 'T1': expected all"),
        (["finra_symbols", "all"], "no rows then: any week"),
        (["prices_returns", "AAA"], "no rows then: AAA"),
        (["off_exchange_share_daily", "2025"], "invalid partition '2025': expected a day"),
        (["off_exchange_share_daily", "2025-11-11"], "no rows then: 2025-11-11"),
        (["off_exchange_share_weekly", "2025-11-11"], "expected a Monday"),
        (["off_exchange_share_weekly", "2025-11-10"], "no rows then: any day of the week"),
        (
            ["prices_returns", "AAA", "--published-by", "2025-11-11"],
            "the source of prices_daily does not say when it published a row",
        ),
        (["finra_symbol_week", "2025-11-10"], "invalid partition 2025-11-10"),
        (["finra_tier_week", "T1|2025-11-10"], "invalid partition 'T1|2025-11-10'"),
        (["finra_symbol_week", "T1|2025-11-10"], "no rows then: T1|2025-11-10"),
    ],
)
def test_what_cannot_be_derived_is_a_clear_message(partition_loader, capfd, arguments, message):
    is_name = message.startswith(("invalid", "expected a Monday"))
    assert main(["gold", *arguments]) == (2 if is_name else 1)
    assert message in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_estimates_as_of_a_time_have_its_shares_and_its_prices(partition_loader, clock, tmp_path):
    """A split of 4 for 1 is loaded on the second day, and all closes are written after it."""
    states = []
    for shares, close, later in ((100, 40, "none"), (500, 10, "2026-02-10 4")):
        clock.at += timedelta(days=1)
        for tier in TIERS:
            load_week(partition_loader, tier, LAST, [{"symbol": "AAA", "share_quantity": shares}])
        given = [price(day, close, later_splits=later) for day in session_days(LAST)]
        store_prices(partition_loader, clock.at, given)
        load = value_load(partition_loader.warehouse)
        load.write_batch(load.take(str(LAST)))
        states.append((clock.at, read(partition_loader.warehouse, "finra_symbol_week_value")))
    dollars = [[row["estimated_notional_usd"] for row in rows] for _, rows in states]
    assert dollars == [[4000 * 10**6] * 3, [20_000 * 10**6] * 3]
    for at, rows in states:
        at_the_time = (at + timedelta(hours=1)).isoformat()
        file = tmp_path / "value.parquet"
        options = ["--as-of", at_the_time, "--output", str(file), "--force"]
        assert main(["gold", "finra_symbol_week_value", str(LAST), *options]) == 0
        assert sorted_rows(pl.read_parquet(file).to_dicts()) == sorted_rows(rows)


def store_prices(partition_loader, now: datetime, given: list[dict[str, Any]]) -> None:
    """Replace the loaded prices."""
    store(
        partition_loader,
        now,
        prices_daily,
        prices(*given).with_columns(capture_id=pl.lit(1, pl.Int64)),
    )


def store(partition_loader, now: datetime, table: Table, new: pl.DataFrame) -> None:
    """Replace the rows of a table, and keep those before in the history, as a load does."""
    at = pl.lit(now).cast(pl.Datetime("us", "UTC"))
    with partition_loader.warehouse.writing() as connection:
        old = read_frame(connection, select(table), table)
        connection.execute(delete(table))
        moved = old.with_columns(
            known_to=at, change_cause=pl.lit("values"), rule_version=pl.lit("1")
        )
        insert_frame(connection, table.info[HISTORY], moved)
        insert_frame(connection, table, new.with_columns(known_from=at))


def blank(table: Table, *given: dict[str, Any]) -> pl.DataFrame:
    """Return rows of a table; columns that are not given are zero or blank."""
    nothing = {pl.Int64: 0, pl.Decimal: Decimal(0), pl.String: "", pl.Datetime: None, pl.Date: LAST}
    usual = {name: nothing.get(type(kind)) for name, kind in derive_schema(table).items()}
    return pl.DataFrame([usual | changes for changes in given], derive_schema(table))


def assert_derives(
    partition_loader,
    clock,
    folder: Path,
    keys: Mapping[str, str],
    changes: list[Callable[[], None]],
) -> None:
    """Assert that tables as of the time of each change are what was derived of it then."""
    states = []
    for change in changes:
        change()
        at = clock.at
        states.append((at, {name: read(partition_loader.warehouse, name) for name in keys}))
        clock.at += timedelta(days=1)
    for at, tables in states:
        for name, rows in tables.items():
            file = folder / f"{name}.parquet"
            time = (at + timedelta(hours=1)).isoformat()
            options = ["--as-of", time, "--output", str(file), "--force"]
            assert main(["gold", name, keys[name], *options]) == 0
            assert sorted_rows(pl.read_parquet(file).to_dicts()) == sorted_rows(rows), name
    (_, first), (_, last) = states
    assert all(last[name] and first[name] != last[name] for name in keys)


@pytest.mark.slow_on_postgresql
def test_short_sales_as_of_a_time_have_the_sales_and_the_interest_known_then(
    partition_loader, clock, tmp_path
):
    def change(shares: int, sold: int, held: int) -> None:
        for tier in TIERS:
            load_week(partition_loader, tier, LAST, [{"symbol": "AAA", "share_quantity": shares}])
        now = clock.at
        sale = {"symbol": "AAA", "trade_date": LAST, "short_quantity": sold, "total_quantity": 50}
        after = {**sale, "trade_date": LAST + timedelta(days=7)}
        store(partition_loader, now, finra_reg_sho_daily, blank(finra_reg_sho_daily, sale, after))
        dates = [LAST - timedelta(days=number) for number in (3, 18)]
        interest = [
            {"symbol": "AAA", "settlement_date": each, "short_quantity": held + number}
            for number, each in enumerate(dates)
        ]
        store(partition_loader, now, finra_short_interest, blank(finra_short_interest, *interest))
        load = short_load(partition_loader.warehouse)
        load.write_batch(load.take(str(LAST)))

    changes = [partial(change, 100, 10, 70), partial(change, 200, 20, 90)]
    assert_derives(
        partition_loader, clock, tmp_path, {"finra_symbol_week_short": str(LAST)}, changes
    )


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_the_symbol_master_as_of_a_time_has_the_weeks_known_then(partition_loader, clock, tmp_path):
    def first() -> None:
        load_week(partition_loader, "T1", WINDOW[0], [{"symbol": "OLD", "issue_name": "Acme Inc"}])
        load_week(partition_loader, "T2", WINDOW[0], [{"symbol": "B", "issue_name": "Beta"}])
        load_week(
            partition_loader,
            "T1",
            WINDOW[1],
            [{"symbol": "C"}, {"symbol": "B", "issue_name": "Beta"}],
        )
        derive_symbols(partition_loader.warehouse)

    def second() -> None:
        load_week(partition_loader, "T1", WINDOW[1], [{"symbol": "NEW", "issue_name": "Acme Inc"}])
        load_week(
            partition_loader, "T1", WINDOW[2], [{"symbol": "NEW", "issue_name": "Zenith Group"}]
        )
        load_week(partition_loader, "T2", WINDOW[2], [{"symbol": "B", "issue_name": "Beta"}])
        derive_symbols(partition_loader.warehouse)

    keys: dict[str, str] = dict.fromkeys(
        ("finra_symbols", "finra_symbol_changes", "finra_symbol_renames"), "all"
    )
    del keys["finra_symbol_renames"]  # the first state has none
    assert_derives(partition_loader, clock, tmp_path, keys, [first, second])
    [renamed] = as_of_now(tmp_path, "finra_symbol_renames", "all")
    assert (renamed["symbol"], renamed["new_symbol"]) == ("OLD", "NEW")


def as_of_now(folder: Path, name: str, key: str) -> list[dict[str, Any]]:
    file = folder / f"{name}.parquet"
    run_without_failure("gold", name, key, "--output", str(file))
    return pl.read_parquet(file).to_dicts()


@pytest.mark.slow
def test_shares_off_exchange_as_of_a_time_have_the_volume_known_then(
    partition_loader, clock, tmp_path
):
    def change(shares: int, days: int) -> None:
        now = clock.at
        volume = [
            {
                "trade_date": LAST + timedelta(days=day),
                "participant_code": code,
                "total_share_quantity": shares * (day + 1) * count,
                "tape_a_share_quantity": shares * count,
            }
            for day in range(days)
            for code, count in (("DQ", 4), ("N", 6))
        ]
        rows = blank(market_volume_daily, *volume)
        store(partition_loader, now, market_volume_daily, rows)
        derived = off_exchange_daily(rows)
        with partition_loader.warehouse.writing() as connection:
            connection.execute(delete(off_exchange_share_daily))
            for of_day in derived.partition_by("trade_date"):
                insert_frame(connection, off_exchange_share_daily, fill_known_from(of_day, now))
            connection.execute(delete(fences).where(fences.c.table_name == "market_volume_daily"))
            for day in range(days):
                fence = {
                    "table_name": "market_volume_daily",
                    "scope_key": str(LAST + timedelta(days=day)),
                    "token": shares,
                    "changed_token": shares,
                    "known_from": now,
                }
                connection.execute(fences.insert().values(fence))
        for tier in ("T1", "T2"):
            load_week(partition_loader, tier, LAST, [{"symbol": "AAA", "share_quantity": shares}])
        load = weekly_load(partition_loader.warehouse)
        load.write_batch(load.take(str(LAST)))

    changes = [partial(change, 100, 1), partial(change, 300, 5)]
    keys = {"off_exchange_share_weekly": str(LAST)}
    assert_derives(partition_loader, clock, tmp_path, keys, changes)
    found = as_of_now(tmp_path, "off_exchange_share_daily", str(LAST))
    stored = read(partition_loader.warehouse, "off_exchange_share_daily")
    own = [record for record in stored if str(record["trade_date"]) == str(LAST)]
    assert sorted_rows(found) == sorted_rows(own)
    assert {record["off_exchange_share_ratio"] for record in found} == {0.4, None}


@pytest.mark.slow_on_postgresql
def test_returns_and_corporate_actions_as_of_a_time_have_the_prices_known_then(
    partition_loader, clock, tmp_path
):
    days = session_days(LAST)

    def change(close: int, dividend: int) -> None:
        now = clock.at
        given = [price(day, close + number) for number, day in enumerate(days)]
        given[2]["dividend"] = dividend * 10**6
        store_prices(partition_loader, now, given)
        with partition_loader.warehouse.writing() as connection:
            connection.execute(delete(fences).where(fences.c.table_name == "prices_daily"))
            fence = {"table_name": "prices_daily", "scope_key": "AAA", "token": close}
            times = {"changed_token": close, "known_from": now}
            connection.execute(fences.insert().values(fence | times))
        derive_outdated(partition_loader.warehouse)

    changes = [partial(change, 40, 1), partial(change, 80, 2)]
    keys: dict[str, str] = dict.fromkeys(("prices_returns", "prices_corporate_actions"), "AAA")
    assert_derives(partition_loader, clock, tmp_path, keys, changes)
