"""The picture of the control tower: what ran by day, and how each domain fares."""

from collections.abc import Mapping, Sequence
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
    from matplotlib.axes import Axes

GOOD, BAD = BLUE, VERMILLION

SIZE_INCHES = (11.0, 6.0)

LABEL_SPACE_POINTS = (0.72 - 0.6) * SIZE_INCHES[0] * 72
"""Between the runs by day and the success of each domain, for the labels of its bars."""

WINDOWS = {"24 h": 0.27, "7 d": 0.0, "28 d": -0.27}
"""Windows of time: the label of each bar, and its place beside the domain's middle."""

WINDOW_POINTS = 30
"""Width of the labels of the windows, which stand between the domains' names and the bars."""


def control_tower(
    days: pl.DataFrame,
    shares: Mapping[str, Sequence[float | None]],
    *,
    is_synthetic: bool = False,
) -> bytes:
    """Draw the ended runs by day, and by domain the shares of success; return SVG.

    Args:
        days: ``days_ago``, ``success_count``, ``failure_count``, ``rows_landed``, the oldest first.
        shares: By domain its success share in the last 24 hours, 7 and 28 days.
        is_synthetic: Whether to write across the picture that its data is synthetic.
    """
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=SIZE_INCHES)
        # Fixed places: matplotlib's own layouts can differ in the last digit from run to run.
        left = figure.add_gridspec(2, 1, left=0.05, right=0.6, top=0.93, bottom=0.08, hspace=0.35)
        right = figure.add_gridspec(1, 1, left=0.72, right=0.98, top=0.93, bottom=0.08)
        _draw_runs(figure.add_subplot(left[0, 0]), days)
        _draw_rows(figure.add_subplot(left[1, 0]), days)
        _draw_shares(figure.add_subplot(right[0, 0]), shares)
        if is_synthetic:
            mark_synthetic(figure)
        return svg_of(figure)


def _draw_runs(axes: "Axes", days: pl.DataFrame) -> None:
    places = [-day for day in days["days_ago"].to_list()]
    good, bad = (days[name].to_list() for name in ("success_count", "failure_count"))
    axes.bar(places, good, color=GOOD, label="succeeded")
    axes.bar(places, bad, bottom=good, color=BAD, label="failed")
    axes.set_title("Runs by day")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=2)
    _format_day_axis(axes)


def _draw_rows(axes: "Axes", days: pl.DataFrame) -> None:
    places = [-day for day in days["days_ago"].to_list()]
    axes.bar(places, days["rows_landed"].to_list(), color=INK)
    axes.set_title("Rows loaded by day")
    axes.yaxis.set_major_formatter(short)
    _format_day_axis(axes)


def _draw_shares(axes: "Axes", shares: Mapping[str, Sequence[float | None]]) -> None:
    names = sorted(shares, reverse=True)
    for window, offset in enumerate(WINDOWS.values()):
        for index, name in enumerate(names):
            share = shares[name][window]
            if share is None:
                axes.text(0.02, index + offset, "no runs", va="center", color=INK, fontsize=8)
            else:
                axes.barh(index + offset, share, height=0.24, color=GOOD, alpha=0.75)
    space = LABEL_SPACE_POINTS - WINDOW_POINTS
    axes.set_yticks(range(len(names)), [fitted(name, space) for name in names])
    windows = [
        (index + offset, label) for index in range(len(names)) for label, offset in WINDOWS.items()
    ]
    axes.set_yticks([index for index, _ in windows], [label for _, label in windows], minor=True)
    axes.yaxis.remove_overlapping_locs = False
    axes.tick_params(axis="y", which="minor", length=0, labelcolor=INK, labelsize=8)
    axes.tick_params(axis="y", which="major", pad=WINDOW_POINTS)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("succeeded, % of succeeded and failed runs")
    axes.set_title("Success by domain")


def _format_day_axis(axes: "Axes") -> None:
    axes.set_ylim(bottom=0)
    axes.set_xlabel("days ago")
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
