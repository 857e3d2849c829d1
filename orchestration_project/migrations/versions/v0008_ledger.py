"""The ledger of runs, their steps and sessions, the control tower, and the views on them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG_INTEGER = sa.BigInteger()
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

TABLES = ("operations_runs", "operations_steps", "operations_control_tower")
INDEXES = (
    ("deliveries_by_run", "deliveries", ["run_id"]),
    ("operations_runs_by_creation", "operations_runs", ["created_at"]),
    (
        "operations_runs_by_end",
        "operations_runs",
        [
            "ended_at",
            "domain",
            "status",
            "error_category",
            "retry_of",
            "rows_in",
            "rows_landed",
            "rows_rejected",
            "byte_count",
        ],
    ),
    ("operations_runs_by_retried", "operations_runs", ["retry_of"]),
    ("operations_runs_by_session", "operations_runs", ["session"]),
    ("operations_runs_by_start", "operations_runs", ["started_at"]),
    (
        "operations_steps_by_end",
        "operations_steps",
        [
            "ended_at",
            "domain",
            "asset",
            "status",
            "error_category",
            "attempt_count",
            "rows_in",
            "rows_landed",
            "rows_rejected",
            "byte_count",
        ],
    ),
)

WORKFLOW_RUNS = """
CREATE VIEW workflow_runs AS
SELECT operations_runs.run_id AS run_id,
operations_runs.session AS session_id,
operations_runs.job AS workflow_name,
operations_runs.domain AS domain,
operations_runs.partition_key AS partition_key,
operations_runs.params AS parameters,
CASE operations_runs.status
WHEN 'NOT_STARTED' THEN 'PENDING'
WHEN 'QUEUED' THEN 'PENDING'
WHEN 'STARTING' THEN 'RUNNING'
WHEN 'STARTED' THEN 'RUNNING'
WHEN 'CANCELING' THEN 'RUNNING'
WHEN 'SUCCESS' THEN 'COMPLETED'
WHEN 'FAILURE' THEN 'FAILED'
WHEN 'CANCELED' THEN 'CANCELLED'
WHEN 'DELETED' THEN 'CANCELLED' ELSE operations_runs.status END AS status,
operations_runs.created_at AS created_at,
operations_runs.started_at AS started_at,
operations_runs.ended_at AS completed_at,
operations_runs.duration_seconds AS duration_seconds,
operations_runs.rows_in AS rows_in,
operations_runs.rows_landed AS rows_landed,
operations_runs.rows_rejected AS rows_rejected,
operations_runs.byte_count AS bytes_processed,
operations_runs.trigger_kind AS triggered_by,
operations_runs.trigger_name AS trigger_name,
operations_runs.user_name AS user_name,
operations_runs.error_category AS error_category,
operations_runs.error_message AS error_message,
operations_runs.config_hash AS config_hash,
operations_runs.retry_of AS retry_of
FROM operations_runs
"""

WORKFLOW_RUNS_COMMENT = (
    "One row per run of operations_runs, in the words of other workflow systems."
)
WORKFLOW_RUNS_COMMENTS = {
    "run_id": "Dagster''s run",
    "session_id": "What it was started in: a batch, a backfill, a tick, or else its first try",
    "workflow_name": "Its job; __ASSET_JOB for assets that were chosen by hand",
    "domain": "Tag domain; without one that of its assets or of its job''s name",
    "partition_key": "Partition, or first...last of a range; NULL where there is none",
    "parameters": "Run config, JSON; secrets as ***",
    "status": "PENDING, RUNNING, COMPLETED, FAILED or CANCELLED",
    "created_at": "UTC time at which it was asked for",
    "started_at": "UTC time at which its process began",
    "completed_at": "UTC time at which it ended; NULL: it has not; of a DELETED one, when that was noticed",
    "duration_seconds": "From start to end, seconds",
    "rows_in": "Lines in what its deliveries fetched; 0 where it checked no delivery",
    "rows_landed": "Rows of what landed: new, changed and unchanged ones",
    "rows_rejected": "Lines refused by the contract, also of what was held back",
    "bytes_processed": "Size of what its deliveries fetched, as received, bytes",
    "triggered_by": "schedule, sensor, backfill or person",
    "trigger_name": "Which schedule, sensor or backfill; NULL for a person",
    "user_name": "Tag user; NULL where nobody is named",
    "error_category": "Of a failed or canceled run, one word; else NULL",
    "error_message": "What it failed with; NULL where it did not",
    "config_hash": "Tag config_hash; NULL where there is none",
    "retry_of": "The run that it tries again; NULL: a first try",
}

WORKFLOW_STEP_RUNS = """
CREATE VIEW workflow_step_runs AS
SELECT operations_steps.run_id AS run_id,
operations_steps.step_key AS step_name,
operations_steps.job AS workflow_name,
operations_steps.domain AS domain,
operations_steps.asset AS asset,
CASE operations_steps.status
WHEN 'IN_PROGRESS' THEN 'RUNNING'
WHEN 'SUCCESS' THEN 'COMPLETED'
WHEN 'FAILURE' THEN 'FAILED'
WHEN 'SKIPPED' THEN 'CANCELLED'
WHEN 'CANCELED' THEN 'CANCELLED' ELSE operations_steps.status END AS status,
operations_steps.started_at AS started_at,
operations_steps.ended_at AS completed_at,
operations_steps.duration_seconds AS duration_seconds,
operations_steps.attempt_count AS attempt_count,
operations_steps.rows_in AS rows_in,
operations_steps.rows_landed AS rows_landed,
operations_steps.rows_rejected AS rows_rejected,
operations_steps.byte_count AS bytes_processed,
operations_steps.quality_passed AS quality_passed,
operations_steps.quality_metrics AS quality_metrics,
operations_steps.error_category AS error_category,
operations_steps.error_message AS error_message
FROM operations_steps
"""

WORKFLOW_STEP_RUNS_COMMENT = (
    "One row per step of operations_steps, in the words of other workflow systems."
)
WORKFLOW_STEP_RUNS_COMMENTS = {
    "run_id": "Dagster''s run",
    "step_name": "Dagster''s step",
    "workflow_name": "The run''s job",
    "domain": "That of its assets; without any, the run''s",
    "asset": "The first by name of its assets; NULL: it makes none",
    "status": "RUNNING, COMPLETED, FAILED or CANCELLED (also skipped)",
    "started_at": "UTC time; NULL: it never did",
    "completed_at": "UTC time; NULL: it has not",
    "duration_seconds": "From its start to its end, all attempts, seconds",
    "attempt_count": "Attempts begun",
    "rows_in": "Lines in what was fetched for its tables",
    "rows_landed": "Rows of what landed in its tables: new, changed and unchanged ones",
    "rows_rejected": "Lines refused by the contract, also of what was held back",
    "bytes_processed": "Size of what was fetched for its tables, as received, bytes",
    "quality_passed": "Whether all its checks of severity error passed; NULL: it evaluated none",
    "quality_metrics": "By check: passed, severity and its numbers, JSON",
    "error_category": "Of a failed step, one word; else NULL",
    "error_message": "What it failed with; NULL where it did not",
}

OPERATIONS_SESSIONS = """
CREATE VIEW operations_sessions AS
SELECT operations_runs.session AS session,
min(operations_runs.domain) AS domain,
min(operations_runs.job) AS job,
min(operations_runs.trigger_kind) AS trigger_kind,
min(operations_runs.trigger_name) AS trigger_name,
min(operations_runs.user_name) AS user_name,
CASE
WHEN (count(CASE
WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) > 0) THEN 'RUNNING'
WHEN (count(operations_runs.ended_at) = 0) THEN 'PENDING'
WHEN (count(operations_runs.ended_at) < count(*)) THEN 'RUNNING'
WHEN (count(CASE
WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT *
FROM operations_runs AS retries
WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) > 0) THEN 'FAILED'
WHEN (count(CASE
WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) > 0) THEN 'CANCELLED' ELSE 'COMPLETED' END AS state,
CAST(count(*) AS BIGINT) AS run_count,
CAST(count(CASE
WHEN (operations_runs.status IN ('NOT_STARTED', 'QUEUED')) THEN 1 END) AS BIGINT) AS pending_count,
CAST(count(CASE
WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) AS BIGINT) AS running_count,
CAST(count(CASE
WHEN (operations_runs.status = 'SUCCESS') THEN 1 END) AS BIGINT) AS success_count,
CAST(count(CASE
WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT *
FROM operations_runs AS retries
WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) AS BIGINT) AS failure_count,
CAST(count(CASE
WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) AS BIGINT) AS canceled_count,
CAST(count(CASE
WHEN (operations_runs.retry_of IS NOT NULL) THEN 1 END) AS BIGINT) AS retry_count,
CAST(avg(CASE
WHEN (operations_runs.ended_at IS NOT NULL) THEN 1.0 ELSE 0.0 END) AS {double}) AS progress_share,
min(operations_runs.created_at) AS created_at,
max(operations_runs.ended_at) AS ended_at,
max(operations_runs.changed_at) AS changed_at,
CAST(coalesce(sum(operations_runs.duration_seconds), 0) AS {double}) AS busy_seconds,
CAST(sum(operations_runs.rows_in) AS BIGINT) AS rows_in,
CAST(sum(operations_runs.rows_landed) AS BIGINT) AS rows_landed,
CAST(sum(operations_runs.rows_rejected) AS BIGINT) AS rows_rejected,
CAST(sum(operations_runs.byte_count) AS BIGINT) AS byte_count
FROM operations_runs GROUP BY operations_runs.session
"""

OPERATIONS_SESSIONS_COMMENT = (
    "One row per session: the runs of one batch, one backfill or one tick, with their retries."
)
OPERATIONS_SESSIONS_COMMENTS = {
    "session": "The session",
    "domain": "The domain of its runs; of several, the first by name",
    "job": "Their job; of several, the first by name",
    "trigger_kind": "schedule, sensor, backfill or person",
    "trigger_name": "Which of them; NULL: a person",
    "user_name": "Who asked; NULL: nobody is named",
    "state": "PENDING, RUNNING, FAILED (and not tried again), CANCELLED or COMPLETED",
    "run_count": "Runs asked for so far, retries too",
    "pending_count": "Runs that wait to start",
    "running_count": "Runs under way",
    "success_count": "Runs that succeeded",
    "failure_count": "Runs that failed and were not tried again",
    "canceled_count": "Runs that were canceled, or gone before they ended",
    "retry_count": "Runs that tried another again",
    "progress_share": "Ended runs among those asked for so far",
    "created_at": "UTC time at which its first run was asked for",
    "ended_at": "UTC time of the latest end of a run",
    "changed_at": "UTC time of the latest change of a run",
    "busy_seconds": "Durations of its runs together, seconds",
    "rows_in": "Lines fetched",
    "rows_landed": "Rows landed: new, changed and unchanged ones",
    "rows_rejected": "Lines refused by the contract",
    "byte_count": "Size of what was fetched, bytes",
}

VIEWS = {
    "workflow_runs": (WORKFLOW_RUNS, WORKFLOW_RUNS_COMMENT, WORKFLOW_RUNS_COMMENTS),
    "workflow_step_runs": (
        WORKFLOW_STEP_RUNS,
        WORKFLOW_STEP_RUNS_COMMENT,
        WORKFLOW_STEP_RUNS_COMMENTS,
    ),
    "operations_sessions": (
        OPERATIONS_SESSIONS,
        OPERATIONS_SESSIONS_COMMENT,
        OPERATIONS_SESSIONS_COMMENTS,
    ),
}


def upgrade() -> None:
    """Create tables, indexes and views; PostgreSQL also keeps what a view's columns hold."""
    _create_runs()
    _create_steps()
    _create_control_tower()
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for name, (view, comment, columns) in VIEWS.items():
        op.execute(view.format(double="DOUBLE PRECISION" if is_postgresql else "DOUBLE"))
        if is_postgresql:
            op.execute(f"COMMENT ON VIEW {name} IS '{comment}'")
            for column, text in columns.items():
                op.execute(f"COMMENT ON COLUMN {name}.{column} IS '{text}'")


