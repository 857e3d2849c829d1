"""Backfills: those that are stored, a new one, and their partitions.

`PartitionBackfill` is a backfill as stored, and `BulkActionStatus` how far it is. Dagster exports
neither, though methods of its public classes return them.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill

__all__ = [
    "BulkActionStatus",
    "PartitionBackfill",
    "add_asset_backfill",
    "find_backfills",
    "iterate_missing",
    "iterate_targets",
]


def find_backfills(
    instance: dg.DagsterInstance,
    *,
    statuses: Sequence[BulkActionStatus] | None = None,
    tags: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Sequence[PartitionBackfill]:
    """Return the backfills that have these statuses and tags, the newest first.

    Dagster 1.13: `BulkActionsFilter`. No public way: none to read backfills. At an upgrade: status
    and tags select, and the newest stands first.
    """
    filters = BulkActionsFilter(statuses=statuses, tags=tags and dict(tags))
    return instance.get_backfills(filters=filters, limit=limit)


ID_CHARACTERS = 8
"""Length of a backfill's ID, as of those that Dagster makes."""


def add_asset_backfill(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    assets: Sequence[dg.AssetKey],
    partition_keys: Sequence[str],
    *,
    timestamp: float,
    tags: Mapping[str, str],
    title: str,
    run_config: Mapping[str, Any] | None = None,
) -> str:
    """Ask the daemon for a backfill of assets and return its id.

    Dagster 1.13: `PartitionBackfill`. No public way: schedules and jobs launch runs only, the UI
    alone launches backfills. At an upgrade: the daemon's iteration takes
    the backfill, and gives its runs the tags and the run config.
    """
    backfill_id = "".join(secrets.choice(ascii_lowercase) for _ in range(ID_CHARACTERS))
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=backfill_id,
            asset_graph=repository.asset_graph,
            partition_names=list(partition_keys),
            asset_selection=list(assets),
            backfill_timestamp=timestamp,
            tags=tags,
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=title,
            description=None,
            run_config=run_config,
        )
    )
    return backfill_id


def _is_readable(backfill: PartitionBackfill, repository: dg.RepositoryDefinition) -> bool:
    """Return whether the partitions of a backfill of assets can be read.

    Those that Dagster stored before 1.6 need the assets and partitions of their time.

    Dagster 1.13: `PartitionBackfill.is_valid_serialization`. No public way: none to read backfills.
    At an upgrade: a backfill in the old form is refused where its asset is gone.
    """
    graph_only: Any = repository  # Dagster passes a workspace, and reads its graph alone
    return backfill.is_valid_serialization(graph_only)


def iterate_missing(
    backfill: PartitionBackfill, repository: dg.RepositoryDefinition
) -> Iterator[tuple[dg.AssetKey, str]]:
    """Yield the partitions that a backfill of assets has not made; "" for an asset of one piece.

    Of a backfill that can no longer be read, each asset is yielded with "".

    Dagster 1.13: `AssetBackfillData`. No public way: none to read backfills. At an upgrade: it has
    target_subset and materialized_subset.
    """
    if not _is_readable(backfill, repository):
        yield from ((asset, "") for asset in backfill.asset_selection or ())
        return
    data = backfill.get_asset_backfill_data(repository.asset_graph)
    asset_partitions = set(data.materialized_subset.iterate_asset_partitions())
    for partition in data.target_subset.iterate_asset_partitions():
        if partition not in asset_partitions:
            yield partition.asset_key, partition.partition_key or ""


def iterate_targets(
    backfill: PartitionBackfill, repository: dg.RepositoryDefinition
) -> Iterator[tuple[dg.AssetKey, str, bool]]:
    """Yield the partitions of a backfill, and whether Dagster left each out for a failure.

    Of a backfill that can no longer be read, nothing is yielded.

    Dagster 1.13: `AssetBackfillData`. No public way: none to read backfills. At an upgrade: it has
    target_subset and failed_and_downstream_subset.
    """
    if not _is_readable(backfill, repository):
        return
    data = backfill.get_asset_backfill_data(repository.asset_graph)
    failed = set(data.failed_and_downstream_subset.iterate_asset_partitions())
    for partition in data.target_subset.iterate_asset_partitions():
        yield partition.asset_key, partition.partition_key or "", partition in failed
