"""What people are told, and what ran: alerts and their delivery, runs, their steps, sessions."""

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
)
from orchestration_project.tables.views import ViewColumn, as_it_is, view

operations_alerts = table(
    "operations_alerts",
    "One row per alert: what people are told about a run, a sensor, or what is well again.",
    text("alert_id", "First 128 bits of the SHA-256 of kind and cause, hex", key=True),
    text("kind", "What is not well, recovered, or what a notice tells; docs/alerts.md has them"),
    text("severity", "info, warning or error"),
    text("title", "One line"),
    text("body", "What failed, why, what to do, and links"),
    text("run_id", "Dagster run; NULL where it is not about one", optional=True),
    text("job", "Its job; NULL where it is not about one", optional=True),
    text("assets", "Asset keys, a JSON list"),
    text("partitions", "Partition keys, a JSON list"),
    text("link", "Where the UI shows it; NULL where nothing does", optional=True),
    text(
        "state", "open, recovered, replaced (a later alert tells of it) or told (nothing to mend)"
    ),
    text("open_problems", "What of it is not well yet, a JSON list of kind, subject and detail"),
    count("repeated_count", "How often the same came again within the window, and was not told"),
    moment("raised_at", "UTC time"),
    moment("repeated_at", "UTC time of the latest repetition", optional=True),
    moment("ended_at", "UTC time at which it recovered or was replaced", optional=True),
)

operations_alert_deliveries = table(
    "operations_alert_deliveries",
    "One row per alert and channel that it is for.",
    text("alert_id", "The alert", key=True),
    text("channel", "Its name, such as ops, or mailto-2 for an entry of ALERT_URLS", key=True),
    text(
        "state",
        "pending (also after attempts in vain), delivered, failed (given up) or told_before (too "
        "lately by an earlier alert to be told again)",
    ),
    count("attempt_count", "Attempts begun"),
    text("last_error", "Why the latest attempt was in vain, without secrets", optional=True),
    moment("next_attempt_at", "UTC time from which on it is tried (again)"),
    moment("delivered_at", "UTC time at which the channel took it", optional=True),
    text("rule", "Rule by which it is for the channel; NULL: from before rules", optional=True),
    moment(
        "told_at", "Of told_before: UTC time at which the earlier alert was raised", optional=True
    ),
    moment("failed_at", "UTC time of the latest attempt in vain, or when given up", optional=True),
    count(
        "digest_count",
        "Alerts in the message that the channel took, 1: just this; NULL: none yet, or unknown",
        optional=True,
    ),
)

operations_evaluations = table(
    "operations_evaluations",
    "One row per cause that was looked at: it raises alerts once, however often it is read.",
    text("cause", "Such as a run's id and how it ended", key=True),
    moment("evaluated_at", "UTC time"),
)

operations_removals = table(
    "operations_removals",
    "One row per artifact that was cleaned up, recorded before it was deleted.",
    text("name", "The artifact, relative to the artifact store", key=True),
    moment("removed_at", "UTC time", key=True),
    text("kind", "captured bytes, staged rows or picture"),
    count("byte_count", "Size as stored, bytes"),
    moment("put_at", "UTC time at which it was last put into the store"),
    text("run_id", "Dagster run"),
)

operations_runs = table(
    "operations_runs",
    "One row per run of Dagster, also after Dagster has forgotten it.",
    text("run_id", "Dagster's run", key=True),
    text("session", "What it was started in: a batch, a backfill, a tick, or else its first try"),
    text("job", "Its job; __ASSET_JOB for assets that were chosen by hand"),
    text("domain", "Tag domain; without one that of its assets or of its job's name"),
    text(
        "partition_key",
        "Partition, or first...last of a range; NULL where there is none",
        optional=True,
    ),
    text("params", "Run config, JSON; secrets as ***"),
    text(
        "status",
        "Dagster's: NOT_STARTED, QUEUED, STARTING, STARTED, CANCELING, SUCCESS, FAILURE, CANCELED; "
        "DELETED: gone from Dagster before it ended",
    ),
    moment("created_at", "UTC time at which it was asked for"),
    moment("started_at", "UTC time at which its process began", optional=True),
    moment(
        "ended_at",
        "UTC time at which it ended; NULL: it has not; of a DELETED one, when that was noticed",
        optional=True,
    ),
    ratio("duration_seconds", "From start to end, seconds", optional=True),
    count("rows_in", "Lines in what its deliveries fetched; 0 where it checked no delivery"),
    count("rows_landed", "Rows of what landed: new, changed and unchanged ones"),
    count("rows_rejected", "Lines refused by the contract, also of what was held back"),
    count("byte_count", "Size of what its deliveries fetched, as received, bytes"),
    text("trigger_kind", "schedule, sensor, backfill or person"),
    text(
        "trigger_name",
        "Which schedule, sensor or backfill; NULL for a person",
        optional=True,
    ),
    text("user_name", "Tag user; NULL where nobody is named", optional=True),
    text("error_category", "Of a failed or canceled run, one word; else NULL", optional=True),
    text("error_message", "What it failed with; NULL where it did not", optional=True),
    text("config_hash", "Tag config_hash; NULL where there is none", optional=True),
    text("retry_of", "The run that it tries again; NULL: a first try", optional=True),
    moment("changed_at", "UTC time at which Dagster last changed the run"),
    moment("recorded_at", "UTC time at which this row was last written"),
    text(
        "preset",
        "Applied preset that it went by, such as strict_quality#3; NULL: by none",
        optional=True,
    ),
)