def downgrade() -> None:
    """Drop them."""
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    for name in TABLES:
        op.drop_table(name)
    op.drop_index("deliveries_by_run", table_name="deliveries")


def _create_runs() -> None:
    op.create_table(
        "operations_runs",
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster's run"),
        sa.Column(
            "session",
            TEXT,
            nullable=False,
            comment="What it was started in: a batch, a backfill, a tick, or else its first try",
        ),
        sa.Column(
            "job",
            TEXT,
            nullable=False,
            comment="Its job; __ASSET_JOB for assets that were chosen by hand",
        ),
        sa.Column(
            "domain",
            TEXT,
            nullable=False,
            comment="Tag domain; without one that of its assets or of its job's name",
        ),
        sa.Column(
            "partition_key",
            TEXT,
            nullable=True,
            comment="Partition, or first...last of a range; NULL where there is none",
        ),
        sa.Column("params", TEXT, nullable=False, comment="Run config, JSON; secrets as ***"),
        sa.Column(
            "status",
            TEXT,
            nullable=False,
            comment="Dagster's: NOT_STARTED, QUEUED, STARTING, STARTED, CANCELING, SUCCESS, FAILURE, CANCELED; DELETED: gone from Dagster before it ended",
        ),
        sa.Column(
            "created_at", MOMENT, nullable=False, comment="UTC time at which it was asked for"
        ),
        sa.Column(
            "started_at", MOMENT, nullable=True, comment="UTC time at which its process began"
        ),
        sa.Column(
            "ended_at",
            MOMENT,
            nullable=True,
            comment="UTC time at which it ended; NULL: it has not; of a DELETED one, when that was noticed",
        ),
        sa.Column(
            "duration_seconds", sa.Double(), nullable=True, comment="From start to end, seconds"
        ),
        sa.Column(
            "rows_in",
            BIG_INTEGER,
            nullable=False,
            comment="Lines in what its deliveries fetched; 0 where it checked no delivery",
        ),
        sa.Column(
            "rows_landed",
            BIG_INTEGER,
            nullable=False,
            comment="Rows of what landed: new, changed and unchanged ones",
        ),
        sa.Column(
            "rows_rejected",
            BIG_INTEGER,
            nullable=False,
            comment="Lines refused by the contract, also of what was held back",
        ),
        sa.Column(
            "byte_count",
            BIG_INTEGER,
            nullable=False,
            comment="Size of what its deliveries fetched, as received, bytes",
        ),
        sa.Column(
            "trigger_kind", TEXT, nullable=False, comment="schedule, sensor, backfill or person"
        ),
        sa.Column(
            "trigger_name",
            TEXT,
            nullable=True,
            comment="Which schedule, sensor or backfill; NULL for a person",
        ),
        sa.Column("user_name", TEXT, nullable=True, comment="Tag user; NULL where nobody is named"),
        sa.Column(
            "error_category",
            TEXT,
            nullable=True,
            comment="Of a failed or canceled run, one word; else NULL",
        ),
        sa.Column(
            "error_message",
            TEXT,
            nullable=True,
            comment="What it failed with; NULL where it did not",
        ),
        sa.Column(
            "config_hash", TEXT, nullable=True, comment="Tag config_hash; NULL where there is none"
        ),
        sa.Column(
            "retry_of",
            TEXT,
            nullable=True,
            comment="The run that it tries again; NULL: a first try",
        ),
        sa.Column(
            "changed_at",
            MOMENT,
            nullable=False,
            comment="UTC time at which Dagster last changed the run",
        ),
        sa.Column(
            "recorded_at",
            MOMENT,
            nullable=False,
            comment="UTC time at which this row was last written",
        ),
        sa.PrimaryKeyConstraint("run_id"),
        comment="One row per run of Dagster, also after Dagster has forgotten it.",
        sqlite_with_rowid=False,
    )


