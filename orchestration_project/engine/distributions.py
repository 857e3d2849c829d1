"""Distributions of numbers: values counted by size, so that those of two parts add up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

BINS_PER_DECADE = 10
"""Bins between a number and its tenfold."""

FIRST_DECADE = 40
"""Sizes below 10 to minus this power are counted as that size; bin numbers stay above zero."""


@dataclass(frozen=True)
class Distribution:
    """Values of a column.

    Attributes:
        bins: Bin and number of values, sorted; bin 0 has zeros, negative bins negative numbers.
        null_count: Values that are NULL.
        minimum, maximum: The smallest and the largest value; None: no numbers.
    """

    bins: Sequence[tuple[int, int]] = ()
    null_count: int = 0
    minimum: float | None = None
    maximum: float | None = None

    def __add__(self, other: "Distribution") -> "Distribution":
        """Return the distribution of the values of both."""
        bins = Counter(dict(self.bins)) + Counter(dict(other.bins))
        ends = [
            end
            for end in (self.minimum, self.maximum, other.minimum, other.maximum)
            if end is not None
        ]
        return Distribution(
            sorted(bins.items()),
            self.null_count + other.null_count,
            min(ends, default=None),
            max(ends, default=None),
        )


def measure(values: pl.Series) -> Distribution:
    """Return the distribution of a numeric column; NaN and infinite values count as NULL."""
    numbers = values.cast(pl.Float64, strict=False)
    finite = numbers.filter(numbers.is_finite().fill_null(value=False))
    if finite.is_empty():
        return Distribution(null_count=len(values))
    size = finite.abs().clip(lower_bound=10.0**-FIRST_DECADE)
    position = (size.log10() * BINS_PER_DECADE).floor().cast(pl.Int64)
    bins = (position + FIRST_DECADE * BINS_PER_DECADE + 1) * finite.sign().cast(pl.Int64)
    counts = bins.value_counts(name="count").sort(bins.name)
    lowest, highest = finite.min(), finite.max()
    return Distribution(
        [(int(number), int(count)) for number, count in counts.iter_rows()],
        len(values) - len(finite),
        float(lowest) if isinstance(lowest, float) else None,
        float(highest) if isinstance(highest, float) else None,
    )


def lower_end(number: int) -> float:
    """Return the number nearest to zero of a bin."""
    if number == 0:
        return 0.0
    size = 10 ** ((abs(number) - 1) / BINS_PER_DECADE - FIRST_DECADE)
    return size if number > 0 else -size
