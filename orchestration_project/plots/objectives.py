"""The picture of error budgets: what is left of each, and how each was spent by day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration_project.plots.figures import (
    BLUE,
    INK,
    PURPLE,
    VERMILLION,
    fitted,
    mark_synthetic,
    styled,
    svg_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Mapping[str, str] = {
    "met": BLUE,
    "exhausted": PURPLE,
    "burning": VERMILLION,
    "no_data": INK,
}
"""Colour of a budget by the state of its objective."""

DAYS = 27
"""Days of the window before today."""

MIN_LEFT, MAX_LEFT = -1.0, 1.0
"""Shares between which a budget is drawn: one that is overspent twice looks as one that is once."""

WIDTH_INCHES, ROW_INCHES, REST_INCHES = 11.0, 0.32, 1.3

LABEL_SPACE_POINTS = 0.2 * WIDTH_INCHES * 72


@dataclass(frozen=True)
class BudgetLine:
    """Error budget of an objective.

    Attributes:
        name: Name of the objective.
        state: Its state, of `COLOURS`.
        left: Share that is left, 1: all; None: no event.
        spent_by_day: Share of the budget that each day spent, the oldest first; None: no event.
    """

    name: str
    state: str
    left: float | None
    spent_by_day: Sequence[float | None] = ()


def error_budgets(budgets: Sequence[BudgetLine], *, is_synthetic: bool = False) -> bytes:
    """Draw the remaining share of each error budget, and the share spent each day; return SVG.

    Args:
        budgets: The budgets, from the top.
        is_synthetic: Whether to write across the picture that its data is synthetic.
    """
    from matplotlib.figure import Figure

    height = REST_INCHES + ROW_INCHES * max(len(budgets), 3)
    bottom, top = 0.65 / height, 1 - 0.4 / height
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, height))
        # Fixed places: matplotlib's own layouts can differ in the last digit from run to run.
        left = figure.add_gridspec(1, 1, left=0.21, right=0.6, top=top, bottom=bottom)
        right = figure.add_gridspec(1, 1, left=0.64, right=0.98, top=top, bottom=bottom)
        _draw_left(figure.add_subplot(left[0, 0]), budgets)
        _draw_days(figure.add_subplot(right[0, 0]), budgets)
        if is_synthetic:
            mark_synthetic(figure)
        return svg_of(figure)


def _draw_left(axes: "Axes", budgets: Sequence[BudgetLine]) -> None:
    for index, budget in enumerate(reversed(budgets)):
        share = min(max(budget.left or 0.0, MIN_LEFT), MAX_LEFT)
        axes.barh(index, share, height=0.6, color=COLOURS[budget.state])
        text = "no data" if budget.left is None else f"{budget.left:.0%}"
        state = "" if budget.state in ("met", "no_data") else f", {budget.state}"
        side = 0.02 if share >= 0 else -0.02
        axes.text(
            *(min(share, 0.7) + side if share >= 0 else max(share, -0.5) + side, index),
            f"{text}{state}",
            va="center",
            ha="left" if share >= 0 else "right",
            color="white" if share > 0.7 and budget.left is not None else INK,
            fontsize=8,
        )
    names = [fitted(budget.name, LABEL_SPACE_POINTS) for budget in reversed(budgets)]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, max(len(budgets), 3) - 0.4)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_xlim(MIN_LEFT, MAX_LEFT)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("left of 28 days; below 0: overspent")
    axes.set_title("Error budgets")


def _draw_days(axes: "Axes", budgets: Sequence[BudgetLine]) -> None:
    """Draw a cell for each day, darker the more of the budget it spent; none without events.

    The cells are one image: a path for each would make the picture several times as large.
    """
    import numpy as np
    from matplotlib.colors import to_rgb

    count = max(len(budgets), 3)
    cells = np.zeros((count, DAYS, 4))
    for index, budget in enumerate(reversed(budgets)):
        for number, spent in enumerate(reversed(budget.spent_by_day[-DAYS:])):
            if spent is not None:
                shade = 0.35 if spent == 0 else min(1.0, 0.3 + spent)
                colour = to_rgb(BLUE if spent == 0 else VERMILLION)
                cells[index, DAYS - 1 - number] = (*colour, shade)
    extent = (-DAYS - 0.5, -0.5, -0.5, count - 0.5)
    axes.imshow(cells, origin="lower", extent=extent, aspect="auto", interpolation="none")
    axes.set_yticks([])
    axes.set_ylim(-0.6, count - 0.4)
    axes.set_xlim(-DAYS - 0.5, 0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    axes.set_xlabel("days ago; the darker, the more of the budget a day spent")
    axes.set_title("Spent by day")
