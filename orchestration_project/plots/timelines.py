"""Parts of figures over time: lines with gaps, dates below panels, legends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = timedelta(days=4)


@dataclass(frozen=True)
class Picture:
    """One figure in two forms."""

    svg: bytes
    png: bytes


def draw_line(axes: "Axes", series: "pd.Series", colour: str, style: str, label: str) -> None:
    """Draw a line with its gaps; a week between two gaps is a dot."""
    axes.plot(series.index, series, color=colour, linestyle=style, label=label)
    draw_dots(axes, series, colour)


def draw_dots(axes: "Axes", series: "pd.Series", colour: str) -> None:
    """Draw the values between two gaps as dots."""
    alone = series.loc[series.notna() & series.shift().isna() & series.shift(-1).isna()]
    if not alone.empty:
        axes.plot(alone.index, alone, color=colour, linestyle="none", marker="o", markersize=3)


def draw_legend(figure: "Figure", axes: "Axes") -> None:
    """Draw the legend of a panel at the top right of the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=len(labels) or 1)


def date_axis(axes: "Axes", weeks: Sequence[date]) -> None:
    """Write few days below a panel, and limit it if there is one week."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    if len(weeks) == 1:  # matplotlib would show years around it
        limit_days(axes, weeks)


def limit_days(axes: "Axes", weeks: Sequence[date]) -> None:
    """Limit a panel to its weeks, with a margin on both sides."""
    from matplotlib.dates import date2num

    axes.set_xlim(float(date2num(weeks[0] - MARGIN)), float(date2num(weeks[-1] + MARGIN)))
