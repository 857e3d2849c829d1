"""Short sales and short interest beside shares traded OTC: known answers, NULLs, spellings."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from orchestration_project.domains.finra.short import sip_symbol, symbol_week_short

MONDAY, TUESDAY = date(2026, 2, 23), date(2026, 2, 24)
SETTLED = date(2026, 2, 13)
LOADED, LATER = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
ONE = 10**6


def weeks(*rows: tuple[str, int, int]) -> pl.DataFrame:
    names = ("symbol", "total_share_quantity", "ats_share_quantity")
    schema = {"symbol": pl.String, **dict.fromkeys(names[1:], pl.Int64)}
    return pl.DataFrame(rows, schema, orient="row").with_columns(
        published_at=pl.lit(datetime(2026, 3, 16, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")),
        known_from=pl.lit(LOADED).cast(pl.Datetime("us", "UTC")),
    )


def sales(*rows: tuple[date, str, float, float, float]) -> pl.DataFrame:
    names = ("short_quantity", "short_exempt_quantity", "total_quantity")
    schema = {"trade_date": pl.Date, "symbol": pl.String, **dict.fromkeys(names, pl.Int64)}
    scaled = [
        (day, symbol, *(round(amount * ONE) for amount in rest)) for day, symbol, *rest in rows
    ]
    return pl.DataFrame(scaled, schema, orient="row").with_columns(
        known_from=pl.lit(LATER).cast(pl.Datetime("us", "UTC"))
    )


def interest(*rows: tuple[str, int]) -> pl.DataFrame:
    schema = {"settlement_date": pl.Date, "symbol": pl.String, "short_quantity": pl.Int64}
    found = [(SETTLED, *row) for row in rows]
    return pl.DataFrame(found, schema, orient="row").with_columns(
        known_from=pl.lit(LOADED).cast(pl.Datetime("us", "UTC"))
    )


def derived(*inputs: pl.DataFrame) -> dict[str, dict[str, Any]]:
    rows = symbol_week_short(*inputs, week_start=MONDAY).to_dicts()
    return {row["symbol"]: row for row in rows}


def test_shares_short_sales_and_short_interest_of_a_week_meet_by_symbol():
    found = derived(
        weeks(("AAA", 1000, 400), ("AAA", 200, 0)),  # in two tiers
        sales(
            (MONDAY, "AAA", 100.5, 2, 400.25),  # of two facilities
            (MONDAY, "AAA", 50, 0, 99.75),
            (TUESDAY, "AAA", 49.5, 1, 300),
        ),
        interest(("AAA", 600)),
    )
    [row] = found.values()
    assert row == {
        "week_start": MONDAY,
        "symbol": "AAA",
        "otc_share_quantity": 1200,
        "ats_share_quantity": 400,
        "short_quantity": 200 * ONE,
        "short_exempt_quantity": 3 * ONE,
        "total_quantity": 800 * ONE,
        "short_day_count": 2,
        "loaded_day_count": 2,
        "settlement_date": SETTLED,
        "short_interest_quantity": 600,
        "short_volume_ratio": 0.25,
        "short_interest_to_otc_ratio": 0.5,
        "published_at": datetime(2026, 3, 16, tzinfo=UTC),
        "known_from": LATER,
        "is_stale": False,
    }


def test_what_a_symbol_lacks_is_null_and_a_ratio_to_zero_is_never_infinite():
    found = derived(
        weeks(("IDLE", 0, 0), ("ONLY", 10, 0)),
        sales((MONDAY, "IDLE", 0, 0, 0), (MONDAY, "SOLD", 5, 0, 10)),
        interest(("IDLE", 7), ("SOLD", 3), ("HELD", 9)),
    )
    assert set(found) == {"IDLE", "ONLY", "SOLD"}  # short interest alone makes no row
    names = ("otc_share_quantity", "short_quantity", "short_day_count", "short_interest_quantity")
    assert {symbol: tuple(row[name] for name in names) for symbol, row in found.items()} == {
        "IDLE": (0, 0, 1, 7),
        "ONLY": (10, None, 0, None),
        "SOLD": (None, 5 * ONE, 1, 3),
    }
    ratios = ("short_volume_ratio", "short_interest_to_otc_ratio")
    assert {symbol: tuple(row[name] for name in ratios) for symbol, row in found.items()} == {
        "IDLE": (None, None),
        "ONLY": (None, None),
        "SOLD": (0.5, None),
    }
    assert {row["loaded_day_count"] for row in found.values()} == {1}


def test_a_week_without_short_sales_and_interest_keeps_its_shares():
    [row] = derived(weeks(("AAA", 5, 5)), sales(), interest()).values()
    assert (row["otc_share_quantity"], row["loaded_day_count"]) == (5, 0)
    assert (row["short_quantity"], row["settlement_date"]) == (None, None)
    assert row["known_from"] == LOADED


@pytest.mark.parametrize(
    ("symbol", "sip"),
    [
        ("BRK.B", "BRK/B"),
        ("EP$C", "EPpC"),
        ("RAC.U", "RAC/U"),
        ("PL.W", "PL/WS"),
        ("ABCp", "ABCp"),
        ("AAPL", "AAPL"),
    ],
)
def test_the_sips_spelling_follows_from_finras(symbol: str, sip: str):
    assert pl.select(sip_symbol(pl.lit(symbol))).item() == sip
    found = derived(weeks((symbol, 4, 0)), sales((MONDAY, sip, 1, 0, 2)), interest((sip, 8)))
    [row] = found.values()
    assert (row["symbol"], row["short_volume_ratio"]) == (symbol, 0.5)
    assert row["short_interest_to_otc_ratio"] == 2.0


def test_a_symbol_that_is_the_same_to_the_byte_is_not_taken_for_another():
    found = derived(
        weeks(("MERpA", 10, 0), ("MER$A", 20, 0)), sales((MONDAY, "MERpA", 1, 0, 4)), interest()
    )
    assert found["MERpA"]["short_volume_ratio"] == 0.25
    assert found["MER$A"]["short_volume_ratio"] is None
