"""When FINRA's derived tables and their picture are made again."""

import dagster as dg

from orchestration_project.assets.finra import (
    WEEKS_OF_ALL_TIERS,
    daily_job,
    gold_job,
    list_week_keys,
    tier_week_job,
    trade_activity,
)
from orchestration_project.domains.finra.recomputation import (
    CONCENTRATION,
    CROSS_TIER,
    ROLLING,
    tier_ranges,
    week_ranges,
)
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.domains.finra.ticks import describe_unpartitioned, plan_chart
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.derivations import build_requests
from orchestration_project.engine.contracts.ticks import PlannedRun, TickPlan, combine_plans
from orchestration_project.engine.derived import find_outdated
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.activity import made_of
from orchestration_project.resources.finra.gold import TIER_WEEKS, WINDOWS
from orchestration_project.sensors.definitions import (
    DueDerivations,
    build_answer,
    build_run,
    decide_derivations,
    find_run_under_way,
    read_known_keys,
    sensor,
)
from orchestration_project.sensors.finra.arrivals import PROFILE

SECONDS_BETWEEN_POLLS = 60
"""The loads are read from the database, some queries a look."""


@sensor(
    jobs=[gold_job, tier_week_job],
    minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
    profile=PROFILE,
    needs="loaded weeks",
)
def finra_on_landing(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Derive the weeks whose window or tiers changed: those that loaded or changed, and dependents.

    A week across tiers waits for the last of its tiers.
    """
    plans = [
        _plan_windows(context, clock, warehouse),
        _plan_across_tiers(context, clock, warehouse),
    ]
    return build_answer(combine_plans(plans))


def _plan_windows(
    context: dg.SensorEvaluationContext, clock: Clock, warehouse: Warehouse
) -> TickPlan:
    loaded, outdated = find_outdated(warehouse, WINDOWS)
    keys = list_week_keys()
    due = [key for key in outdated if key in keys]
    runs = build_requests(
        (ROLLING, CONCENTRATION),
        tier_ranges(due),
        loaded,
        database=warehouse.first_landed_at(finra_otc_weekly) if due else None,
        day=clock.today_in_new_york(),
    )
    derivation = DueDerivations(
        "finra_on_landing",
        warehouse,
        finra_otc_weekly,
        due,
        clock.now(),
        gold_job.name,
        current=f"what {len(loaded)} loaded weeks derive is current.",
        left_out=describe_unpartitioned(len(outdated) - len(due)),
    )
    return decide_derivations(context, runs, derivation)


def _plan_across_tiers(
    context: dg.SensorEvaluationContext, clock: Clock, warehouse: Warehouse
) -> TickPlan:
    loaded, outdated = find_outdated(warehouse, TIER_WEEKS)
    due = [week for week in outdated if WEEKS_OF_ALL_TIERS.has_partition_key(week)]
    week_count = len(CROSS_TIER.candidates(loaded))
    runs = build_requests(
        (CROSS_TIER,),
        week_ranges(due),
        loaded,
        database=warehouse.first_landed_at(finra_otc_weekly) if due else None,
        day=clock.today_in_new_york(),
    )
    derivation = DueDerivations(
        "finra_on_landing across tiers",
        warehouse,
        finra_otc_weekly,
        due,
        clock.now(),
        tier_week_job.name,
        current=f"all tiers of {week_count} weeks are loaded, and these are current.",
        left_out=describe_unpartitioned(len(outdated) - len(due)),
    )
    return decide_derivations(context, runs, derivation)


SECONDS_BETWEEN_PICTURES = 300
"""While many weeks load, each look finds other gold: this is how often it is drawn then."""


@sensor(
    job=daily_job,
    minimum_interval_seconds=SECONDS_BETWEEN_PICTURES,
    profile=PROFILE,
    needs="loaded weeks",
)
def finra_on_gold(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Draw the picture when what it shows changed."""
    version = made_of(warehouse)
    drawn = drawn_version(context.instance) if version else None
    is_due = version not in (None, drawn)
    running = find_run_under_way(context.instance, daily_job.name) if is_due else ""
    chart = trade_activity.key.to_user_string()
    run = PlannedRun(run_key=f"{version} ({clock.today_in_new_york()})", assets=[chart])
    known_keys = read_known_keys(context.instance, [run] if is_due else [])
    plan = plan_chart(run, version, drawn, running=running, known_keys=known_keys)
    if plan.message:  # Dagster shows no reason of a tick that requests runs
        context.log.info(plan.message, extra={"event": "chart_run_requested"})
    return build_run(plan)


def drawn_version(instance: dg.DagsterInstance) -> str | None:
    """Return the version that the latest picture was made of."""
    latest = instance.get_latest_materialization_event(trade_activity.key)
    metadata = (
        latest.asset_materialization.metadata if latest and latest.asset_materialization else {}
    )
    return str(metadata["made_of"].value) if "made_of" in metadata else None
