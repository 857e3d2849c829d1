"""The demo's prices: the same for ever, possible, on the exchange's sessions alone."""

from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
from orchestration_demo.market import Market
from orchestration_demo.prices.answer import price_answer
from orchestration_demo.prices.book import UNITS, History, PriceBook
from orchestration_demo.prices.sessions import begun, is_under_way, position, sessions
from orchestration_demo.prices.spelling import alpha_vantage, yahoo

from tests.resources.price_vendors import SEED, price_vendors

ANCHOR = date(2026, 3, 2)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook(Market(SEED, 600), ANCHOR)


def columns(history: History) -> list[list[int]]:
    return [var.tolist() for var in vars(history).values()]


def test_prices_are_possible_and_the_same_whatever_was_asked_before(book: PriceBook):
    again = PriceBook(Market(SEED, 600), ANCHOR)
    for symbol in list(book.listed)[::7]:
        history = book.history(symbol, ANCHOR)
        assert (history.high >= np.maximum(history.open, history.close)).all()
        assert (history.low <= np.minimum(history.open, history.close)).all()
        assert min(history.low.min(), history.volume.min()) > 0
        assert columns(history) == columns(again.history(symbol, ANCHOR))
    assert (
        again.history("NA", ANCHOR).close.tolist() != again.history("NULL", ANCHOR).close.tolist()
    )


@pytest.mark.parametrize(
    ("moment", "day", "under_way"),
    [
        ("2026-03-02T14:29:59+00:00", date(2026, 2, 27), False),
        ("2026-03-02T14:30:00+00:00", date(2026, 3, 2), True),
        ("2026-03-02T21:00:00+00:00", date(2026, 3, 2), False),
        ("2026-03-09T13:30:00+00:00", date(2026, 3, 9), True),  # an hour earlier: summer time
        ("2026-11-27T17:59:00+00:00", date(2026, 11, 27), True),  # ends at 13:00
        ("2026-11-27T18:00:00+00:00", date(2026, 11, 27), False),
        ("2026-11-26T18:00:00+00:00", date(2026, 11, 25), False),  # Thanksgiving
        ("2026-03-07T18:00:00+00:00", date(2026, 3, 6), False),
    ],
)
def test_a_session_begins_and_ends_with_the_exchange(moment: str, day: date, under_way: bool):
    now = datetime.fromisoformat(moment)
    assert sessions()[begun(now) - 1].item() == day
    assert is_under_way(now) is under_way


def test_adjusted_prices_have_the_returns_of_who_holds_shares_and_dividends(book: PriceBook):
    symbol = next(value.symbol for value in book.listed.values() if value.fault == "dividend")
    history = book.history(symbol, ANCHOR)
    last = begun(datetime(2026, 3, 2, 22, tzinfo=UTC))
    found = price_answer(history, 0, last, is_under_way=False)
    adjusted = history.close[:last] / found.later_splits * found.adjustment
    paid = np.flatnonzero(history.dividend[:last])[-1]
    before = history.close[paid - 1] / history.split[paid]
    worth = history.close[paid] / (before - history.dividend[paid])
    assert adjusted[paid] / adjusted[paid - 1] == pytest.approx(worth)
    assert history.dividend[paid] >= UNITS // 100


def test_all_symbols_are_spelled_differently_by_each_vendor(book: PriceBook):
    for spell in (yahoo, alpha_vantage):
        assert len({spell(symbol) for symbol in book.listed}) == len(book.listed)


def test_a_split_lies_where_it_is_said_to(book: PriceBook):
    symbol = next(value.symbol for value in book.listed.values() if value.fault == "split")
    history = book.history(symbol, ANCHOR)
    assert np.flatnonzero(history.split != 1).tolist() == [position(ANCHOR) - 20]
    day = position(ANCHOR) - 20
    assert history.close[day - 1] / history.close[day] == pytest.approx(4, rel=0.1)


def test_faults_come_once_in_the_folder_s_life(tmp_path: Path):
    statuses = []
    for _ in range(2):  # a restart
        with price_vendors(tmp_path) as vendors:
            url = f"{vendors.url}/v8/finance/chart/{yahoo(vendors.symbol_with('throttled'))}"
            requested = {"period1": "1771000000", "period2": "1772700000"}
            statuses += [httpx.get(url, params=requested).status_code for _ in range(2)]
    assert statuses == [429, 200, 200, 200]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("tier", ["T1", "T2", "OTCE"])
def test_what_finra_counts_of_a_week_is_a_part_of_all_that_traded(book: PriceBook, tier: str):
    week = date(2025, 11, 3)
    counted = Market(SEED, 600).firm_rows(tier, week).group_by("issueSymbolIdentifier")
    largest = counted.agg(pl.col("shares").sum()).sort("shares").tail(15)
    days = slice(position(week), position(date(2025, 11, 10)))
    parts = [
        shares / book.history(symbol, ANCHOR).volume[days].sum()
        for symbol, shares in largest.iter_rows()
    ]
    assert max(parts) <= 1
    assert np.median(parts) > 0.02
