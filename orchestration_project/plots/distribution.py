"""Two distributions as one picture, in SVG that stands in a page without a network or a script."""

from collections.abc import Mapping, Sequence
from html import escape

from orchestration_project.plots.figures import BLUE, INK, VERMILLION

WIDTH, HEIGHT, MARGIN, LABEL_HEIGHT = 420, 110, 8, 16
"""Size in pixels."""

MAX_BARS = 60
"""Bars of a distribution; neighbours are added where there are more."""


def draw_distributions(
    before: Mapping[int, int], after: Mapping[int, int], ends: Sequence[str], title: str
) -> str:
    """Return an SVG with the counts before (blue, upwards) and after (vermillion, downwards).

    Args:
        before: Count by number of the bin.
        after: The same.
        ends: Labels of the smallest and the largest value.
        title: Text for those who do not see the picture.
    """
    places = _place_bins(sorted({*before, *after}))
    if not places:
        return ""
    span = max(places.values()) + 1
    bins_per_bar = -(-span // MAX_BARS)
    count = -(-span // bins_per_bar)
    bars = [_sum_bars(counts, places, bins_per_bar, count) for counts in (before, after)]
    highest = max(max(heights) for heights in bars)
    middle, width = HEIGHT / 2, (WIDTH - 2 * MARGIN) / count
    parts = [
        f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{middle}" y2="{middle}" stroke="{INK}"/>'
    ]
    for heights, colour, is_up in ((bars[0], BLUE, True), (bars[1], VERMILLION, False)):
        for position, value in enumerate(heights):
            height = (middle - MARGIN) * value / highest
            if value:
                height = max(height, 1)
                top = middle - height if is_up else middle
                left = MARGIN + position * width
                parts.append(
                    f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(width - 1, 1):.1f}" '
                    f'height="{height:.1f}" fill="{colour}"/>'
                )
    baseline = HEIGHT + LABEL_HEIGHT - 4
    for label, x, anchor in ((ends[0], MARGIN, "start"), (ends[-1], WIDTH - MARGIN, "end")):
        parts.append(
            f'<text x="{x}" y="{baseline}" font-size="11" fill="{INK}" '
            f'text-anchor="{anchor}">{escape(label)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT + LABEL_HEIGHT}" '
        f'role="img"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


def _place_bins(numbers: Sequence[int]) -> dict[int, int]:
    """Return the place of each bin from the left, without those between zero and the smallest."""
    smallest = {sign: min((abs(n) for n in numbers if n * sign > 0), default=0) for sign in (-1, 1)}
    places = {
        number: 0 if number == 0 else number - (smallest[1] - 1 if number > 0 else 1 - smallest[-1])
        for number in numbers
    }
    return {number: place - min(places.values()) for number, place in places.items()}


def _sum_bars(
    counts: Mapping[int, int], places: Mapping[int, int], bins_per_bar: int, count: int
) -> list[int]:
    heights = [0] * count
    for number, value in counts.items():
        heights[places[number] // bins_per_bar] += value
    return heights
