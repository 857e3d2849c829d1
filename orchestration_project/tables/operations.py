"""Tables of operations: alerts and their deliveries, runs, steps, sessions, presets."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Index,
    case,
    cast,
    exists,
    func,
    type_coerce,
)

from orchestration_project.tables.schema import (
    BYTEWISE_TEXT,
    count,
    flag,
    moment,
    ratio,
    table,
    text,
    trace_id,
)
from orchestration_project.tables.views import ViewColumn, as_it_is, view

ALERT_STATES = ("open", "recovered", "replaced", "told")

operations_alerts = table(
    "operations_alerts",
    "One row per alert: a failure of a run or sensor, a recovery, or a notice.",
    text("alert_id", "Alert ID: first 128 bits of the SHA-256 of kind and cause, hex", key=True),
    text("kind", "Kind of the alert, see docs/reference/alerts.md"),
    text("severity", "Severity: info, warning or error", values=("info", "warning", "error")),
    text("title", "Title, one line"),
    text("body", "Text of the alert: failure, cause, remedy and links"),
    text("run_id", "Dagster run of the alert; NULL: no run", optional=True),
    text("job", "Job of the alert; NULL: no job", optional=True),
    text("assets", "Asset keys, a JSON list"),
    text("partitions", "Partition keys, a JSON list"),
    text("link", "URL of the UI; NULL: no page", optional=True),
    text(
        "state",
        "State: open, recovered, replaced (by a later alert) "
        f"or {ALERT_STATES[-1]} (a notice, nothing to fix)",
        values=ALERT_STATES,
    ),
    text("open_problems", "Problems that are open, a JSON list of kind, subject and detail"),
    count("repeated_count", "Repetitions within the window, which were not sent"),
    moment("raised_at", "UTC time at which the alert was raised"),
    moment("repeated_at", "UTC time of the latest repetition; NULL: none", optional=True),
    moment(
        "ended_at", "UTC time at which it recovered or was replaced; NULL: neither", optional=True
    ),
    trace_id(),
)

Index("operations_alerts_by_state", operations_alerts.c.state)
Index("operations_alerts_by_trace", operations_alerts.c.trace_id)

operations_alert_deliveries = table(
    "operations_alert_deliveries",
    "One row per alert and channel that it is sent to.",
    text("alert_id", "Alert ID", key=True),
    text(
        "channel",
        "Name of the channel, such as ops, or mailto-2 for an entry of ALERT_URLS",
        key=True,
    ),
    text(
        "state",
        "State: pending (also after failed attempts), delivered, failed (no further attempt) "
        "or told_before (suppressed, since an earlier alert was sent within the window)",
        values=("pending", "delivered", "failed", "told_before"),
    ),
    count("attempt_count", "Attempts started"),
    text(
        "last_error",
        "Error of the latest failed attempt, without secrets; NULL: no failed attempt",
        optional=True,
    ),
    moment("next_attempt_at", "UTC time from which the next attempt is due"),
    moment(
        "delivered_at",
        "UTC time at which the channel accepted it; NULL: not delivered",
        optional=True,
    ),
    text("rule", "Alert rule that selected the channel; NULL: before alert rules", optional=True),
    moment(
        "told_at",
        "UTC time at which the earlier alert was raised; NULL: the state is not told_before",
        optional=True,
    ),
    moment(
        "failed_at", "UTC time of the latest failed attempt; NULL: no failed attempt", optional=True
    ),
    count(
        "digest_count",
        "Alerts in the message that was delivered; 1: only this one; NULL: not delivered, or "
        "unknown",
        optional=True,
    ),
)

operations_evaluations = table(
    "operations_evaluations",
    "One row per evaluated cause, so that each cause raises alerts only once.",
    text("cause", "Cause, such as a run ID and its final status", key=True),
    moment("evaluated_at", "UTC time of the evaluation"),
)

operations_removals = table(
    "operations_removals",
    "One row per deleted artifact, recorded before the deletion.",
    text("name", "Path of the artifact, relative to the artifact store", key=True),
    moment("removed_at", "UTC time of the deletion", key=True),
    text("kind", "Kind of the artifact: captured bytes, staged rows or picture"),
    count("byte_count", "Size as stored, bytes"),
    moment("put_at", "UTC time at which it was last written to the store"),
    text("run_id", "Dagster run"),
)

Index("operations_removals_by_time", operations_removals.c.removed_at)

operations_runs = table(
    "operations_runs",
    "One row per Dagster run, also after Dagster has deleted it.",
    text("run_id", "Dagster run", key=True),
    text(
        "session",
        "Session: the batch, backfill or tick that started it, else its first attempt",
    ),
    text("job", "Job; __ASSET_JOB: assets that were selected manually"),
    text("domain", "Tag domain, else the domain of its assets or of its job's name"),
    text(
        "partition_key",
        "Partition key, or first...last of a range; NULL: not partitioned",
        optional=True,
    ),
    text("params", "Run config, JSON; secrets as ***"),
    text(
        "status",
        "Status in Dagster: NOT_STARTED, QUEUED, STARTING, STARTED, CANCELING, SUCCESS, "
        "FAILURE or CANCELED; or DELETED (from Dagster before it ended)",
        values=(
            "NOT_STARTED",
            "QUEUED",
            "STARTING",
            "STARTED",
            "CANCELING",
            "SUCCESS",
            "FAILURE",
            "CANCELED",
            "DELETED",
        ),
    ),
    moment("created_at", "UTC time at which the run was created"),
    moment("started_at", "UTC time at which its process started; NULL: not started", optional=True),
    moment(
        "ended_at",
        "UTC time of its end; for DELETED, of the detection; NULL: not ended",
        optional=True,
    ),
    ratio("duration_seconds", "Duration from start to end, seconds", optional=True),
    count("rows_in", "Lines fetched by its deliveries; 0: it validated no delivery"),
    count("rows_landed", "Rows loaded: new, changed and unchanged ones"),
    count(
        "rows_rejected", "Lines rejected by the contract, including those of quarantined deliveries"
    ),
    count("byte_count", "Size of the fetched content as received, bytes"),
    text(
        "trigger_kind",
        "Trigger: schedule, sensor, backfill or person",
        values=("schedule", "sensor", "backfill", "person"),
    ),
    text(
        "trigger_name",
        "Name of the schedule, sensor or backfill; NULL: a person",
        optional=True,
    ),
    text("user_name", "Tag user; NULL: no such tag", optional=True),
    text(
        "error_category",
        "Category of the failure, one word; NULL: neither failed nor canceled",
        optional=True,
    ),
    text("error_message", "Error message; NULL: not failed", optional=True),
    text("config_hash", "Tag config_hash; NULL: no such tag", optional=True),
    text("retry_of", "Run that this run retries; NULL: a first attempt", optional=True),
    moment("changed_at", "UTC time at which Dagster last changed the run"),
    moment("recorded_at", "UTC time at which this row was last written"),
    text(
        "preset",
        "Applied preset, such as strict_quality#3; NULL: no preset",
        optional=True,
    ),
    trace_id(),
)

Index("operations_runs_by_session", operations_runs.c.session)
Index("operations_runs_by_trace", operations_runs.c.trace_id)
Index("operations_runs_by_retried", operations_runs.c.retry_of)
Index("operations_runs_by_start", operations_runs.c.started_at)
Index("operations_runs_by_creation", operations_runs.c.created_at)
Index("operations_runs_by_status", operations_runs.c.status, operations_runs.c.created_at)
Index(
    "operations_runs_by_partition",
    *(operations_runs.c[name] for name in ("job", "partition_key", "created_at")),
)
Index(
    "operations_runs_by_job",
    *(
        operations_runs.c[name]
        for name in ("job", "status", "rows_in", "rows_landed", "rows_rejected")
    ),
)  # with all that the metrics add up, so that they read nothing else
Index(
    "operations_runs_by_end",
    *(
        operations_runs.c[name]
        for name in (
            *("ended_at", "domain", "status", "error_category", "retry_of"),
            *("rows_in", "rows_landed", "rows_rejected", "byte_count"),
        )
    ),
)  # with all that the control tower adds up, so that it reads nothing else

operations_steps = table(
    "operations_steps",
    "One row per started or skipped step of a run in operations_runs.",
    text("run_id", "Dagster run", key=True),
    text("step_key", "Dagster step", key=True),
    text("job", "Job of the run"),
    text("domain", "Domain of its assets, else of the run"),
    text("asset", "First of its assets by name; NULL: no asset", optional=True),
    text("assets", "All assets of the step, a JSON list"),
    text(
        "status",
        "Status: IN_PROGRESS, SUCCESS, FAILURE, SKIPPED or CANCELED (its run ended first)",
        values=("IN_PROGRESS", "SUCCESS", "FAILURE", "SKIPPED", "CANCELED"),
    ),
    moment("started_at", "UTC time of its start; NULL: not started", optional=True),
    moment("ended_at", "UTC time of its end; NULL: not ended", optional=True),
    ratio(
        "duration_seconds", "Duration from start to end over all attempts, seconds", optional=True
    ),
    count("attempt_count", "Attempts started"),
    count("rows_in", "Lines fetched for its tables"),
    count("rows_landed", "Rows loaded into its tables: new, changed and unchanged ones"),
    count(
        "rows_rejected", "Lines rejected by the contract, including those of quarantined deliveries"
    ),
    count("byte_count", "Size of the content fetched for its tables as received, bytes"),
    flag(
        "quality_passed",
        "Whether all its checks of severity error passed; NULL: no check evaluated",
        optional=True,
    ),
    text("quality_metrics", "Results by check: passed, severity and numbers, JSON"),
    text("error_category", "Category of the failure, one word; NULL: not failed", optional=True),
    text("error_message", "Error message; NULL: not failed", optional=True),
)

Index(
    "operations_steps_by_end",
    *(
        operations_steps.c[name]
        for name in (
            *("ended_at", "domain", "asset", "status", "error_category", "attempt_count"),
            *("rows_in", "rows_landed", "rows_rejected", "byte_count"),
        )
    ),
)

operations_control_tower = table(
    "operations_control_tower",
    "One row per domain, asset and time window, from the latest evaluation.",
    text("domain", "Domain", key=True),
    text("asset", "Asset of the domain; empty: the whole domain", key=True),
    count("window_hours", "Window before the evaluation, hours: 24, 168 or 672", key=True),
    text(
        "state",
        "State, the same for each window: healthy, attention, stale or failing",
        values=("healthy", "attention", "stale", "failing"),
    ),
    text("reasons", "Reasons for the state, a JSON list of sentences"),
    count("run_count", "Runs (for an asset: steps) that ended in the window"),
    count("success_count", "Runs or steps that succeeded"),
    count("failure_count", "Runs or steps that failed"),
    count(
        "canceled_count", "Runs or steps that were canceled, skipped, or deleted before they ended"
    ),
    ratio(
        "success_share",
        "Share of successes among successes and failures, 0-1; NULL: neither",
        optional=True,
    ),
    count("retry_count", "Runs that retried another run; for an asset: attempts after the first"),
    text("failures_by_category", "Failures by error_category, JSON"),
    ratio("runs_per_hour", "run_count per hour of the window"),
    count("rows_in", "Lines fetched"),
    count("rows_landed", "Rows loaded: new, changed and unchanged ones"),
    count("rows_rejected", "Lines rejected by the contract"),
    ratio(
        "reject_share",
        "Share of rows_rejected in rows_in, 0-1; NULL: no lines fetched",
        optional=True,
    ),
    count("byte_count", "Size of the fetched content, bytes"),
    count("queue_depth", "Runs that wait to start; for an asset: 0"),
    count("running_count", "Runs in progress; for an asset: steps in progress"),
    moment("last_landed_at", "UTC time of the latest load; NULL: nothing loaded", optional=True),
    ratio("hours_since_landing", "Hours since last_landed_at", optional=True),
    text(
        "oldest_unlanded_partition",
        "First published partition that is due and not loaded; NULL: none, or no calendar",
        optional=True,
    ),
    ratio("hours_late", "Hours since that partition was due", optional=True),
    moment("looked_at", "UTC time of the evaluation"),
)

operations_presets = table(
    "operations_presets",
    "One row per application of a preset; the latest one of each job is in force.",
    text("job", "Job whose runs use the preset", key=True),
    count("applied_number", "Number of the application among those of the job, from 1", key=True),
    text("preset", "Name of the preset: its file in presets/, without .yaml"),
    text("content", "Fields that it set at that time, with their values, JSON"),
    text("user_name", "User who applied it"),
    text("reason", "Reason that the user gave"),
    text("run_id", "Dagster run that applied it"),
    moment("applied_at", "UTC time at which the preset was applied"),
)

STATES = {
    "NOT_STARTED": "PENDING",
    "QUEUED": "PENDING",
    "STARTING": "RUNNING",
    "STARTED": "RUNNING",
    "CANCELING": "RUNNING",
    "IN_PROGRESS": "RUNNING",
    "SUCCESS": "COMPLETED",
    "FAILURE": "FAILED",
    "CANCELED": "CANCELLED",
    "DELETED": "CANCELLED",
    "SKIPPED": "CANCELLED",
}
"""Names of Dagster's statuses of runs and steps in `workflow_…` and sessions."""

