"""Sessions, read from the ledger and listed with throughput and time without change."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Select, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.operations_runs import (
    STATES,
    operations_runs,
    operations_sessions,
)


@dataclass(frozen=True)
class SessionFilter:
    """Filter of sessions: None matches any; ``since`` is compared with their runs' creation."""

    since: datetime | None = None
    domain: str | None = None
    state: str | None = None
    limit: int = 50


def read_sessions(warehouse: Warehouse, wanted: SessionFilter) -> pl.DataFrame:
    """Return rows of ``operations_sessions``, the latest first.

    Raises:
        ConfigurationError: The state does not exist.
    """
    states = sorted(set(STATES.values()))
    if wanted.state is not None and wanted.state not in states:
        raise ConfigurationError(
            "no session has such a status", expected=", ".join(states), found=wanted.state
        )
    return warehouse.frame(_select_sessions(wanted), operations_sessions.table)


def _select_sessions(wanted: SessionFilter) -> Select[Any]:
    grouped = operations_sessions.select
    if wanted.since is not None:
        begun = select(operations_runs.c.session).where(
            operations_runs.c.created_at >= wanted.since
        )
        grouped = grouped.where(operations_runs.c.session.in_(begun))
    query = grouped.subquery()
    chosen = {query.c.domain: wanted.domain, query.c.state: wanted.state}
    return (
        select(query)
        .where(*(column == value for column, value in chosen.items() if value is not None))
        .order_by(query.c.created_at.desc(), query.c.session)
        .limit(wanted.limit)
    )


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


def build_summary(sessions: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return rows of ``operations_sessions`` for a table.

    ``rows_per_second`` are rows loaded by second in which a run was at work;
    ``hours_without_change`` shows whether a session that is not over still moves.
    """
    idle = (pl.lit(now) - pl.col("changed_at")).dt.total_seconds() / 3600
    busy = pl.when(pl.col("busy_seconds") > 0).then("busy_seconds")
    return sessions.with_columns(
        rows_per_second=pl.col("rows_landed") / busy,
        hours_without_change=pl.when(pl.col("state").is_in(OPEN)).then(idle),
    ).select(SUMMARY_COLUMNS)
