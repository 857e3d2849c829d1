"""Heartbeats of Dagster's daemon, and the work that waits for it, read without importing Dagster.

Dagster 1.13: the tables `daemon_heartbeats`, `runs` and `instigators`, and the files of SQLite. No
public way: an instance has all of it, but the import of Dagster takes most of the time of a small
command. At an upgrade: what is read here is what the instance returns.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, text  # noqa: TID251 - of Dagster's files
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    import dagster as dg

DAEMON_PARTS = (
    *("SENSOR", "BACKFILL", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING"),
    *("EVENT_LOG_CONSUMER", "ASSET", "FRESHNESS_DAEMON"),
)
"""Parts of the daemon that the project's dagster.yaml requires."""

RUNS_FILE, SCHEDULES_FILE = Path("history/runs.db"), Path("schedules/schedules.db")

HEARTBEATS = text("SELECT daemon_type, body FROM daemon_heartbeats")
QUEUED_RUNS = text("SELECT count(*) FROM runs WHERE status = 'QUEUED'")
SWITCHED_ON = text("SELECT instigator_body FROM instigators WHERE status = 'RUNNING'")

MAX_LOCK_WAIT_SECONDS = 30
"""Longest wait for a process that writes to a file."""


@dataclass(frozen=True)
class DaemonState:
    """State of the daemon.

    Attributes:
        required_parts: Names of the parts that have to run.
        heartbeats: Time of the last heartbeat by part, in seconds since 1970.
        queued_count: Number of runs in the queue.
        switched_on: Names of the sensors and schedules that a user started; not of those that are
            on from the start.
    """

    required_parts: Sequence[str]
    heartbeats: Mapping[str, float]
    queued_count: int
    switched_on: Sequence[str]


def read_daemon_state(instance: "dg.DagsterInstance") -> DaemonState:
    """Return the state of the daemon of an instance."""
    if instance.is_ephemeral:  # it has no daemon
        return DaemonState((), {}, 0, ())
    runs: Any = instance.run_storage
    schedules: Any = instance.schedule_storage
    with runs.connect() as of_runs, schedules.connect() as of_schedules:
        return _read(instance.get_required_daemon_types(), of_runs, of_schedules)


def read_stored_daemon_state(folder: Path) -> DaemonState | None:
    """Return the state of the daemon in SQLite files below a folder, which Dagster may have made.

    None: they are locked or of another version, so Dagster's instance has to be asked.
    """
    if not (folder / RUNS_FILE).exists():
        return DaemonState(DAEMON_PARTS, {}, 0, ())
    runs, schedules = (
        create_engine(
            f"sqlite:///{folder / file}",
            poolclass=NullPool,
            connect_args={"timeout": MAX_LOCK_WAIT_SECONDS},
        )
        for file in (RUNS_FILE, SCHEDULES_FILE)
    )
    try:
        with runs.connect() as of_runs, schedules.connect() as of_schedules:
            return _read(DAEMON_PARTS, of_runs, of_schedules)
    except SQLAlchemyError:
        return None


def _read(required_parts: Sequence[str], runs: Connection, schedules: Connection) -> DaemonState:
    return DaemonState(
        required_parts,
        {part: json.loads(body)["timestamp"] for part, body in runs.execute(HEARTBEATS).all()},
        runs.execute(QUEUED_RUNS).scalar_one(),
        [json.loads(body)["origin"]["job_name"] for (body,) in schedules.execute(SWITCHED_ON)],
    )
