"""Chart of the share of trading off exchange over time."""

import polars as pl

from orchestration_project.plots.figures import (
    BLUE,
    INK,
    PURPLE,
    VERMILLION,
    Picture,
    date_axis,
    draw_legend,
    draw_line,
    mark_synthetic,
    png_of,
    styled,
    svg_of,
)

SIZE_INCHES = (10.0, 4.5)
MARGINS = {"left": 0.09, "right": 0.98, "top": 0.88, "bottom": 0.12}
"""Fixed places: matplotlib's own layouts can differ in the last digit from run to run."""

TITLE = "Share of trading off exchange by day, % of all shares"
LINES = {
    "A": (BLUE, "dashed", "tape A"),
    "B": (VERMILLION, "dashed", "tape B"),
    "C": (PURPLE, "dashed", "tape C"),
    "all": (INK, "solid", "all tapes"),
}


def _format_percent(ratio: float, _place: object = None) -> str:
    return f"{ratio:.0%}"


def off_exchange_share(rows: pl.DataFrame, *, is_synthetic: bool = False) -> Picture:
    """Draw the share by day and tape: trade_date, tape, off_exchange_share_ratio (0-1).

    ``is_synthetic`` writes across the picture that its data is synthetic.
    """
    import pandas as pd
    from matplotlib.figure import Figure

    pivot = rows.to_pandas().pivot(
        index="trade_date", columns="tape", values="off_exchange_share_ratio"
    )
    pivot.index = pd.to_datetime(pivot.index)
    series = dict(pivot.items())
    with styled():
        figure = Figure(figsize=SIZE_INCHES)
        axes = figure.add_subplot(figure.add_gridspec(1, 1, **MARGINS)[0, 0])
        for tape, (colour, style, label) in LINES.items():
            if tape in series:
                draw_line(axes, series[tape], colour, style, label)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_format_percent)
        date_axis(axes, sorted(set(rows["trade_date"].to_list())))
        axes.set_title(TITLE)
        draw_legend(figure, axes)
        if is_synthetic:
            mark_synthetic(figure)
        return Picture(svg_of(figure), png_of(figure))
