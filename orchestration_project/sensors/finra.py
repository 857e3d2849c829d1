"""When FINRA's weeks are loaded, and what hangs on them is derived."""

from collections.abc import Sequence

import dagster as dg

from orchestration_project.assets.finra import SPECS, WEEKS, WEEKS_OF_ALL_TIERS
from orchestration_project.domains.finra.recomputation import (
    CONCENTRATION,
    CROSS_TIER,
    ROLLING,
    Request,
    out_of_date,
    requests,
    tier_ranges,
    week_ranges,
)
from orchestration_project.domains.finra.selection import (
    of_known_tiers,
    outdated,
    summary,
    within_horizon,
)
from orchestration_project.jobs import finra_gold, finra_otc_weekly, finra_tier_week
from orchestration_project.resources.backfills import active_backfill, request_backfill
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.finra import FinraSource, versions_of
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.settings import Settings
from orchestration_project.tables import finra as tables

MONDAYS = "finra_otc_weekly_mondays"
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
SECONDS_BETWEEN_LOOKS = 60
"""The landings are read from the database, so a look costs two small queries."""


def backfill_outdated_weeks(
    context: dg.ScheduleEvaluationContext,
    clock: dg.ResourceParam[Clock],
    finra: dg.ResourceParam[FinraSource],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SkipReason:
    """Backfill the weeks within the horizon that are missing, or that FINRA has restated."""
    running = active_backfill(context.instance, MONDAYS)
    if running is not None:
        return dg.SkipReason(f"The backfill {running} of an earlier tick is still running.")
    horizon = settings.finra_horizon_weeks
    known, unknown = of_known_tiers(finra.published())
    aside = f" Left out, as tiers that are not documented: {', '.join(unknown)}." if unknown else ""
    recent = within_horizon(known, today=clock.today_in_new_york(), weeks=horizon)
    wanted = [each for each in recent if WEEKS.has_partition_key(each.key)]
    seen = warehouse.known_versions(tables.finra_otc_weekly)
    now, refusals = versions_of(finra, [each for each in wanted if each.key in seen])
    due = outdated([each for each in wanted if each.key not in refusals], seen=seen, now=now)
    unsaid = f" FINRA says nothing of {', '.join(sorted(refusals))}." if refusals else ""
    if not due:
        return dg.SkipReason(
            f"Nothing to do: all {len(wanted)} partitions published in the last {horizon} weeks "
            f"were taken, and none has changed since.{aside}{unsaid}"
        )
    backfill = request_backfill(
        context.instance,
        context.repository_def,
        [spec.key for spec in SPECS],
        [each.key for each in due],
        requested_by=MONDAYS,
        title=f"FINRA OTC weekly: {len(due)} partitions missing or restated",
    )
    return dg.SkipReason(f"Launched the backfill {backfill}: {summary(due)}.{aside}{unsaid}")


finra_otc_weekly_mondays = dg.schedule(
    name=MONDAYS,
    job=finra_otc_weekly,
    cron_schedule="0 9 * * 1,2",  # after a Monday that is a holiday, FINRA publishes on Tuesday
    execution_timezone="America/New_York",
)(backfill_outdated_weeks)


@dg.sensor(job=finra_gold, minimum_interval_seconds=SECONDS_BETWEEN_LOOKS)
def finra_on_landing(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Derive the weeks whose window changed: those that landed or changed, and their dependents."""
    landed = warehouse.changes(tables.finra_otc_weekly)
    rolling = warehouse.derived_versions(tables.finra_symbol_rolling_6w)
    concentration = warehouse.derived_versions(tables.finra_concentration_week)
    due = {
        *out_of_date(ROLLING, landed, rolling),
        *out_of_date(CONCENTRATION, landed, concentration),
    }
    wanted = [key for key in due if WEEKS.has_partition_key(key)]
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
    derived = warehouse.derived_versions(tables.finra_tier_week)
    due = out_of_date(CROSS_TIER, landed, derived)
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
