"""How every figure looks, and how one becomes bytes: the same figure gives the same bytes.

Pages are light or dark, so the background is transparent, and each colour stands out on both.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#7a8190"
"""Text, axes and grid: a grey with a contrast of about 4 to 1 on white and on black."""

BLUE, VERMILLION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"
"""Colours of Okabe and Ito, distinct for colour-blind people; each has a contrast of 3 to 1
or more on white and on black."""

STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.alpha": 0.3,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "orchestration_project",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.bottom": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.left": False,
}
"""matplotlib's settings. Text stays text, which is small and can be searched; a fixed salt makes
ids that do not differ from run to run; `$` in a symbol is a dollar sign."""

WITHOUT_DATE = {"Creator": None, "Date": None, "Format": None, "Type": None}

PNG_DPI = 110

SYNTHETIC = "SYNTHETIC DATA"
"""Watermark of each picture of synthetic data."""

LABEL_POINTS = 9
"""Size of a label on an axis."""

PADDING_POINTS = 10
"""Between a label, its axis and the edge of the figure, together."""

WIDEST_RENDERING = 1.08
"""How much wider than by its font's measures a text is drawn, in a PNG and by browsers."""

UNITS = ((1e15, "qn"), (1e12, "tn"), (1e9, "bn"), (1e6, "M"), (1e3, "k"))

MARGIN = timedelta(days=4)


@contextmanager
def styled() -> Iterator[None]:
    """Draw and write in the project's style, whatever the machine's own is."""
    import matplotlib as mpl

    with mpl.rc_context(mpl.rcParamsDefault | STYLE):
        yield


def mark_synthetic(figure: "Figure") -> None:
    """Write the watermark of synthetic data across ``figure``."""
    figure.text(
        *(0.5, 0.5, SYNTHETIC),
        fontsize=figure.get_figwidth() * 6,
        fontweight="bold",
        alpha=0.3,
        rotation=20,
        ha="center",
        va="center",
        zorder=10,
    )


def fitted(label: str, points: float) -> str:
    """Return as much of ``label`` as is at most ``points`` wide, with an ellipsis if it is cut."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=LABEL_POINTS)

    def width(text: str) -> float:
        points, _height, _descent = text_to_path.get_text_width_height_descent(text, font, False)
        return points * WIDEST_RENDERING

    label = shortened = label.strip()
    while width(shortened) > points - PADDING_POINTS:
        label = label[:-1]
        shortened = f"{label.rstrip()}…"
    return shortened


REDUNDANT_SVG = (
    (rb"(\.\d)\d+", rb"\1"),  # a tenth of a point is finer than a pixel
    (rb' transform="rotate\(-0[^"]*"', b""),
    (rb' id="(?:axes|figure|line2d|matplotlib|patch|subfigure|text|xtick|ytick)[^"]*"', b""),
    (rb"[ \t]*\n[ \t]*", b"\n"),
    (
        rb"\nL (?=[-\d])",
        b"\n",
    ),  # after "M" a line is meant anyway; our paths have no curve before one
)
"""Attributes that make matplotlib's tags three times as long without a visible difference."""


def svg_of(figure: "Figure") -> bytes:
    """Return ``figure`` as SVG, without a date, shortened."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata=WITHOUT_DATE)
    return re.sub(rb"<[^>]*>\s*", _trim_tag, buffer.getvalue())  # texts stay as they are


def _trim_tag(tag: re.Match[bytes]) -> bytes:
    short = tag.group()
    for needless, instead in REDUNDANT_SVG:
        short = re.sub(needless, instead, short)
    return short


def png_of(figure: "Figure") -> bytes:
    """Return ``figure`` as PNG, without a date or version."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


def short(number: float, _place: object = None) -> str:
    """Return a number for an axis, such as 2.5bn."""
    for unit, name in UNITS:
        if number >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g}"


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
