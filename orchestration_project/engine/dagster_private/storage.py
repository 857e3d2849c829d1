"""Storage of runs, events and logs of steps: tables, connections, files and cursors.

`SerializableErrorInfo` is how Dagster stores an exception: cls_name, message, cause, context.
Storage is imported at its first use: a command that opens no instance needs no Alembic.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster import serialize_value
from dagster._core.event_api import EventLogCursor
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy import Connection, Table

if TYPE_CHECKING:
    from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage

__all__ = [
    "RUNLESS_RUN_ID",
    "EventLogFiles",
    "EventLogTable",
    "SerializableErrorInfo",
    "build_event_cursor",
    "compute_log_folder",
    "connect_to_runs",
    "connect_to_storage",
    "find_event_log_store",
    "get_runs_table",
    "serialize_event",
]


RUNLESS_RUN_ID = ""
"""Run ID of a stored event without a run, such as a reported materialization."""


def get_runs_table() -> Table:
    """Return the table of runs in Dagster's SQL storage."""
    from dagster._core.storage.runs.schema import RunsTable

    return RunsTable


def connect_to_runs(instance: dg.DagsterInstance) -> AbstractContextManager[Connection] | None:
    """Connect to the database that has `get_runs_table`; None where runs are stored otherwise.

    Dagster 1.13: `SqlRunStorage.connect`. No public way: `get_run_records` reads the body of each
    run, which takes minutes where this takes a second. At an upgrade: `RunsTable` has run_id,
    status, create_timestamp and update_timestamp, in UTC without a zone.
    """
    from dagster._core.storage.runs import SqlRunStorage

    storage = instance.run_storage
    return storage.connect() if isinstance(storage, SqlRunStorage) else None


def connect_to_storage(instance: dg.DagsterInstance) -> AbstractContextManager[Connection] | None:
    """Connect to the database of Dagster's storage in PostgreSQL; None for another storage.

    Dagster 1.13: `SqlEventLogStorage.index_connection`, which commits each statement. No public
    way: Dagster changes no stored text. At an upgrade: runs, event_logs and job_ticks are in one
    schema, and VACUUM can be executed.
    """
    store = find_event_log_store(instance)
    return store.connect() if isinstance(store, EventLogTable) else None


def _import_table() -> Table:
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    return SqlEventLogStorageTable


class EventLogFiles:
    """Event log in SQLite: a file for each run, and one for the events of assets and runs.

    Dagster 1.13: `SqliteEventLogStorage.path_for_shard`. No public way: Dagster deletes a run's
    events only with the run. At an upgrade: the file goes, and materializations are still found;
    events without a run are in the file of the empty id and in the common one.
    """

    def __init__(self, storage: "SqliteEventLogStorage") -> None:
        self._storage = storage

    @property
    def table(self) -> Table:
        """The table of events."""
        return _import_table()

    def files(self, run_id: str) -> list[Path]:
        """Return the files of a run; the log proper last, as it says that there are any."""
        path = self._storage.path_for_shard(run_id)
        files = [Path(f"{path}{suffix}") for suffix in ("-shm", "-wal", "")]
        return [file for file in files if file.exists()]

    def without_run(self) -> Sequence[AbstractContextManager[Connection]]:
        """Connect to each database that has events without a run."""
        return [self._storage.run_connection(RUNLESS_RUN_ID), self._storage.index_connection()]


class EventLogTable:
    """An event log in PostgreSQL: one table for all runs.

    Dagster 1.13: `SqlEventLogStorageTable`, `index_connection`, which commits each statement. No
    public way, as above. At an upgrade: the table is named event_logs and has run_id, event and
    dagster_event_type, and connections still commit each statement.
    """

    def __init__(self, storage: "SqlEventLogStorage") -> None:
        self._storage = storage

    @property
    def table(self) -> Table:
        """The table of events."""
        return _import_table()

    def connect(self) -> AbstractContextManager[Connection]:
        """Connect to the database."""
        return self._storage.index_connection()

    def without_run(self) -> Sequence[AbstractContextManager[Connection]]:
        """Connect to each database that has events without a run."""
        return [self.connect()]


def find_event_log_store(instance: dg.DagsterInstance) -> EventLogFiles | EventLogTable | None:
    """Return where the events of runs are stored, None where that is neither of the two."""
    from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage

    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        return EventLogFiles(storage)
    if not isinstance(storage, SqlEventLogStorage):
        return None
    with storage.index_connection() as connection:
        return EventLogTable(storage) if connection.dialect.name == "postgresql" else None


def compute_log_folder(instance: dg.DagsterInstance, run_id: str) -> Path | None:
    """Return the folder of what a run's steps wrote; None where that is not kept in files.

    Dagster 1.13: `LocalComputeLogManager`. No public way: Dagster deletes no logs of steps. At an
    upgrade: the folder has the run's files and no other's.
    """
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    manager = instance.compute_log_manager
    if not isinstance(manager, LocalComputeLogManager):
        return None
    return Path(manager.get_captured_local_path([run_id, "any"], "out")).parent


def build_event_cursor(storage_id: int) -> str:
    """Return a cursor of `get_records_for_run` that goes on after the event with this id.

    Dagster 1.13: `EventLogCursor`. No public way: one has a cursor only of a page that was read.
    At an upgrade: the next page begins with the next event.
    """
    return EventLogCursor.from_storage_id(storage_id).to_string()


def serialize_event(entry: dg.EventLogEntry) -> str:
    """Return an event as the JSON that Dagster stores.

    Dagster 1.13: `serialize_value`. No public way: records have no form of their own to write. At
    an upgrade: the text is JSON, with all that the event has.
    """
    return serialize_value(entry)
