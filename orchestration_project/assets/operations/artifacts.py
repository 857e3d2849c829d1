"""Contents of the artifact store: captures by filter, sizes by kind, agreement with the tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.artifact_repairs import damage_metadata
from orchestration_project.assets.operations.catalogue import ARTIFACTS, report_spec
from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.job_options import job_text
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.inventory import Inventory, read_captures, take_inventory
from orchestration_project.services.metadata import as_metadata, check_spec, table_of
from orchestration_project.services.repair.damage import (
    DamagedArtifact,
    close_repaired,
    damaged_files,
    record_damage,
)

COLUMNS = {
    "kind": "captured bytes, staged rows, picture, or other",
    "artifact_count": "Number of artifacts",
    "byte_count": "Stored size, bytes",
}

NAMES_SHOWN = 20
PROBLEMS = {"problem": pl.String, "artifact": pl.String}


class ArtifactsWanted(JobOptions):
    """Filter of captures, and options of the comparison."""

    where: list[str] = Field(
        default=[],
        examples=[["partition_key=T1|2026-10-05", "fetched_at>=2026-11-01T00:00:00Z"]],
        description="Conditions on columns of captures that must all hold, as export takes them: "
        "partition_key=T1|2026-10-05, run_id=..., fetched_at>=2026-11-01T00:00:00Z.",
    )
    limit: int = Field(
        default=50, ge=1, le=500, description="Maximum number of captures, the latest first."
    )
    read_all: bool = Field(
        default=False, description="Read all captured bytes and verify their SHA-256."
    )


@dg.multi_asset(
    name="list_artifacts",
    specs=[report_spec(ARTIFACTS, "One row per kind of artifact that is stored.", COLUMNS)],
    check_specs=[
        check_spec(
            "hold_what_was_captured",
            asset=ARTIFACTS,
            description="Every blob that the tables name is stored, with the bytes of its SHA-256.",
            remedy="run operations_repair_artifacts, or restore the blobs from a backup",
        )
    ],
)
def artifacts(
    context: dg.AssetExecutionContext,
    config: ArtifactsWanted,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """List captures, count what is stored, compare it with the tables, and record damage."""
    found = read_captures(warehouse, config.where, config.limit)
    inventory = take_inventory(warehouse, artifacts, read_all=config.read_all)
    files = damaged_files(warehouse, artifacts, read_all=config.read_all)
    damaged = [*(DamagedArtifact.of_blob(*each) for each in inventory.damaged), *files]
    run_id = context.run.run_id
    with warehouse.writing() as connection:
        record_damage(connection, damaged, at=clock.now(), run_id=run_id)
    close_repaired(warehouse, artifacts, damaged, at=clock.now(), run_id=run_id)
    yield dg.MaterializeResult(
        asset_key=ARTIFACTS,
        metadata=as_metadata(
            {
                "captures": table_of(
                    found.cast({"capture_id": pl.String})
                ),  # a browser would round it
                "captures_listed": len(found),
                "kinds": table_of(inventory.kinds),
                "artifacts": int(inventory.kinds["artifact_count"].sum()),
                "bytes": int(inventory.kinds["byte_count"].sum()),
            }
        ),
    )
    yield _check(inventory, files, damage_metadata(warehouse))


def _check(
    inventory: Inventory, files: Sequence[DamagedArtifact], recorded: Mapping[str, Any]
) -> dg.AssetCheckResult:
    gone = [each.name for each in files if each.problem == "missing"]
    other = [each.name for each in files if each.problem != "missing"]
    missing, unnamed = [*inventory.found.missing, *gone], inventory.found.unnamed
    changed = [*inventory.changed, *other]
    wrong = {"missing": missing, "changed": changed, "unnamed": unnamed}
    shown = [
        {"problem": problem, "artifact": name}
        for problem, names in wrong.items()
        for name in names[:NAMES_SHOWN]
    ]
    return dg.AssetCheckResult(
        asset_key=ARTIFACTS,
        check_name="hold_what_was_captured",
        passed=not missing and not changed,
        metadata={
            **{f"{problem}_count": len(names) for problem, names in wrong.items()},
            "read_count": inventory.read_count,
            "examples": table_of(pl.DataFrame(shown, PROBLEMS)),
            **recorded,
        },
    )


artifacts_job = dg.define_asset_job(
    "operations_artifacts",
    selection=dg.AssetSelection.assets(artifacts),
    description=job_text(
        "Lists captures and artifacts, and compares the store with the tables.",
        "list_artifacts",
        ArtifactsWanted,
    ),
    tags={"domain": "operations"},
)