def _create_steps() -> None:
    op.create_table(
        "operations_steps",
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster's run"),
        sa.Column("step_key", TEXT, nullable=False, comment="Dagster's step"),
        sa.Column("job", TEXT, nullable=False, comment="The run's job"),
        sa.Column(
            "domain", TEXT, nullable=False, comment="That of its assets; without any, the run's"
        ),
        sa.Column(
            "asset",
            TEXT,
            nullable=True,
            comment="The first by name of its assets; NULL: it makes none",
        ),
        sa.Column(
            "assets", TEXT, nullable=False, comment="All assets that it was to make, a JSON list"
        ),
        sa.Column(
            "status",
            TEXT,
            nullable=False,
            comment="IN_PROGRESS, SUCCESS, FAILURE or SKIPPED; CANCELED: its run ended first",
        ),
        sa.Column("started_at", MOMENT, nullable=True, comment="UTC time; NULL: it never did"),
        sa.Column("ended_at", MOMENT, nullable=True, comment="UTC time; NULL: it has not"),
        sa.Column(
            "duration_seconds",
            sa.Double(),
            nullable=True,
            comment="From its start to its end, all attempts, seconds",
        ),
        sa.Column("attempt_count", BIG_INTEGER, nullable=False, comment="Attempts begun"),
        sa.Column(
            "rows_in",
            BIG_INTEGER,
            nullable=False,
            comment="Lines in what was fetched for its tables",
        ),
        sa.Column(
            "rows_landed",
            BIG_INTEGER,
            nullable=False,
            comment="Rows of what landed in its tables: new, changed and unchanged ones",
        ),
        sa.Column(
            "rows_rejected",
            BIG_INTEGER,
            nullable=False,
            comment="Lines refused by the contract, also of what was held back",
        ),
        sa.Column(
            "byte_count",
            BIG_INTEGER,
            nullable=False,
            comment="Size of what was fetched for its tables, as received, bytes",
        ),
        sa.Column(
            "quality_passed",
            sa.Boolean(),
            nullable=True,
            comment="Whether all its checks of severity error passed; NULL: it evaluated none",
        ),
        sa.Column(
            "quality_metrics",
            TEXT,
            nullable=False,
            comment="By check: passed, severity and its numbers, JSON",
        ),
        sa.Column(
            "error_category", TEXT, nullable=True, comment="Of a failed step, one word; else NULL"
        ),
        sa.Column(
            "error_message",
            TEXT,
            nullable=True,
            comment="What it failed with; NULL where it did not",
        ),
        sa.PrimaryKeyConstraint("run_id", "step_key"),
        comment="One row per step of a run in operations_runs that began, or was skipped.",
        sqlite_with_rowid=False,
    )