_runs, _steps = operations_runs.c, operations_steps.c
_retries = operations_runs.alias("retries")


def _state(status: Column[str], *statuses: str) -> ColumnElement[str]:
    names = {each: STATES[each] for each in statuses}
    return type_coerce(case(names, value=status, else_=status), BYTEWISE_TEXT)


def _renamed(name: str, column: Column[Any]) -> ViewColumn:
    return ViewColumn(name, column, str(column.comment), optional=bool(column.nullable))


RUN_STATUSES = (
    *("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING"),
    *("SUCCESS", "FAILURE", "CANCELED", "DELETED"),
)
"""Every status of a run."""

PENDING, RUNNING = RUN_STATUSES[:2], RUN_STATUSES[2:5]
"""Statuses of runs that wait to start, and of those in progress."""

workflow_runs = view(
    "workflow_runs",
    "One row per run of operations_runs, in the terms of other workflow systems.",
    as_it_is(_runs.run_id),
    _renamed("session_id", _runs.session),
    _renamed("workflow_name", _runs.job),
    as_it_is(_runs.domain),
    as_it_is(_runs.partition_key),
    _renamed("parameters", _runs.params),
    ViewColumn(
        "status",
        _state(_runs.status, *RUN_STATUSES),
        "Status: PENDING, RUNNING, COMPLETED, FAILED or CANCELLED",
    ),
    as_it_is(_runs.created_at),
    as_it_is(_runs.started_at),
    _renamed("completed_at", _runs.ended_at),
    as_it_is(_runs.duration_seconds),
    as_it_is(_runs.rows_in),
    as_it_is(_runs.rows_landed),
    as_it_is(_runs.rows_rejected),
    _renamed("bytes_processed", _runs.byte_count),
    _renamed("triggered_by", _runs.trigger_kind),
    as_it_is(_runs.trigger_name),
    as_it_is(_runs.user_name),
    as_it_is(_runs.error_category),
    as_it_is(_runs.error_message),
    as_it_is(_runs.config_hash),
    as_it_is(_runs.retry_of),
)

