"""A person or document, found in rows, bytes and logs of runs and, when asked to, erased."""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import ARTIFACTS, ERASURES
from orchestration_project.assets.operations.kinds import AssetEvent, Kind, build_kind_job
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import Lazy
from orchestration_project.engine.leases import acquire_for_run
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.access.approvals import (
    ApprovalDemand,
    read_person,
    require_approval,
)
from orchestration_project.services.erasure.erasing import Erased, Places, erase, preview
from orchestration_project.services.erasure.requests import (
    ErasureRequest,
    ErasureRequests,
    find_kind,
    read_kinds,
)
from orchestration_project.services.erasure.rules import Subject
from orchestration_project.services.metadata import build_table, log_metadata
from orchestration_project.settings import Settings


class EraseSubject(JobOptions):
    """Requested erasure, and whether it is carried out."""

    request_id: str = Field(
        examples=["6f1c0d9a3b7e4f52"],
        description="ID of the request, which `orchestrate erase` stores; the run config never "
        "has the identifier.",
    )
    dry_run: bool = Field(
        default=True, description="Dry run: only count what would be erased; false erases it."
    )
    only_database: bool = Field(
        default=False,
        description="Confirms that no other database uses this artifact store; without it, an "
        "erasure that must remove captured bytes is refused.",
    )


def erase_subject(
    context: dg.OpExecutionContext,
    config: EraseSubject,
    artifacts: ArtifactStore,
    clock: Clock,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> AssetEvent:
    """Count the data of a subject, and erase it unless this is a dry run."""
    requests = ErasureRequests(warehouse, clock)
    request = requests.read(config.request_id)
    kind = find_kind(read_kinds(registry, settings), request.kind)
    reported = report_dry_run(context.log, "nothing is erased", is_dry_run=config.dry_run)
    places = _open_places(context, config, artifacts, registry, settings, warehouse)
    erased: Erased | None
    if config.dry_run and request.identifiers is not None:
        subject = Subject(request.identifiers, companions=kind.companions)
        erased = preview(places, kind, subject, at=clock.now())
    elif config.dry_run:
        erased = None
    else:
        if request.identifiers is not None:  # otherwise only freed pages are left to overwrite
            _require_approval(context, config, request, warehouse)
        acquire_for_run(warehouse, context.instance, ERASURES, run_id=context.run.run_id)
        erased = erase(places, request, kind, requests, clock=clock, run_id=context.run.run_id)
    return dg.MaterializeResult(
        asset_key=ARTIFACTS,
        metadata=log_metadata({**reported, "subject_kind": request.kind, **_count_erased(erased)}),
    )


def _open_places(
    context: dg.OpExecutionContext,
    config: EraseSubject,
    artifacts: ArtifactStore,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> Places:
    return Places(
        warehouse=warehouse,
        artifacts=artifacts.open_it() if isinstance(artifacts, Lazy) else artifacts,
        instance=context.instance,
        state_folder=settings.state_path,
        left_out=[settings.state_path / name for name in list_simulator_paths(registry)],
        only_database=config.only_database,
        log_keep_days=settings.log_keep_days,
    )


def _require_approval(
    context: dg.OpExecutionContext,
    config: EraseSubject,
    request: ErasureRequest,
    warehouse: Warehouse,
) -> None:
    """Require that a second person approved the erasure, where the installation requests it."""
    parameters = {
        "erasure_id": request.request_id,
        "kind": request.kind,
        "only_database": config.only_database,
    }
    demand = ApprovalDemand(
        "erase",
        parameters,
        request.reason,
        read_person(context.run.tags),
        use=f"erasure {request.request_id}",  # an interrupted one goes on
    )
    require_approval(warehouse, demand)


def list_simulator_paths(registry: Registry) -> list[str]:
    """Return the names of what simulated sources keep in STATE_DIR: they are outside systems."""
    return [
        name
        for domain in registry.whole.domains
        for name in domain.state_paths
        if "demo" in name.split("_")
    ]


def _count_erased(found: Erased | None) -> dict[str, Any]:
    if found is None:
        return {"outcome": "erased before; only freed pages are left to overwrite"}
    names = sorted(found.rows.deleted.keys() | found.rows.masked.keys())
    rows = [
        {
            "table": name,
            "deleted": found.rows.deleted[name],
            "masked": found.rows.masked[name],
        }
        for name in names
    ]
    return {
        "rows_deleted": found.rows.deleted.total(),
        "rows_masked": found.rows.masked.total(),
        "rows_by_table": build_table(pl.DataFrame(rows)),
        "captures_deleted": found.store.deleted,
        "captures_redacted": found.store.redacted,
        "artifacts_deleted": len(found.store.artifacts),
        "files_changed": len(found.files) + len(found.dagster),
        "not_reached": build_table(pl.DataFrame({"place": list(found.not_reached)})),
    }


erase_job = build_kind_job(
    "operations_erase",
    Kind(
        "erase_subject",
        "Erases a person or document from rows, bytes and logs of runs; a dry run by default.",
        EraseSubject,
        erase_subject,
        requires_admin=True,
    ),
)
