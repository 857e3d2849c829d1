"""Compares recomputed rows with exported ones, value by value."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tests.oracle.archive import Row

MAX_RELATIVE_ERROR = 1e-12
"""A double of two orders of summing; exact values have no tolerance."""


@dataclass
class Comparison:
    """Compared values of a table, and the differences: key, column, expected and exported."""

    table: str
    value_count: int = 0
    differences: list[tuple] = field(default_factory=list)


def compare(
    table: str, expected: Iterable[Row], exported: Iterable[Row], key: Sequence[str]
) -> Comparison:
    """Return all differences of two sets of rows; each has every column of the other."""
    comparison = Comparison(table)
    left = {tuple(row[name] for name in key): row for row in expected}
    right: dict[tuple, Row] = {}
    for row in exported:
        place = tuple(row[name] for name in key)
        if place in right:
            comparison.differences.append((place, "key", "once", "twice"))
        right[place] = row
    for place in sorted(left.keys() | right.keys(), key=repr):
        if place not in left or place not in right:
            side = "exported" if place in right else "expected"
            comparison.differences.append((place, "row", place in left, f"only {side}"))
            continue
        for name in left[place].keys() | right[place].keys():
            comparison.value_count += 1
            values = left[place].get(name, "no column"), right[place].get(name, "no column")
            if not is_equal(*values):
                comparison.differences.append((place, name, *values))
    return comparison


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
