"""When the picture of FINRA's trading is drawn."""

import dagster as dg

from orchestration_project.assets.finra import trade_activity, trade_activity_job
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.activity import made_of
from orchestration_project.sensors.described import sensor
from orchestration_project.sensors.finra.runs import ONCE_A_DAY, not_yet_asked
from orchestration_project.sensors.under_way import while_under_way

SECONDS_BETWEEN_PICTURES = 300
"""While many weeks land, each look finds other gold: this is how often it is drawn then."""


@sensor(job=trade_activity_job, minimum_interval_seconds=SECONDS_BETWEEN_PICTURES)
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
    if wait := while_under_way(context.instance, trade_activity_job.name):
        return wait
    wanted = dg.RunRequest(run_key=f"{version} ({clock.today_in_new_york()})")
    if not not_yet_asked(context.instance, [wanted]):
        return dg.SkipReason(f"The picture of {version} was asked for today; {ONCE_A_DAY}")
    context.log.info(f"Asked for the picture of {version}.")
    return wanted


def drawn_version(instance: dg.DagsterInstance) -> str | None:
    """Return what the latest picture was made of."""
    latest = instance.get_latest_materialization_event(trade_activity.key)
    told = latest.asset_materialization.metadata if latest and latest.asset_materialization else {}
    return str(told["made_of"].value) if "made_of" in told else None
