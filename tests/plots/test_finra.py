"""The picture of the trading: well-formed, small, and the same for the same figures."""

from dataclasses import replace
from datetime import date, timedelta
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from orchestration_project.domains.finra.activity import Activity, weeks_between
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.figures import trade_activity, traded_value
from orchestration_project.plots.figures import SYNTHETIC

NEWEST = date(2026, 1, 26)
SVG = "{http://www.w3.org/2000/svg}"


def activity(weeks: int, *, gaps: bool = False, symbol: str = "AAA") -> Activity:
    """Return figures of so many weeks, every third of them missing if there are ``gaps``."""
    loaded = [NEWEST - timedelta(weeks=ago) for ago in range(weeks) if not (gaps and ago % 3 == 1)]
    keys = [(week, tier, market) for week in loaded for tier in TIERS for market in MARKETS]
    indices = [(week, tier, 0.1, 0.2 + week.day / 100) for week in loaded for tier in TIERS]
    symbols = [(symbol, "T1", "A & B <Inc.>", 10**9 - n, n, 0.1) for n in range(10)]
    venues = [(f"V{n}", f"Venue {n} LLC", 10**9, 5, 0.05) for n in range(10)]
    return Activity(
        made_of="x",
        weeks=weeks_between(loaded),
        traded=pl.DataFrame(
            [(*key, 1234567890 + 7**10 * key[0].day, 10**6 + key[0].day) for key in keys],
            ["week_start", "tier", "market", "share_quantity", "trade_count"],
            orient="row",
        ),
        concentration=pl.DataFrame(
            indices, ["week_start", "tier", "hhi_lower", "hhi_upper"], orient="row"
        ),
        week_start=NEWEST,
        tiers=TIERS,
        tier_weeks=pl.DataFrame(),
        symbols=pl.DataFrame(
            symbols,
            ["symbol", "tier", "name", "share_quantity", "trade_count", "share"],
            orient="row",
        ),
        venues=pl.DataFrame(
            venues, ["venue_id", "name", "share_quantity", "trade_count", "share"], orient="row"
        ),
        de_minimis_share=0.25,
        symbol_count=4321,
        venue_count=99,
    )


MARKETS = ("ATS", "NON_ATS")


def texts(svg: bytes) -> list[str]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")  # noqa: S314 - our own
    return [str(text.text) for text in found]


@pytest.mark.slow
@pytest.mark.parametrize("weeks", [1, 24, 104])
def test_the_picture_is_well_formed_and_small_and_has_no_date(weeks):
    picture = trade_activity(activity(weeks))
    assert "Shares by week" in texts(picture.svg)
    assert len(picture.svg) < 50_000
    assert len(picture.png) < 200_000
    assert b"dc:date" not in picture.svg
    assert picture.png.startswith(b"\x89PNG")


def pixels(png: bytes) -> np.ndarray:
    """Return the opacity of each pixel, 0-1, by row and column."""
    from matplotlib.image import imread

    return imread(BytesIO(png), format="png")[:, :, 3]


@pytest.mark.slow
def test_a_picture_marks_synthetic_data_and_not_real_data():
    marked, real = (
        trade_activity(activity(24), is_synthetic=is_synthetic) for is_synthetic in (True, False)
    )
    assert [text for text in texts(marked.svg) if text not in texts(real.svg)] == [SYNTHETIC]
    drawn = pixels(marked.png) != pixels(real.png)
    height, width = drawn.shape
    assert np.ptp(np.flatnonzero(drawn.any(axis=0))) > width / 2  # it goes across the picture
    assert np.ptp(np.flatnonzero(drawn.any(axis=1))) > height / 4
    assert SYNTHETIC == "SYNTHETIC DATA"


@pytest.mark.slow
@pytest.mark.parametrize("symbol", ["AAA", "W" * 10, "EP$C$U_^{2}", "M" * 40])
def test_no_label_is_cut_at_the_left_edge(symbol):
    picture = trade_activity(activity(2, symbol=symbol))
    assert not pixels(picture.png)[:, :5].any()
    [shown, *_] = [text for text in texts(picture.svg) if text.startswith(symbol[:10])]
    assert shown == f"{symbol}  A & B <Inc.>" or shown.endswith("…")


@pytest.mark.slow
def test_the_same_figures_give_the_same_bytes():
    assert trade_activity(activity(24)) == trade_activity(activity(24))
    assert trade_activity(activity(24)) != trade_activity(activity(23))


@pytest.mark.slow
def test_a_picture_with_a_gap_in_each_line_is_small_too():
    assert len(trade_activity(activity(104, gaps=True)).svg) < 60_000


@pytest.mark.slow
def test_quarantined_weeks_are_marked_and_percentages_say_of_what():
    whole = activity(4)
    marked = trade_activity(replace(whole, quarantined=[NEWEST - timedelta(weeks=2)]))
    assert sorted(set(texts(marked.svg)) - set(texts(trade_activity(whole).svg))) == ["quarantined"]
    assert f"Largest symbols, week of {NEWEST}, % of all shares" in texts(marked.svg)


@pytest.mark.slow
def test_a_line_breaks_at_a_gap():
    whole, broken = (trade_activity(activity(7, gaps=gaps)).svg for gaps in (False, True))
    assert broken.count(b"M ") > whole.count(b"M ")


@pytest.mark.slow
def test_a_single_week_is_drawn_on_an_axis_of_days():
    shown = texts(trade_activity(activity(1)).svg)
    assert {"25", "27", "2026-Jan"} <= set(shown)
    assert not {"2025", "2027"} & set(shown)


@pytest.mark.slow
def test_names_and_symbols_stand_as_they_are():
    shown = texts(trade_activity(activity(2, symbol="EP$C$U_^{2}")).svg)
    assert "EP$C$U_^{2}  A & B <Inc.>" in shown
    assert "De Minimis Firms, together: 25.0%" in shown
    assert "10.0%" in [text.strip() for text in shown]


@pytest.mark.slow
def test_a_week_without_shares_is_drawn():
    none = activity(1)
    empty = pl.lit(None, pl.Float64)
    drawn = Activity(
        **{
            **vars(none),
            "symbols": none.symbols.with_columns(share=empty),
            "venues": none.venues.with_columns(share=empty).head(0),
            "de_minimis_share": None,
        }
    )
    assert trade_activity(drawn).svg


@pytest.mark.slow
def test_value_shares_and_trades_are_drawn_by_week_and_tier_with_gaps_where_none_is_derived():
    weeks = [NEWEST - timedelta(weeks=ago) for ago in (0, 1, 3)]
    rows = [
        (week, tier, 10**9, 10**6, None if week == weeks[1] else 2.5e9)
        for week in weeks
        for tier in TIERS
    ]
    names = ["week_start", "tier", "share_quantity", "trade_count", "notional_dollars"]
    drawn = traded_value(pl.DataFrame(rows, names, orient="row"))
    found = texts(drawn.svg)
    assert {"1bn", "1M", *TIERS} <= set(found)
    assert "Estimated value by week, US dollars, of symbols with prices (log scale)" in found
    assert len(drawn.svg) < 30_000
    assert traded_value(pl.DataFrame(rows, names, orient="row")).png == drawn.png
    marked = traded_value(pl.DataFrame(rows, names, orient="row"), is_synthetic=True)
    assert [text for text in texts(marked.svg) if text not in found] == [SYNTHETIC]
    assert (pixels(marked.png) != pixels(drawn.png)).any()
