"""When what looks across weeks and tiers is derived: after landings."""

from collections.abc import Sequence

import dagster as dg

from orchestration_project.assets.finra import WEEKS, WEEKS_OF_ALL_TIERS
from orchestration_project.domains.finra.recomputation import (
    CONCENTRATION,
    CROSS_TIER,
    ROLLING,
    Request,
    requests,
    tier_ranges,
    week_ranges,
)
from orchestration_project.jobs import finra_gold, finra_tier_week
from orchestration_project.resources.finra.gold import outdated_tier_weeks, outdated_windows
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.sensors.finra.runs import UNDER_WAY
from orchestration_project.tables import finra as tables

SECONDS_BETWEEN_LOOKS = 60
"""The landings are read from the database, so a look costs two small queries."""


@dg.sensor(job=finra_gold, minimum_interval_seconds=SECONDS_BETWEEN_LOOKS)
def finra_on_landing(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Derive the weeks whose window changed: those that landed or changed, and their dependents."""
    landed = warehouse.changes(tables.finra_otc_weekly)
    wanted = [key for key in outdated_windows(warehouse) if WEEKS.has_partition_key(key)]
    if not wanted:
        return dg.SkipReason(f"Nothing to do: what {len(landed)} landed weeks derive is current.")
    if running := _under_way(context, finra_gold.name):
        return dg.SkipReason(f"The run {running} of {finra_gold.name} is under way.")
    return _asked(context, requests((ROLLING, CONCENTRATION), tier_ranges(wanted), landed))


@dg.sensor(job=finra_tier_week, minimum_interval_seconds=SECONDS_BETWEEN_LOOKS)
def finra_on_last_tier(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Derive the weeks whose last tier landed, or of which a tier changed."""
    landed = warehouse.changes(tables.finra_otc_weekly)
    due = outdated_tier_weeks(warehouse)
    wanted = [week for week in due if WEEKS_OF_ALL_TIERS.has_partition_key(week)]
    if not wanted:
        complete = len(CROSS_TIER.candidates(landed))
        return dg.SkipReason(
            f"Nothing to do: all tiers of {complete} weeks are landed, and these are current."
        )
    if running := _under_way(context, finra_tier_week.name):
        return dg.SkipReason(f"The run {running} of {finra_tier_week.name} is under way.")
    return _asked(context, requests((CROSS_TIER,), week_ranges(wanted), landed))


def _under_way(context: dg.SensorEvaluationContext, job: str) -> str | None:
    runs = context.instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY), limit=1)
    return runs[0].run_id if runs else None


def _asked(context: dg.SensorEvaluationContext, runs: Sequence[Request]) -> dg.SensorResult:
    """Return what is asked for; a tick that asks for runs has no message, so its log says it."""
    asked = ", ".join(f"{run.first} to {run.last}" for run in runs)
    context.log.info(f"Asked for {asked}.")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=run.run_key,
                tags={
                    "dagster/asset_partition_range_start": run.first,
                    "dagster/asset_partition_range_end": run.last,
                },
            )
            for run in runs
        ]
    )
