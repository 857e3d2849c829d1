"""Tables derived of a week, compared with slow arithmetic with fractions."""

import random
from collections import defaultdict
from datetime import date
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration_project.domains.finra.gold import (
    quantities_of,
    refuse_overflow,
    symbol_week,
    venue_sums,
    venue_week,
)
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.errors import ContractError
from tests.properties import bounded

WEEK = date(2025, 11, 10)
LUMP = "CRD:0"
MAX_INT64 = 2**63 - 1
MAX_SHARES = MAX_INT64 // 10**6
NAMES = ("market", "symbol", "venue_id", "share_quantity", "trade_count")
SCHEMA = derive_schema(finra_otc_weekly, ["week_start", "tier", *NAMES])
OTHERS = derive_schema(
    finra_otc_weekly, ["notional_usd", "firm_crd_number", "participant_name", "last_update_date"]
)
MEASURES = (
    *("notional_usd", "vwap", "notional_share", "ats_share_of_shares", "ats_share_of_trades"),
    *("firm_count", "firm_hhi_lower", "firm_hhi_upper", "share_in_market", "rank_in_market"),
    *("firm_crd_number", "participant_name", "published_at", "known_from"),
)
"""Columns that tests/domains/test_finra_measures.py computes again."""

Row = tuple[str, str, str, int, int]

KEYS = st.tuples(
    st.sampled_from(["ATS", "NON_ATS"]),
    st.sampled_from(["A", "B", "a", "NA"]),
    st.sampled_from(["V", "W", "X", "CRD:7", LUMP]),
)
QUANTITIES = st.tuples(
    st.one_of(st.integers(0, 5), st.integers(0, 10**9), st.integers(0, 2**38)),
    st.integers(0, 10**6),
)
ROWS = st.dictionaries(KEYS, QUANTITIES, max_size=30).map(
    lambda drawn: [(*key, *quantities) for key, quantities in drawn.items()]
)


def frame(rows: list[Row]) -> pl.DataFrame:
    drawn = pl.DataFrame([(WEEK, "T1", *row) for row in rows], schema=SCHEMA, orient="row")
    return drawn.with_columns(pl.lit(None, kind).alias(name) for name, kind in OTHERS.items())


