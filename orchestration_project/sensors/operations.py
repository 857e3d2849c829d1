"""When alerts are raised and sent, runs recorded, tables exported, and all is verified.

Most sensors have no job: a tick does the work.
"""

import json
from datetime import datetime, timedelta
from functools import partial

import dagster as dg

from orchestration_project.assets.operations import (
    control_tower_job,
    export_job,
    prune_job,
    reconcile_job,
    verify_job,
)
from orchestration_project.assets.operations.current_state import snapshots, state_changes
from orchestration_project.assets.operations.run_logs import PRUNE_OP
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.options import not_dry
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import Registry
from orchestration_project.sensors.definitions import (
    cron_schedule,
    sensor,
    while_under_way,
)
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.alerts.rules.decisions import Progress
from orchestration_project.services.alerts.watching import first_poll, look
from orchestration_project.services.exports import all_exports, scheduled_since
from orchestration_project.services.exports.work import due_exports
from orchestration_project.services.ledger import Ledger, follow
from orchestration_project.services.ledger.comparing import compare
from orchestration_project.services.ledger.rules.standings import DAYS
from orchestration_project.services.objectives.evaluating import evaluate_declared
from orchestration_project.settings import Settings

SECONDS_BETWEEN_LOOKS = 30

SECONDS_BETWEEN_SNAPSHOTS = 60
"""So many events at most: they are kept with those of runs."""

CODE_LOADED_AT = Clock().now()
"""When this code location was loaded, which every start of the UI does."""

SECONDS_BETWEEN_EVALUATIONS = 300
"""A slot of the samples of objectives."""

PROFILE = "operations"


@sensor(
    profile=PROFILE,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it starts nothing
)
def operations_on_run_end(
    context: dg.SensorEvaluationContext, alerts: dg.ResourceParam[Alerts]
) -> dg.SkipReason:
    """Store the alerts that runs, checks, backfills, ticks, queue, disk and daemon raise."""
    if context.cursor is None:
        found = first_poll(context.instance)
    else:
        progress = Progress.model_validate_json(context.cursor)
        found = look(context.instance, alerts, progress, context.repository_def)
    context.update_cursor(found.progress.model_dump_json())
    return dg.SkipReason(found.said)


@sensor(
    profile=PROFILE,
    needs="ALERT_URLS, for a channel to send to",
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it starts nothing
)
def operations_on_undelivered_alert(alerts: dg.ResourceParam[Alerts]) -> dg.SkipReason:
    """Send stored alerts to their channels, again and again until they are taken."""
    with alerts.inbox() as inbox:
        alerts.give_up(inbox)  # not who watches from outside: cron may know of no channel
        taken, reasons = alerts.deliver(inbox)
        waiting = inbox.waiting()
    if not alerts.channels:
        return dg.SkipReason("Alerts notify no channel: ALERT_URLS is not set.")
    left = ", ".join(f"{count} to {name}" for name, count in waiting.items()) or "none"
    why = "".join(f" {reason}." for reason in reasons.values())
    return dg.SkipReason(f"Sent {taken} alerts; still waiting: {left}.{why}")