workflow_step_runs = view(
    "workflow_step_runs",
    "One row per step of operations_steps, in the terms of other workflow systems.",
    as_it_is(_steps.run_id),
    ViewColumn("step_name", _steps.step_key, str(_steps.step_key.comment), is_key=True),
    _renamed("workflow_name", _steps.job),
    as_it_is(_steps.domain),
    as_it_is(_steps.asset),
    ViewColumn(
        "status",
        _state(_steps.status, "IN_PROGRESS", "SUCCESS", "FAILURE", "SKIPPED", "CANCELED"),
        "Status: RUNNING, COMPLETED, FAILED or CANCELLED (also skipped)",
    ),
    as_it_is(_steps.started_at),
    _renamed("completed_at", _steps.ended_at),
    as_it_is(_steps.duration_seconds),
    as_it_is(_steps.attempt_count),
    as_it_is(_steps.rows_in),
    as_it_is(_steps.rows_landed),
    as_it_is(_steps.rows_rejected),
    _renamed("bytes_processed", _steps.byte_count),
    as_it_is(_steps.quality_passed),
    as_it_is(_steps.quality_metrics),
    as_it_is(_steps.error_category),
    as_it_is(_steps.error_message),
)


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return cast(func.count(case((condition, 1))), BigInteger)


def _total(column: Column[int]) -> ColumnElement[int]:
    return cast(func.sum(column), BigInteger)


