"""Data of the charts, by known answers."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from orchestration_project.domains.finra.charts import (
    MOVERS_SHOWN,
    ats_shares,
    largest_movers,
    off_exchange_shares,
    restatement_sizes,
    short_interest_with_price,
)

WEEK = date(2025, 11, 10)
NEXT = WEEK + timedelta(weeks=1)


def test_the_share_of_atss_is_of_both_markets_of_a_week_and_tier():
    rows = [
        (WEEK, "T1", "ATS", 30),
        (WEEK, "T1", "NON_ATS", 90),
        (WEEK, "T2", "NON_ATS", 5),
        (NEXT, "T1", "ATS", 0),
    ]
    columns = ["week_start", "tier", "market", "share_quantity"]
    found = ats_shares(pl.DataFrame(rows, columns, orient="row"))
    assert found.rows() == [(WEEK, "T1", 0.25), (WEEK, "T2", 0.0), (NEXT, "T1", None)]


def test_the_share_of_otc_is_of_the_symbols_whose_whole_volume_is_known():
    """A trades 100 of 200 shares OTC, B 50 of 400; of C the whole is not known."""
    rows = [(WEEK, "T1", "A", 100, 0.5), (WEEK, "T1", "B", 50, 0.125), (WEEK, "T1", "C", 9, None)]
    columns = ["week_start", "tier", "symbol", "share_quantity", "market_volume_share"]
    found = off_exchange_shares(pl.DataFrame(rows, columns, orient="row"))
    assert found.rows() == [(WEEK, "T1", 0.25)]


def test_the_largest_movers_go_by_the_change_without_sign():
    rows = [("T1", f"S{number:02}", "moved", number * (-1) ** number) for number in range(20)]
    columns = ["tier", "symbol", "movement", "share_change"]
    found = largest_movers(pl.DataFrame(rows, columns, orient="row"))
    assert found["symbol"].to_list() == [f"S{19 - place:02}" for place in range(MOVERS_SHOWN)]
    assert found["share_change"].to_list()[:2] == [-19, 18]


def test_short_interest_has_the_close_of_its_day_or_of_the_last_session_before_it():
    first, last = date(2025, 10, 15), date(2025, 10, 31)
    interest = [
        *((first, "A", 10), (last, "A", 20)),
        *((first, "B", 90), (last, "B", 80)),
        (last, "NO PRICE", 999),
        (first, "GONE", 999),
    ]
    prices = [
        *((first, "A", 1.5), (last, "A", 2.5)),
        *((date(2025, 10, 10), "B", 7.0), (date(2025, 10, 20), "B", 9.0)),
    ]
    found = short_interest_with_price(
        pl.DataFrame(interest, ["settlement_date", "symbol", "short_quantity"], orient="row"),
        pl.DataFrame(prices, ["trade_date", "symbol", "close"], orient="row"),
    )
    assert found.rows() == [
        ("B", first, 90, 7.0),
        ("B", last, 80, None),
        ("A", first, 10, 1.5),
        ("A", last, 20, 2.5),
    ]


def test_a_restatement_has_the_shares_that_it_moved_and_the_weeks_since_publication():
    """FINRA publishes T1 three weeks after the week: on 2025-12-01."""
    at = datetime(2025, 12, 15, 12, tzinfo=UTC)
    columns = ["week_start", "tier", "market", "symbol", "venue_id", "share_quantity", "at"]

    def rows(*quantities: tuple[str, int]) -> pl.DataFrame:
        found = [(WEEK, "T1", "ATS", symbol, "X", shares, at) for symbol, shares in quantities]
        return pl.DataFrame(found, columns, orient="row")

    weeks = pl.DataFrame(
        [(WEEK, "T1", 400)], ["week_start", "tier", "share_quantity"], orient="row"
    )
    found = restatement_sizes(
        rows(("CHANGED", 100), ("GONE", 30), ("DATED", 5)),
        rows(("CHANGED", 150), ("NEW", 20), ("DATED", 5)),
        weeks,
    )
    assert found.rows() == [(WEEK, "T1", at, 2.0, 100, 0.25)]
