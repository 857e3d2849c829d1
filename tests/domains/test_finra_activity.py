"""Picture of the trading: known answers."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from orchestration_project.domains.finra.activity import (
    all_venues,
    first_week_shown,
    largest_symbols,
    newest_complete_week,
    over,
    version_of,
    weeks_between,
    weighted_concentration,
    with_names,
)

WEEK = date(2025, 11, 10)
BEFORE = WEEK - timedelta(weeks=1)


def traded(*keys: tuple[date, str]) -> pl.DataFrame:
    return pl.DataFrame(list(keys), {"week_start": pl.Date, "tier": pl.String}, orient="row")


def venues(*rows: tuple[str, str, str, int]) -> pl.DataFrame:
    names = ["tier", "market", "venue_id", "share_quantity"]
    return pl.DataFrame(list(rows), names, orient="row").with_columns(trade_count=pl.lit(1))


def test_the_newest_week_with_all_tiers_is_shown_although_one_tier_has_newer_ones():
    keys = [(BEFORE, tier) for tier in ("OTCE", "T2", "T1")]
    assert newest_complete_week(traded(*keys, (WEEK, "T1"))) == (BEFORE, ["T1", "T2", "OTCE"])


def test_where_no_week_has_all_tiers_the_newest_is_shown_with_those_it_has():
    found = newest_complete_week(traded((BEFORE, "T2"), (WEEK, "OTCE"), (WEEK, "T1")))
    assert found == (WEEK, ["T1", "OTCE"])


def test_a_week_not_loaded_is_a_gap_and_not_zero():
    later = WEEK + timedelta(weeks=2)
    weeks = weeks_between([later, WEEK])
    assert weeks == [WEEK, WEEK + timedelta(weeks=1), later]
    rows = pl.DataFrame({"week_start": [later, WEEK], "share_quantity": [0, 7]})
    assert over(weeks, rows, "share_quantity") == [7, None, 0]


def test_one_week_is_shown_alone_and_of_many_two_years():
    assert weeks_between([WEEK]) == [WEEK]
    assert len(weeks_between([first_week_shown(WEEK), WEEK])) == 104


def test_concentration_is_weighted_by_shares():
    # 900 shares at 1.0 and 100 at 0.5
    sums = pl.DataFrame(
        {
            "week_start": [WEEK, WEEK],
            "tier": ["T1", "T2"],
            "hhi_lower": [900 * 0.9 + 100 * 0.5, None],
            "hhi_upper": [900 * 1.0 + 100 * 0.5, None],
            "total_share_quantity": [1000, 0],
        }
    )
    assert weighted_concentration(sums).rows() == [
        (WEEK, "T1", 0.86, 0.95),
        (WEEK, "T2", None, None),
    ]


def test_a_venue_of_several_markets_and_tiers_is_one_and_de_minimis_firms_are_none():
    found, lump = all_venues(
        venues(
            ("T1", "ATS", "AAAA", 30),
            ("T2", "NON_ATS", "AAAA", 20),
            ("T1", "NON_ATS", "CRD:0", 40),
            ("T2", "NON_ATS", "CRD:0", 5),
            ("T1", "ATS", "BBBB", 5),
        )
    )
    assert found.rows() == [("AAAA", 50, 2, 0.5), ("BBBB", 5, 1, 0.05)]
    assert lump == pytest.approx(0.45)


def test_venues_of_equal_shares_stand_in_the_order_of_their_ids():
    found, lump = all_venues(venues(*(("T1", "ATS", name, 1) for name in ("C", "A", "B"))))
    assert found["venue_id"].to_list() == ["A", "B", "C"]
    assert lump == 0


def test_without_shares_there_is_no_share_of_them():
    found, lump = all_venues(venues(("T1", "ATS", "AAAA", 0)))
    assert found["share"].to_list() == [None]
    assert lump is None


def test_a_symbol_has_its_share_of_all_shares_and_its_name():
    rows = {"symbol": ["A", "B$C"], "tier": ["T1", "T2"]}
    totals = {"total_share_quantity": [10, 30], "total_trade_count": [1, 2]}
    names = pl.DataFrame({"symbol": ["A", "A"], "issue_name": ["Zeta", "Alpha"]})
    found = largest_symbols(pl.DataFrame(rows | totals), names, 80)
    assert found.select("symbol", "name", "share", "trade_count").rows() == [
        ("B$C", None, 0.375, 2),
        ("A", "Alpha", 0.125, 1),
    ]


def test_a_venue_without_a_name_goes_by_its_id():
    rows = pl.DataFrame({"venue_id": ["X", "CRD:7"]})
    names = pl.DataFrame({"venue_id": ["X"], "participant_name": ["X LLC"]})
    assert with_names(rows, names)["name"].to_list() == ["X LLC", "CRD:7"]


def test_a_change_of_loaded_or_derived_rows_changes_the_version():
    first = version_of(None, {"T1|a": 1, "T1|b": 1}, {"T1|a": "x"})
    assert version_of(None, {"T1|b": 1, "T1|a": 1}, {"T1|a": "x"}) == first
    others = [
        version_of(None, {"T1|a": 1, "T1|b": 2}, {"T1|a": "x"}),
        version_of(None, {"T1|a": 1}, {"T1|a": "x"}),
        version_of(None, {"T1|a": 1, "T1|b": 1}, {"T1|a": "y"}),
        version_of(None, {"T1|a": 1, "T1|b": 1}, {}),
        version_of(datetime(2026, 1, 5, tzinfo=UTC), {"T1|a": 1, "T1|b": 1}, {"T1|a": "x"}),
    ]
    assert len({first, *others}) == 6
