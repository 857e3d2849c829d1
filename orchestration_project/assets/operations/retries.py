"""Failed partitions and work items, found across all runs and retried where that may help."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Annotated

import dagster as dg
import polars as pl
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from orchestration_project.assets.operations.catalogue import parse_moment
from orchestration_project.assets.operations.kinds import Kind
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.failures import TRANSIENT_CATEGORIES
from orchestration_project.engine.contracts.job_kinds import HANDLE_RUNS
from orchestration_project.engine.contracts.job_options import Moment
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, cut
from orchestration_project.registry import Registry
from orchestration_project.services.backfills import (
    LAUNCHED_BY_JOB,
    build_launch_tags,
    find_active_backfill,
    request_backfill,
)
from orchestration_project.services.metadata import build_table, log_metadata
from orchestration_project.services.retries.retrying import (
    ItemRetries,
    ItemTopics,
    find_failed_partitions,
)
from orchestration_project.services.retries.rules import (
    Batch,
    FailedItem,
    FailedPartition,
    ItemFilter,
    ItemRetryPlan,
    build_batches,
    check_kinds,
    explain_skip,
)

MAX_PARTITIONS_LISTED = 200
"""Partitions that a table lists, so that an event stays below 100 KB; the counts are of all."""

REASON_CHARACTERS, KEYS_CHARACTERS = 300, 4_000

TOPIC_COLUMNS = {"topic": pl.String, "due_count": pl.Int64, "left_out_count": pl.Int64}

ITEM_COLUMNS = {
    field.name: pl.Int64 if field.type is int else pl.String for field in fields(FailedItem)
}

COLUMNS = (
    *("asset", "partition", "kind", "ended_at", "run_id"),
    *("failure", "left_out_because"),
)


def _check_kinds(kinds: list[str]) -> list[str]:
    try:
        check_kinds(kinds)
    except ConfigurationError as error:
        raise PydanticCustomError("kinds", "{problem}", {"problem": error.line}) from error
    return kinds


class RetryFailures(JobOptions):
    """Failed partitions and work items to retry."""

    domain: str | None = Field(
        default=None, examples=["finra"], description="Domain; without it, all domains."
    )
    since: Moment = Field(
        default=None,
        examples=["2026-11-01T00:00:00Z"],
        description=(
            "Only runs that ended after this time, such as 2026-11-01T00:00:00Z; without it, all "
            "runs."
        ),
    )
    run_id: str | None = Field(
        default=None,
        examples=["0d3f1a52-7c1e-4f0a-9d57-6f1f5f7a2b11"],
        description=(
            "Run ID: only partitions that this run did not materialize and that are failed now, "
            "and work items whose latest attempt it made; without it, all that are failed now."
        ),
    )
    kinds: Annotated[list[str], AfterValidator(_check_kinds)] = Field(
        default=list(TRANSIENT_CATEGORIES),
        description="Failure categories of partitions to retry: source, contract, "
        "configuration, transient, database, refused, crash, canceled and defect.",
    )
    topics: list[str] = Field(
        default=[],
        examples=[["webhooks/github"]],
        description="Work items of these topics, such as webhooks/github, and no partitions; "
        "empty: of all topics.",
    )
    item_keys: list[str] = Field(
        default=[],
        examples=[["42"]],
        description="Work items with these keys, whatever their failure, and no partitions; "
        "empty: all whose failure may pass.",
    )
    reason_codes: list[str] = Field(
        default=[],
        examples=[["encrypted"]],
        description="Work items that failed by these reasons, permanent ones, too, and no "
        "partitions; empty: by any reason.",
    )
    include_permanent: bool = Field(
        default=False,
        description="Retry also work items whose failure is permanent, such as contract.",
    )
    include_items: bool = Field(
        default=True, description="Retry also work items; false: only partitions."
    )
    dry_run: bool = Field(
        default=True,
        description="Dry run: only list partitions and work items; false retries them.",
    )


def retry_failures(
    context: dg.OpExecutionContext,
    config: RetryFailures,
    clock: Clock,
    registry: Registry,
    warehouse: Warehouse,
) -> None:
    """Launch backfills of failed partitions, put failed work items back, and list the others."""
    reported = report_dry_run(context.log, "nothing is retried", is_dry_run=config.dry_run)
    check_kinds(config.kinds)
    items, item_filter = ItemRetries(warehouse, clock, registry), _build_filter(config)
    plan = items.plan(item_filter) if config.include_items else ItemRetryPlan()
    judged = [
        (partition, explain_skip(partition, config.kinds))
        for partition in _find_failed_partitions(context, config, registry, item_filter)
    ]
    due = [failed_partition for failed_partition, why in judged if not why]
    left_out = [(failed_partition, why) for failed_partition, why in judged if why]
    backfills = _start_backfills(context, build_batches(due), dry_run=config.dry_run)
    is_item_retry = config.include_items and not config.dry_run
    retried = items.retry(item_filter) if is_item_retry else {}
    context.add_output_metadata(
        log_metadata(
            {
                **reported,
                "backfills": backfills,
                "due": _list_partitions([(failed_partition, "") for failed_partition in due]),
                "due_count": len(due),
                "left_out": _list_partitions(left_out),
                "left_out_count": len(left_out),
                **_describe_items(plan, retried),
            }
        )
    )


def _build_filter(config: RetryFailures) -> ItemFilter:
    return ItemFilter(
        domain=config.domain,
        topics=config.topics,
        item_keys=config.item_keys,
        since=parse_moment(config.since),
        run_id=config.run_id,
        reason_codes=config.reason_codes,
        include_permanent=config.include_permanent,
    )


def _find_failed_partitions(
    context: dg.OpExecutionContext, config: RetryFailures, registry: Registry, wanted: ItemFilter
) -> Sequence[FailedPartition]:
    """Return the failed partitions that the config selects; none if it selects work items."""
    if wanted.is_items_only:
        return []
    return find_failed_partitions(
        context.instance,
        context.repository_def,
        domain=config.domain,
        since=wanted.since,
        left_by=config.run_id,
        other_domains=[domain.name for domain in registry.domains if domain.registered(ItemTopics)],
    )


def _describe_items(plan: ItemRetryPlan, retried: Mapping[str, int]) -> Mapping[str, object]:
    """Return work items as metadata; ``retried`` has the number that was put back of each topic."""
    items = [
        {**asdict(failed_item), "reason": cut(failed_item.reason or "", REASON_CHARACTERS)}
        for failed_item in plan.first
    ]
    return {
        "item_topics": build_table(pl.DataFrame(list(map(asdict, plan.topics)), TOPIC_COLUMNS)),
        "items": build_table(pl.DataFrame(items, ITEM_COLUMNS)),
        "items_due_count": sum(topic.due_count for topic in plan.topics),
        "items_left_out_count": sum(topic.left_out_count for topic in plan.topics),
        "items_missing": cut(", ".join(plan.missing_keys), KEYS_CHARACTERS),
        "items_retried_count": sum(retried.values()),
    }


def _start_backfills(context: dg.OpExecutionContext, due: Sequence[Batch], *, dry_run: bool) -> str:
    """Launch a backfill for each batch; return their ids, or the reason why none is launched."""
    running = find_active_backfill(context.instance, {LAUNCHED_BY_JOB: HANDLE_RUNS[0]})
    if running is not None:
        return f"none: {running}, of an earlier run of this job, is not over"
    if not due or dry_run:
        return "none: dry run" if due else "none: nothing is to be retried"
    return ", ".join(
        request_backfill(
            context.instance,
            context.repository_def,
            [dg.AssetKey.from_user_string(asset) for asset in batch.assets],
            [partition.partition for partition in batch.partitions],
            tags=build_launch_tags(HANDLE_RUNS[0], context.run.tags),
            title=f"Retry: {len(batch.partitions)} partitions of {batch.assets[0]}",
            run_config=batch.config or None,
        )
        for batch in due
    )


def _list_partitions(partitions: Sequence[tuple[FailedPartition, str]]) -> dg.TableMetadataValue:
    rows = [
        {
            "asset": failed_partition.assets[0],
            "partition": failed_partition.partition,
            "kind": failed_partition.category,
            "ended_at": f"{failed_partition.ended_at:%Y-%m-%d %H:%M:%S}",
            "run_id": failed_partition.run_id,
            "failure": cut(failed_partition.reason, REASON_CHARACTERS),
            "left_out_because": why,
        }
        for failed_partition, why in partitions[:MAX_PARTITIONS_LISTED]
    ]
    return build_table(pl.DataFrame(rows, dict.fromkeys(COLUMNS, pl.String)))


RETRY_FAILURES = Kind(
    "retry_failures",
    "Retries failed partitions and work items that may succeed now; a dry run by default.",
    RetryFailures,
    retry_failures,
)
