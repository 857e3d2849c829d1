"""Next transition of an issue towards a status, by the status category, not its name alone."""

import re
from collections.abc import Sequence

from orchestration_project.domains.saas.records import StatusCategory, Transition

ABANDONED_STATUS = re.compile(
    r"cancel|reject|declin|won.?t|will not|not do|duplicate|invalid|abandon|obsolete|withdraw|"
    r"discard|not planned",
    re.IGNORECASE,
)
"""Statuses that end an issue without its work: a completed task leads there by a rule only."""

DONE_STATUS = re.compile(r"^(done|complete[d]?|resolve[d]?|close[d]?|finish(ed)?)\b", re.IGNORECASE)

MAX_STEPS = 3
"""From a status to the one that is wanted; longer ways are for people."""


def is_cancelled(status_name: str) -> bool:
    """Whether a status of category done ends an issue without its work, by its name."""
    return bool(ABANDONED_STATUS.search(status_name))


def next_step(
    now: StatusCategory,
    *,
    to_done: bool,
    offered: Sequence[Transition],
    to_cancelled: bool = False,
) -> Transition | None:
    """Return the step to take; None: none of those offered leads there.

    Where no step ends the issue at once, one that begins it comes first.

    Args:
        now: Present category.
        to_done: Whether the issue ends, or opens.
        offered: Steps that the issue may take.
        to_cancelled: Whether the issue ends in a cancelled status.
    """
    ending = [
        transition
        for transition in offered
        if transition.to_category == "done" and _is_giving_up(transition)
    ]
    if to_done and to_cancelled and ending:
        return min(ending, key=_order_by_usual)
    honest = [transition for transition in offered if not _is_giving_up(transition)]
    status_categories: Sequence[StatusCategory] = ("done",) if to_done else ("new", "indeterminate")
    if to_done and now == "new":
        status_categories = ("done", "indeterminate")
    for category in status_categories:
        if to_cancelled and category == "done":
            continue
        fitting = [transition for transition in honest if transition.to_category == category]
        if fitting:
            return min(fitting, key=_order_by_usual)
    return None


def _is_giving_up(step: Transition) -> bool:
    return bool(ABANDONED_STATUS.search(step.to_name) or ABANDONED_STATUS.search(step.name))


def _order_by_usual(step: Transition) -> tuple[bool, str]:
    is_usual = DONE_STATUS.search(step.to_name) or DONE_STATUS.search(step.name)
    return not is_usual, step.transition_id.rjust(12, "0")