_is_pending, _is_running = _runs.status.in_(PENDING), _runs.status.in_(RUNNING)
_was_retried = exists(_retries.c.run_id).where(_retries.c.retry_of == _runs.run_id)
_is_failure = (_runs.status == "FAILURE") & ~_was_retried
_ended = func.count(_runs.ended_at)

operations_sessions = view(
    "operations_sessions",
    "One row per session: the runs of one batch, one backfill or one tick, with their retries.",
    ViewColumn("session", _runs.session, "Session", is_key=True),
    ViewColumn(
        "domain", func.min(_runs.domain), "Domain of its runs; of several, the first by name"
    ),
    ViewColumn("job", func.min(_runs.job), "Job of its runs; of several, the first by name"),
    ViewColumn(
        "trigger_kind",
        func.min(_runs.trigger_kind),
        "Trigger: schedule, sensor, backfill or person",
    ),
    ViewColumn(
        "trigger_name",
        func.min(_runs.trigger_name),
        "Name of the schedule, sensor or backfill; NULL: a person",
        optional=True,
    ),
    ViewColumn(
        "user_name", func.min(_runs.user_name), "Tag user; NULL: no such tag", optional=True
    ),
    ViewColumn(
        "state",
        type_coerce(
            case(
                (func.count(case((_is_running, 1))) > 0, "RUNNING"),
                (_ended == 0, "PENDING"),
                (_ended < func.count(), "RUNNING"),
                (func.count(case((_is_failure, 1))) > 0, "FAILED"),
                (func.count(case((_runs.status.in_(("CANCELED", "DELETED")), 1))) > 0, "CANCELLED"),
                else_="COMPLETED",
            ),
            BYTEWISE_TEXT,
        ),
        "State: PENDING, RUNNING, FAILED (and not retried), CANCELLED or COMPLETED",
    ),
    ViewColumn(
        "run_count", cast(func.count(), BigInteger), "Runs created so far, including retries"
    ),
    ViewColumn("pending_count", _number(_is_pending), "Runs that wait to start"),
    ViewColumn("running_count", _number(_is_running), "Runs in progress"),
    ViewColumn("success_count", _number(_runs.status == "SUCCESS"), "Runs that succeeded"),
    ViewColumn("failure_count", _number(_is_failure), "Runs that failed and were not retried"),
    ViewColumn(
        "canceled_count",
        _number(_runs.status.in_(("CANCELED", "DELETED"))),
        "Runs that were canceled, or deleted before they ended",
    ),
    ViewColumn(
        "retry_count", _number(_runs.retry_of.is_not(None)), "Runs that retried another run"
    ),
    ViewColumn(
        "progress_share",
        cast(func.avg(case((_runs.ended_at.is_not(None), 1.0), else_=0.0)), Double),
        "Share of ended runs in the runs created so far, 0-1",
    ),
    ViewColumn(
        "created_at", func.min(_runs.created_at), "UTC time at which its first run was created"
    ),
    ViewColumn(
        "ended_at",
        func.max(_runs.ended_at),
        "UTC time of the latest end of a run; NULL: no run ended",
        optional=True,
    ),
    ViewColumn("changed_at", func.max(_runs.changed_at), "UTC time of the latest change of a run"),
    ViewColumn(
        "busy_seconds",
        cast(func.coalesce(func.sum(_runs.duration_seconds), 0), Double),
        "Total duration of its runs, seconds",
    ),
    ViewColumn("rows_in", _total(_runs.rows_in), "Lines fetched"),
    ViewColumn(
        "rows_landed", _total(_runs.rows_landed), "Rows loaded: new, changed and unchanged ones"
    ),
    ViewColumn("rows_rejected", _total(_runs.rows_rejected), "Lines rejected by the contract"),
    ViewColumn("byte_count", _total(_runs.byte_count), "Size of the fetched content, bytes"),
    group_by=[_runs.session],
)

