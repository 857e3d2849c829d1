"""Paths in JSON: members, positions, and all elements, such as `$.products[*].price.amount`."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

Step = str | int | None
"""Member, position, or None: all elements."""

STEP = re.compile(r"\.([A-Za-z_@][\w@-]*)|\[(\d{1,9})\]|\[(\*)\]|\['([^'\\]{1,200})'\]")

MAX_FOUND = 100_000
"""Values that a path finds, at most."""


@cache
def parse_path(text: str) -> Sequence[Step]:
    """Return the steps of a path.

    Raises:
        ValueError: It is not one.
    """
    path = text if text.startswith("$") else f"$.{text}"
    steps, end = list[Step](), 1
    while end < len(path):
        match = STEP.match(path, end)
        if match is None:
            raise ValueError(
                f"expected a path of members, positions and [*], e.g. $.products[*].name, "
                f"found {text!r}"
            )
        member, position, every, quoted = match.groups()
        steps.append(None if every else int(position) if position else member or quoted)
        end = match.end()
    return tuple(steps)


def find(value: Any, path: str) -> list[Any]:
    """Return the values at a path, in their order; what lacks a step has none."""
    entries = [value]
    for step in parse_path(path):
        entries = [inner for outer in entries for inner in _follow_step(outer, step)][:MAX_FOUND]
    return entries


def _follow_step(value: Any, step: Step) -> Sequence[Any]:
    if isinstance(value, list):
        if step is None:
            return value
        return [value[step]] if isinstance(step, int) and step < len(value) else []
    if isinstance(value, dict) and isinstance(step, str) and step in value:
        return [value[step]]
    return []
