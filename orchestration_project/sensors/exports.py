"""When exports start: by their schedules in EXPORTS_FILE, and by retries."""

from datetime import datetime
from functools import partial

import dagster as dg

from orchestration_project.assets.operations import export_job
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.sensors.definitions import sensor, while_under_way
from orchestration_project.services.exports.declared import declared_exports, scheduled_since
from orchestration_project.services.exports.work import due_exports
from orchestration_project.settings import Settings

SECONDS_BETWEEN_LOOKS = 30


@sensor(
    profile="operations",
    needs="exports in EXPORTS_FILE",
    job=export_job,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # nothing is declared until somebody does
)
def operations_on_due_export(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Start exports whose schedule is due, and those whose next attempt is."""
    now, declared = clock.now(), declared_exports(settings)
    if not declared:
        return dg.SkipReason("No export is declared.")
    since = datetime.fromisoformat(context.cursor) if context.cursor else now
    scheduled = scheduled_since(declared, since, now)
    requests = [
        _request(name, run_key=f"{name} at {at.isoformat()}") for name, at in scheduled.items()
    ]
    if not while_under_way(context.instance, export_job.name):
        due = due_exports(warehouse, clock, declared, partial(is_at_work, context.instance))
        if retried := [name for name in due if name not in scheduled]:
            requests.append(_request(*retried))
    skip_reason = None if requests else f"None of {len(declared)} exports is due."
    return dg.SensorResult(run_requests=requests, skip_reason=skip_reason, cursor=now.isoformat())


def _request(*names: str, run_key: str | None = None) -> dg.RunRequest:
    config = {"ops": {"export_tables": {"config": {"names": list(names)}}}}
    return dg.RunRequest(run_key=run_key, run_config=config)
