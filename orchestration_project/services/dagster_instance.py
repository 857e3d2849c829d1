"""Dagster's daemon and storage: when the daemon was last seen, and what a storage raises.

dagster-postgres tries to connect for some seconds, and then raises an error of its own.
"""

from collections.abc import Mapping

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.daemon_state import DaemonState

READ_ONLY = "25006"
"""PostgreSQL's code of a statement that a read-only transaction refuses."""

READ_ONLY_REMEDY = (
    "let it take writes again (default_transaction_read_only), or name the primary in "
    "DAGSTER_DATABASE_URL if this server is a standby"
)

PATIENCE_SECONDS = 150
"""Without a heartbeat; it sends one each 30 s, and a machine may be busy."""

RUN_HEARTBEATS = "orchestration_project/alive/"
"""Prefix of the keys under which runs send heartbeats, before the run's ID."""

NO_HEARTBEAT = "no heartbeat"


def find_silent_daemons(state: DaemonState, clock: Clock) -> Mapping[str, str]:
    """Return by part of the daemon without a recent heartbeat the age of its last one."""
    now = clock.now().timestamp()
    ages = {
        part: now - state.heartbeats[part] if part in state.heartbeats else None
        for part in state.required_parts
    }
    return {
        name: NO_HEARTBEAT if age is None else f"last heartbeat {age:.0f} s ago"
        for name, age in ages.items()
        if age is None or age > PATIENCE_SECONDS
    }


def describe_waiting(state: DaemonState) -> str:
    """Return the runs and schedules that only the daemon can start, empty if there are none."""
    queued = [f"{state.queued_count} queued runs"] if state.queued_count else []
    return ", ".join([*queued, *sorted(state.switched_on)])


def list_storage_errors() -> tuple[type[Exception], ...]:
    """Return the errors that Dagster's storage raises; their import takes all of its storages."""
    from dagster_postgres.utils import DagsterPostgresException

    return (SQLAlchemyError, DagsterPostgresException)


def list_outage_errors() -> tuple[type[Exception], ...]:
    """Return those of `list_storage_errors` that are not caused by a statement."""
    from dagster_postgres.utils import DagsterPostgresException

    return (OperationalError, DagsterPostgresException)


def find_driver_error(error: Exception) -> BaseException:
    """Return the error of the database's driver, without the frames that others put around it."""
    cause = error.__cause__ or error
    return getattr(cause, "orig", None) or cause
