"""The ledger of runs and steps, compared with Dagster and repaired."""

from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.operations.catalogue import RUNS, build_asset_spec, parse_moment
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import Moment
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.ledger import Ledger, reconcile
from orchestration_project.services.metadata import log_metadata
from orchestration_project.tables.operations_runs import operations_runs


class Reconciliation(JobOptions):
    """Runs to compare."""

    since: Moment = Field(
        default=None,
        examples=["2026-11-01T00:00:00Z"],
        description="Runs that were requested after this time, such as 2026-11-01T00:00:00Z; "
        "without it, all.",
    )
    only_changed: bool = Field(
        default=False,
        description="Only runs that are missing, or whose row differs from Dagster in status or in "
        "the time of the last change; that costs little also over many runs.",
    )


@dg.multi_asset(
    name="reconcile_operations",
    specs=[
        build_asset_spec(RUNS, operations_runs, "ledger"),
    ],
)
def ledger(
    context: dg.AssetExecutionContext,
    config: Reconciliation,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Compare the ledger with all that Dagster knows, and repair what is missing or differs."""
    ledger_repair = reconcile(
        context.instance,
        Ledger(warehouse, clock),
        parse_moment(config.since),
        only_changed=config.only_changed,
    )
    metadata = log_metadata(
        {
            "runs_missing": ledger_repair.written.added,
            "runs_differing": ledger_repair.written.changed,
            "runs_same": ledger_repair.written.same,
            "runs_gone": ledger_repair.gone,
        }
    )
    return dg.MaterializeResult(asset_key=RUNS, metadata=metadata)