operations_readiness = table(
    "operations_readiness",
    "One row per dependency and machine: the latest result of its probe.",
    text("dependency", "Dependency, such as finra, database, artifacts or disk", key=True),
    text("machine", "Host name of the machine that probed it", key=True),
    text(
        "outcome",
        "Outcome: passed, failed or not_applicable",
        values=("passed", "failed", "not_applicable"),
    ),
    text("tried", "Action of the probe"),
    text("got", "Result of the probe, without secrets"),
    text("remedy", "Remedy; empty: nothing to do"),
    ratio("seconds", "Duration of the probe, seconds"),
    moment("checked_at", "UTC time of the probe"),
    text("config_hash", "Hash of the settings of the probe"),
    text("run_id", "Dagster run that probed it"),
    moment(
        "forced_at",
        "UTC time at which a run last continued despite the failure; NULL: never",
        optional=True,
    ),
    text("forced_run_id", "Run that continued; NULL: none", optional=True),
)

operations_verified_configs = table(
    "operations_verified_configs",
    "One row per configuration whose verification found every dependency ready.",
    text("config_hash", "First 64 bits of the SHA-256 of the setting values, hex", key=True),
    text("entries", "Setting values without secrets, a JSON object by name: value and origin"),
    moment("verified_at", "UTC time of the latest verification"),
    text("run_id", "Dagster run of the latest verification"),
)

