"""Sessions, listed: what was started together, how far it is, and what came of it."""

from enum import Enum

import dagster as dg
from pydantic import Field

from orchestration_project.assets.operations.catalogue import (
    RUNS,
    parse_moment,
)
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import Moment
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.ledger.sessions import (
    STATUSES,
    SessionFilter,
    build_summary,
    read_sessions,
)
from orchestration_project.services.metadata import build_table, log_metadata

SessionStatus = Enum("SessionStatus", {name: name for name in STATUSES})


class ListSessions(JobOptions):
    """Sessions to list."""

    since: Moment = Field(
        default=None,
        examples=["2026-11-01T00:00:00Z"],
        description="Sessions of which a run was requested after this time, such as "
        "2026-11-01T00:00:00Z; without it, all.",
    )
    domain: str | None = Field(
        default=None, examples=["finra"], description="Domain; without it, all domains."
    )
    status: SessionStatus | None = Field(  # pyright: ignore[reportInvalidTypeForm] - made of a list
        default=None, description="Status; without it, all."
    )
    limit: int = Field(
        default=50, ge=1, le=500, description="Maximum number of sessions, the latest first."
    )


def list_sessions(
    context: dg.OpExecutionContext,
    config: ListSessions,
    warehouse: Warehouse,
) -> AssetEvent:
    """List the sessions that were requested."""
    expected_session_filter = SessionFilter(
        parse_moment(config.since),
        config.domain,
        config.status and str(config.status.value),
        config.limit,
    )
    # The machine's time, by which Dagster says when a run changed.
    frame = build_summary(read_sessions(warehouse, expected_session_filter), Clock().now())
    return dg.MaterializeResult(
        asset_key=RUNS,
        metadata=log_metadata(
            {
                "sessions": build_table(frame),
                "sessions_listed": len(frame),
                "runs": int(frame["run_count"].sum()),
                "runs_failed": int(frame["failure_count"].sum()),
                "rows_landed": int(frame["rows_landed"].sum()),
            }
        ),
    )


LIST_SESSIONS = Kind(
    "list_sessions",
    "Lists sessions (runs that were started together) with progress and results.",
    ListSessions,
    list_sessions,
)
