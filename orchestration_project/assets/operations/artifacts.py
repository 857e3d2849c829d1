"""Contents of the artifact store: captures by filter, sizes by kind, agreement with the tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.artifact_repairs import describe_damage
from orchestration_project.assets.operations.catalogue import ARTIFACTS, report_spec
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.inventory import Inventory, read_captures, take_inventory
from orchestration_project.services.metadata import build_table, check_spec, log_metadata
from orchestration_project.services.repair.damage import (
    DamagedArtifact,
    close_repaired,
    find_damaged_files,
    record_damage,
)

COLUMNS = {
    "kind": "captured bytes, staged rows, picture, or other",
    "artifact_count": "Number of artifacts",
    "byte_count": "Stored size, bytes",
}

CHECK = "hold_what_was_captured"

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


artifacts = report_spec(ARTIFACTS, "One row per kind of artifact that is stored.", COLUMNS)


@dg.multi_asset_check(
    name="check_artifacts",
    specs=[
        check_spec(
            CHECK,
            asset=ARTIFACTS,
            description="Every blob that the tables name is stored, with the bytes of its SHA-256.",
            remedy="run operations_clean_up: repair_artifacts, or restore the blobs from a backup",
        )
    ],
)
def check_artifacts(
    artifacts: dg.ResourceParam[ArtifactStore], warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Compare the artifact store with the tables, without reading all bytes."""
    inventory = take_inventory(warehouse, artifacts, read_all=False)
    files = find_damaged_files(warehouse, artifacts, read_all=False)
    return _check(inventory, files, describe_damage(warehouse))


def list_artifacts(
    context: dg.OpExecutionContext,
    config: ArtifactsWanted,
    artifacts: ArtifactStore,
    clock: Clock,
    warehouse: Warehouse,
) -> Iterator[AssetEvent]:
    """List captures, count what is stored, compare it with the tables, and record damage."""
    captures = read_captures(warehouse, config.where, config.limit)
    inventory = take_inventory(warehouse, artifacts, read_all=config.read_all)
    files = find_damaged_files(warehouse, artifacts, read_all=config.read_all)
    damaged = [*(DamagedArtifact.of_blob(*pair) for pair in inventory.damaged), *files]
    run_id = context.run.run_id
    with warehouse.writing() as connection:
        record_damage(connection, damaged, at=clock.now(), run_id=run_id)
    close_repaired(warehouse, artifacts, damaged, at=clock.now(), run_id=run_id)
    yield dg.MaterializeResult(
        asset_key=ARTIFACTS,
        metadata=log_metadata(
            {
                "captures": build_table(
                    captures.cast({"capture_id": pl.String})
                ),  # a browser would round it
                "captures_listed": len(captures),
                "kinds": build_table(inventory.kinds),
                "artifacts": int(inventory.kinds["artifact_count"].sum()),
                "bytes": int(inventory.kinds["byte_count"].sum()),
            }
        ),
    )
    yield _check(inventory, files, describe_damage(warehouse))


def _check(
    inventory: Inventory, files: Sequence[DamagedArtifact], recorded: Mapping[str, Any]
) -> dg.AssetCheckResult:
    texts = [file.name for file in files if file.problem == "missing"]
    other = [file.name for file in files if file.problem != "missing"]
    missing, unnamed = [*inventory.found.missing, *texts], inventory.found.unnamed
    changed = [*inventory.changed, *other]
    wrong = {"missing": missing, "changed": changed, "unnamed": unnamed}
    entries = [
        {"problem": problem, "artifact": name}
        for problem, names in wrong.items()
        for name in names[:NAMES_SHOWN]
    ]
    return dg.AssetCheckResult(
        asset_key=ARTIFACTS,
        check_name=CHECK,
        passed=not missing and not changed,
        metadata={
            **{f"{problem}_count": len(names) for problem, names in wrong.items()},
            "read_count": inventory.read_count,
            "examples": build_table(pl.DataFrame(entries, PROBLEMS)),
            **recorded,
        },
    )


LIST_ARTIFACTS = Kind(
    "list_artifacts",
    "Lists captures and artifacts, and compares the store with the tables.",
    ArtifactsWanted,
    list_artifacts,
)
