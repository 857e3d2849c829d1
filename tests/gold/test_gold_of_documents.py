"""Gold of programs, computed again in pandas from the documents that they received."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import programs
from tests.gold import documents, others
from tests.gold.arithmetic import KEYS, Row, Table, assert_same, frame
from tests.gold.documents import Database
from tests.gold.symbols import master
from tests.gold.weeks import of_weekly

REAL_FILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "finra"
REAL_FILE = REAL_FILES / "finra_otc_weekly_otc_20251215.csv"
WEEK = date(2026, 1, 12)
SESSIONS = [WEEK + timedelta(days=number) for number in range(5)]
DEMO = {"DEMO_ROWS_PER_WEEK": "900"}
MON, FRI = str(SESSIONS[0]), str(SESSIONS[-1])
LOADS = (
    ("run", "--weeks", "7"),
    ("load", "finra_short_interest", "2026-01-01"),
    ("load", "prices_daily", "2026-01-01"),
    ("backfill", "finra_reg_sho_daily", "--from", MON, "--to", FRI),
    ("backfill", "market_volume_daily", "--from", MON, "--to", FRI),
    ("load", "finra_symbol_week_short", MON),
    ("load", "finra_symbol_week_value", MON),
    ("load", "cboe_off_exchange_share_weekly", MON),
    ("load", "finra_symbols"),
)

Rows = dict[str, list[Row]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Iterator[Database]:
    """Seven weeks of the demo, of which one cannot be loaded, and all gold that follows."""
    state_dir = tmp_path_factory.mktemp("gold") / "state"
    for command in LOADS:
        status, output, error = programs.run(state_dir, "orchestration_project", *command, **DEMO)
        has_refused_week = command[0] == "run" and "OTCE|2026-01-05" in error + output
        assert status == 0 or has_refused_week, error
    database = Database(state_dir, "demo")
    yield database
    database.close()
    programs.kill_all_of(state_dir)


@pytest.fixture(scope="module")
def received(demo: Database) -> Rows:
    """The rows of the demo's documents, each with the time of its load."""
    times = demo.times("finra_otc_weekly", "week_start", "tier")
    return {
        "weekly": _timed(
            documents.weekly_of_pages(demo.documents("weeklySummary"), times.keys()),
            times,
            *("week_start", "tier"),
        ),
        "sales": _timed(
            documents.short_sales(demo.documents("regShoDaily")),
            demo.times("finra_reg_sho_daily", "trade_date"),
            "trade_date",
        ),
        "interest": _timed(
            documents.short_interest(demo.documents("consolidatedShortInterest")),
            demo.times("finra_short_interest", "settlement_date"),
            "settlement_date",
        ),
        "prices": _timed(
            documents.prices(demo.documents("daily")),
            demo.times("prices_daily", "symbol"),
            "symbol",
        ),
        "volume": _timed(
            documents.market_volume(demo.documents("market_history")),
            demo.times("market_volume_daily", "trade_date"),
            "trade_date",
        ),
    }


def _timed(rows: list[Row], times: Mapping[Any, datetime], *key: str) -> list[Row]:
    return [{**row, "known_from": times[tuple(row[name] for name in key)]} for row in rows]


@pytest.fixture(scope="module")
def expected(received: Rows) -> dict[str, Table]:
    """Every gold table of the demo, by the documents alone."""
    frames = {name: frame(rows) for name, rows in received.items()}
    weekly, volume = frames["weekly"], frames["volume"]
    return {
        **of_weekly(weekly),
        **master(weekly),
        "finra_symbol_week_value": others.value_week(weekly, frames["prices"], WEEK, SESSIONS),
        "finra_symbol_week_short": others.short_week(
            weekly, frames["sales"], frames["interest"], WEEK
        ),
        "off_exchange_share_daily": others.off_exchange_days(volume),
        "off_exchange_share_weekly": others.off_exchange_week(volume, weekly, WEEK, SESSIONS),
    }


@pytest.mark.slow
def test_the_demos_rows_are_those_of_its_documents(demo: Database, received: Rows):
    tables = {
        "weekly": ("finra_otc_weekly", ("week_start", "tier", "market", "symbol", "venue_id")),
        "sales": ("finra_reg_sho_daily", ("trade_date", "symbol", "short_quantity")),
        "interest": ("finra_short_interest", ("settlement_date", "symbol")),
        "prices": ("prices_daily", ("trade_date", "symbol")),
        "volume": ("market_volume_daily", ("trade_date", "participant_name")),
    }
    # an answer of prices reaches to today, for the splits since; January was asked
    prices = [row for row in received["prices"] if row["trade_date"] < date(2026, 2, 1)]
    received = {**received, "prices": prices}
    for name, (table, key) in tables.items():
        columns = list(received[name][0])
        found = [{column: row[column] for column in columns} for row in demo.rows(table)]
        for rows in (found, received[name]):
            rows.sort(key=lambda row: str([row[column] for column in key]))
        assert found == received[name], table


@pytest.mark.slow
@pytest.mark.parametrize("name", KEYS)
def test_gold_of_the_demo_is_what_pandas_computes_of_its_documents(
    demo: Database, expected: dict[str, Table], name: str
):
    assert_same(name, demo.rows(name), expected[name])
    assert expected[name] or name in ("finra_symbol_changes", "finra_symbol_renames")


@pytest.mark.slow
@pytest.mark.skipif(not REAL_FILES.is_dir(), reason="the folder of real FINRA files is absent")
def test_gold_of_the_real_file_is_what_pandas_computes_of_it(tmp_path: Path):
    settings = {"FINRA_SOURCE": "files", "FINRA_FILES_DIR": str(REAL_FILES)}
    for command in (("run", "--weeks", "8"), ("load", "finra_symbols")):
        status, _, error = programs.run(tmp_path, "orchestration_project", *command, **settings)
        assert status == 0, error
    real = Database(tmp_path, "real")
    times = real.times("finra_otc_weekly", "week_start", "tier")
    rows = documents.weekly_of_file(REAL_FILE.read_text(), "OTCE", "ATS")
    assert len(rows) == 5328
    weekly = frame(_timed(rows, times, "week_start", "tier"))
    for name, table in {**of_weekly(weekly), **master(weekly)}.items():
        assert_same(name, real.rows(name), table)
    real.close()
