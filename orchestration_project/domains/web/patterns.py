"""Regular expressions of site files, in time linear to the text, whatever the text is.

They run in the process that forks runs, too, so nothing here may start a thread.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

MAX_PATTERN_BYTES = 8 * 2**20
"""Memory of a compiled pattern; one that needs more is refused."""


@lru_cache(maxsize=1_000)
def compiled(pattern: str) -> Any:
    """Return a pattern for RE2, which has neither look-around nor back-references.

    Raises:
        ValueError: It is not one.
    """
    import re2  # an extra

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise ValueError(
            "expected a regular expression without look-around and back-references, "
            rf"e.g. '/product/\d+', found {pattern!r}"
        ) from None


def contains(text: str, pattern: str | None) -> bool:
    """Whether a text contains a match; any text does without a pattern."""
    return pattern is None or compiled(pattern).search(text) is not None


def matches(text: str, pattern: str) -> list[str]:
    """Return the first group of each match, or the match of a pattern without groups."""
    entries: Iterable[Any] = compiled(pattern).finditer(text)
    group = 1 if compiled(pattern).groups else 0
    return [entry[group] for entry in entries if entry[group] is not None]