def without_measures(derived: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows in the columns that slow arithmetic has here."""
    return derived.drop(*MEASURES, strict=False).to_dicts()


def only(derived: pl.DataFrame) -> dict[str, Any]:
    """Return the only row."""
    return derived.row(0, named=True) if len(derived) == 1 else pytest.fail(f"rows: {derived}")


def close_to(part: int, whole: int) -> Any:
    """Return the ratio as a float, within three roundings, or None where there is none."""
    return None if whole == 0 else pytest.approx(float(Fraction(part, whole)), rel=5e-16)


def reference_symbol_week(rows: list[Row]) -> list[dict[str, Any]]:
    by_symbol: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_symbol[row[1]].append(row)
    return [_reference_symbol(symbol, of) for symbol, of in sorted(by_symbol.items())]


def _reference_symbol(symbol: str, rows: list[Row]) -> dict[str, Any]:
    venues: dict[str, int] = defaultdict(int)
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for market, _, venue, shares, trades in rows:
        venues[venue] += shares
        sums[market, "shares"] += shares
        sums[market, "trades"] += trades
    lump = venues.pop(LUMP, 0)
    shares = sum(venues.values()) + lump
    trades = sums["ATS", "trades"] + sums["NON_ATS", "trades"]
    top = min(venues, key=lambda venue: (-venues[venue], venue.encode()), default=None)
    largest = sorted(venues.values(), reverse=True)
    squares = sum(venue**2 for venue in venues.values())
    return {
        "week_start": WEEK,
        "tier": "T1",
        "symbol": symbol,
        "ats_share_quantity": sums["ATS", "shares"],
        "non_ats_share_quantity": sums["NON_ATS", "shares"],
        "total_share_quantity": shares,
        "ats_trade_count": sums["ATS", "trades"],
        "non_ats_trade_count": sums["NON_ATS", "trades"],
        "total_trade_count": trades,
        "venue_count": len(venues),
        "average_trade_size": close_to(shares, trades),
        "top_venue_id": top,
        "top_venue_share": None if top is None else close_to(venues[top], shares),
        "hhi_lower": close_to(squares, shares**2),
        "hhi_upper": close_to(squares + lump**2, shares**2),
        **{
            f"top_{places}_venue_share": None if top is None else close_to(sum(most), shares)
            for places, most in ((3, largest[:3]), (5, largest[:5]))
        },
    }


def reference_venue_week(rows: list[Row]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for market, _, venue, shares, trades in rows:
        found = sums[market, venue]
        found[0] += shares
        found[1] += trades
        found[2] += 1
    total = sum(shares for shares, _, _ in sums.values())
    named = [shares for (_, venue), (shares, _, _) in sums.items() if venue != LUMP]
    return [
        {
            "week_start": WEEK,
            "tier": "T1",
            "market": market,
            "venue_id": venue,
            "share_quantity": shares,
            "trade_count": trades,
            "symbol_count": symbols,
            "tier_share": close_to(shares, total),
            "rank": None if venue == LUMP else 1 + sum(other > shares for other in named),
        }
        for (market, venue), (shares, trades, symbols) in sorted(sums.items())
    ]


@pytest.mark.slow
@bounded
@given(ROWS)
@example([])
@example([("ATS", "A", "V", 0, 0), ("NON_ATS", "A", LUMP, 0, 3)])
@example([("ATS", "A", "V", MAX_SHARES, MAX_INT64)])
def test_symbol_week_is_what_slow_arithmetic_says(rows: list[Row]):
    assert without_measures(symbol_week(frame(rows))) == reference_symbol_week(rows)


@bounded
@given(ROWS)
@example([])
@example([("NON_ATS", "A", LUMP, 5, 1)])
def test_venue_week_is_what_slow_arithmetic_says(rows: list[Row]):
    assert without_measures(venue_week(venue_sums(frame(rows)))) == reference_venue_week(rows)


@pytest.mark.slow
@bounded
@given(ROWS)
def test_the_bounds_of_the_herfindahl_index_are_in_order_and_between_0_and_1(rows: list[Row]):
    weeks = symbol_week(frame(rows))
    assert set(weeks["symbol"]) == {row[1] for row in rows}
    for record in weeks.iter_rows(named=True):
        if record["total_share_quantity"]:
            assert 0.0 <= record["hhi_lower"] <= record["hhi_upper"] <= 1.0
            has_lump = any(row[1] == record["symbol"] and row[2] == LUMP and row[3] for row in rows)
            assert has_lump or record["hhi_lower"] == record["hhi_upper"]


@pytest.mark.slow
@bounded
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_not_a_bit(rows: list[Row], chance: random.Random):
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert symbol_week(frame(shuffled)).equals(symbol_week(frame(rows)))
    assert venue_week(venue_sums(frame(shuffled))).equals(venue_week(venue_sums(frame(rows))))


def test_the_types_are_those_of_the_tables_with_rows_and_without():
    for rows in ([], [("ATS", "A", "V", 1, 1)]):
        assert dict(symbol_week(frame(rows)).schema) == derive_schema(finra_symbol_week)
        assert dict(venue_week(venue_sums(frame(rows))).schema) == derive_schema(finra_venue_week)


def test_de_minimis_firms_are_no_venue_and_bound_the_index():
    rows = [
        ("ATS", "A", "V", 30, 3),
        ("NON_ATS", "A", "CRD:7", 20, 2),
        ("NON_ATS", "A", LUMP, 50, 5),
    ]
    symbol = only(symbol_week(frame(rows)))
    assert (symbol["venue_count"], symbol["top_venue_id"], symbol["top_venue_share"]) == (
        2,
        "V",
        0.3,
    )
    assert (symbol["hhi_lower"], symbol["hhi_upper"]) == (0.13, 0.38)
    venues = venue_week(venue_sums(frame(rows)))
    assert venues["venue_id", "tier_share", "rank"].rows() == [
        ("V", 0.3, 1),
        (LUMP, 0.5, None),
        ("CRD:7", 0.2, 2),
    ]


def test_a_symbol_of_de_minimis_firms_alone_has_no_top_venue_and_an_index_from_0_to_1():
    symbol = only(symbol_week(frame([("NON_ATS", "A", LUMP, 50, 5)])))
    names = ("venue_count", "top_venue_id", "top_venue_share", "hhi_lower", "hhi_upper")
    assert [symbol[name] for name in names] == [0, None, None, 0.0, 1.0]


def test_without_shares_and_trades_ratios_are_null():
    rows = [("ATS", "A", "V", 0, 0)]
    symbol = only(symbol_week(frame(rows)))
    ratios = ("average_trade_size", "top_venue_share", "hhi_lower", "hhi_upper")
    assert [symbol[name] for name in ratios] == [None] * 4
    assert symbol["top_venue_id"] == "V"
    assert only(venue_week(venue_sums(frame(rows))))["tier_share"] is None


def test_a_tie_goes_to_the_lowest_venue_id_and_gives_the_same_rank():
    rows = [("ATS", "A", venue, 5, 1) for venue in ("b", "B", "C")] + [("ATS", "A", "D", 1, 1)]
    assert only(symbol_week(frame(rows)))["top_venue_id"] == "B"
    ranks = venue_week(venue_sums(frame(rows)))["venue_id", "rank"].rows()
    assert ranks == [("B", 1), ("C", 1), ("D", 4), ("b", 1)]


def test_a_venue_in_both_markets_is_one_in_a_symbol_and_two_in_the_tier():
    rows = [("ATS", "A", "V", 3, 1), ("NON_ATS", "A", "V", 3, 1), ("ATS", "A", "W", 5, 1)]
    symbol = only(symbol_week(frame(rows)))
    assert (symbol["venue_count"], symbol["top_venue_id"]) == (2, "V")
    assert venue_week(venue_sums(frame(rows)))["market", "venue_id", "rank"].rows() == [
        ("ATS", "V", 2),
        ("ATS", "W", 1),
        ("NON_ATS", "V", 2),
    ]


@pytest.mark.parametrize("name", ["share_quantity", "trade_count"])
def test_a_total_that_is_too_large_is_refused_and_the_largest_of_both_markets_adds_up(name: str):
    largest = (MAX_SHARES if name == "share_quantity" else MAX_INT64) // 2
    rows = frame([("ATS", "A", "V", 1, 1)] * 2)
    refuse_overflow(
        quantities_of(rows.with_columns(pl.Series(name, [largest - 1, 1], SCHEMA[name])))
    )
    refuse_overflow(quantities_of(rows.clear()))
    with pytest.raises(ContractError, match=f"the partition's {name} cannot be added up"):
        refuse_overflow(
            quantities_of(rows.with_columns(pl.Series(name, [largest, 1], SCHEMA[name])))
        )
    both = frame([("ATS", "A", "V", 1, 1), ("NON_ATS", "A", "W", 1, 1)])
    both = both.with_columns(pl.Series(name, [largest, largest], SCHEMA[name]))
    assert only(symbol_week(both))[f"total_{name}"] == 2 * largest
    assert venue_week(venue_sums(both))["tier_share"].to_list() == [0.5, 0.5]