def _create_control_tower() -> None:
    op.create_table(
        "operations_control_tower",
        sa.Column("domain", TEXT, nullable=False, comment="The domain"),
        sa.Column(
            "asset", TEXT, nullable=False, comment="An asset of it; empty: all of the domain"
        ),
        sa.Column(
            "window_hours",
            BIG_INTEGER,
            nullable=False,
            comment="Hours before the look that are counted: 24, 168 or 672",
        ),
        sa.Column(
            "state",
            TEXT,
            nullable=False,
            comment="healthy, attention, stale or failing; the same for each window",
        ),
        sa.Column(
            "reasons",
            TEXT,
            nullable=False,
            comment="Why it is in that state, a JSON list of sentences",
        ),
        sa.Column(
            "run_count",
            BIG_INTEGER,
            nullable=False,
            comment="Runs (of an asset: steps) that ended in the window",
        ),
        sa.Column("success_count", BIG_INTEGER, nullable=False, comment="Those that succeeded"),
        sa.Column("failure_count", BIG_INTEGER, nullable=False, comment="Those that failed"),
        sa.Column(
            "canceled_count",
            BIG_INTEGER,
            nullable=False,
            comment="Those that were canceled, skipped, or gone before they ended",
        ),
        sa.Column(
            "success_share",
            sa.Double(),
            nullable=True,
            comment="Succeeded among succeeded and failed; NULL: none of them",
        ),
        sa.Column(
            "retry_count",
            BIG_INTEGER,
            nullable=False,
            comment="Those that tried another run again; of an asset: attempts beyond the first",
        ),
        sa.Column(
            "failures_by_category", TEXT, nullable=False, comment="Failures by error_category, JSON"
        ),
        sa.Column(
            "runs_per_hour", sa.Double(), nullable=False, comment="run_count by hour of the window"
        ),
        sa.Column("rows_in", BIG_INTEGER, nullable=False, comment="Lines fetched"),
        sa.Column(
            "rows_landed",
            BIG_INTEGER,
            nullable=False,
            comment="Rows landed: new, changed and unchanged ones",
        ),
        sa.Column(
            "rows_rejected", BIG_INTEGER, nullable=False, comment="Lines refused by the contract"
        ),
        sa.Column(
            "reject_share",
            sa.Double(),
            nullable=True,
            comment="rows_rejected among rows_in; NULL: no row came in",
        ),
        sa.Column(
            "byte_count", BIG_INTEGER, nullable=False, comment="Size of what was fetched, bytes"
        ),
        sa.Column(
            "queue_depth",
            BIG_INTEGER,
            nullable=False,
            comment="Runs that wait to start now; of an asset: 0",
        ),
        sa.Column(
            "running_count",
            BIG_INTEGER,
            nullable=False,
            comment="Runs under way now; of an asset: steps",
        ),
        sa.Column(
            "last_landed_at",
            MOMENT,
            nullable=True,
            comment="UTC time of the latest landing; NULL: there is none",
        ),
        sa.Column("hours_since_landing", sa.Double(), nullable=True, comment="Hours since then"),
        sa.Column(
            "oldest_unlanded_partition",
            TEXT,
            nullable=True,
            comment="The first published partition that is due and not landed; NULL: there is none, or nobody promises any",
        ),
        sa.Column("hours_late", sa.Double(), nullable=True, comment="Hours since that was due"),
        sa.Column("looked_at", MOMENT, nullable=False, comment="UTC time of the look"),
        sa.PrimaryKeyConstraint("domain", "asset", "window_hours"),
        comment="One row per domain, asset and window of time, as the latest look found it.",
        sqlite_with_rowid=False,
    )
