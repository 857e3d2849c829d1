"""Movers and anomalies: what is kept, how changes rank, and the parameters of a flag."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from statistics import mean, stdev

import polars as pl
import pytest

from orchestration_project.domains.finra.movers import (
    ANOMALY_FORMULAS,
    MAX_KEPT_RANKS,
    symbol_anomalies,
    symbol_movers,
    venue_movers,
)
from orchestration_project.domains.finra.tables.market import finra_symbol_anomalies_week
from orchestration_project.engine.contracts.formulas import (
    RowSet,
    SourceRows,
    are_equal,
    evaluate,
    read_value,
)
from orchestration_project.services.evidence import recompute

WEEK = date(2025, 11, 10)
BEFORE = WEEK - timedelta(weeks=1)
LOADED = datetime(2026, 1, 5, tzinfo=UTC)


def symbol_weeks(weeks: Mapping[date, Mapping[str, int]]) -> pl.DataFrame:
    """Return rows of `finra_symbol_week` with the columns that movers are made of."""
    columns = ("week_start", "tier", "symbol", "total_share_quantity", "published_at", "known_from")
    published = datetime(2025, 12, 1, tzinfo=UTC)
    rows = [
        (week, "T1", symbol, shares, published, LOADED)
        for week, symbols in weeks.items()
        for symbol, shares in symbols.items()
    ]
    kinds = [pl.Date, pl.String, pl.String, pl.Int64, *[pl.Datetime("us", "UTC")] * 2]
    return pl.DataFrame(rows, dict(zip(columns, kinds, strict=True)), orient="row")


def test_the_largest_changes_by_shares_and_by_ratio_are_kept_with_all_that_entered_or_left():
    large = {f"LARGE{number:03}": 10**9 + number for number in range(MAX_KEPT_RANKS)}
    small = {f"SMALL{number:03}": 10**4 for number in range(MAX_KEPT_RANKS)}
    before = {**large, **small, "STEADY": 10**6, "LEFT": 1}
    doubled = {name: shares * 2 + number for number, (name, shares) in enumerate(small.items())}
    moved = {name: shares + 10**7 + number for number, (name, shares) in enumerate(large.items())}
    now = {**moved, **doubled, "STEADY": 10**6 + 1, "ENTERED": 1}
    found = symbol_movers(symbol_weeks({BEFORE: before, WEEK: now}), week_start=WEEK).rows
    kept = {row["symbol"]: row for row in found.iter_rows(named=True)}
    assert set(kept) == {*large, *small, "LEFT", "ENTERED"}
    last, first = f"LARGE{MAX_KEPT_RANKS - 1:03}", "LARGE000"
    assert (kept[last]["change_rank"], kept[first]["change_rank"]) == (1, MAX_KEPT_RANKS)
    assert kept[f"SMALL{MAX_KEPT_RANKS - 1:03}"]["ratio_rank"] == 1
    assert kept["LEFT"]["movement"] == "left"
    assert (kept["LEFT"]["share_quantity"], kept["LEFT"]["change_ratio"]) == (0, -1.0)
    assert kept["ENTERED"]["movement"] == "entered"
    assert (kept["ENTERED"]["change_ratio"], kept["ENTERED"]["ratio_rank"]) == (None, None)
    assert {row["known_from"] for row in kept.values()} == {LOADED}


@pytest.mark.parametrize("weeks", [{WEEK: {"A": 1}}, {BEFORE: {"A": 1}}])
def test_without_both_weeks_nothing_moved(weeks: Mapping[date, Mapping[str, int]]):
    assert symbol_movers(symbol_weeks(weeks), week_start=WEEK).rows.is_empty()


def test_every_venue_has_its_change_by_market():
    rows = symbol_weeks({BEFORE: {"V": 10, "W": 5}, WEEK: {"V": 30}}).rename(
        {"symbol": "venue_id", "total_share_quantity": "share_quantity"}
    )
    found = venue_movers(rows.with_columns(market=pl.lit("ATS")), week_start=WEEK).rows
    names = ["market", "venue_id", "movement", "share_change", "change_ratio", "change_rank"]
    assert found.select(names).rows() == [
        ("ATS", "V", "moved", 20, 2.0, 1),
        ("ATS", "W", "left", -5, -1.0, 2),
    ]


def test_a_symbol_far_from_its_trailing_weeks_is_flagged_with_the_parameters():
    shares = {
        "FAR": [100, 110, 90, 105, 95, 200],
        "USUAL": [100, 110, 90, 105, 95, 112],
        "CONSTANT": [100, 100, 100, 100, 100, 900],
        "NEW": [0, 0, 100, 110, 90, 900],
    }
    weeks = {
        WEEK - timedelta(weeks=5 - number): {
            symbol: values[number] for symbol, values in shares.items() if values[number]
        }
        for number in range(6)
    }
    [found] = symbol_anomalies(symbol_weeks(weeks), week_start=WEEK).rows.iter_rows(named=True)
    trailing = shares["FAR"][:5]
    assert (found["symbol"], found["share_quantity"]) == ("FAR", 200)
    assert found["trailing_mean"] == mean(trailing)
    assert found["trailing_deviation"] == pytest.approx(stdev(trailing))
    assert found["z_score"] == pytest.approx((200 - mean(trailing)) / stdev(trailing))
    parameters = ("trailing_week_count", "window_weeks", "min_week_count", "z_limit")
    assert [found[name] for name in parameters] == [5, 5, 4, 4.0]


@pytest.mark.parametrize("largest", [10**11, 2**60 // 10**6, (2**63 - 1) // 10**6 // 2])
def test_the_deviation_of_the_largest_quantities_is_that_of_slow_arithmetic(largest: int):
    trailing = [largest - number * (largest // 100) for number in range(5)]
    weeks = {
        WEEK - timedelta(weeks=5 - number): {"LARGE": shares}
        for number, shares in enumerate([*trailing, 1])
    }
    rows = symbol_anomalies(symbol_weeks(weeks), week_start=WEEK).rows
    [row] = rows.iter_rows(named=True)
    assert row["trailing_deviation"] == pytest.approx(stdev(trailing), rel=1e-12)


@pytest.mark.parametrize("scale", [1, 10**9])
def test_formulas_of_anomalies_have_the_derived_values(scale: int):
    sizes = [10, 13, 12, 11, 17, 90]
    weeks = {
        WEEK - timedelta(weeks=5 - number): {"FAR": size * scale}
        for number, size in enumerate(sizes)
    }
    frame = symbol_weeks(weeks)
    [derived] = symbol_anomalies(frame, week_start=WEEK).rows.iter_rows(named=True)
    rows = [
        {name: read_value("", cell) for name, cell in row.items()}
        for row in frame.iter_rows(named=True)
    ]
    given = {"week_start": WEEK.isoformat()}
    kinds = {column.key: str(column.type) for column in finra_symbol_anomalies_week.columns}
    for name, formula in ANOMALY_FORMULAS.items():
        stored = read_value(kinds[name], derived[name])
        assert are_equal(stored, evaluate(formula, RowSet(rows, SourceRows(rows), given))), name
        assert are_equal(stored, recompute.Formulas(given, rows)(formula, rows)), name
    assert derived.keys() - ANOMALY_FORMULAS.keys() == {"is_stale"}
