"""Results as lines: for people, as `bench.json`, and as a plot."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Bound:
    """Required bound of a ratio: at least, or at most, a number."""

    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}"

    def holds(self, ratio: float) -> bool:
        """Whether ``ratio`` keeps it."""
        return ratio >= self.limit if self.sign == ">=" else ratio <= self.limit


def at_least(limit: float) -> Bound:
    """The ratio must be ``limit`` or more."""
    return Bound(">=", limit)


def at_most(limit: float) -> Bound:
    """The ratio must be ``limit`` or less."""
    return Bound("<=", limit)


@dataclass(frozen=True)
class Line:
    """One measure: medians of what ours and the other side took, their ratio, and the verdict.

    Attributes:
        measure: What was measured; a name that stays from run to run.
        unit: Of ``ours`` and ``against``; ``ratio`` is ours / against in this unit.
        required: The bound as text; empty where a ratio is shown and none is required.
        holds: Whether the ratio keeps the bound; False also where nothing could be measured.
        ours_spread: Least and greatest of the repeats.
        rows: Rows by symbol and firm that each side had in its table, where both load some.
        note: What one must know to read the line.
    """

    measure: str
    unit: str
    ours: float | None
    against: float | None
    ratio: float | None
    required: str
    holds: bool
    ours_spread: Sequence[float] = ()
    against_spread: Sequence[float] = ()
    rows: Sequence[int] = ()
    note: str = ""


def line(
    measure: str,
    unit: str,
    ours: Sequence[float],
    against: Sequence[float],
    required: Bound | None,
    *,
    rows: Sequence[int] = (),
    note: str = "",
) -> Line:
    """Return the line of two samples."""
    left, right = median(ours), median(against)
    ratio = left / right
    return Line(
        measure,
        unit,
        left,
        right,
        ratio,
        str(required or ""),
        required is None or required.holds(ratio),
        (min(ours), max(ours)),
        (min(against), max(against)),
        rows,
        note,
    )


def informative_line(measure: str, unit: str, value: float, *, note: str = "") -> Line:
    """Return a line that is compared with nothing, and of which nothing is required."""
    return Line(measure, unit, value, None, None, "", holds=True, ours_spread=(value,), note=note)


def unmeasured(measure: str, required: Bound, note: str) -> Line:
    """Return a line that does not hold, because there was nothing to measure."""
    return Line(measure, "", None, None, None, str(required), holds=False, note=note)


def table(lines: Sequence[Line]) -> str:
    """Return ``lines`` as a Markdown table."""
    head = [
        "| measure | unit | ours | against | ratio | required | holds | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(_row(each) for each in lines)])


def _row(each: Line) -> str:
    cells = [
        each.measure,
        each.unit,
        _with_spread(each.ours, each.ours_spread),
        _with_spread(each.against, each.against_spread),
        "" if each.ratio is None else f"{each.ratio:.3g}",
        each.required,
        ("yes" if each.holds else "NO") if each.required else "",
        each.note,
    ]
    return f"| {' | '.join(cells)} |"


def _with_spread(middle: float | None, spread: Sequence[float]) -> str:
    if middle is None:
        return ""
    if len(set(spread)) < 2:
        return _short(middle)
    return f"{_short(middle)} ({_short(spread[0])} to {_short(spread[1])})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_json(file: Path, lines: Sequence[Line]) -> list[Line]:
    """Write ``lines`` beside what other measures left in ``file``; return all of them."""
    kept = [Line(**each) for each in json.loads(file.read_text())] if file.exists() else []
    fresh = {each.measure: each for each in lines}
    merged = [fresh.pop(each.measure, each) for each in kept] + list(fresh.values())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(each) for each in merged], indent=1) + "\n")
    return merged


MAX_BARS = 30
"""Bars of a plot that can be read without scrolling."""


def write_plot(file: Path, lines: Sequence[Line]) -> None:
    """Draw the lines nearest to their bound, the worst on top: left of 1 it is missed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    from orchestration_project.plots.figures import styled, svg_of

    margins = [(each.measure, _margin(each)) for each in lines if each.required]
    found = [(margin, name) for name, margin in margins if margin is not None]
    shown = sorted(found)[MAX_BARS - 1 :: -1]  # the last one is drawn on top
    file.parent.mkdir(parents=True, exist_ok=True)
    with styled():
        figure = Figure(figsize=(8, 0.9 + 0.24 * len(shown)), layout="tight")
        axes = figure.subplots()
        names, values = [name for _, name in shown], [margin for margin, _ in shown]
        colours = ["#2a9d8f" if value >= 1 else "#e76f51" for value in values]
        axes.barh(names, [value - 1 for value in values], left=1, color=colours)
        axes.axvline(1, color="#7a8190", linewidth=1)
        axes.margins(y=0.01)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_major_locator(LogLocator(base=2, subs=(1, 1.5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("times better than required; below 1: missed")
        axes.set_title("Nearest to the target")
        file.write_bytes(svg_of(figure))


def _margin(each: Line) -> float | None:
    """Return how many times better than required a ratio is."""
    if each.ratio is None or each.ratio <= 0:
        return None
    sign, limit = each.required.split()
    return each.ratio / float(limit) if sign == ">=" else float(limit) / each.ratio
