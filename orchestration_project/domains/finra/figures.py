"""FINRA's pictures."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from orchestration_project.domains.finra.activity import Activity, weeks_between
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.plots.figures import (
    BLUE,
    INK,
    PURPLE,
    VERMILLION,
    Picture,
    date_axis,
    draw_dots,
    draw_legend,
    draw_line,
    fitted,
    limit_days,
    mark_synthetic,
    png_of,
    short,
    styled,
    svg_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = {"T1": BLUE, "T2": VERMILLION, "OTCE": PURPLE}
"""By tier."""

MARKETS = {"ATS": ("ATS", "solid"), "NON_ATS": ("non-ATS", "dashed")}
"""By market: its name and its line."""

SIZE_INCHES = (11.0, 10.0)
"""As wide as Dagster shows in a window of 1,400 pixels."""

LEFT = 0.245
"""Left edge of the largest symbols; the labels of the venues get the same width."""

LABEL_SPACE_POINTS = LEFT * SIZE_INCHES[0] * 72
"""Between the left edge and the bars."""

VALUE_INCHES = (10.0, 6.0)

VALUE_PANELS = {
    "notional_dollars": "Estimated value by week, US dollars, of symbols with prices (log scale)",
    "share_quantity": "Shares by week, of all symbols",
    "trade_count": "Trades by week, of all symbols",
}
"""Figures of a week that are drawn, and their titles."""


def trade_activity(activity: Activity, *, is_synthetic: bool = False) -> Picture:
    """Draw the weeks' shares, trades and concentration, and the newest week's largest.

    ``is_synthetic`` writes across the picture that its data is synthetic.
    """
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=SIZE_INCHES)
        # Fixed places: matplotlib's own layouts can differ in the last digit from run to run.
        weeks = figure.add_gridspec(2, 2, left=0.05, right=0.99, top=0.93, bottom=0.42, hspace=0.28)
        largest = figure.add_gridspec(
            1, 2, left=LEFT, right=0.99, top=0.35, bottom=0.04, wspace=1.0
        )
        axes = {
            "shares": figure.add_subplot(weeks[0, :]),
            "trades": figure.add_subplot(weeks[1, 0]),
            "concentration": figure.add_subplot(weeks[1, 1]),
            "symbols": figure.add_subplot(largest[0, 0]),
            "venues": figure.add_subplot(largest[0, 1]),
        }
        _draw_traded(axes["shares"], activity, "share_quantity", "Shares by week")
        _mark_quarantined(axes["shares"], activity.quarantined)
        _draw_traded(axes["trades"], activity, "trade_count", "Trades by week")
        _draw_concentration(axes["concentration"], activity)
        _draw_symbols(axes["symbols"], activity)
        _draw_venues(axes["venues"], activity)
        draw_legend(figure, axes["shares"])
        if is_synthetic:
            mark_synthetic(figure)
        return Picture(svg_of(figure), png_of(figure))


def traded_value(weeks: pl.DataFrame, *, is_synthetic: bool = False) -> Picture:
    """Draw shares, trades and estimated value by week and tier.

    ``weeks`` has a row for each week and tier: week_start, tier, share_quantity, trade_count and
    notional_dollars, null where nothing is derived; at least one. ``is_synthetic`` writes across
    the picture that its data is synthetic.
    """
    from matplotlib.figure import Figure

    mondays = weeks_between(weeks["week_start"].to_list())
    with styled():
        figure = Figure(figsize=VALUE_INCHES)
        grid = figure.add_gridspec(2, 2, left=0.06, right=0.98, top=0.9, bottom=0.09, hspace=0.4)
        places = [grid[0, :], grid[1, 0], grid[1, 1]]
        panels = [figure.add_subplot(subplot_spec) for subplot_spec in places]
        for axes, (column, title) in zip(panels, VALUE_PANELS.items(), strict=True):
            _draw_tiers(axes, mondays, weeks, column)
            axes.set_title(title)
        _use_log_scale(panels[0])
        draw_legend(figure, panels[0])
        if is_synthetic:
            mark_synthetic(figure)
        return Picture(svg_of(figure), png_of(figure))


def by_week(
    weeks: Sequence[date], rows: pl.DataFrame, *key: str, value: str
) -> Mapping[Any, "pd.Series"]:
    """Return a series over ``weeks`` of each ``key`` in ``rows``; a week without a value is NaN."""
    import pandas as pd

    pivot = rows.to_pandas().pivot(index="week_start", columns=key, values=value)
    return dict(pivot.reindex(pd.to_datetime(list(weeks))).astype("float64").items())


def _draw_tiers(axes: "Axes", mondays: Sequence[date], weeks: pl.DataFrame, column: str) -> None:
    series = by_week(mondays, weeks, "tier", value=column)
    for tier in TIERS:
        if tier in series:
            draw_line(axes, series[tier], COLOURS[tier], "solid", tier)
    axes.set_ylim(bottom=0)
    limit_days(axes, mondays)
    axes.yaxis.set_major_formatter(short)
    date_axis(axes, mondays)


def _use_log_scale(axes: "Axes") -> None:
    """Let a tier of cents be seen beside one that is worth a thousand times as much."""
    from matplotlib.ticker import NullFormatter

    axes.set_yscale("log")
    axes.autoscale(axis="y")  # without the zero of the others
    axes.yaxis.set_major_formatter(short)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_traded(axes: "Axes", activity: Activity, quantity: str, title: str) -> None:
    series = by_week(activity.weeks, activity.traded, "tier", "market", value=quantity)
    for tier in TIERS:
        for market, (name, style) in MARKETS.items():
            if (tier, market) in series:
                draw_line(axes, series[tier, market], COLOURS[tier], style, f"{tier} {name}")
    axes.set_title(title)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(short)
    date_axis(axes, activity.weeks)


def _mark_quarantined(axes: "Axes", weeks: Collection[date]) -> None:
    """Mark weeks of which a tier is quarantined on the axis of days."""
    from matplotlib.dates import date2num

    if weeks:
        places = date2num(list(weeks))
        marks = {"color": INK, "linestyle": "none", "marker": "x", "clip_on": False}
        axes.plot(places, [0.0] * len(weeks), label="quarantined", **marks)


def _draw_concentration(axes: "Axes", activity: Activity) -> None:
    lower, upper = (
        by_week(activity.weeks, activity.concentration, "tier", value=name)
        for name in ("hhi_lower", "hhi_upper")
    )
    for tier in TIERS:
        if tier not in lower:
            continue
        colour = COLOURS[tier]
        axes.fill_between(
            *(lower[tier].index, lower[tier], upper[tier]),
            facecolor=(colour, 0.25),
            edgecolor=colour,
            linewidth=0.8,
        )
        for bound in (lower, upper):
            draw_dots(axes, bound[tier], colour)
    axes.set_title("Mean HHI by tier: lower to upper bound")
    axes.set_ylim(bottom=0)
    date_axis(axes, activity.weeks)


def _draw_symbols(axes: "Axes", activity: Activity) -> None:
    rows = activity.symbols.to_dicts()
    _draw_bars(
        axes,
        activity.symbols,
        labels=[f"{row['symbol']}  {row['name'] or ''}" for row in rows],
        colours=[COLOURS[row["tier"]] for row in rows],
    )
    axes.set_title(f"Largest symbols, week of {activity.week_start}, % of all shares")


def _draw_venues(axes: "Axes", activity: Activity) -> None:
    labels = activity.venues["name"].to_list()
    _draw_bars(axes, activity.venues, labels=labels, colours=[INK] * len(labels))
    axes.set_title("Largest venues, % of all shares")
    if activity.de_minimis_share:
        note = f"De Minimis Firms, together: {activity.de_minimis_share:.1%}"
        values = {"ha": "right", "va": "top", "transform": axes.transAxes}
        axes.text(1, 0, note, fontsize=8, **values)


def _draw_bars(
    axes: "Axes", rows: pl.DataFrame, *, labels: Sequence[str], colours: Sequence[str]
) -> None:
    """Draw the shares of the whole as bars, the largest on top, each with its percentage."""
    places = list(range(len(labels)))
    shares = rows["share"].to_pandas()
    bars = axes.barh(places, shares, color=colours, alpha=0.75, height=0.7)
    axes.bar_label(bars, labels=[f" {share:.1%}" for share in shares], color=INK, fontsize=8)
    axes.set_yticks(places, [fitted(label, LABEL_SPACE_POINTS) for label in labels])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.margins(x=0.15)
