"""Events of a renamed asset: the new asset gets what the latest events of the old one said.

Dagster stores the key of an asset within each event, and renames none. So the events of the old
asset stay as they were, and runs keep showing them. For each of its materialized partitions the new
asset gets a materialization without a run, which links to the one that it stands for.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from orchestration_project.engine.announcements import NOTICES

RENAMED_FROM, RENAMED_EVENT_RUN, RENAMED_EVENT_AT = (
    "renamed_from",
    "renamed_event_run",
    "renamed_event_at",
)
"""Metadata of such a materialization: the old asset, and run and time of its event."""


def report_renamed(instance: dg.DagsterInstance, old: str, new: str) -> int:
    """Report the materializations of a renamed asset that are missing; return their number.

    Safe to repeat: a partition that the new asset has is left as it is.

    Args:
        instance: Dagster's.
        old: The asset before, such as shop/pieces.
        new: The asset now.
    """
    count = 0
    for event in _find_missing(instance, dg.AssetKey(old.split("/")), dg.AssetKey(new.split("/"))):
        instance.report_runless_asset_event(event)
        count += 1
    return count


def _find_missing(
    instance: dg.DagsterInstance, old: dg.AssetKey, new: dg.AssetKey
) -> Iterator[dg.AssetMaterialization]:
    """Yield the materializations of the new asset, one for each partition that it lacks."""
    for partition in _find_missing_partitions(instance, old, new):
        asset_records_filter = dg.AssetRecordsFilter(
            asset_key=old, asset_partitions=None if partition is None else [partition]
        )
        [record] = instance.fetch_materializations(asset_records_filter, limit=1).records
        event = record.asset_materialization
        if event is None:
            continue
        metadata = {name: value for name, value in event.metadata.items() if name not in NOTICES}
        first = {
            RENAMED_EVENT_RUN: dg.MetadataValue.dagster_run(record.run_id),
            RENAMED_EVENT_AT: dg.MetadataValue.timestamp(
                datetime.fromtimestamp(record.timestamp, UTC)
            ),
        }
        yield dg.AssetMaterialization(
            asset_key=new,
            partition=partition,
            description=f"Loaded as {old.to_user_string()} before the asset was renamed.",
            metadata={**first, **metadata, RENAMED_FROM: dg.MetadataValue.asset(old)},
        )


def _find_missing_partitions(
    instance: dg.DagsterInstance, old: dg.AssetKey, new: dg.AssetKey
) -> Sequence[str | None]:
    """Return the partitions that the old asset has and the new one lacks; [None]: the asset."""
    partitions = instance.get_materialized_partitions(old)
    if partitions:
        return sorted(partitions - instance.get_materialized_partitions(new))
    is_missing = (
        instance.get_latest_materialization_event(old) is not None
        and instance.get_latest_materialization_event(new) is None
    )
    return [None] if is_missing else []