@sensor(
    profile=PROFILE,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it starts nothing
)
def operations_on_run_change(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SkipReason:
    """Write runs that were asked for, began or ended into operations_runs and operations_steps."""
    since = datetime.fromisoformat(context.cursor) if context.cursor else None
    found = follow(context.instance, Ledger(warehouse, clock), since)
    context.update_cursor(found.seen.isoformat())
    more = "" if found.is_all else " More wait for the next tick."
    return dg.SkipReason(
        f"Recorded {found.written.added} new and {found.written.changed} changed runs.{more}"
    )


@sensor(
    profile=PROFILE,
    job=control_tower_job,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it reads, and asks no source
)
def operations_control_tower_at_start(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Start the control tower once after each start of the UI, when the ledger has all runs."""
    loaded_at = CODE_LOADED_AT.isoformat()
    if context.cursor == loaded_at:
        return dg.SkipReason(f"The control tower was started; the code was loaded at {loaded_at}.")
    counted_since = Clock().now() - timedelta(days=DAYS)
    try:
        missing = compare(context.instance, Ledger(warehouse, clock), counted_since).differing
    except OrchestrationError as error:  # of a lost database operations_on_run_end notifies
        return dg.SkipReason(f"The ledger cannot be compared; the next tick looks again. {error}")
    if missing:
        return dg.SkipReason(f"The ledger lacks {len(missing)} runs; the next tick looks again.")
    context.update_cursor(loaded_at)
    return dg.RunRequest(run_key=loaded_at)


@sensor(
    profile=PROFILE,
    minimum_interval_seconds=SECONDS_BETWEEN_SNAPSHOTS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it starts nothing
)
def operations_on_state_change(
    context: dg.SensorEvaluationContext,
    alerts: dg.ResourceParam[Alerts],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Show open alerts, presets, the configuration and the latest runs on their assets."""
    before = json.loads(context.cursor) if context.cursor else {}
    try:
        found = snapshots(
            context.instance,
            alerts=alerts,
            clock=clock,
            registry=registry,
            settings=settings,
            warehouse=warehouse,
        )
        digests, events = state_changes(before, found)
    except OrchestrationError as error:  # of a lost database operations_on_run_end notifies
        return dg.SkipReason(f"States cannot be read; the next tick looks again. {error}")
    shown = ", ".join(event.asset_key.to_user_string() for event in events) or "nothing changed"
    return dg.SensorResult(
        skip_reason=f"Shown: {shown}.", cursor=json.dumps(digests), asset_events=events
    )


@sensor(
    profile=PROFILE,
    needs="objectives in SLO_FILE",
    minimum_interval_seconds=SECONDS_BETWEEN_EVALUATIONS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it starts nothing
)
def operations_on_objective_due(
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SkipReason:
    """Evaluate the objectives of slo.yaml and write operations_slo."""
    found = evaluate_declared(settings, registry, warehouse, clock)
    states = ", ".join(f"{each.objective.name} {each.state}" for each in found)
    return dg.SkipReason(f"Evaluated {len(found)} objectives: {states or 'none is declared'}.")


@sensor(
    profile="exports",
    needs="exports in EXPORTS_FILE",
    job=export_job,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
)
def operations_on_due_export(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Start exports whose schedule is due, and those whose next attempt is."""
    now, declared = clock.now(), all_exports(registry, settings)
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


operations_control_tower_hourly = cron_schedule(
    profile=PROFILE,
    name="operations_control_tower_hourly",
    job=control_tower_job,
    cron_schedule="0 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,  # it reads, and asks no source
    what="Check the health of all domains and the delivery of alerts every hour.",
)

operations_reconcile_hourly = cron_schedule(
    profile=PROFILE,
    name="operations_reconcile_hourly",
    job=reconcile_job,
    cron_schedule="30 * * * *",  # between two looks of the control tower
    execution_timezone="UTC",
    run_config={"ops": {"reconcile_operations": {"config": {"only_changed": True}}}},
    default_status=dg.DefaultScheduleStatus.RUNNING,  # it reads, and asks no source
    what="Repair the ledger every hour, after any missed events.",
)

operations_verify_daily = cron_schedule(
    profile=PROFILE,
    name="operations_verify_daily",
    job=verify_job,
    cron_schedule="0 7 * * *",  # before what starts by itself; a load looks for itself in any case
    execution_timezone="America/New_York",
    what="Check every day whether every dependency of loads is ready.",
)

operations_prune_weekly = cron_schedule(
    profile="retention",
    needs="runs that ended more than DAGSTER_RUN_LOG_DAYS ago",
    name="operations_prune_weekly",
    job=prune_job,
    cron_schedule="0 4 * * 0",
    execution_timezone="UTC",
    run_config=not_dry(PRUNE_OP),
    what="Delete the logs of old runs, and earlier events of states, every week.",
)
