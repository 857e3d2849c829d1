"""The chart of shares off exchange: its labels, its points, and the same for the same figures."""

import re
from datetime import date, timedelta

import polars as pl
import pytest

from orchestration_project.domains.cboe.charts import TITLE, off_exchange_share
from orchestration_project.plots.figures import SYNTHETIC
from tests.plots.test_finra_charts import texts

MONDAY = date(2026, 1, 5)


def shares(*ratios: float, tape: str = "all") -> pl.DataFrame:
    days = [MONDAY + timedelta(days=place) for place in range(len(ratios))]
    return pl.DataFrame(
        {"trade_date": days, "tape": [tape] * len(ratios), "off_exchange_share_ratio": ratios}
    )


def heights(svg: bytes, count: int) -> list[float]:
    """Return how far below the top each of so many points of the one line of data lies."""
    paths = re.findall(rb'<path d="M ((?:[\d.]+ [\d.]+\n)+)" clip-path', svg)
    [line] = [points for points in map(bytes.splitlines, paths) if len(points) == count]
    return [float(point.split()[1]) for point in line]


def test_the_points_of_a_line_are_as_high_as_the_shares():
    zero, half, fifth, two_fifths = heights(off_exchange_share(shares(0.0, 0.5, 0.2, 0.4)).svg, 4)
    assert zero - fifth == pytest.approx((zero - half) * 0.4, abs=0.1)
    assert zero - two_fifths == pytest.approx((zero - half) * 0.8, abs=0.1)
    assert zero > half


def test_a_chart_is_labelled_and_the_same_each_time():
    rows = pl.concat([shares(0.4, 0.5, tape=tape) for tape in ("A", "B", "C", "all")])
    picture = off_exchange_share(rows, is_synthetic=True)
    labels = {TITLE, "tape A", "tape B", "tape C", "all tapes", SYNTHETIC, "0%"}
    assert labels - set(texts(picture.svg)) == set()
    assert SYNTHETIC not in texts(off_exchange_share(rows).svg)
    assert picture == off_exchange_share(rows, is_synthetic=True)
    assert picture.png.startswith(b"\x89PNG")


def test_a_single_day_is_drawn():
    assert "all tapes" in texts(off_exchange_share(shares(0.4)).svg)
