"""Backfills, requested from a schedule: open-source Dagster lets only people request them.

The classes are private to Dagster 1.13, so they are used here only, and a test holds them to it.
"""

from collections.abc import Sequence

import dagster as dg
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.utils import make_new_backfill_id

from orchestration_project.resources.clock import Clock

REQUESTED_BY = "requested_by"
ACTIVE = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


def active_backfill(instance: dg.DagsterInstance, requested_by: str) -> str | None:
    """Return the id of a backfill that ``requested_by`` asked for and that is not over."""
    filters = BulkActionsFilter(statuses=ACTIVE, tags={REQUESTED_BY: requested_by})
    found = instance.get_backfills(filters=filters, limit=1)
    return found[0].backfill_id if found else None


def request_backfill(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    assets: Sequence[dg.AssetKey],
    partition_keys: Sequence[str],
    *,
    requested_by: str,
    title: str,
) -> str:
    """Ask the daemon to backfill ``partition_keys`` of ``assets`` and return the backfill's id."""
    backfill_id = make_new_backfill_id()
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=backfill_id,
            asset_graph=repository.asset_graph,
            partition_names=list(partition_keys),
            asset_selection=list(assets),
            backfill_timestamp=Clock().now().timestamp(),
            tags={REQUESTED_BY: requested_by},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=title,
            description=None,
            run_config=None,
        )
    )
    return backfill_id
