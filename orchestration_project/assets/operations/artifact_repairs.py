"""Damaged artifacts, repaired where the right bytes can be had, and what is lost of the others."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import (
    ARTIFACTS,
    DAMAGED_ARTIFACTS,
    ERASURES,
    REMOVALS,
)
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.connections.files import state_folder
from orchestration_project.contracts.job_options import Digests
from orchestration_project.contracts.repair import DAMAGED, NAMES
from orchestration_project.engine.blob_repair import delete_expired
from orchestration_project.engine.environment import Lazy
from orchestration_project.engine.leases import acquire_for_run
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import cut
from orchestration_project.registry import Registry
from orchestration_project.services.exports import all_exports
from orchestration_project.services.exports.rendering import renderer
from orchestration_project.services.exports.work import FOLDER
from orchestration_project.services.metadata import as_metadata, check_spec, table_of
from orchestration_project.services.repair.damage import (
    DamagedArtifact,
    damage_counts,
    named_blobs,
    open_damage,
    open_rows,
)
from orchestration_project.services.repair.opening import open_repairs
from orchestration_project.services.repair.repairing import Repaired
from orchestration_project.settings import Settings

CHECK = "lose_nothing"

MAX_SHOWN = 50
"""Artifacts that the metadata lists, so that an event stays small; the counts are of all."""

TEXT_CHARACTERS = 400

REPAIR_COLUMNS = ("artifact", "sha256", "problem", "state", "from", "reason", "loss")
OPEN_COLUMNS = ("artifact", "sha256", "problem", "state", "reason", "loss")


class RepairArtifacts(JobOptions):
    """Artifacts to repair."""

    sha256: Digests = Field(
        default=[],
        examples=[["0f" * 32]],
        description="SHA-256 of captured bytes to verify and repair; empty: by dataset, or all "
        "that the latest verifications found damaged.",
    )
    dataset: str | None = Field(
        default=None,
        examples=["weeklySummary"],
        description="Dataset of captures to verify and repair; without it, those of sha256, or "
        "all that the latest verifications found damaged.",
    )
    limit: int = Field(
        default=1_000, ge=1, le=100_000, description="Maximum number of damaged artifacts."
    )
    dry_run: bool = Field(
        default=True,
        description="Dry run: only show how each would be repaired; false repairs them.",
    )


@dg.multi_asset_check(
    name="check_damaged_artifacts",
    specs=[
        check_spec(
            CHECK,
            asset=ARTIFACTS,
            description="Every artifact that was found damaged is repaired.",
            remedy="restore the objects from a backup, or set ARTIFACTS_COPY_URL, and repair again",
        )
    ],
)
def check_damaged_artifacts(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Look for artifacts that are not repaired."""
    return check_of(warehouse)


def repair_artifacts(
    context: dg.OpExecutionContext,
    config: RepairArtifacts,
    artifacts: ArtifactStore,
    clock: Clock,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> Iterator[AssetEvent]:
    """Repair the artifacts that the config names, and report what is lost."""
    reported = report_dry_run(context.log, "nothing is repaired", is_dry_run=config.dry_run)
    store: ArtifactStore = artifacts.open_it() if isinstance(artifacts, Lazy) else artifacts
    if not config.dry_run:
        for work in (DAMAGED_ARTIFACTS, ERASURES, REMOVALS):  # they change the same objects
            acquire_for_run(warehouse, context.instance, work, run_id=context.run.run_id)
    found = _chosen(config, warehouse)
    declared = all_exports(registry, settings)
    render = renderer(warehouse, declared, state_folder(settings, FOLDER))
    results: list[Repaired] = []
    with open_repairs(
        registry,
        settings,
        warehouse=warehouse,
        artifacts=store,
        render=render,
        clock=clock,
        run_id=context.run.run_id,
    ) as repairs:
        ended = repairs.plan(found) if config.dry_run else repairs.repair(found)
        for each in ended:
            results.append(each)
            if each.outcome is not None:
                context.log.info(
                    f"{each.artifact.name}: {each.outcome.state}: {each.outcome.reason}",
                    extra={"event": "artifact_repaired"},
                )
    expired = 0
    if not config.dry_run:
        expired = delete_expired(store, clock.today("UTC"), settings.artifacts_damaged_days)
    yield dg.MaterializeResult(
        asset_key=ARTIFACTS,
        metadata=as_metadata({**reported, **_figures(results), "expired_count": expired}),
    )
    yield check_of(warehouse)


def _chosen(config: RepairArtifacts, warehouse: Warehouse) -> Sequence[DamagedArtifact]:
    if config.sha256 or config.dataset is not None:
        return named_blobs(warehouse, config.sha256, config.dataset)[: config.limit]
    return open_damage(warehouse)[: config.limit]


def _figures(results: Sequence[Repaired]) -> dict[str, Any]:
    states = [each.outcome.state if each.outcome else each.artifact.problem for each in results]
    rows = [_row(each) for each in results[:MAX_SHOWN]]
    return {
        "damaged_count": len(results),
        **{f"{state}_count": states.count(state) for state in ("repaired", "rederived", "lost")},
        "repairs": table_of(pl.DataFrame(rows, dict.fromkeys(REPAIR_COLUMNS, pl.String))),
    }


def _row(repaired: Repaired) -> Mapping[str, str]:
    artifact, outcome = repaired.artifact, repaired.outcome
    ways = ", ".join(NAMES[way] for way in repaired.ways)
    return {
        "artifact": artifact.name,
        "sha256": artifact.sha256,
        "problem": artifact.problem,
        "state": outcome.state if outcome else "damaged",
        "from": (NAMES[outcome.way] if outcome.way else "") if outcome else ways,
        "reason": cut(outcome.reason if outcome else "", TEXT_CHARACTERS),
        "loss": cut(repaired.loss or "", TEXT_CHARACTERS),
    }


def damage_metadata(warehouse: Warehouse) -> dict[str, Any]:
    """Return what is recorded of damaged artifacts: counts, and those that are not repaired."""
    counts = damage_counts(warehouse)
    rows = [
        {
            "artifact": each["name"],
            "reason": cut(each["reason"] or "", TEXT_CHARACTERS),
            "loss": cut(each["loss"] or "", TEXT_CHARACTERS),
            **{name: each[name] for name in ("sha256", "problem", "state")},
        }
        for each in open_rows(warehouse, MAX_SHOWN)
    ]
    return {
        **{f"{state}_count": counts.get(state, 0) for state in ("repaired", "rederived", "lost")},
        "open_artifact_count": counts.get("lost", 0) + counts.get("damaged", 0),
        "open_artifacts": table_of(pl.DataFrame(rows, dict.fromkeys(OPEN_COLUMNS, pl.String))),
    }


def check_of(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Return the check: which artifacts are not repaired, with what is lost."""
    metadata = damage_metadata(warehouse)
    return dg.AssetCheckResult(
        asset_key=ARTIFACTS,
        check_name=CHECK,
        passed=not metadata["open_artifact_count"],
        metadata=metadata,
    )


REPAIR_ARTIFACTS = Kind(
    "repair_artifacts",
    "Repairs damaged artifacts from a second store, their sources or rows; a dry run by default. "
    f"Bytes that are replaced stay below {DAMAGED} for ARTIFACTS_DAMAGED_DAYS.",
    RepairArtifacts,
    repair_artifacts,
    requires_admin=True,
)
