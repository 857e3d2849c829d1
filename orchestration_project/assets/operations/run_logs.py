"""Logs of old runs in Dagster's own storage: measured and, on request, deleted."""

from datetime import timedelta

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import RUN_LOGS, RUNS, STATE_ASSETS
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import acquire_for_run
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.metadata import build_table, log_metadata
from orchestration_project.services.run_logs import prune
from orchestration_project.settings import Settings, load_shared_settings
from orchestration_project.settings.values import MAX_DAYS


class PruneLogs(JobOptions):
    """Selection of logs, and whether to delete them."""

    dry_run: bool = Field(
        default=True, description="Dry run: only measure what would be freed; false deletes it."
    )
    older_than_days: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DAYS,
        examples=[30],
        description="Age of ended runs in days. Default: DAGSTER_RUN_LOG_DAYS "
        f"({load_shared_settings().dagster_run_log_days}).",
    )


def prune_run_logs(
    context: dg.OpExecutionContext,
    config: PruneLogs,
    clock: Clock,
    settings: Settings,
    warehouse: Warehouse,
) -> AssetEvent:
    """Measure the logs that finished runs left in Dagster; free them unless this is a dry run."""
    reported = report_dry_run(context.log, "nothing is deleted", is_dry_run=config.dry_run)
    days = config.older_than_days or settings.dagster_run_log_days
    before = Clock().now() - timedelta(days=days)  # the machine's time, as Dagster's runs have
    ledger = Ledger(warehouse, clock)
    if not config.dry_run:
        acquire_for_run(warehouse, context.instance, RUN_LOGS, run_id=context.run.run_id)
    prune_result = prune(
        context.instance, ledger, before, dry_run=config.dry_run, states=STATE_ASSETS
    )
    rows = [{"store": name, **left._asdict()} for name, left in prune_result.freed.items()]
    return dg.MaterializeResult(
        asset_key=RUNS,
        metadata=log_metadata(
            {
                **reported,
                "before": before,
                "stores": build_table(pl.DataFrame(rows)),
                "runs": max(left.run_count for left in prune_result.freed.values()),
                "bytes": sum(left.byte_count for left in prune_result.freed.values()),
                "runs_not_in_ledger": prune_result.unrecorded_count,
                "evaluations": prune_result.evaluation_count,
                "earlier_states": prune_result.state_count,
            }
        ),
    )


PRUNE_RUN_LOGS = Kind(
    "prune_run_logs",
    "Deletes the logs of old runs from Dagster's storage; a dry run by default.",
    PruneLogs,
    prune_run_logs,
    requires_admin=True,
    launches={"Measure the logs of old runs (dry run)": {"dry_run": True}},
)
