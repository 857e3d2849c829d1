"""Copies of artifacts in the second store, kept up by a job."""

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import (
    ARTIFACTS,
    COPIES,
)
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.environment import Lazy, open_second_store
from orchestration_project.engine.leases import acquire_for_run
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.metadata import as_metadata, table_of
from orchestration_project.services.repair.copying import ArtifactCopies, CopyCounts
from orchestration_project.settings import Settings

COUNT_COLUMNS = {
    "kind": pl.String,
    **dict.fromkeys(("object_count", "byte_count", "present_count", "damaged_count"), pl.Int64),
}


class CopyArtifacts(JobOptions):
    """Extent of the copy."""

    follow_all: bool = Field(
        default=False,
        description="Follow all rows instead of the new ones: for a second store that lost "
        "objects.",
    )


def copy_artifacts(
    context: dg.OpExecutionContext,
    config: CopyArtifacts,
    artifacts: ArtifactStore,
    clock: Clock,
    settings: Settings,
    warehouse: Warehouse,
) -> AssetEvent:
    """Copy captured bytes and exported files that are new, and delete what was cleaned up."""
    second = open_second_store(settings)
    if second is None:
        raise ConfigurationError(
            "artifacts cannot be copied to a second store",
            expected="a folder or an s3:// URL in ARTIFACTS_COPY_URL",
            found="it is not set",
            remedy="set it to a store on another disk or in another bucket",
        )
    acquire_for_run(warehouse, context.instance, COPIES, run_id=context.run.run_id)
    work = ArtifactCopies(
        warehouse=warehouse,
        artifacts=artifacts.open_it() if isinstance(artifacts, Lazy) else artifacts,
        second_store=second,
        clock=clock,
        run_id=context.run.run_id,
        follows_all=config.follow_all,
    )
    counts: dict[str, CopyCounts] = {}
    for each in work.copy():
        counts[each.kind] = counts.get(each.kind, CopyCounts(each.kind)).plus(each)
    copied = [each for kind, each in counts.items() if kind != "removals"]
    rows = [(*each[:4], len(each.damaged)) for each in counts.values()]
    return dg.MaterializeResult(
        asset_key=ARTIFACTS,
        metadata=as_metadata(
            {
                "copied_count": sum(each.object_count for each in copied),
                "bytes": sum(each.byte_count for each in copied),
                "damaged_count": sum(len(each.damaged) for each in copied),
                "kinds": table_of(pl.DataFrame(rows, COUNT_COLUMNS, orient="row")),
            }
        ),
    )


COPY_ARTIFACTS = Kind(
    "copy_artifacts",
    "Copies new captured bytes and exported files to the store of ARTIFACTS_COPY_URL, and deletes "
    "there what delete_artifacts deleted.",
    CopyArtifacts,
    copy_artifacts,
)
