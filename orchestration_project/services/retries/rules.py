"""Selection of failed partitions and work items to retry, and grouping of launches."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, get_args

from orchestration_project.engine.contracts.failures import PERMANENT_REASONS, Category
from orchestration_project.engine.contracts.work_items import PERMANENT_REMEDIES
from orchestration_project.errors import ConfigurationError


@dataclass(frozen=True)
class FailedPartition:
    """A partition whose latest attempt failed, and which did not load since.

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
            f"unknown failure category: {', '.join(unknown)}",
            expected=f"one of {', '.join(get_args(Category))}",
            remedy="correct the run's config",
        )


def explain_skip(failed: FailedPartition, kinds: Collection[str]) -> str:
    """Return why a failed partition is not retried; empty if it is."""
    if failed.obstacle or failed.category in kinds:
        return failed.obstacle
    return PERMANENT_REASONS.get(failed.category, "its kind was not requested")


def build_batches(due: Sequence[FailedPartition]) -> list[Batch]:
    """Return the partitions that are launched together, in the order of assets and configs."""
    failed_partitions: dict[tuple[tuple[str, ...], str], list[FailedPartition]] = {}
    for failed_partition in sorted(due, key=lambda each: each.partition):
        config = json.dumps(failed_partition.config, sort_keys=True)
        failed_partitions.setdefault((failed_partition.assets, config), []).append(failed_partition)
    return [
        Batch(assets, partitions, json.loads(config))
        for (assets, config), partitions in sorted(failed_partitions.items())
    ]


@dataclass(frozen=True, kw_only=True)
class ItemFilter:
    """Failed and dead work items that a user wants to retry.

    Attributes:
        domain: Items of this domain; None: of all.
        topics: Items of these topics; empty: of all.
        item_keys: Items with these keys, whatever their failure; empty: all.
        since: Items that failed after this time; None: at any time.
        run_id: Items whose latest attempt this run made; None: any run.
        reason_codes: Items with these reason codes, permanent ones, too; empty: with any.
        include_permanent: Whether permanent failures are retried, too.
    """

    domain: str | None = None
    topics: Sequence[str] = ()
    item_keys: Sequence[str] = ()
    since: datetime | None = None
    run_id: str | None = None
    reason_codes: Sequence[str] = ()
    include_permanent: bool = False

    @property
    def is_items_only(self) -> bool:
        """Whether it names work items, so that no partition is meant."""
        return bool(self.topics or self.item_keys or self.reason_codes)

    def excluded_reasons(
        self, remedies: Mapping[str, str] = PERMANENT_REMEDIES
    ) -> Mapping[str, str]:
        """Return the reason codes that are listed and not retried, with what has to change.

        Args:
            remedies: Of permanent failures of a topic, by reason code: another attempt fails, too.
        """
        is_any = self.item_keys or self.reason_codes or self.include_permanent
        return {} if is_any else remedies

    def why_left_out(
        self, reason_code: str | None, remedies: Mapping[str, str] = PERMANENT_REMEDIES
    ) -> str:
        """Return the change that an item needs before it is retried; empty if it is retried."""
        return self.excluded_reasons(remedies).get(reason_code or "", "")


@dataclass(frozen=True)
class TopicCount:
    """How many failed and dead items of a topic are retried, and how many are left out."""

    topic: str
    due_count: int
    left_out_count: int


@dataclass(frozen=True)
class FailedItem:
    """A failed or dead work item, as `work_items` has it.

    Attributes:
        left_out_because: What has to change before it is retried; empty: it is retried.
    """

    topic: str
    item_key: str
    state: str
    attempt_count: int
    reason_code: str | None
    reason: str | None
    run_id: str | None
    left_out_because: str


@dataclass(frozen=True)
class ItemRetryPlan:
    """Plan of a retry of work items.

    Attributes:
        topics: The items by topic, of topics that have any.
        first: The first of them by topic and key, those before the others that are retried.
        missing_keys: Keys that were requested and that no failed or dead item has.
    """

    topics: Sequence[TopicCount] = ()
    first: Sequence[FailedItem] = ()
    missing_keys: Sequence[str] = ()


def count_topics(
    found: Mapping[tuple[str, str], int],
    wanted: ItemFilter,
    remedies: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> list[TopicCount]:
    """Return counts by topic and reason code as counts of what is retried and left out.

    Args:
        found: The counts.
        wanted: What a user wants to retry.
        remedies: Remedies of permanent failures, by topic and reason code; a topic without them
            has those of errors.
    """
    topics = sorted({topic for topic, _ in found})
    left_out = {
        topic: sum(
            found.get((topic, code), 0)
            for code in wanted.excluded_reasons(remedies.get(topic, PERMANENT_REMEDIES))
        )
        for topic in topics
    }
    totals = {
        topic: sum(n for (count_topic, _), n in found.items() if count_topic == topic)
        for topic in topics
    }
    return [TopicCount(name, totals[name] - left_out[name], left_out[name]) for name in topics]


def check_domain(domain: str, known: Collection[str]) -> None:
    """Make sure that a domain has partitions or work items.

    Raises:
        ConfigurationError: It does not.
    """
    if domain not in known:
        raise ConfigurationError(
            f"invalid domain {domain!r}: expected one with partitions or work items",
            expected=f"one of {', '.join(sorted(known))}",
            remedy="correct the domain",
        )


def check_topics(wanted: Collection[str], known: Collection[str]) -> None:
    """Make sure that topics are known.

    Raises:
        ConfigurationError: One is not.
    """
    if unknown := sorted(set(wanted) - set(known)):
        expected = f"one of {', '.join(sorted(known))}" if known else "none: no topic has items"
        raise ConfigurationError(
            f"invalid topic {unknown[0]!r}",
            expected=expected,
            remedy="list the items: orchestrate items list",
        )


def check_reason_codes(wanted: Collection[str], known: Collection[str]) -> None:
    """Make sure that failed and dead items have these reason codes.

    Raises:
        ConfigurationError: One is of no item.
    """
    if unknown := sorted(set(wanted) - set(known)):
        expected = f"one of {', '.join(sorted(known))}" if known else "none: no item failed"
        raise ConfigurationError(
            f"invalid reason code {unknown[0]!r}",
            expected=expected,
            remedy="list the items: orchestrate items list",
        )
