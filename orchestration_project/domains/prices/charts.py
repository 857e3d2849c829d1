"""The pictures of prices: a symbol's candlesticks with volume, and which days are loaded."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from orchestration_project.plots.figures import (
    BLUE,
    INK,
    VERMILLION,
    fitted,
    mark_synthetic,
    short,
    styled,
    svg_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

UP, DOWN = BLUE, VERMILLION

CANDLES_INCHES, COVERAGE_INCHES = (9.0, 4.2), (9.0, 5.0)
LABELS = 6

LEFT = 0.14
"""Left edge of the days of symbols; FINRA's longest symbols fit beside them."""


def candlesticks(symbol: str, days: pl.DataFrame, *, is_synthetic: bool = False) -> bytes:
    """Draw a symbol's prices and volume; return SVG.

    ``days`` has trade_date, open, high, low and close in dollars, and volume, by day.
    ``is_synthetic`` writes across the picture that its data is synthetic.
    """
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=CANDLES_INCHES)
        grid = figure.add_gridspec(
            2, 1, left=0.07, right=0.98, top=0.92, bottom=0.08, hspace=0.12, height_ratios=(3, 1)
        )
        prices = figure.add_subplot(grid[0, 0])
        _draw_candles(prices, days.to_pandas())
        prices.set_title(f"{symbol}: prices in US dollars, and shares traded")
        prices.tick_params(labelbottom=False)
        volume = figure.add_subplot(grid[1, 0])
        volume.bar(
            range(len(days)), days["volume"].cast(pl.Float64).to_list(), color=INK, width=0.7
        )
        volume.yaxis.set_major_formatter(short)
        _label_days(volume, days["trade_date"].to_list())
        for axes in (prices, volume):
            axes.set_xlim(-1, max(len(days), 1))
        if is_synthetic:
            mark_synthetic(figure)
        return svg_of(figure)


def _draw_candles(axes: "Axes", days: "pd.DataFrame") -> None:
    for is_up, color in ((True, UP), (False, DOWN)):
        chosen = days[(days["close"] >= days["open"]) == is_up]
        axes.vlines(chosen.index, chosen["low"], chosen["high"], color, linewidth=1)
        bodies = chosen["close"] - chosen["open"]
        axes.bar(chosen.index, bodies, bottom=chosen["open"], color=color, width=0.7)


def _label_days(axes: "Axes", days: Sequence[date]) -> None:
    places = range(0, len(days), max(1, len(days) // LABELS))
    axes.set_xticks(list(places), [days[position].isoformat() for position in places])
    axes.grid(visible=False, axis="x")


def coverage(
    symbols: Sequence[str],
    days: Sequence[date],
    loaded: pl.DataFrame,
    requested: Collection[tuple[str, date]] | None = None,
    *,
    is_synthetic: bool = False,
) -> bytes:
    """Draw which of ``days`` each symbol has a price of; return SVG.

    ``loaded`` has symbol and trade_date of each that there is, ``requested`` the symbols and first
    days of months that were requested (None: all); other days stay blank. ``is_synthetic`` writes
    across the picture that its data is synthetic.
    """
    from matplotlib.figure import Figure

    present = set(loaded.select("symbol", "trade_date").rows())
    with styled():
        figure = Figure(figsize=COVERAGE_INCHES)
        axes = figure.add_axes((LEFT, 0.08, 0.98 - LEFT, 0.84))
        for row, symbol in enumerate(symbols):
            priced = [index for index, day in enumerate(days) if (symbol, day) in present]
            missing = [
                index
                for index, day in enumerate(days)
                if (symbol, day) not in present
                and (requested is None or (symbol, day.replace(day=1)) in requested)
            ]
            _draw_bars(axes, row, priced, UP, 0.5)
            _draw_bars(axes, row, missing, DOWN, 1.0)
        space = LEFT * COVERAGE_INCHES[0] * 72
        axes.set_yticks(range(len(symbols)), [fitted(symbol, space) for symbol in symbols])
        axes.set_ylim(max(len(symbols), 1) - 0.5, -0.5)
        axes.set_title("Sessions: priced (blue), without a price (orange), never requested (blank)")
        axes.set_xlim(0, max(len(days), 1))
        axes.grid(visible=False)
        _label_days(axes, days)
        if is_synthetic:
            mark_synthetic(figure)
        return svg_of(figure)


def _draw_bars(axes: "Axes", row: int, places: Sequence[int], color: str, alpha: float) -> None:
    """Draw adjacent places as one bar, which keeps the picture small."""
    spans: list[tuple[int, int]] = []
    for number in places:
        if spans and sum(spans[-1]) == number:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((number, 1))
    axes.broken_barh(spans, (row - 0.4, 0.8), facecolors=color, alpha=alpha)
