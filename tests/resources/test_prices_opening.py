"""Source of prices that the settings open, wanted symbols, and readiness."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from orchestration_project.domains.finra.tables.weekly import finra_symbol_week
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.prices.connection import opened_prices, prices_source_name
from orchestration_project.resources.prices.universe import most_traded, wanted_symbols
from orchestration_project.settings import Settings, load_settings

WEEK = date(2026, 2, 9)


def settings(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize(
    ("finra", "prices", "opened"),
    [
        ("", "", "demo"),
        ("demo", "", "demo"),
        ("demo", "demo", "demo"),
        ("api", "yahoo", "yahoo"),
        ("", "yahoo", "yahoo"),
        ("api", "demo", "PRICES_SOURCE='demo' .environment.: expected a real source or no value"),
        ("demo", "yahoo", "FINRA_SOURCE='demo' .environment.: expected a real source or no value"),
        ("api", "", "prices has no source: PRICES_SOURCE is not set"),
    ],
)
def test_synthetic_and_real_data_do_not_meet(
    monkeypatch: pytest.MonkeyPatch, finra: str, prices: str, opened: str
):
    def name() -> str:
        given = settings(monkeypatch, FINRA_SOURCE=finra, PRICES_SOURCE=prices)
        return prices_source_name(given)

    if " " not in opened:
        assert name() == opened
    else:
        with pytest.raises(ConfigurationError, match=opened):
            name()


@pytest.mark.parametrize(
    ("source", "missing"),
    [("files", "PRICES_FILES_DIR"), ("alpha_vantage", "ALPHA_VANTAGE_API_KEY")],
)
def test_what_a_source_needs_is_asked_for_by_name(
    monkeypatch: pytest.MonkeyPatch, source: str, missing: str
):
    with pytest.raises(ConfigurationError, match=f"{missing} is not set: required"):
        settings(monkeypatch, PRICES_SOURCE=source)


def test_the_file_of_symbols_reaches_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "own.yaml"
    given = settings(
        monkeypatch,
        FINRA_SOURCE="api",
        PRICES_SOURCE="yahoo",
        PRICES_SYMBOLS_FILE=str(file),
        STATE_DIR=str(tmp_path),
    )
    captures = Captures(FolderStore(tmp_path))
    file.write_text("yahoo: {ABCw: ABC-WI}")
    with opened_prices(given, captures, Clock()) as source:
        assert source.vendor_symbol("ABCw") == "ABC-WI"
        assert source.mapped(["ABCw", "XYZw"]).spelling == {"ABCw": "ABC-WI"}
    file.unlink()
    with (
        pytest.raises(
            ConfigurationError, match="invalid symbol spellings: the file cannot be read"
        ),
        opened_prices(given, captures, Clock()),
    ):
        pass


def traded(warehouse: Warehouse, *rows: tuple[str, str, int, int]) -> None:
    """Store the shares of symbols: tier, symbol, weeks before `WEEK`, shares."""
    columns = {
        column.key: 0
        for column in finra_symbol_week.columns
        if not column.nullable and column.key not in ("week_start", "tier", "symbol")
    }
    with warehouse.writing() as connection:
        connection.execute(
            finra_symbol_week.insert(),
            [
                columns
                | {
                    "tier": tier,
                    "symbol": symbol,
                    "week_start": WEEK - timedelta(weeks=back),
                    "total_share_quantity": shares,
                }
                for tier, symbol, back, shares in rows
            ],
        )


def test_the_symbols_that_trade_most_in_each_tier_s_latest_weeks_are_wanted(warehouse: Warehouse):
    assert most_traded(warehouse, weeks=2, size=3) == []
    traded(
        warehouse,
        ("T1", "OLD", 2, 10**9),  # two weeks before the newest of its tier
        ("T1", "AAA", 0, 70),
        ("T1", "AAA", 1, 30),
        ("T1", "aaa", 0, 100),
        ("OTCE", "LATE", 5, 150),
        ("OTCE", "LATE", 4, 150),
        ("OTCE", "TINY", 4, 1),
    )
    assert most_traded(warehouse, weeks=2, size=4) == ["LATE", "AAA", "aaa", "TINY"]
    assert most_traded(warehouse, weeks=2, size=2) == ["LATE", "AAA"]


def test_a_universe_as_of_a_day_is_of_weeks_that_were_published_by_it(warehouse: Warehouse):
    """T1 is published after 3 weeks, the other tiers after 5."""
    traded(
        warehouse,
        ("T1", "NEW", 0, 900),
        ("T1", "GONE", 1, 70),
        ("T2", "LATE", 1, 900),
        ("T2", "THEN", 3, 80),
    )
    assert most_traded(warehouse, weeks=2, size=2) == ["LATE", "NEW"]
    as_of = WEEK + timedelta(weeks=2)  # T1's week before is out, and T2's of three weeks before
    assert most_traded(warehouse, weeks=2, size=4, as_of=as_of) == ["THEN", "GONE"]
    assert most_traded(warehouse, weeks=2, size=4, as_of=date(2020, 1, 1)) == []


@pytest.mark.parametrize("symbols", ["BRK.B,EP$C,BRK.B,NA", "BRK.B,EP$C, BRK.B ,NA,"])
def test_the_symbols_of_the_settings_are_wanted_as_they_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, symbols: str
):
    given = settings(monkeypatch, PRICES_SYMBOLS=symbols)
    url = f"sqlite:///{tmp_path}/empty.sqlite"
    with Warehouse(url, clock=Clock()) as empty:
        assert wanted_symbols(given, empty) == ["BRK.B", "EP$C", "NA"]
