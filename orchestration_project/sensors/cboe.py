"""When shares off exchange of weeks are derived."""

import dagster as dg

from orchestration_project.assets.cboe import (
    PARTITIONS,
    ZONE,
    off_exchange_weeks_job,
)
from orchestration_project.domains.cboe.tables import market_volume_daily
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.derivations import build_requests
from orchestration_project.engine.contracts.partition_tags import group_consecutive
from orchestration_project.engine.derived import find_outdated
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.cboe import WEEKLY
from orchestration_project.sensors.definitions import (
    DueDerivations,
    request_derivations,
    sensor,
)

PROFILE = "cboe"
SECONDS_BETWEEN_POLLS = 60


@sensor(
    job=off_exchange_weeks_job,
    minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
    profile=PROFILE,
    needs="loaded market volume",
)
def cboe_on_landing(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Derive the weeks that are over and of which a day, or a tier of FINRA's, changed."""
    loaded, outdated = find_outdated(warehouse, [WEEKLY])
    due = [week for week in outdated if PARTITIONS.has_partition_key(week)]
    runs = build_requests(
        (WEEKLY.reach,),
        group_consecutive(due, PARTITIONS.get_partition_keys()),
        loaded,
        database=warehouse.first_landed_at(market_volume_daily) if due else None,
        day=clock.today(ZONE),
    )
    derivation = DueDerivations(
        "cboe_on_landing",
        warehouse,
        market_volume_daily,
        due,
        clock.now(),
        off_exchange_weeks_job.name,
        current="the shares off exchange of all past weeks are current.",
    )
    return request_derivations(context, runs, derivation)
