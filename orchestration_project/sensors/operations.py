"""When alerts are raised and sent, runs recorded, tables exported, and all is verified.

Most sensors have no job: a tick does the work.
"""

import json
from datetime import datetime, timedelta
from functools import partial

import dagster as dg

from orchestration_project.assets.operations import checks_job, clean_up_job, export_job
from orchestration_project.assets.operations.catalogue import READINESS
from orchestration_project.assets.operations.current_state import snapshots, state_changes
from orchestration_project.assets.operations.jobs import HOURLY_ASSETS, HOURLY_CONFIG
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.job_kinds import EXPORT_TABLES, PRUNE_RUN_LOGS
from orchestration_project.engine.leases import is_at_work
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
from orchestration_project.services.balance.backfills import record_ended_backfills
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
    context: dg.SensorEvaluationContext,
    alerts: dg.ResourceParam[Alerts],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SkipReason:
    """Store the alerts that runs, checks, backfills, ticks, queue, disk and daemon raise.

    Of each backfill that ended, its equation is recorded.
    """
    if context.cursor is None:
        found = first_poll(context.instance)
    else:
        progress = Progress.model_validate_json(context.cursor)
        found = look(context.instance, alerts, progress, context.repository_def)
    progress, problems = found.progress, []
    if context.repository_def is not None:
        progress, problems = record_ended_backfills(
            context.instance, context.repository_def, warehouse, progress, clock.now()
        )
    for problem in problems:
        context.log.error(problem, extra={"event": "backfill_unbalanced"})
    context.update_cursor(progress.model_dump_json())
    return dg.SkipReason(" ".join([found.said, *problems]))


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
    job=checks_job,
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
    return dg.RunRequest(run_key=loaded_at, run_config=HOURLY_CONFIG, asset_selection=HOURLY_ASSETS)


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
    config = EXPORT_TABLES.run_config({"names": list(names)})
    return dg.RunRequest(run_key=run_key, run_config=config)


operations_checks_hourly = cron_schedule(
    profile=PROFILE,
    name="operations_checks_hourly",
    job=checks_job,
    assets=HOURLY_ASSETS,
    cron_schedule="0 * * * *",
    execution_timezone="UTC",
    run_config=HOURLY_CONFIG,
    default_status=dg.DefaultScheduleStatus.RUNNING,  # it reads, and asks no source
    what="Repair the ledger after missed events, and check the health of all domains, every hour.",
)

operations_checks_daily = cron_schedule(
    profile=PROFILE,
    name="operations_checks_daily",
    job=checks_job,
    assets=[READINESS],
    cron_schedule="0 7 * * *",  # before what starts by itself; a load looks for itself in any case
    execution_timezone="America/New_York",
    what="Check every day whether every dependency of loads is ready.",
)

operations_prune_weekly = cron_schedule(
    profile="retention",
    needs="runs that ended more than DAGSTER_RUN_LOG_DAYS ago",
    name="operations_prune_weekly",
    job=clean_up_job,
    cron_schedule="0 4 * * 0",
    execution_timezone="UTC",
    run_config=PRUNE_RUN_LOGS.run_config({"dry_run": False}),
    what="Delete the logs of old runs, and earlier events of states, every week.",
)