operations_exports = table(
    "operations_exports",
    "One row per scheduled export and load: what was written, and where it was delivered to.",
    text("name", "Name of the export in exports.yaml", key=True),
    moment("to_load", "landed_at of the latest load that it contains", key=True),
    text("definition_sha256", "SHA-256 of the export's declaration, hex", key=True),
    moment(
        "from_load",
        "to_load of the export before; only later changes are contained; NULL: all rows",
        optional=True,
    ),
    text("table_name", "Exported table or view"),
    text("condition", "Conditions of the rows, a JSON list"),
    text("format", "Format: csv, ndjson or parquet", values=("csv", "ndjson", "parquet")),
    text("target", "Name of the target in exports.yaml"),
    count("row_count", "Exported rows"),
    count("byte_count", "Size of the file, bytes"),
    text("sha256", "SHA-256 of the file, hex"),
    text("artifact", "Name of the file in the artifact store"),
    text("uri", "Place at the target, without secrets; NULL: not delivered yet", optional=True),
    text("run_id", "Dagster run of the latest attempt"),
    moment("rendered_at", "UTC time at which the file was written"),
    moment("delivered_at", "UTC time of the delivery; NULL: not delivered yet", optional=True),
)

Index("operations_exports_by_time", operations_exports.c.rendered_at)
