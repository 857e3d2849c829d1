"""Usual size of a delivery, and the factor that is tolerated, by the sizes around it."""

from collections.abc import Sequence
from math import exp, log
from statistics import median
from typing import NamedTuple

SIGMA_OF_MAD = 1.4826
"""A normal distribution's standard deviation, in median absolute deviations."""


class UsualRange(NamedTuple):
    """Usual size and the factor up and down that is tolerated."""

    usual: float
    factor: float


def compute_range(
    sizes: Sequence[float], *, sigma: float, min_factor: float, max_factor: float
) -> UsualRange:
    """Return the median of ``sizes`` by their logarithms, and a factor from their spread.

    Args:
        sizes: Positive sizes, one at least.
        sigma: Standard deviations, by the median absolute deviation.
        min_factor: The least factor.
        max_factor: The largest factor.
    """
    levels = [log(size) for size in sizes]
    centre = median(levels)
    deviation = SIGMA_OF_MAD * median(abs(level - centre) for level in levels)
    width = min(max(sigma * deviation, log(min_factor)), log(max_factor))
    return UsualRange(exp(centre), exp(width))
