"""Tables derived across weeks and tiers: known answers, and slow arithmetic with fractions."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.finra.across import (
    concentration_week,
    symbol_rolling_6w,
    tier_week,
)
from orchestration_project.domains.finra.gold import symbol_week, venue_sums, venue_week
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_rolling_6w,
)
from orchestration_project.engine.contracts.values import derive_schema
from tests.properties import bounded

WEEK = date(2025, 11, 10)
LUMP = "CRD:0"
NAMES = ("week_start", "tier", "market", "symbol", "venue_id", "share_quantity", "trade_count")
OTHERS = derive_schema(
    finra_otc_weekly, ["notional_usd", "firm_crd_number", "participant_name", "last_update_date"]
)
DATES = ("published_at", "known_from", "is_stale")

Row = tuple[date, str, str, str, str, int, int]


def ago(weeks: int) -> date:
    return WEEK - timedelta(weeks=weeks)


def frame(rows: list[Row]) -> pl.DataFrame:
    drawn = pl.DataFrame(rows, derive_schema(finra_otc_weekly, NAMES), orient="row")
    return drawn.with_columns(pl.lit(None, kind).alias(name) for name, kind in OTHERS.items())


def symbol_weeks(rows: list[Row]) -> pl.DataFrame:
    """Return what is derived by symbol of each week of one tier."""
    by_week = [frame([row for row in rows if row[0] == week]) for week in {row[0] for row in rows}]
    return pl.concat(map(symbol_week, [frame([]), *by_week]))


def traded(shares: int, *, weeks_ago: int = 0, venue: str = "V", symbol: str = "A") -> Row:
    return (ago(weeks_ago), "T1", "ATS", symbol, venue, shares, 1)


def rolling(rows: list[Row], *, is_complete: bool = True) -> list[dict[str, Any]]:
    weeks = symbol_weeks(rows)
    found = symbol_rolling_6w(weeks, week_start=WEEK, is_complete=is_complete)
    return found.drop(DATES).to_dicts()


def concentration(rows: list[Row]) -> list[dict[str, Any]]:
    return concentration_week(symbol_weeks(rows), week_start=WEEK).to_dicts()


def tiers(rows: list[Row]) -> list[dict[str, Any]]:
    by_tier = [frame([row for row in rows if row[1] == tier]) for tier in {row[1] for row in rows}]
    symbols = pl.concat([symbol_week(of).select("tier", "symbol") for of in by_tier])
    return tier_week(
        pl.concat(venue_week(venue_sums(tier_rows)) for tier_rows in by_tier), symbols
    ).to_dicts()


def about(part: int | Decimal, whole: int | Decimal) -> Any:
    """Return the ratio as a float, within three roundings, or None where there is none."""
    return None if whole == 0 else pytest.approx(float(Fraction(part) / Fraction(whole)), rel=5e-16)


def test_a_full_window_has_its_means_extremes_and_trend():
    shares = {5: 100, 4: 100, 3: 100, 2: 100, 1: 130, 0: 160}
    rows = [traded(quantity, weeks_ago=weeks) for weeks, quantity in shares.items()]
    assert rolling(rows) == [
        {
            "week_start": WEEK,
            "tier": "T1",
            "symbol": "A",
            "weeks_in_window": 6,
            "is_complete": True,
            "average_shares_per_week": 115.0,
            "min_share_quantity": 100,
            "max_share_quantity": 160,
            "average_trades_per_week": 1.0,
            "min_trade_count": 1,
            "max_trade_count": 1,
            "trend_ratio": 1.3,
            "trend_direction": "up",
        }
    ]


def test_a_week_without_the_symbol_is_absent_and_not_a_week_of_zero():
    (row,) = rolling([traded(90, weeks_ago=4), traded(30), traded(30, weeks_ago=2)])
    assert row["weeks_in_window"] == 3
    assert row["average_shares_per_week"] == 50.0
    assert row["min_share_quantity"] == 30
    assert row["trend_ratio"] == pytest.approx(1 / 3)
    assert row["trend_direction"] == "down"


def test_means_and_trend_leave_out_the_same_weeks_as_the_dictionary_says():
    """With zeros the mean would be 450 / 6 and the trend 150 / 300: down."""
    (row,) = rolling([*(traded(100, weeks_ago=weeks) for weeks in (5, 4, 3)), traded(150)])
    assert row["average_shares_per_week"] == 112.5
    assert (row["trend_ratio"], row["trend_direction"]) == (1.5, "up")
    columns = finra_symbol_rolling_6w.c
    assert "weeks in which the symbol was traded" in str(columns.average_shares_per_week.comment)
    assert str(columns.trend_ratio.comment).startswith("Mean shares of traded weeks, ")


def test_a_symbol_that_did_not_trade_in_the_last_week_has_no_row_there():
    assert rolling([traded(90, weeks_ago=1), traded(1, symbol="B")])[0]["symbol"] == "B"
    assert len(rolling([traded(90, weeks_ago=1), traded(1, symbol="B")])) == 1


def test_a_window_with_a_hole_says_so_and_has_no_trend():
    (row,) = rolling([traded(100, weeks_ago=3), traded(300)], is_complete=False)
    assert row["is_complete"] is False
    assert (row["trend_ratio"], row["trend_direction"]) == (None, None)
    assert row["average_shares_per_week"] == 200.0


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("recent", "direction"),
    [(110, "flat"), (111, "up"), (90, "flat"), (89, "down"), (100, "flat"), (0, "down")],
)
def test_just_more_than_ten_percent_is_a_trend(recent, direction):
    (row,) = rolling([traded(100, weeks_ago=3), traded(recent)])
    assert row["trend_direction"] == direction
    assert row["trend_ratio"] == recent / 100


@pytest.mark.parametrize("earlier", [[], [traded(0, weeks_ago=4)]])
def test_without_earlier_shares_there_is_no_trend(earlier):
    (row,) = rolling([*earlier, traded(5)])
    assert (row["trend_ratio"], row["trend_direction"]) == (None, None)


def test_quantities_near_the_largest_do_not_wrap():
    largest = 2**63 - 1
    rows = [traded(largest, weeks_ago=weeks) for weeks in range(6)]
    (row,) = rolling(rows)
    assert row["average_shares_per_week"] == float(largest)
    assert (row["trend_ratio"], row["trend_direction"]) == (1.0, "flat")


def test_concentration_holds_the_largest_venues_against_all_shares():
    venues = {"U": 40, "V": 20, "W": 10, "X": 10, "Y": 5, "Z": 5, LUMP: 10}
    rows = [traded(shares, venue=venue) for venue, shares in venues.items()]
    (row,) = concentration(rows)
    assert (row["top_venue_share"], row["top_3_venue_share"], row["top_5_venue_share"]) == (
        0.4,
        0.7,
        0.85,
    )
    assert row["hhi_lower"] == pytest.approx(0.225)
    assert row["hhi_upper"] == pytest.approx(0.235)
    assert (row["hhi_lower_change"], row["hhi_upper_change"]) == (None, None)


def test_the_change_of_the_index_is_against_the_week_before_by_date():
    even = [traded(5, venue="V", weeks_ago=1), traded(5, venue="W", weeks_ago=1)]
    (row,) = concentration([*even, traded(5)])
    assert (row["hhi_lower"], row["hhi_lower_change"], row["hhi_upper_change"]) == (1.0, 0.5, 0.5)
    older = [traded(5, venue="V", weeks_ago=2), traded(5, venue="W", weeks_ago=2)]
    (row,) = concentration([*older, traded(5)])
    assert row["hhi_lower_change"] is None


def test_a_venue_of_both_markets_is_one():
    other = (WEEK, "T1", "NON_ATS", "A", "V", 30, 1)
    (row,) = concentration([traded(30), other, traded(40, venue="W")])
    assert row["top_venue_share"] == 0.6


def test_firms_that_are_lumped_are_no_venue_and_zero_shares_have_no_share():
    (row,) = concentration([traded(30, venue=LUMP)])
    assert (row["top_venue_share"], row["hhi_lower"], row["hhi_upper"]) == (None, 0.0, 1.0)
    (row,) = concentration([traded(0)])
    assert (row["top_venue_share"], row["top_5_venue_share"], row["hhi_upper"]) == (None,) * 3


def test_a_tiers_part_of_the_market_is_of_all_tiers_shares():
    rows: list[Row] = [
        (WEEK, "T1", "ATS", "A", "V", 60, 6),
        (WEEK, "T1", "NON_ATS", "A", "V", 10, 1),
        (WEEK, "T1", "NON_ATS", "B", LUMP, 5, 1),
        (WEEK, "T2", "ATS", "C", "W", 20, 2),
        (WEEK, "OTCE", "NON_ATS", "D", LUMP, 5, 1),
    ]
    names = ("tier", "share_quantity", "trade_count", "row_count", "symbol_count", "venue_count")
    assert [(*(row[name] for name in names), row["market_share"]) for row in tiers(rows)] == [
        ("OTCE", 5, 1, 1, 1, 0, 0.05),
        ("T1", 75, 8, 3, 2, 1, 0.75),
        ("T2", 20, 2, 1, 1, 1, 0.2),
    ]


def test_a_week_without_any_share_has_no_parts():
    assert [row["market_share"] for row in tiers([traded(0)])] == [None]


KEYS = st.tuples(
    st.sampled_from([ago(weeks) for weeks in range(6)]),
    st.sampled_from(["T1", "T2"]),
    st.sampled_from(["ATS", "NON_ATS"]),
    st.sampled_from(["A", "B"]),
    st.sampled_from(["V", "W", "X", "Y", LUMP]),
)
QUANTITIES = st.tuples(
    st.one_of(st.integers(0, 5), st.integers(0, 10**9), st.integers(0, 2**56)),
    st.integers(0, 10**6),
)
ROWS = st.dictionaries(KEYS, QUANTITIES, max_size=40).map(
    lambda drawn: [(*key, *quantities) for key, quantities in drawn.items()]
)


@pytest.mark.slow
@bounded
@given(ROWS)
def test_the_window_is_that_of_slow_arithmetic(rows):
    own = [row for row in rows if row[1] == "T1"]
    expected = []
    for symbol in sorted({row[3] for row in own if row[0] == WEEK}):
        weeks: dict[date, list[int]] = {}
        for start, _, _, each, _, shares, trades in own:
            if each == symbol:
                sums = weeks.setdefault(start, [0, 0])
                sums[0] += shares
                sums[1] += trades
        late = [shares for start, (shares, _) in weeks.items() if start > ago(3)]
        early = [shares for start, (shares, _) in weeks.items() if start <= ago(3)]
        trend = None
        if sum(early):
            trend = Fraction(sum(late), len(late)) / Fraction(sum(early), len(early))
        expected.append(
            {
                "week_start": WEEK,
                "tier": "T1",
                "symbol": symbol,
                "weeks_in_window": len(weeks),
                "is_complete": True,
                "average_shares_per_week": about(sum(s for s, _ in weeks.values()), len(weeks)),
                "min_share_quantity": min(shares for shares, _ in weeks.values()),
                "max_share_quantity": max(shares for shares, _ in weeks.values()),
                "average_trades_per_week": about(sum(t for _, t in weeks.values()), len(weeks)),
                "min_trade_count": min(trades for _, trades in weeks.values()),
                "max_trade_count": max(trades for _, trades in weeks.values()),
                "trend_ratio": None if trend is None else about(*trend.as_integer_ratio()),
                "trend_direction": _direction(trend),
            }
        )
    assert rolling(own) == expected


def _direction(trend: Fraction | None) -> str | None:
    if trend is None:
        return None
    return "up" if trend > Fraction(11, 10) else "down" if trend < Fraction(9, 10) else "flat"


@pytest.mark.slow
@bounded
@given(ROWS)
def test_the_largest_shares_are_those_of_slow_arithmetic_and_of_the_symbols_table(rows):
    own = [row for row in rows if row[1] == "T1"]
    before = {(row["week_start"], row["symbol"]): row for row in symbol_weeks(own).to_dicts()}
    found = concentration(own)
    assert [row["symbol"] for row in found] == sorted({row[3] for row in own if row[0] == WEEK})
    for row in found:
        venues: dict[str, int] = {}
        for start, _, _, symbol, venue, shares, _ in own:
            if (start, symbol) == (WEEK, row["symbol"]):
                venues[venue] = venues.get(venue, 0) + shares
        named = sorted((s for venue, s in venues.items() if venue != LUMP), reverse=True)
        total = sum(venues.values()) if named else 0
        for places, name in ((1, "top_"), (3, "top_3_"), (5, "top_5_")):
            assert row[f"{name}venue_share"] == about(sum(named[:places]), total)
        now, last = before[WEEK, row["symbol"]], before.get((ago(1), row["symbol"]))
        assert row["top_venue_share"] == now["top_venue_share"]
        for name in ("hhi_lower", "hhi_upper"):
            assert row[name] == now[name]
            then = last[name] if last else None
            missing = then is None or now[name] is None
            assert row[f"{name}_change"] == (None if missing else now[name] - then)


@pytest.mark.slow
@bounded
@given(ROWS)
def test_the_parts_of_the_market_add_up_to_one(rows):
    own = [row for row in rows if row[0] == WEEK]
    if not own:
        return
    found = tiers(own)
    total = sum(row[5] for row in own)
    assert [row["tier"] for row in found] == sorted({row[1] for row in own})
    for row in found:
        of = [record for record in own if record[1] == row["tier"]]
        assert row["share_quantity"] == sum(record[5] for record in of)
        assert row["trade_count"] == sum(record[6] for record in of)
        assert row["row_count"] == len(of)
        assert row["symbol_count"] == len({record[3] for record in of})
        assert row["venue_count"] == len({record[4] for record in of} - {LUMP})
        assert row["market_share"] == about(row["share_quantity"], total)
    if total:
        assert sum(row["market_share"] for row in found) == pytest.approx(1)
