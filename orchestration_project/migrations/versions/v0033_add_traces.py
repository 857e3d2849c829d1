"""Add the trace of captures, runs and requests, and an index of alerts by state."""

from orchestration_project.migrations.changes import (
    AddColumn,
    CreateIndex,
    CreateView,
    DropView,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, View

revision = "0033"
down_revision = "0032"

# fmt: off
CHANGES = [
    DropView(View("operations_sessions", "One row per session: the runs of one batch, one backfill or one tick, with their retries.", {
        "session": "Session",
        "domain": "Domain of its runs; of several, the first by name",
        "job": "Job of its runs; of several, the first by name",
        "trigger_kind": "Trigger: schedule, sensor, backfill or person",
        "trigger_name": "Name of the schedule, sensor or backfill; NULL: a person",
        "user_name": "Tag user; NULL: no such tag",
        "state": "State: PENDING, RUNNING, FAILED (and not retried), CANCELLED or COMPLETED",
        "run_count": "Runs created so far, including retries",
        "pending_count": "Runs that wait to start",
        "running_count": "Runs in progress",
        "success_count": "Runs that succeeded",
        "failure_count": "Runs that failed and were not retried",
        "canceled_count": "Runs that were canceled, or deleted before they ended",
        "retry_count": "Runs that retried another run",
        "progress_share": "Share of ended runs in the runs created so far, 0-1",
        "created_at": "UTC time at which its first run was created",
        "ended_at": "UTC time of the latest end of a run; NULL: no run ended",
        "changed_at": "UTC time of the latest change of a run",
        "busy_seconds": "Total duration of its runs, seconds",
        "rows_in": "Lines fetched",
        "rows_landed": "Rows loaded: new, changed and unchanged ones",
        "rows_rejected": "Lines rejected by the contract",
        "byte_count": "Size of the fetched content, bytes",
    }, """
SELECT operations_runs.session AS session,
min(operations_runs.domain) AS domain,
min(operations_runs.job) AS job,
min(operations_runs.trigger_kind) AS trigger_kind,
min(operations_runs.trigger_name) AS trigger_name,
min(operations_runs.user_name) AS user_name,
CASE WHEN (count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) > 0) THEN 'RUNNING' WHEN (count(operations_runs.ended_at) = 0) THEN 'PENDING' WHEN (count(operations_runs.ended_at) < count(*)) THEN 'RUNNING' WHEN (count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT * FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) > 0) THEN 'FAILED' WHEN (count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) > 0) THEN 'CANCELLED' ELSE 'COMPLETED' END AS state,
CAST(count(*) AS BIGINT) AS run_count,
CAST(count(CASE WHEN (operations_runs.status IN ('NOT_STARTED', 'QUEUED')) THEN 1 END) AS BIGINT) AS pending_count,
CAST(count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) AS BIGINT) AS running_count,
CAST(count(CASE WHEN (operations_runs.status = 'SUCCESS') THEN 1 END) AS BIGINT) AS success_count,
CAST(count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT * FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) AS BIGINT) AS failure_count,
CAST(count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) AS BIGINT) AS canceled_count,
CAST(count(CASE WHEN (operations_runs.retry_of IS NOT NULL) THEN 1 END) AS BIGINT) AS retry_count,
CAST(avg(CASE WHEN (operations_runs.ended_at IS NOT NULL) THEN 1.0 ELSE 0.0 END) AS DOUBLE PRECISION) AS progress_share,
min(operations_runs.created_at) AS created_at,
max(operations_runs.ended_at) AS ended_at,
max(operations_runs.changed_at) AS changed_at,
CAST(coalesce(sum(operations_runs.duration_seconds), 0) AS DOUBLE PRECISION) AS busy_seconds,
CAST(sum(operations_runs.rows_in) AS BIGINT) AS rows_in,
CAST(sum(operations_runs.rows_landed) AS BIGINT) AS rows_landed,
CAST(sum(operations_runs.rows_rejected) AS BIGINT) AS rows_rejected,
CAST(sum(operations_runs.byte_count) AS BIGINT) AS byte_count
FROM operations_runs
GROUP BY operations_runs.session
""", sqlite_sql="""
SELECT operations_runs.session AS session,
min(operations_runs.domain) AS domain,
min(operations_runs.job) AS job,
min(operations_runs.trigger_kind) AS trigger_kind,
min(operations_runs.trigger_name) AS trigger_name,
min(operations_runs.user_name) AS user_name,
CASE WHEN (count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) > 0) THEN 'RUNNING' WHEN (count(operations_runs.ended_at) = 0) THEN 'PENDING' WHEN (count(operations_runs.ended_at) < count(*)) THEN 'RUNNING' WHEN (count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT * FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) > 0) THEN 'FAILED' WHEN (count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) > 0) THEN 'CANCELLED' ELSE 'COMPLETED' END AS state,
CAST(count(*) AS BIGINT) AS run_count,
CAST(count(CASE WHEN (operations_runs.status IN ('NOT_STARTED', 'QUEUED')) THEN 1 END) AS BIGINT) AS pending_count,
CAST(count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) AS BIGINT) AS running_count,
CAST(count(CASE WHEN (operations_runs.status = 'SUCCESS') THEN 1 END) AS BIGINT) AS success_count,
CAST(count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT * FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) AS BIGINT) AS failure_count,
CAST(count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) AS BIGINT) AS canceled_count,
CAST(count(CASE WHEN (operations_runs.retry_of IS NOT NULL) THEN 1 END) AS BIGINT) AS retry_count,
CAST(avg(CASE WHEN (operations_runs.ended_at IS NOT NULL) THEN 1.0 ELSE 0.0 END) AS DOUBLE) AS progress_share,
min(operations_runs.created_at) AS created_at,
max(operations_runs.ended_at) AS ended_at,
max(operations_runs.changed_at) AS changed_at,
CAST(coalesce(sum(operations_runs.duration_seconds), 0) AS DOUBLE) AS busy_seconds,
CAST(sum(operations_runs.rows_in) AS BIGINT) AS rows_in,
CAST(sum(operations_runs.rows_landed) AS BIGINT) AS rows_landed,
CAST(sum(operations_runs.rows_rejected) AS BIGINT) AS rows_rejected,
CAST(sum(operations_runs.byte_count) AS BIGINT) AS byte_count
FROM operations_runs
GROUP BY operations_runs.session
""")),
    AddColumn("captures", Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True)),
    AddColumn("access_audit", Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True)),
    CreateIndex("operations_alerts", Index("operations_alerts_by_state", ["state"])),
    AddColumn("operations_runs", Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True)),
    CreateView(View("operations_sessions", "One row per session: the runs of one batch, one backfill or one tick, with their retries.", {
        "session": "Session",
        "domain": "Domain of its runs; of several, the first by name",
        "job": "Job of its runs; of several, the first by name",
        "trigger_kind": "Trigger: schedule, sensor, backfill or person",
        "trigger_name": "Name of the schedule, sensor or backfill; NULL: a person",
        "user_name": "Tag user; NULL: no such tag",
        "state": "State: PENDING, RUNNING, FAILED (and not retried), CANCELLED or COMPLETED",
        "run_count": "Runs created so far, including retries",
        "pending_count": "Runs that wait to start",
        "running_count": "Runs in progress",
        "success_count": "Runs that succeeded",
        "failure_count": "Runs that failed and were not retried",
        "canceled_count": "Runs that were canceled, or deleted before they ended",
        "retry_count": "Runs that retried another run",
        "progress_share": "Share of ended runs in the runs created so far, 0-1",
        "created_at": "UTC time at which its first run was created",
        "ended_at": "UTC time of the latest end of a run; NULL: no run ended",
        "changed_at": "UTC time of the latest change of a run",
        "busy_seconds": "Total duration of its runs, seconds",
        "rows_in": "Lines fetched",
        "rows_landed": "Rows loaded: new, changed and unchanged ones",
        "rows_rejected": "Lines rejected by the contract",
        "byte_count": "Size of the fetched content, bytes",
    }, """
SELECT operations_runs.session AS session,
min(operations_runs.domain) AS domain,
min(operations_runs.job) AS job,
min(operations_runs.trigger_kind) AS trigger_kind,
min(operations_runs.trigger_name) AS trigger_name,
min(operations_runs.user_name) AS user_name,
CASE WHEN (count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) > 0) THEN 'RUNNING' WHEN (count(operations_runs.ended_at) = 0) THEN 'PENDING' WHEN (count(operations_runs.ended_at) < count(*)) THEN 'RUNNING' WHEN (count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT retries.run_id FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) > 0) THEN 'FAILED' WHEN (count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) > 0) THEN 'CANCELLED' ELSE 'COMPLETED' END AS state,
CAST(count(*) AS BIGINT) AS run_count,
CAST(count(CASE WHEN (operations_runs.status IN ('NOT_STARTED', 'QUEUED')) THEN 1 END) AS BIGINT) AS pending_count,
CAST(count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) AS BIGINT) AS running_count,
CAST(count(CASE WHEN (operations_runs.status = 'SUCCESS') THEN 1 END) AS BIGINT) AS success_count,
CAST(count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT retries.run_id FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) AS BIGINT) AS failure_count,
CAST(count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) AS BIGINT) AS canceled_count,
CAST(count(CASE WHEN (operations_runs.retry_of IS NOT NULL) THEN 1 END) AS BIGINT) AS retry_count,
CAST(avg(CASE WHEN (operations_runs.ended_at IS NOT NULL) THEN 1.0 ELSE 0.0 END) AS DOUBLE PRECISION) AS progress_share,
min(operations_runs.created_at) AS created_at,
max(operations_runs.ended_at) AS ended_at,
max(operations_runs.changed_at) AS changed_at,
CAST(coalesce(sum(operations_runs.duration_seconds), 0) AS DOUBLE PRECISION) AS busy_seconds,
CAST(sum(operations_runs.rows_in) AS BIGINT) AS rows_in,
CAST(sum(operations_runs.rows_landed) AS BIGINT) AS rows_landed,
CAST(sum(operations_runs.rows_rejected) AS BIGINT) AS rows_rejected,
CAST(sum(operations_runs.byte_count) AS BIGINT) AS byte_count
FROM operations_runs
GROUP BY operations_runs.session
""", sqlite_sql="""
SELECT operations_runs.session AS session,
min(operations_runs.domain) AS domain,
min(operations_runs.job) AS job,
min(operations_runs.trigger_kind) AS trigger_kind,
min(operations_runs.trigger_name) AS trigger_name,
min(operations_runs.user_name) AS user_name,
CASE WHEN (count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) > 0) THEN 'RUNNING' WHEN (count(operations_runs.ended_at) = 0) THEN 'PENDING' WHEN (count(operations_runs.ended_at) < count(*)) THEN 'RUNNING' WHEN (count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT retries.run_id FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) > 0) THEN 'FAILED' WHEN (count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) > 0) THEN 'CANCELLED' ELSE 'COMPLETED' END AS state,
CAST(count(*) AS BIGINT) AS run_count,
CAST(count(CASE WHEN (operations_runs.status IN ('NOT_STARTED', 'QUEUED')) THEN 1 END) AS BIGINT) AS pending_count,
CAST(count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) AS BIGINT) AS running_count,
CAST(count(CASE WHEN (operations_runs.status = 'SUCCESS') THEN 1 END) AS BIGINT) AS success_count,
CAST(count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT retries.run_id FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) AS BIGINT) AS failure_count,
CAST(count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) AS BIGINT) AS canceled_count,
CAST(count(CASE WHEN (operations_runs.retry_of IS NOT NULL) THEN 1 END) AS BIGINT) AS retry_count,
CAST(avg(CASE WHEN (operations_runs.ended_at IS NOT NULL) THEN 1.0 ELSE 0.0 END) AS DOUBLE) AS progress_share,
min(operations_runs.created_at) AS created_at,
max(operations_runs.ended_at) AS ended_at,
max(operations_runs.changed_at) AS changed_at,
CAST(coalesce(sum(operations_runs.duration_seconds), 0) AS DOUBLE) AS busy_seconds,
CAST(sum(operations_runs.rows_in) AS BIGINT) AS rows_in,
CAST(sum(operations_runs.rows_landed) AS BIGINT) AS rows_landed,
CAST(sum(operations_runs.rows_rejected) AS BIGINT) AS rows_rejected,
CAST(sum(operations_runs.byte_count) AS BIGINT) AS byte_count
FROM operations_runs
GROUP BY operations_runs.session
""")),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
