"""Which failed partitions are worth another try, and what is launched together."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

from orchestration_project.domains.operations.failures import Category
from orchestration_project.errors import ConfigurationError

PASSING: tuple[Category, ...] = ("transient", "database", "crash")
"""Kinds of failure that another try may mend; the others stay until somebody changes something."""

STAYS: Mapping[str, str] = {
    "source": "the source would answer the same again; look at its answer",
    "contract": "it stays held back until the source or a rule changes; then load or replay it",
    "configuration": "a setting or run config has to be corrected first",
    "refused": "the step ended itself on purpose",
    "canceled": "somebody ended it",
    "defect": "nobody foresaw it; the same would happen again",
}
"""Why a kind of failure is not retried by itself, by its category."""


@dataclass(frozen=True)
class FailedPartition:
    """A partition whose latest attempt failed, and which did not land since.

    Attributes:
        assets: What is made together of it.
        config: What the run's config said to their op.
        obstacle: Why it is not to be retried whatever its kind; empty: nothing is in the way.
    """

    assets: tuple[str, ...]
    partition: str
    run_id: str
    ended_at: datetime
    category: str
    reason: str
    config: Mapping[str, Any] = field(default_factory=dict)
    obstacle: str = ""


@dataclass(frozen=True)
class Batch:
    """Partitions that one backfill tries again: of the same assets, under the same config."""

    assets: tuple[str, ...]
    partitions: Sequence[FailedPartition]
    config: Mapping[str, Any]


def check_kinds(kinds: Collection[str]) -> None:
    """Refuse kinds of failure that there are not.

    Raises:
        ConfigurationError: One of them is none.
    """
    unknown = sorted(set(kinds) - set(get_args(Category)))
    if unknown:
        raise ConfigurationError(
            f"there is no such kind of failure: {', '.join(unknown)}",
            expected=f"of {', '.join(get_args(Category))}",
            remedy="correct the run's config",
        )


def why_left_out(failed: FailedPartition, kinds: Collection[str]) -> str:
    """Return why a failed partition is not retried; empty if it is."""
    if failed.obstacle or failed.category in kinds:
        return failed.obstacle
    return STAYS.get(failed.category, "its kind was not asked for")


def batches(due: Sequence[FailedPartition]) -> list[Batch]:
    """Return what is launched together, in the order of assets and configs."""
    found: dict[tuple[tuple[str, ...], str], list[FailedPartition]] = {}
    for each in sorted(due, key=lambda each: each.partition):
        config = json.dumps(each.config, sort_keys=True)
        found.setdefault((each.assets, config), []).append(each)
    return [
        Batch(assets, partitions, json.loads(config))
        for (assets, config), partitions in sorted(found.items())
    ]
