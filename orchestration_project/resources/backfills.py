"""Backfills, requested by a schedule or job: open-source Dagster lets only people request them.

The classes are private to Dagster 1.13, so they are used here only, and a test holds them to it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.utils import make_new_backfill_id

from orchestration_project.resources.clock import Clock

REQUESTED_BY = "requested_by"
"""Tag of the schedule that asked for a backfill: its runs count as the schedule's."""

LAUNCHED_BY = "launched_by"
"""Tag of the job that a person asked for a backfill with."""

ACTIVE = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


def active_backfill(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> str | None:
    """Return the id of a backfill that has these tags and is not over."""
    filters = BulkActionsFilter(statuses=ACTIVE, tags=dict(tags))
    found = instance.get_backfills(filters=filters, limit=1)
    return found[0].backfill_id if found else None


def first_backfill(
    instance: dg.DagsterInstance, tags: Mapping[str, str]
) -> PartitionBackfill | None:
    """Return the oldest backfill that has these tags."""
    found = instance.get_backfills(filters=BulkActionsFilter(tags=dict(tags)))
    return found[-1] if found else None  # the newest stands first


def request_backfill(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    assets: Sequence[dg.AssetKey],
    partition_keys: Sequence[str],
    *,
    tags: Mapping[str, str],
    title: str,
    run_config: Mapping[str, Any] | None = None,
) -> str:
    """Ask the daemon to backfill ``partition_keys`` of ``assets`` and return the backfill's id.

    Its runs get the tags and the run config.
    """
    backfill_id = make_new_backfill_id()
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=backfill_id,
            asset_graph=repository.asset_graph,
            partition_names=list(partition_keys),
            asset_selection=list(assets),
            backfill_timestamp=Clock().now().timestamp(),
            tags=tags,
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=title,
            description=None,
            run_config=run_config,
        )
    )
    return backfill_id


def launched_by(job: str, run_tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of what a run of ``job`` launches; ``user`` is handed on."""
    return {LAUNCHED_BY: job} | {name: run_tags[name] for name in ("user",) if name in run_tags}
