"""Compares recomputed rows with exported ones, value by value."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

from tests.oracle.archive import Row, index_rows, place_of

MAX_RELATIVE_ERROR = 1e-12
"""A double of two orders of summing; exact values have no tolerance."""


def compare(
    expected: Iterable[Row], exported: Iterable[Row], key: Sequence[str]
) -> tuple[int, list[tuple]]:
    """Return the number of compared values, and the differences of two sets of rows.

    A difference is key, column, expected and exported. Each row has every column of the other.
    """
    exported = list(exported)
    left, right = index_rows(expected, key), index_rows(exported, key)
    counts = Counter(place_of(row, key) for row in exported)
    differences: list[tuple] = [
        (place, "key", 1, number) for place, number in counts.items() if number > 1
    ]
    count = 0
    for place in sorted(left.keys() ^ right.keys(), key=repr):
        side = "exported" if place in right else "expected"
        differences.append((place, "row", place in left, f"only {side}"))
    for place in sorted(left.keys() & right.keys(), key=repr):
        for name in left[place].keys() | right[place].keys():
            count += 1
            values = left[place].get(name, "no column"), right[place].get(name, "no column")
            if not is_equal(*values):
                differences.append((place, name, *values))
    return count, differences


def is_equal(expected: object, exported: object) -> bool:
    """Return whether two values are equal; doubles may differ in their last digits.

    A decimal is exported as text with six decimals.
    """
    if isinstance(expected, float) and isinstance(exported, float | int):
        limit = MAX_RELATIVE_ERROR * max(1.0, abs(expected))
        return abs(expected - exported) <= limit
    if isinstance(expected, Decimal):
        return f"{expected:.6f}" == exported
    return expected == exported and isinstance(expected, bool) == isinstance(exported, bool)
