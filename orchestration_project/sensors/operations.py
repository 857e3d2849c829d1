"""When alerts are raised and sent, runs recorded, tables exported, and all is verified.

Most sensors have no job: a tick does the work.
"""

from datetime import datetime, timedelta
from functools import partial

import dagster as dg

from orchestration_project.assets.operations import checks_job, clean_up_job, export_job
from orchestration_project.assets.operations.catalogue import READINESS
from orchestration_project.assets.operations.current_state import build_snapshots, detect_changes
from orchestration_project.assets.operations.jobs import HOURLY_ASSETS, HOURLY_CONFIG
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import EXPORT_TABLES, PRUNE_RUN_LOGS
from orchestration_project.engine.contracts.ticks import PlannedRun
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import Registry
from orchestration_project.sensors.definitions import (
    build_answer,
    build_result,
    cron_schedule,
    find_run_under_way,
    sensor,
)
from orchestration_project.sensors.plans import (
    DueExports,
    list_exports,
    plan_exports,
    plan_state_checks,
    read_followed,
)
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.alerts.rules.decisions import Progress
from orchestration_project.services.alerts.watching import WatchResult, poll_runs, start_polling
from orchestration_project.services.balance.backfills import record_ended_backfills
from orchestration_project.services.exports import find_scheduled, read_all_exports
from orchestration_project.services.exports.work import find_due_exports
from orchestration_project.services.ledger import Ledger, follow
from orchestration_project.services.ledger.comparing import compare
from orchestration_project.services.ledger.following import LedgerUpdate
from orchestration_project.services.ledger.rules.standings import DAYS
from orchestration_project.services.objectives.evaluating import evaluate_declared
from orchestration_project.settings import Settings

SECONDS_BETWEEN_POLLS = 30

SECONDS_BETWEEN_SNAPSHOTS = 60
"""So many events at most: they are kept with those of runs."""

CODE_LOADED_AT = Clock().now()
"""When this code location was loaded, which every start of the UI does."""

SECONDS_BETWEEN_EVALUATIONS = 300
"""A slot of the samples of objectives."""

PROFILE = "operations"


@sensor(
    profile=PROFILE,
    minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it starts nothing
)
def operations_on_run_end(
    context: dg.SensorEvaluationContext,
    alerts: dg.ResourceParam[Alerts],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SkipReason:
    """Store and send the alerts that runs, checks, backfills, ticks, queue, disk and daemon raise.

    Of each backfill that ended, its equation is recorded. What a channel of ALERT_URLS did not take
    is sent again and again.
    """
    watch_result = _watch(context, alerts)
    progress, problems = watch_result.progress, []
    if context.repository_def is not None:
        progress, problems = record_ended_backfills(
            context.instance, context.repository_def, warehouse, progress, clock.now()
        )
    for problem in problems:
        context.log.error(problem, extra={"event": "backfill_unbalanced"})
    context.update_cursor(progress.model_dump_json())
    return dg.SkipReason("\n".join([" ".join([watch_result.said, *problems]), _deliver(alerts)]))


def _watch(context: dg.SensorEvaluationContext, alerts: Alerts) -> WatchResult:
    """Poll from the cursor on, and store alerts of what happened; without a cursor, begin here."""
    if context.cursor is None:
        return start_polling(context.instance)
    progress = Progress.model_validate_json(context.cursor)
    return poll_runs(context.instance, alerts, progress, context.repository_def)


def _deliver(alerts: Alerts) -> str:
    """Send the stored alerts to their channels; return what came of it."""
    try:
        with alerts.inbox() as inbox:
            alerts.give_up(inbox)  # not who watches from outside: cron may know of no channel
            number, reasons = alerts.deliver(inbox)
            waiting = inbox.waiting()
    except OrchestrationError as error:  # of a lost database the look before has notified
        return f"Alerts cannot be sent; the next tick tries again. {error}"
    if not alerts.channels:
        return "Alerts notify no channel: ALERT_URLS is not set."
    left = ", ".join(f"{count} to {name}" for name, count in waiting.items()) or "none"
    why = "".join(f" {reason}." for reason in reasons.values())
    return f"Sent {number} alerts; still waiting: {left}.{why}"


@sensor(
    profile=PROFILE,
    job=checks_job,
    minimum_interval_seconds=SECONDS_BETWEEN_SNAPSHOTS,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it reads, and asks no source
)
def operations_on_state_change(
    context: dg.SensorEvaluationContext,
    alerts: dg.ResourceParam[Alerts],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult:
    """Record runs, and show alerts, presets, configuration and latest runs on their assets.

    After each start of the UI, the hourly checks are started once the ledger has all runs.
    """
    before, ledger = read_followed(context.cursor), Ledger(warehouse, clock)
    ledger_update = follow(context.instance, ledger, before.seen)
    digests, events = detect_changes(
        before.shown,
        build_snapshots(
            context.instance,
            alerts=alerts,
            clock=clock,
            registry=registry,
            settings=settings,
            warehouse=warehouse,
        ),
    )
    is_checked = before.checked_since == HOURLY_CHECKS.run_key  # else all runs are counted
    has_all_runs = ledger_update.is_all and not is_checked and _has_all_runs(context, ledger)
    plan = plan_state_checks(
        HOURLY_CHECKS,
        before.model_copy(update={"seen": ledger_update.seen, "shown": dict(digests)}),
        has_all_runs=has_all_runs,
        shown=[event.asset_key.to_user_string() for event in events],
        recorded=_describe_update(ledger_update),
    )
    return build_result(plan, events)


HOURLY_CHECKS = PlannedRun(
    run_key=CODE_LOADED_AT.isoformat(),
    run_config=HOURLY_CONFIG,
    assets=[key.to_user_string() for key in HOURLY_ASSETS],
)
"""Run of the hourly checks after the code was loaded."""


def _describe_update(ledger_update: LedgerUpdate) -> str:
    written = ledger_update.written
    remainder = "" if ledger_update.is_all else " More wait for the next tick."
    return f"Recorded {written.added} new and {written.changed} changed runs.{remainder}"


def _has_all_runs(context: dg.SensorEvaluationContext, ledger: Ledger) -> bool:
    """Return whether the ledger has the runs that the checks count."""
    return not compare(context.instance, ledger, Clock().now() - timedelta(days=DAYS)).differing


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
    declared = evaluate_declared(settings, registry, warehouse, clock)
    states = ", ".join(f"{evaluation.objective.name} {evaluation.state}" for evaluation in declared)
    return dg.SkipReason(f"Evaluated {len(declared)} objectives: {states or 'none is declared'}.")


@sensor(
    profile="exports",
    needs="exports in EXPORTS_FILE",
    job=export_job,
    minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
)
def operations_on_due_export(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Start exports whose schedule is due, and those whose next attempt is."""
    now, declared = clock.now(), read_all_exports(registry, settings)
    since = datetime.fromisoformat(context.cursor) if context.cursor else now
    scheduled, retried = find_scheduled(declared, since, now), []
    if declared and not find_run_under_way(context.instance, export_job.name):
        retried = find_due_exports(
            warehouse, clock, declared, partial(is_at_work, context.instance)
        )
    exports = DueExports(declared_count=len(declared), scheduled=scheduled, retried=retried)
    runs = [
        PlannedRun(run_key=run_key, run_config=EXPORT_TABLES.run_config({"names": names}))
        for run_key, names in list_exports(exports)
    ]
    return build_answer(plan_exports(exports, runs, now))


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