Index("operations_runs_by_session", operations_runs.c.session)
Index("operations_runs_by_retried", operations_runs.c.retry_of)
Index("operations_runs_by_start", operations_runs.c.started_at)
Index("operations_runs_by_creation", operations_runs.c.created_at)
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
    "One row per step of a run in operations_runs that began, or was skipped.",
    text("run_id", "Dagster's run", key=True),
    text("step_key", "Dagster's step", key=True),
    text("job", "The run's job"),
    text("domain", "That of its assets; without any, the run's"),
    text("asset", "The first by name of its assets; NULL: it makes none", optional=True),
    text("assets", "All assets that it was to make, a JSON list"),
    text("status", "IN_PROGRESS, SUCCESS, FAILURE or SKIPPED; CANCELED: its run ended first"),
    moment("started_at", "UTC time; NULL: it never did", optional=True),
    moment("ended_at", "UTC time; NULL: it has not", optional=True),
    ratio("duration_seconds", "From its start to its end, all attempts, seconds", optional=True),
    count("attempt_count", "Attempts begun"),
    count("rows_in", "Lines in what was fetched for its tables"),
    count("rows_landed", "Rows of what landed in its tables: new, changed and unchanged ones"),
    count("rows_rejected", "Lines refused by the contract, also of what was held back"),
    count("byte_count", "Size of what was fetched for its tables, as received, bytes"),
    flag(
        "quality_passed",
        "Whether all its checks of severity error passed; NULL: it evaluated none",
        optional=True,
    ),
    text("quality_metrics", "By check: passed, severity and its numbers, JSON"),
    text("error_category", "Of a failed step, one word; else NULL", optional=True),
    text("error_message", "What it failed with; NULL where it did not", optional=True),
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
    "One row per domain, asset and window of time, as the latest look found it.",
    text("domain", "The domain", key=True),
    text("asset", "An asset of it; empty: all of the domain", key=True),
    count("window_hours", "Hours before the look that are counted: 24, 168 or 672", key=True),
    text("state", "healthy, attention, stale or failing; the same for each window"),
    text("reasons", "Why it is in that state, a JSON list of sentences"),
    count("run_count", "Runs (of an asset: steps) that ended in the window"),
    count("success_count", "Those that succeeded"),
    count("failure_count", "Those that failed"),
    count("canceled_count", "Those that were canceled, skipped, or gone before they ended"),
    ratio(
        "success_share", "Succeeded among succeeded and failed; NULL: none of them", optional=True
    ),
    count(
        "retry_count", "Those that tried another run again; of an asset: attempts beyond the first"
    ),
    text("failures_by_category", "Failures by error_category, JSON"),
    ratio("runs_per_hour", "run_count by hour of the window"),
    count("rows_in", "Lines fetched"),
    count("rows_landed", "Rows landed: new, changed and unchanged ones"),
    count("rows_rejected", "Lines refused by the contract"),
    ratio("reject_share", "rows_rejected among rows_in; NULL: no row came in", optional=True),
    count("byte_count", "Size of what was fetched, bytes"),
    count("queue_depth", "Runs that wait to start now; of an asset: 0"),
    count("running_count", "Runs under way now; of an asset: steps"),
    moment("last_landed_at", "UTC time of the latest landing; NULL: there is none", optional=True),
    ratio("hours_since_landing", "Hours since then", optional=True),
    text(
        "oldest_unlanded_partition",
        "The first published partition that is due and not landed; NULL: there is none, or nobody "
        "promises any",
        optional=True,
    ),
    ratio("hours_late", "Hours since that was due", optional=True),
    moment("looked_at", "UTC time of the look"),
)

