"""Damaged artifacts, repaired where the right bytes can be had, and what is lost of the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
from orchestration_project.engine.blob_repair import delete_expired
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.contracts.exports import EXPORTS_FOLDER
from orchestration_project.engine.contracts.job_options import Digests
from orchestration_project.engine.contracts.repair import DAMAGED, NAMES
from orchestration_project.engine.environment import Lazy
from orchestration_project.engine.leases import acquire_for_run
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.recovery import Recovery, RecoveryEnvironment
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import cut
from orchestration_project.registry import Environment, Registry
from orchestration_project.services.exports import read_all_exports
from orchestration_project.services.exports.rendering import build_renderer
from orchestration_project.services.inventory import take_inventory
from orchestration_project.services.metadata import build_table, check_spec, log_metadata
from orchestration_project.services.repair.copies import open_copy
from orchestration_project.services.repair.damage import (
    DamagedArtifact,
    count_damage,
    find_damaged_files,
    find_named_blobs,
    open_damage,
    open_rows,
)
from orchestration_project.services.repair.repairing import RenderFile, Repaired, Repairs
from orchestration_project.settings import Settings

CHECK = "lose_nothing"

MAX_SHOWN = 50
"""Artifacts that the metadata lists, so that an event stays small; the counts are of all."""

TEXT_CHARACTERS = 400

REPAIR_COLUMNS = ("artifact", "sha256", "problem", "state", "from", "reason", "loss")
OPEN_COLUMNS = ("artifact", "sha256", "problem", "state", "reason", "loss")

DEFAULT_LIMIT = 1_000


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
    copy_url: str | None = Field(
        default=None,
        examples=["s3://backups/prefix"],
        description="Folder or s3:// URL of a copy of the artifact store, or of backups, which is "
        "tried first. Without sha256 and dataset, the store is compared with the tables before.",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        examples=[50],
        description=f"Maximum number of damaged artifacts; empty: {DEFAULT_LIMIT}, with copy_url "
        "all.",
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
            remedy="run `orchestrate artifacts repair --from PLACE` with a copy or backups",
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
        _acquire_leases(context, warehouse)
    damaged_artifacts = _choose(config, warehouse, store)
    results: list[Repaired] = []
    with open_at_first_use(registry, settings) as open_resource:
        repairs = Repairs(
            artifacts=store,
            copy=open_copy(config.copy_url, store, damaged_artifacts) if config.copy_url else None,
            recoveries=registry.whole.defined(Recovery),
            environment=RecoveryEnvironment(
                settings=settings, warehouse=warehouse, clock=clock, open=open_resource
            ),
            render=_open_renderer(warehouse, registry, settings),
            run_id=context.run.run_id,
        )
        planned = repairs.plan if config.dry_run else repairs.repair
        for repaired in planned(damaged_artifacts):
            results.append(repaired)
            _log_repair(context, repaired)
    expired = 0
    if not config.dry_run:
        expired = delete_expired(store, clock.today("UTC"), settings.artifacts_damaged_days)
    yield dg.MaterializeResult(
        asset_key=ARTIFACTS,
        metadata=log_metadata({**reported, **_count_repairs(results), "expired_count": expired}),
    )
    yield check_of(warehouse)


def _acquire_leases(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
    """Keep other runs from work that changes the same objects."""
    for work in (DAMAGED_ARTIFACTS, ERASURES, REMOVALS):
        acquire_for_run(warehouse, context.instance, work, run_id=context.run.run_id)


def _log_repair(context: dg.OpExecutionContext, repaired: Repaired) -> None:
    """Log the outcome of an artifact; a dry run has none."""
    if repaired.outcome is not None:
        text = f"{repaired.artifact.name}: {repaired.outcome.state}: {repaired.outcome.reason}"
        context.log.info(text, extra={"event": "artifact_repaired"})


def _open_renderer(warehouse: Warehouse, registry: Registry, settings: Settings) -> RenderFile:
    folder = ensure_state_folder(settings, EXPORTS_FOLDER)
    return build_renderer(warehouse, read_all_exports(registry, settings), folder)


@contextmanager
def open_at_first_use(registry: Registry, settings: Settings) -> Iterator[Callable[[str], Any]]:
    """Give a function that opens a resource of a domain by its name, each once.

    It raises ConfigurationError if the settings of the domain are invalid, or it has no source.
    """
    opened: dict[str, Any] = {}
    with ExitStack() as stack:

        def open_resource(name: str) -> Any:
            if name not in opened:
                [domain] = [
                    domain for domain in registry.whole.domains if name in domain.connections
                ]
                domain.require_valid(settings)
                resource = domain.connections[name].open(Environment(settings=settings))
                opened[name] = stack.enter_context(resource)
            return opened[name]

        yield open_resource


def _choose(
    config: RepairArtifacts, warehouse: Warehouse, store: ArtifactStore
) -> Sequence[DamagedArtifact]:
    limit = config.limit or (None if config.copy_url else DEFAULT_LIMIT)
    if config.sha256 or config.dataset is not None:
        return find_named_blobs(warehouse, config.sha256, config.dataset)[:limit]
    damage = open_damage(warehouse)
    if config.copy_url:
        damaged = take_inventory(warehouse, store, read_all=False).damaged
        damage += [DamagedArtifact.of_blob(*pair) for pair in damaged]
        damage += find_damaged_files(warehouse, store, read_all=False)
    return list(
        {
            (damaged_artifact.name, damaged_artifact.sha256): damaged_artifact
            for damaged_artifact in damage
        }.values()
    )[:limit]


def _count_repairs(results: Sequence[Repaired]) -> dict[str, Any]:
    states = [
        result.outcome.state if result.outcome else result.artifact.problem for result in results
    ]
    rows = [_render_repair(result) for result in results[:MAX_SHOWN]]
    return {
        "damaged_count": len(results),
        **{f"{state}_count": states.count(state) for state in ("repaired", "rederived", "lost")},
        "repairs": _make_table(REPAIR_COLUMNS, rows),
    }


def _render_repair(repaired: Repaired) -> Mapping[str, str]:
    artifact, outcome = repaired.artifact, repaired.outcome
    ways = ", ".join(NAMES[way] for way in repaired.ways)
    return {
        "artifact": artifact.name,
        "sha256": artifact.sha256,
        "problem": artifact.problem,
        "state": outcome.state if outcome else "damaged",
        "from": (NAMES[outcome.way] if outcome.way else "") if outcome else ways,
        "reason": outcome.reason if outcome else "",
        "loss": repaired.loss or "",
    }


def _make_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return rows of texts, which are cut to a length, as a table."""
    texts = [[cut(row[name] or "", TEXT_CHARACTERS) for name in columns] for row in rows]
    return build_table(pl.DataFrame(texts, dict.fromkeys(columns, pl.String), orient="row"))


def describe_damage(warehouse: Warehouse) -> dict[str, Any]:
    """Return counts of damaged artifacts, and a table of those that are not repaired."""
    counts = count_damage(warehouse)
    return {
        **{f"{state}_count": counts.get(state, 0) for state in ("repaired", "rederived", "lost")},
        "open_artifact_count": counts.get("lost", 0) + counts.get("damaged", 0),
        "open_artifacts": _make_table(OPEN_COLUMNS, open_rows(warehouse, MAX_SHOWN)),
    }


def check_of(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Return the check: which artifacts are not repaired, with what is lost."""
    metadata = describe_damage(warehouse)
    return dg.AssetCheckResult(
        asset_key=ARTIFACTS,
        check_name=CHECK,
        passed=not metadata["open_artifact_count"],
        metadata=metadata,
    )


REPAIR_ARTIFACTS = Kind(
    "repair_artifacts",
    "Repairs damaged artifacts from a copy, their sources or rows; a dry run by default. "
    f"Bytes that are replaced stay below {DAMAGED} for ARTIFACTS_DAMAGED_DAYS.",
    RepairArtifacts,
    repair_artifacts,
    requires_admin=True,
)
