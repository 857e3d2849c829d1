"""Charts of FINRA's trading over time: one figure each."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from orchestration_project.domains.finra.activity import weeks_between
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.figures import COLOURS, by_week
from orchestration_project.plots.figures import (
    BLUE,
    INK,
    VERMILLION,
    Picture,
    date_axis,
    draw_legend,
    draw_line,
    mark_synthetic,
    png_of,
    short,
    styled,
    svg_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (10.0, 4.5)
MARGINS = {"left": 0.09, "right": 0.98, "top": 0.88, "bottom": 0.12}
"""Fixed places: matplotlib's own layouts can differ in the last digit from run to run."""

MARGINS_OF_TWO_AXES = MARGINS | {"left": 0.06, "right": 0.95}
"""The same where panels have numbers on both sides."""


def _draw_figure(
    draw: "Callable[[Sequence[Axes]], None]", count: int, *, is_synthetic: bool, title: str = ""
) -> Picture:
    """Return a figure of ``count`` panels, side by side; with a ``title``, each has two axes."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=SIZE_INCHES)
        grid = figure.add_gridspec(
            1, count, **(MARGINS_OF_TWO_AXES if title else MARGINS), wspace=0.45
        )
        panels = [figure.add_subplot(grid[0, position]) for position in range(count)]
        draw(panels)
        draw_legend(figure, panels[0])
        if title:
            figure.text(0.01, 0.965, title, fontsize=11, fontweight="bold")
        if is_synthetic:
            mark_synthetic(figure)
        return Picture(svg_of(figure), png_of(figure))


def _format_percent(ratio: float, _place: object = None) -> str:
    return f"{100 * ratio:.3g}%"


def share_by_tier(shares: pl.DataFrame, title: str, *, is_synthetic: bool = False) -> Picture:
    """Draw a share (0-1) by week and tier: columns week_start, tier and share; at least a row."""
    mondays = weeks_between(shares["week_start"].to_list())

    def draw(panels: "Sequence[Axes]") -> None:
        [axes] = panels
        series = by_week(mondays, shares, "tier", value="share")
        for tier in TIERS:
            if tier in series:
                draw_line(axes, series[tier], COLOURS[tier], "solid", tier)
        _format_as_share(axes, mondays)
        axes.set_title(title)

    return _draw_figure(draw, 1, is_synthetic=is_synthetic)


def concentration(bounds: pl.DataFrame, *, is_synthetic: bool = False) -> Picture:
    """Draw both bounds of the HHI of firms: week_start, tier, firm_hhi_lower, firm_hhi_upper."""
    mondays = weeks_between(bounds["week_start"].to_list())

    def draw(panels: "Sequence[Axes]") -> None:
        [axes] = panels
        lower, upper = (
            by_week(mondays, bounds, "tier", value=name)
            for name in ("firm_hhi_lower", "firm_hhi_upper")
        )
        for tier in TIERS:
            if tier in lower:
                draw_line(axes, lower[tier], COLOURS[tier], "solid", f"{tier} lower")
                draw_line(axes, upper[tier], COLOURS[tier], "dashed", f"{tier} upper")
                inside = {"facecolor": (COLOURS[tier], 0.2), "edgecolor": "none"}
                axes.fill_between(lower[tier].index, lower[tier], upper[tier], **inside)
        _begin_at_zero(axes)
        date_axis(axes, mondays)
        axes.set_title("HHI of firms by week, 0-1: lower and upper bound")

    return _draw_figure(draw, 1, is_synthetic=is_synthetic)


def movers(rows: pl.DataFrame, week_start: date, *, is_synthetic: bool = False) -> Picture:
    """Draw the changes of a week as bars, in order: tier, symbol, movement and share_change."""
    labels = [
        f"{symbol} ({tier})" if movement == "moved" else f"{symbol} ({tier}, {movement})"
        for symbol, tier, movement in rows.select("symbol", "tier", "movement").iter_rows()
    ]
    changes = rows["share_change"].to_list()

    def draw(panels: "Sequence[Axes]") -> None:
        [axes] = panels
        colours = [BLUE if change >= 0 else VERMILLION for change in changes]
        places = list(range(len(labels)))
        bars = axes.barh(places, [float(change) for change in changes], color=colours, height=0.7)
        axes.bar_label(
            bars, [f" {_format_signed(change)} " for change in changes], color=INK, fontsize=8
        )
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(_format_signed)
        axes.margins(x=0.15)
        axes.set_title(f"Largest changes in shares, week of {week_start} against the week before")
        axes.set_position((0.2, 0.1, 0.78, 0.78))

    return _draw_figure(draw, 1, is_synthetic=is_synthetic)


def _format_signed(number: float, _place: object = None) -> str:
    sign = "-" if number < 0 else "+" if number > 0 else ""
    return sign + short(float(f"{abs(number):.3g}"))


def short_interest(rows: pl.DataFrame, *, is_synthetic: bool = False) -> Picture:
    """Draw shares sold short and the close, a panel per symbol.

    ``rows`` has symbol, settlement_date, short_quantity and close (US dollars, may be null).
    """
    symbols = rows["symbol"].unique(maintain_order=True).to_list()

    def draw(panels: "Sequence[Axes]") -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        for axes, symbol in zip(panels, symbols, strict=True):
            index = rows.filter(pl.col("symbol") == symbol).to_pandas().set_index("settlement_date")
            price = axes.twinx()
            axes.plot(
                index.index, index["short_quantity"], color=BLUE, marker="o", label="shares short"
            )
            price.plot(index.index, index["close"], color=VERMILLION, linestyle="dashed")
            axes.plot(
                [], [], color=VERMILLION, linestyle="dashed", label="close, US dollars (right)"
            )
            _begin_at_zero(axes)
            axes.yaxis.set_major_formatter(short)
            price.grid(visible=False)
            locator = AutoDateLocator(minticks=2, maxticks=5)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
            axes.set_title(symbol)

    title = "Shares sold short, and the close, by settlement date"
    return _draw_figure(draw, len(symbols), is_synthetic=is_synthetic, title=title)


def restatements(rows: pl.DataFrame, *, is_synthetic: bool = False) -> Picture:
    """Draw each restatement by age and size: tier, age_weeks and moved_ratio (0-1)."""

    def draw(panels: "Sequence[Axes]") -> None:
        [axes] = panels
        for tier in TIERS:
            tier_rows: Any = rows.filter(pl.col("tier") == tier).to_pandas()
            if len(tier_rows):
                style = {"color": COLOURS[tier], "linestyle": "none", "marker": "o", "alpha": 0.6}
                axes.plot(tier_rows["age_weeks"], tier_rows["moved_ratio"], label=tier, **style)
        _begin_at_zero(axes)
        axes.yaxis.set_major_formatter(_format_percent)
        axes.set_xlabel("weeks from publication to the restatement")
        axes.set_title("Restatements: shares moved, % of the week's shares, by age")

    return _draw_figure(draw, 1, is_synthetic=is_synthetic)


def _begin_at_zero(axes: "Axes") -> None:
    """Begin the axis at 0, and leave room above the highest marker."""
    axes.set_ylim(0, axes.get_ylim()[1] * 1.03)


def _format_as_share(axes: "Axes", mondays: Sequence[date]) -> None:
    _begin_at_zero(axes)
    axes.yaxis.set_major_formatter(_format_percent)
    date_axis(axes, mondays)
