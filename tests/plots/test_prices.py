"""The pictures of prices: well-formed, small, and the same for the same days."""

from datetime import date, timedelta
from xml.etree import ElementTree

import polars as pl
import pytest

from orchestration_project.domains.prices.charts import DOWN, UP, candlesticks, coverage

SVG = "{http://www.w3.org/2000/svg}"
DAYS = [date(2026, 1, 5) + timedelta(days=number) for number in range(60)]


def texts(svg: bytes) -> set[str]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")  # noqa: S314 - our own
    return {str(text.text) for text in found}


@pytest.mark.slow
def test_candlesticks_name_their_symbol_and_stay_small():
    rows = [(day, 10.0, 12.0, 9.0, 11.0 - n % 3, 1000 * n) for n, day in enumerate(DAYS)]
    names = ["trade_date", "open", "high", "low", "close", "volume"]
    days = pl.DataFrame(rows, names, orient="row")
    svg = candlesticks("EP$C", days)
    assert "EP$C: prices in US dollars, and shares traded" in texts(svg)
    assert "2026-01-05" in texts(svg)
    assert len(svg) < 30_000
    assert candlesticks("EP$C", days) == svg
    marked = candlesticks("EP$C", days, is_synthetic=True)
    assert texts(marked) - texts(svg) == {"SYNTHETIC DATA"}
    assert candlesticks("EP$C", days.clear())


def test_the_days_without_a_price_are_drawn_and_neighbours_are_one_bar():
    symbols = [f"S{number}" for number in range(30)]
    all_days = [(symbol, day) for symbol in symbols for day in DAYS]
    whole = coverage(symbols, DAYS, pl.DataFrame(all_days, ["symbol", "trade_date"], orient="row"))
    gaps = [day for day in all_days if day[1] not in (*DAYS[10:20], DAYS[30])]
    svg = coverage(symbols, DAYS, pl.DataFrame(gaps, ["symbol", "trade_date"], orient="row"))
    assert set(symbols) <= texts(svg)
    assert whole.count(DOWN.encode()) < svg.count(DOWN.encode()) <= 2 * len(symbols)
    assert len(svg) < 30_000


def test_days_that_were_never_requested_stay_blank():
    loaded = pl.DataFrame([("AAA", DAYS[0])], ["symbol", "trade_date"], orient="row")
    january = date(2026, 1, 1)
    svg = coverage(["AAA", "BBB"], DAYS, loaded, {("AAA", january)})
    # one bar of the price, one of the other days of January
    assert (svg.count(UP.encode()), svg.count(DOWN.encode())) == (1, 1)
    assert DOWN.encode() not in coverage(["AAA", "BBB"], DAYS, loaded, set())


def test_symbols_beside_their_days_are_as_wide_as_the_place_there_is():
    loaded = pl.DataFrame([("WWWWWW.WS", DAYS[0])], ["symbol", "trade_date"], orient="row")
    shown = texts(coverage(["WWWWWW.WS", "M" * 30], DAYS, loaded, is_synthetic=True))
    assert {"WWWWWW.WS", "SYNTHETIC DATA"} <= shown
    [cut] = [text for text in shown if text.startswith("MMM")]
    assert cut.endswith("…")
    assert len(cut) < 15
