"""Artifacts and contents of rows that are old, measured and, when asked to, deleted."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import ARTIFACTS, REMOVALS
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.retention import CAPTURED, PICTURE, SET_ASIDE, STAGED
from orchestration_project.engine.leases import acquire_for_run
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.cleanup.removing import (
    File,
    Retention,
    clean_up,
    plan_cleanup,
    refuse_shared_store,
    sum_by_kind,
)
from orchestration_project.services.cleanup.retention import ExpiredRows, read_retention
from orchestration_project.services.metadata import build_table, log_metadata
from orchestration_project.settings import Settings

NAMES_SHOWN = 50


class CleanUpArtifacts(JobOptions):
    """Whether artifacts go."""

    dry_run: bool = Field(
        default=True, description="Dry run: only list what would be deleted; false deletes it."
    )
    only_database: bool = Field(
        default=False,
        description=(
            "Confirms that no other database uses this artifact store; without it, captured bytes "
            "are kept."
        ),
    )


def delete_artifacts(
    context: dg.OpExecutionContext,
    config: CleanUpArtifacts,
    artifacts: ArtifactStore,
    clock: Clock,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> AssetEvent:
    """Find the artifacts and contents of rows that may go, and delete them unless dry_run."""
    now = clock.now()
    reported = report_dry_run(context.log, "nothing is deleted", is_dry_run=config.dry_run)
    if not config.dry_run:
        acquire_for_run(warehouse, context.instance, REMOVALS, run_id=context.run.run_id)
    of_domains = read_retention(registry, settings)
    retention = build_retention(settings)._replace(of_datasets=of_domains.captured_days)
    plan = plan_cleanup(warehouse, artifacts, retention, now=now, row_retention=of_domains.rows)
    went = plan.files
    if config.dry_run:
        with warehouse.reading() as connection:
            emptied = {rule.kind: rule.measure(connection, now) for rule in of_domains.rows}
    else:
        refuse_shared_store(plan, only_database=config.only_database)
        emptied = {rule.kind: rule.remove(warehouse, now) for rule in of_domains.rows}
        went = clean_up(warehouse, artifacts, plan, now=now, run_id=context.run.run_id)
    metadata = log_metadata({**reported, **_describe_files(went), **_describe_rows(emptied)})
    return dg.MaterializeResult(asset_key=ARTIFACTS, metadata=metadata)


def _describe_files(files: Mapping[str, Sequence[File]]) -> Mapping[str, Any]:
    """Return the metadata of removed files: counts by kind, and some names."""
    kinds = sum_by_kind(files)
    names = [file.name for of_kind in files.values() for file in of_kind]
    return {
        "kinds": build_table(kinds),
        "artifacts": int(kinds["artifact_count"].sum()),
        "bytes": int(kinds["byte_count"].sum()),
        "examples": build_table(pl.DataFrame({"artifact": names[:NAMES_SHOWN]})),
    }


def _describe_rows(emptied: Mapping[str, ExpiredRows]) -> Mapping[str, Any]:
    """Return the metadata of rows whose contents were removed, by kind."""
    rows = [(kind, *expired) for kind, expired in emptied.items() if expired.row_count]
    columns = {"kind": pl.String, "row_count": pl.Int64, "byte_count": pl.Int64}
    return {"emptied_rows": build_table(pl.DataFrame(rows, columns, orient="row"))}


def build_retention(settings: Settings) -> Retention:
    """Return the retention of each kind of artifact by the settings."""
    days = {
        CAPTURED: settings.artifacts_captured_days,
        STAGED: settings.artifacts_staged_days,
        PICTURE: settings.artifacts_picture_days,
        SET_ASIDE: settings.artifacts_damaged_days,
    }
    return Retention(days, settings.artifacts_keep_newest)


DELETE_ARTIFACTS = Kind(
    "delete_artifacts",
    "Deletes old artifacts that nothing references, and old bodies of webhooks; a dry run by "
    "default.",
    CleanUpArtifacts,
    delete_artifacts,
    requires_admin=True,
)
