"""Sessions as people read them: with their throughput, and since when nothing happened in them."""

from datetime import datetime

import polars as pl

OPEN = ("PENDING", "RUNNING")
"""States in which a session has runs that have not ended."""

STATUSES = (*OPEN, "COMPLETED", "FAILED", "CANCELLED")

SUMMARY_COLUMNS = (
    "session",
    "state",
    "domain",
    "job",
    "run_count",
    "success_count",
    "failure_count",
    "retry_count",
    "progress_share",
    "rows_landed",
    "rows_rejected",
    "byte_count",
    "rows_per_second",
    "hours_without_change",
    "trigger_kind",
    "trigger_name",
    "user_name",
    "created_at",
    "ended_at",
)


def listed(sessions: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return rows of ``operations_sessions`` for a table.

    ``rows_per_second`` are rows landed by second in which a run was at work;
    ``hours_without_change`` tells of a session that is not over whether it still moves.
    """
    idle = (pl.lit(now) - pl.col("changed_at")).dt.total_seconds() / 3600
    busy = pl.when(pl.col("busy_seconds") > 0).then("busy_seconds")
    return sessions.with_columns(
        rows_per_second=pl.col("rows_landed") / busy,
        hours_without_change=pl.when(pl.col("state").is_in(OPEN)).then(idle),
    ).select(SUMMARY_COLUMNS)
