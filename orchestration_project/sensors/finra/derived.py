"""When FINRA's derived tables and their picture are made again."""

import dagster as dg

from orchestration_project.assets.finra import (
    WEEKS_OF_ALL_TIERS,
    daily_job,
    gold_job,
    tier_week_job,
    trade_activity,
    week_keys,
)
from orchestration_project.domains.finra.recomputation import (
    CONCENTRATION,
    CROSS_TIER,
    ROLLING,
    tier_ranges,
    week_ranges,
)
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.derivations import requests
from orchestration_project.engine.derived import find_outdated
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.activity import made_of
from orchestration_project.resources.finra.gold import TIER_WEEKS, WINDOWS
from orchestration_project.sensors.definitions import (
    ONCE_A_DAY,
    DueDerivations,
    not_yet_asked,
    request_derivations,
    sensor,
    while_under_way,
)
from orchestration_project.sensors.finra.arrivals import PROFILE

SECONDS_BETWEEN_LOOKS = 60
"""The landings are read from the database, some queries a look."""


@sensor(
    jobs=[gold_job, tier_week_job],
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    profile=PROFILE,
    needs="loaded weeks",
)
def finra_on_landing(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Derive the weeks whose window or tiers changed: those that landed or changed, and dependents.

    A week across tiers waits for the last of its tiers.
    """
    entries = [
        _derive_windows(context, clock, warehouse),
        _derive_across_tiers(context, clock, warehouse),
    ]
    sensor_results = [entry for entry in entries if isinstance(entry, dg.SensorResult)]
    if sensor_results:
        expected_run_requests = [
            request for result in sensor_results for request in result.run_requests or []
        ]
        return dg.SensorResult(run_requests=expected_run_requests)
    reasons = [str(entry.skip_message) for entry in entries if isinstance(entry, dg.SkipReason)]
    return dg.SkipReason(" ".join(reasons))


def _derive_windows(
    context: dg.SensorEvaluationContext, clock: Clock, warehouse: Warehouse
) -> dg.SensorResult | dg.SkipReason:
    landed, due = find_outdated(warehouse, WINDOWS)
    keys = week_keys()
    expected_names = [key for key in due if key in keys]
    left_out = _describe_unpartitioned(len(due) - len(expected_names))
    if not expected_names:
        return dg.SkipReason(
            f"Nothing to do: what {len(landed)} landed weeks derive is current.{left_out}"
        )
    if wait := while_under_way(context.instance, gold_job.name):
        return wait
    runs = requests(
        (ROLLING, CONCENTRATION),
        tier_ranges(expected_names),
        landed,
        database=warehouse.first_landed_at(finra_otc_weekly),
        day=clock.today_in_new_york(),
    )
    derivation = DueDerivations(
        *("finra_on_landing", warehouse, finra_otc_weekly, expected_names, clock.now()),
        job_name=gold_job.name,
    )
    return request_derivations(context, runs, derivation, left_out)


def _derive_across_tiers(
    context: dg.SensorEvaluationContext, clock: Clock, warehouse: Warehouse
) -> dg.SensorResult | dg.SkipReason:
    landed, due = find_outdated(warehouse, TIER_WEEKS)
    expected_names = [week for week in due if WEEKS_OF_ALL_TIERS.has_partition_key(week)]
    left_out = _describe_unpartitioned(len(due) - len(expected_names))
    if not expected_names:
        complete = len(CROSS_TIER.candidates(landed))
        return dg.SkipReason(
            f"Nothing to do: all tiers of {complete} weeks are landed, and these are "
            f"current.{left_out}"
        )
    if wait := while_under_way(context.instance, tier_week_job.name):
        return wait
    runs = requests(
        (CROSS_TIER,),
        week_ranges(expected_names),
        landed,
        database=warehouse.first_landed_at(finra_otc_weekly),
        day=clock.today_in_new_york(),
    )
    derivation = DueDerivations(
        *(
            "finra_on_landing across tiers",
            warehouse,
            finra_otc_weekly,
            expected_names,
            clock.now(),
        ),
        job_name=tier_week_job.name,
    )
    return request_derivations(context, runs, derivation, left_out)


def _describe_unpartitioned(count: int) -> str:
    return (
        f" {count} that are out of date lie before the first partition: set FINRA_FIRST_WEEK to "
        "have them derived too."
        if count
        else ""
    )


SECONDS_BETWEEN_PICTURES = 300
"""While many weeks land, each look finds other gold: this is how often it is drawn then."""


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
    if version is None:
        return dg.SkipReason("Nothing to draw: no week is landed.")
    if version == drawn_version(context.instance):
        return dg.SkipReason(f"Nothing to do: the picture shows the present gold ({version}).")
    if wait := while_under_way(context.instance, daily_job.name):
        return wait
    key = f"{version} ({clock.today_in_new_york()})"
    expected_run_request = dg.RunRequest(run_key=key, asset_selection=[trade_activity.key])
    if not not_yet_asked(context.instance, [expected_run_request]):
        return dg.SkipReason(f"The picture of {version} was asked for today; {ONCE_A_DAY}")
    context.log.info(f"Requested the chart of {version}.", extra={"event": "chart_run_requested"})
    return expected_run_request


def drawn_version(instance: dg.DagsterInstance) -> str | None:
    """Return the version that the latest picture was made of."""
    latest = instance.get_latest_materialization_event(trade_activity.key)
    metadata = (
        latest.asset_materialization.metadata if latest and latest.asset_materialization else {}
    )
    return str(metadata["made_of"].value) if "made_of" in metadata else None
