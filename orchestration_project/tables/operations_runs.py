"""Tables of runs: each run and step, sessions of runs, and the control tower over them."""

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


def _name_state(status: Column[str], *statuses: str) -> ColumnElement[str]:
    names = {word: STATES[word] for word in statuses}
    return type_coerce(case(names, value=status, else_=status), BYTEWISE_TEXT)


def _rename_column(name: str, column: Column[Any]) -> ViewColumn:
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
    _rename_column("session_id", _runs.session),
    _rename_column("workflow_name", _runs.job),
    as_it_is(_runs.domain),
    as_it_is(_runs.partition_key),
    _rename_column("parameters", _runs.params),
    ViewColumn(
        "status",
        _name_state(_runs.status, *RUN_STATUSES),
        "Status: PENDING, RUNNING, COMPLETED, FAILED or CANCELLED",
    ),
    as_it_is(_runs.created_at),
    as_it_is(_runs.started_at),
    _rename_column("completed_at", _runs.ended_at),
    as_it_is(_runs.duration_seconds),
    as_it_is(_runs.rows_in),
    as_it_is(_runs.rows_landed),
    as_it_is(_runs.rows_rejected),
    _rename_column("bytes_processed", _runs.byte_count),
    _rename_column("triggered_by", _runs.trigger_kind),
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
    _rename_column("workflow_name", _steps.job),
    as_it_is(_steps.domain),
    as_it_is(_steps.asset),
    ViewColumn(
        "status",
        _name_state(_steps.status, "IN_PROGRESS", "SUCCESS", "FAILURE", "SKIPPED", "CANCELED"),
        "Status: RUNNING, COMPLETED, FAILED or CANCELLED (also skipped)",
    ),
    as_it_is(_steps.started_at),
    _rename_column("completed_at", _steps.ended_at),
    as_it_is(_steps.duration_seconds),
    as_it_is(_steps.attempt_count),
    as_it_is(_steps.rows_in),
    as_it_is(_steps.rows_landed),
    as_it_is(_steps.rows_rejected),
    _rename_column("bytes_processed", _steps.byte_count),
    as_it_is(_steps.quality_passed),
    as_it_is(_steps.quality_metrics),
    as_it_is(_steps.error_category),
    as_it_is(_steps.error_message),
)


def _count_where(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return cast(func.count(case((condition, 1))), BigInteger)


def _sum_column(column: Column[int]) -> ColumnElement[int]:
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
    ViewColumn("pending_count", _count_where(_is_pending), "Runs that wait to start"),
    ViewColumn("running_count", _count_where(_is_running), "Runs in progress"),
    ViewColumn("success_count", _count_where(_runs.status == "SUCCESS"), "Runs that succeeded"),
    ViewColumn("failure_count", _count_where(_is_failure), "Runs that failed and were not retried"),
    ViewColumn(
        "canceled_count",
        _count_where(_runs.status.in_(("CANCELED", "DELETED"))),
        "Runs that were canceled, or deleted before they ended",
    ),
    ViewColumn(
        "retry_count", _count_where(_runs.retry_of.is_not(None)), "Runs that retried another run"
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
    ViewColumn("rows_in", _sum_column(_runs.rows_in), "Lines fetched"),
    ViewColumn(
        "rows_landed",
        _sum_column(_runs.rows_landed),
        "Rows loaded: new, changed and unchanged ones",
    ),
    ViewColumn("rows_rejected", _sum_column(_runs.rows_rejected), "Lines rejected by the contract"),
    ViewColumn("byte_count", _sum_column(_runs.byte_count), "Size of the fetched content, bytes"),
    group_by=[_runs.session],
)
