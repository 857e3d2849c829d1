"""How far tasks have come on their way to issues, as a picture small enough for its place."""

from collections.abc import Sequence

from orchestration_project.plots.figures import SYNTHETIC
from orchestration_project.plots.sparkline import GREY, LABEL_HEIGHT, svg_uri

STEP, HEIGHT = 92, 40
"""Pixels from one number to the next, and from top to bottom."""


def flow(
    steps: Sequence[tuple[str, int]],
    beside: Sequence[tuple[str, int]] = (),
    *,
    is_synthetic: bool = False,
) -> str:
    """Return numbers one after the other, each with what it counts, as an SVG data URI.

    What is ``beside`` follows without arrows. ``is_synthetic`` writes below that the data is made
    up.

    With at most five of them it stays below the 1000 characters that Dagster shows in their place.
    """
    shown_pairs = [*steps, *beside]
    numbers = "".join(
        f'<text x="{STEP * index + 40}" y="18">{number}</text>'
        f'<text x="{STEP * index + 40}" y="34" font-size="10">{name}</text>'
        for index, (name, number) in enumerate(shown_pairs)
    )
    arrows = "".join(f"M{STEP * index - 12} 13h12l-4-4" for index in range(1, len(steps)))
    width, height, label = STEP * len(shown_pairs), HEIGHT, ""
    if is_synthetic:
        height += LABEL_HEIGHT
        label = f'<text x="{width // 2}" y="{height - 2}" font-size="9">{SYNTHETIC}</text>'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'fill="{GREY}" text-anchor="middle"><path d="{arrows}" stroke="{GREY}" fill="none"/>'
        f"{numbers}{label}</svg>"
    )
    return svg_uri(svg.encode())