operations_presets = table(
    "operations_presets",
    "One row per time that a preset was applied; of each job the latest one is in force.",
    text("job", "The job whose runs take it", key=True),
    count("applied_number", "1 for the first that was applied to the job, then 2, …", key=True),
    text("preset", "Its name: that of its file in presets/, without .yaml"),
    text("content", "The fields that it set then, with their values, JSON"),
    text("user_name", "Who applied it"),
    text("reason", "Why"),
    text("run_id", "Dagster run that applied it"),
    moment("applied_at", "UTC time"),
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
"""What a status of Dagster, of a run or a step, is called in `workflow_…` and sessions."""

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
"""Statuses of runs that wait to start, and of those under way."""

workflow_runs = view(
    "workflow_runs",
    "One row per run of operations_runs, in the words of other workflow systems.",
    as_it_is(_runs.run_id),
    _renamed("session_id", _runs.session),
    _renamed("workflow_name", _runs.job),
    as_it_is(_runs.domain),
    as_it_is(_runs.partition_key),
    _renamed("parameters", _runs.params),
    ViewColumn(
        "status",
        _state(_runs.status, *RUN_STATUSES),
        "PENDING, RUNNING, COMPLETED, FAILED or CANCELLED",
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
    "One row per step of operations_steps, in the words of other workflow systems.",
    as_it_is(_steps.run_id),
    ViewColumn("step_name", _steps.step_key, str(_steps.step_key.comment), is_key=True),
    _renamed("workflow_name", _steps.job),
    as_it_is(_steps.domain),
    as_it_is(_steps.asset),
    ViewColumn(
        "status",
        _state(_steps.status, "IN_PROGRESS", "SUCCESS", "FAILURE", "SKIPPED", "CANCELED"),
        "RUNNING, COMPLETED, FAILED or CANCELLED (also skipped)",
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
_is_failure = (_runs.status == "FAILURE") & ~exists().where(_retries.c.retry_of == _runs.run_id)
_ended = func.count(_runs.ended_at)

operations_sessions = view(
    "operations_sessions",
    "One row per session: the runs of one batch, one backfill or one tick, with their retries.",
    ViewColumn("session", _runs.session, "The session", is_key=True),
    ViewColumn(
        "domain", func.min(_runs.domain), "The domain of its runs; of several, the first by name"
    ),
    ViewColumn("job", func.min(_runs.job), "Their job; of several, the first by name"),
    ViewColumn(
        "trigger_kind", func.min(_runs.trigger_kind), "schedule, sensor, backfill or person"
    ),
    ViewColumn(
        "trigger_name", func.min(_runs.trigger_name), "Which of them; NULL: a person", optional=True
    ),
    ViewColumn(
        "user_name", func.min(_runs.user_name), "Who asked; NULL: nobody is named", optional=True
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
        "PENDING, RUNNING, FAILED (and not tried again), CANCELLED or COMPLETED",
    ),
    ViewColumn("run_count", cast(func.count(), BigInteger), "Runs asked for so far, retries too"),
    ViewColumn("pending_count", _number(_is_pending), "Runs that wait to start"),
    ViewColumn("running_count", _number(_is_running), "Runs under way"),
    ViewColumn("success_count", _number(_runs.status == "SUCCESS"), "Runs that succeeded"),
    ViewColumn("failure_count", _number(_is_failure), "Runs that failed and were not tried again"),
    ViewColumn(
        "canceled_count",
        _number(_runs.status.in_(("CANCELED", "DELETED"))),
        "Runs that were canceled, or gone before they ended",
    ),
    ViewColumn(
        "retry_count", _number(_runs.retry_of.is_not(None)), "Runs that tried another again"
    ),
    ViewColumn(
        "progress_share",
        cast(func.avg(case((_runs.ended_at.is_not(None), 1.0), else_=0.0)), Double),
        "Ended runs among those asked for so far",
    ),
    ViewColumn(
        "created_at", func.min(_runs.created_at), "UTC time at which its first run was asked for"
    ),
    ViewColumn(
        "ended_at", func.max(_runs.ended_at), "UTC time of the latest end of a run", optional=True
    ),
    ViewColumn("changed_at", func.max(_runs.changed_at), "UTC time of the latest change of a run"),
    ViewColumn(
        "busy_seconds",
        cast(func.coalesce(func.sum(_runs.duration_seconds), 0), Double),
        "Durations of its runs together, seconds",
    ),
    ViewColumn("rows_in", _total(_runs.rows_in), "Lines fetched"),
    ViewColumn(
        "rows_landed", _total(_runs.rows_landed), "Rows landed: new, changed and unchanged ones"
    ),
    ViewColumn("rows_rejected", _total(_runs.rows_rejected), "Lines refused by the contract"),
    ViewColumn("byte_count", _total(_runs.byte_count), "Size of what was fetched, bytes"),
    group_by=[_runs.session],
)

operations_readiness = table(
    "operations_readiness",
    "One row per dependency and machine: what was last found of it.",
    text("dependency", "Such as finra, database, artifacts or disk", key=True),
    text("machine", "Host name of the machine that looked", key=True),
    text("outcome", "passed, failed or not_applicable"),
    text("tried", "What was done to find out"),
    text("got", "What came of it, without secrets"),
    text("remedy", "What to do; empty where nothing is"),
    ratio("seconds", "How long it took"),
    moment("checked_at", "UTC time at which it was looked at"),
    text("config_hash", "Of the settings under which it was looked at"),
    text("run_id", "Dagster run that looked"),
    moment("forced_at", "UTC time at which a run last went on although it failed", optional=True),
    text("forced_run_id", "That run; NULL where there was none", optional=True),
)

operations_verified_configs = table(
    "operations_verified_configs",
    "One row per configuration under which a verification found everything ready.",
    text("config_hash", "First 64 bits of the SHA-256 of the values, hex", key=True),
    text("entries", "The values without secrets, a JSON object by name: value and origin"),
    moment("verified_at", "UTC time at which it was last verified"),
    text("run_id", "Dagster run that did"),
)
