"""Charts of trading over time: labelled, well-formed, and the same for the same figures."""

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from xml.etree import ElementTree

import polars as pl
import pytest

from orchestration_project.domains.finra import chart_figures as plots
from orchestration_project.plots.figures import SYNTHETIC, Picture

WEEK = date(2025, 11, 10)
WEEKS = [WEEK + timedelta(weeks=number) for number in range(8)]
TIERS = ("T1", "T2", "OTCE")
SVG = "{http://www.w3.org/2000/svg}"


def by_tier(*values: str) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"week_start": week, "tier": tier, **dict.fromkeys(values, 0.1 + week.day / 100)}
            for week in WEEKS
            for tier in TIERS
        ]
    )


MOVERS = pl.DataFrame(
    {
        "tier": ["T1", "T2"],
        "symbol": ["A$X", "BBB"],
        "movement": ["moved", "left"],
        "share_change": [2_503_000, -1000],
    }
)
SHORT = pl.DataFrame(
    {
        "symbol": ["AAA", "AAA", "BBB"],
        "settlement_date": [date(2025, 10, 15), date(2025, 10, 31), date(2025, 10, 31)],
        "short_quantity": [10, 20, 5],
        "close": [1.5, None, 2.0],
    }
)
RESTATED = pl.DataFrame(
    {"tier": ["T1", "OTCE"], "age_weeks": [1.0, 20.0], "moved_ratio": [0.001, 0.5]}
)
DRAWN: dict[str, tuple[Callable[..., Picture], list[str]]] = {
    "share": (
        partial(plots.share_by_tier, by_tier("share"), "Share of ATSs"),
        ["Share of ATSs", *TIERS],
    ),
    "concentration": (
        partial(plots.concentration, by_tier("firm_hhi_lower", "firm_hhi_upper")),
        ["HHI of firms by week, 0-1: lower and upper bound", "T1 lower", "T1 upper"],
    ),
    "movers": (
        partial(plots.movers, MOVERS, WEEK),
        [
            "Largest changes in shares, week of 2025-11-10 against the week before",
            *("A$X (T1)", "BBB (T2, left)", "+2.5M", "-1k"),
        ],
    ),
    "short interest": (
        partial(plots.short_interest, SHORT),
        [
            "Shares sold short, and the close, by settlement date",
            *("AAA", "BBB", "shares short", "close, US dollars (right)"),
        ],
    ),
    "restatements": (
        partial(plots.restatements, RESTATED),
        ["weeks from publication to the restatement", "T1", "OTCE", "50%"],
    ),
}


def texts(svg: bytes) -> list[str]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")  # noqa: S314 - our own
    return [str(text.text).strip() for text in found]


@pytest.mark.slow
@pytest.mark.parametrize("chart", DRAWN)
def test_a_chart_is_labelled_and_the_same_each_time(chart: str):
    draw, labels = DRAWN[chart]
    picture = draw(is_synthetic=True)
    assert set(labels) - set(texts(picture.svg)) == set()
    assert SYNTHETIC in texts(picture.svg)
    assert SYNTHETIC not in texts(draw().svg)
    assert picture == draw(is_synthetic=True)
    assert picture.png.startswith(b"\x89PNG")
    assert len(picture.svg) < 50_000


def test_a_single_week_is_drawn():
    picture = plots.share_by_tier(by_tier("share").head(1), "Share")
    assert "T1" in texts(picture.svg)
