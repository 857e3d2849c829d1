"""A line as small as a word, written as text so that Dagster shows it within a table's cell."""

import base64
import math
from collections.abc import Sequence
from itertools import pairwise

from orchestration_project.plots.figures import SYNTHETIC

MAX_POINTS = 60
"""Number of newest points that are drawn: more are not distinguishable, and lengthen the text."""

WIDTH, HEIGHT, MARGIN = 124, 24, 2
"""Size in pixels; the line stays off the edge by the margin, which its width needs."""

LABEL_HEIGHT = 10
"""Pixels below a line for what it says of its data."""

GREY = "#7a8190"
"""A grey that can be read on white and on black."""


def sparkline(values: Sequence[float | None], *, is_synthetic: bool = False) -> str:
    """Return the newest `MAX_POINTS` of ``values`` as an SVG data URI below 900 characters.

    It fits its own extremes: the axis does not start at zero. None and what is not finite is a
    gap; a point between two gaps is a dot. ``is_synthetic`` writes below the line that its data is
    synthetic.
    """
    points = _compute_points([_scale_value(value) for value in values[-MAX_POINTS:]])
    height, label = HEIGHT, ""
    if is_synthetic:
        height += LABEL_HEIGHT
        label = (
            f'<text x="{WIDTH // 2}" y="{height - 2}" font-size="9" fill="{GREY}" '
            f'text-anchor="middle">{SYNTHETIC}</text>'
        )
    # The round cap makes a dot of a line without length.
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}">'
        f'<path d="{_render_path(points)}" fill="none" stroke="{GREY}" stroke-width="1.5" '
        f'stroke-linecap="round"/>{label}</svg>'
    )
    return svg_uri(svg.encode())


def svg_uri(svg: bytes) -> str:
    """Return an SVG as a data URI that Markdown takes as the address of an image."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _scale_value(value: float | None) -> float | None:
    """Return the value halved, so that the span of any two fits a float; None for a gap."""
    return None if value is None or not math.isfinite(value) else value / 2


def _compute_points(values: Sequence[float | None]) -> list[tuple[int, int] | None]:
    known_numbers = [value for value in values if value is not None]
    low, span = (
        min(known_numbers, default=0.0),
        max(known_numbers, default=0.0) - min(known_numbers, default=0.0),
    )
    step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)

    def height_of(value: float) -> int:
        part = (value - low) / span if span else 0.5
        return round(MARGIN + (1 - part) * (HEIGHT - 2 * MARGIN))

    return [
        None if value is None else (round(MARGIN + index * step), height_of(value))
        for index, value in enumerate(values)
    ]


def _render_path(points: Sequence[tuple[int, int] | None]) -> str:
    """Return SVG path commands; steps from point to point are shorter than places."""
    path = ""
    for before, point in pairwise([None, *points]):
        if point is None:
            continue
        if before is None:
            path += f"M{point[0]} {point[1]}h0"
        else:
            path += f"l{point[0] - before[0]} {point[1] - before[1]}"
    return path
