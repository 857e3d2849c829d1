"""Outcome of a load in one word, and the exit status of the commands that load."""

from collections.abc import Collection, Mapping
from typing import Literal

LoadOutcome = Literal["loaded", "not_published", "failed"]

EXIT_STATUSES: Mapping[LoadOutcome, int] = {"loaded": 0, "not_published": 3, "failed": 1}

OUTCOME_TEXT = (
    "loaded: all is loaded or unchanged; not_published: something is not published yet; "
    "failed: something failed or is quarantined"
)

EXIT_STATUS_TEXT = (
    "Exit status: 0 loaded, all is loaded or unchanged; 3 not_published, something is not "
    "published yet; 1 failed, something failed or is quarantined; 2 usage or not configured."
)
"""For the help of commands; the words are those of `LoadOutcome`."""


def load_outcome(*, has_failed: bool, unpublished: Collection[object]) -> LoadOutcome:
    """Return the outcome of a load; a failure outweighs what is not published yet."""
    if has_failed:
        return "failed"
    return "not_published" if unpublished else "loaded"
