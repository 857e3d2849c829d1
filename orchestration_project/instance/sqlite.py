"""Dagster's storage in SQLite, opened so that an event costs a write and little else.

Dagster makes an engine and opens a connection for each statement: every statement is compiled
again, and when the last connection of a file closes, SQLite copies its write-ahead log back and
flushes it; each commit flushes too. Here an engine stays, with a connection; where Dagster makes
its own, an idle one that stays open saves the copying. `synchronous = NORMAL` saves the flushes,
and the events of many partitions are one transaction.
What a power cut may undo are the last lines of Dagster's history, never the file, and never our
tables, which keep `FULL`.
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from dagster import AssetKey, EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import Connection, Engine, create_engine, event  # noqa: TID251 - of Dagster's files
from sqlalchemy.pool import Pool, QueuePool
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from orchestration_project.engine.connections.files import open_partial_file
from orchestration_project.instance.stored import (
    StoredEvents,
    StoredRuns,
    StoredTicks,
    without_secrets_in,
)

MAX_BATCH_EVENTS = 200
"""Maximum rows of one run per transaction: others wait for the file meanwhile."""

HAS_VERSION = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
"""Statement that gives a row where Dagster has recorded the version of a file's tables."""

MAX_LOCK_WAIT_SECONDS = 30
"""Longest wait for another process that writes to a file, as Dagster's own connections wait."""

MAX_OPEN_FILES = 8
"""The index, the runs, the schedules, and the runs that are looked at or written now."""


class _Engines:
    """One engine for each of the files that were used last; it keeps a connection open."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._of_url: OrderedDict[str, Engine] = OrderedDict()

    def of(self, url: str) -> Engine:
        """Return the engine of ``url``; forget the one that was used least recently."""
        with self._lock:
            if url not in self._of_url:
                timeout = {"timeout": MAX_LOCK_WAIT_SECONDS}
                self._of_url[url] = create_engine(
                    url, poolclass=QueuePool, pool_size=1, max_overflow=-1, connect_args=timeout
                )
            self._of_url.move_to_end(url)
            if len(self._of_url) > MAX_OPEN_FILES:
                self._of_url.popitem(last=False)[1].dispose()
            return self._of_url[url]

    def forget(self, url: str) -> None:
        """Close the connection to a file that is gone."""
        with self._lock:
            engine = self._of_url.pop(url, None)
        if engine is not None:
            engine.dispose()

    def close(self) -> None:
        """Close all connections; who asks again gets new ones."""
        with self._lock:
            while self._of_url:
                self._of_url.popitem()[1].dispose()


class _Watchdog(SqliteEventLogStorageWatchdog):
    """Looks for new events when a run's write-ahead log grows: its file is as it was meanwhile."""

    def __init__(
        self, storage: SqliteEventLogStorage, run_id: str, callback: Any, cursor: str | None
    ) -> None:
        super().__init__(storage, run_id, callback, cursor)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:
        """Hand on what is new."""
        self._process_log()


class SqliteEvents(StoredEvents, SqliteEventLogStorage):
    """Dagster's event log, a file for each run and one for all of them."""

    def __init__(self, base_dir: str) -> None:
        self._engines = _Engines()
        self._has_index_columns = False
        self._tables: set[str] = set()
        super().__init__(base_dir)
        self._finish_index()

    def _finish_index(self) -> None:
        """Make the rest of the file for all runs, if a process was killed while it made it."""
        file, seconds = self.path_for_shard(INDEX_SHARD_NAME), MAX_LOCK_WAIT_SECONDS
        with closing(sqlite3.connect(file, timeout=seconds)) as connection:
            is_whole = connection.execute(HAS_VERSION).fetchone() is not None
        if not is_whole:
            with self.index_connection():  # makes what lacks
                pass
            self.reindex_events()
            self.reindex_assets()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engines.of(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Make the tables of a file: those of a run are made as they are in the file for all runs.

        Dagster would read all its migrations, for each file that a process opens.
        """
        file, index = Path(str(engine.url.database)), self.path_for_shard(INDEX_SHARD_NAME)
        if not file.exists() and Path(index).exists():
            _make_as(index, file)
        elif _read_version(engine) is None:
            super()._initdb(engine, for_index_shard)

    def run_connection(self, run_id: str | None = None) -> Any:
        """Open the file of a run; the one for all runs where the run has none (any more).

        That one still has the materializations, checks and status of a run with a pruned log.
        """
        if run_id is None or not Path(self.path_for_shard(run_id)).exists():
            return self.index_connection()
        return self._connect(run_id)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, in a new file if it is the first of its run."""
        self._make_file(event.run_id)
        super().store_event(event)

    def _make_file(self, run_id: str) -> None:
        if not Path(self.path_for_shard(run_id)).exists():
            self._initialized_dbs.discard(run_id)
            self._engines.forget(self.conn_string_for_shard(run_id))
            with self._connect(run_id):
                pass

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events of many partitions in one transaction for each of the two files."""
        of_assets = []
        for event_log_entry in events:
            if event_log_entry.dagster_event_type in ASSET_EVENTS:
                of_assets.append(without_secrets_in(event_log_entry))
            else:
                self.store_event(event_log_entry)
        if not of_assets:
            return
        self._make_file(of_assets[0].run_id)
        with self.run_connection(of_assets[0].run_id) as connection:
            for asset in of_assets:
                connection.execute(self.prepare_insert_event(asset))
        latest: dict[AssetKey | None, tuple[EventLogEntry, int]] = {}
        with self.index_transaction() as connection:
            for asset in of_assets:
                event_id = connection.execute(self.prepare_insert_event(asset)).lastrowid
                self._store_asset_event_tags(connection, [asset], [event_id])
                latest[asset.get_dagster_event().asset_key] = asset, event_id
            for event_log_entry, event_id in latest.values():
                self._store_asset_event(connection, event_log_entry, event_id)

    def dispose(self) -> None:
        """Watch no more, and close what is open."""
        super().dispose()
        self._engines.close()

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        """Call ``callback`` with each event of a run from now on, whichever process stores it."""
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        watchdog = _Watchdog(self, run_id, callback, cursor)
        watched = self._obs.schedule(watchdog, self._base_dir, recursive=True)
        self._watchers[run_id][callback] = watchdog, watched

    def has_table(self, table_name: str) -> bool:
        """Whether the file for all runs has the table; Dagster asks for each event."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _has_asset_key_index_cols_on_connection(self, conn: Connection) -> bool:
        """Ask once; Dagster asks for each event, and no migration takes columns away."""
        if not self._has_index_columns:
            self._has_index_columns = super()._has_asset_key_index_cols_on_connection(conn)
        return self._has_index_columns


def _read_version(engine: Engine) -> str | None:
    """Return the version of Dagster's tables in a file; None: there are none yet."""
    with engine.connect() as connection:
        if connection.exec_driver_sql(HAS_VERSION).first() is None:
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _make_as(model: str, file: Path) -> None:
    """Make the tables of ``model`` in a new file, whole or, if another has just done so, not."""
    with open_partial_file(file.parent, prefix=file.stem, suffix=".partial") as (_, partial):
        with (
            closing(sqlite3.connect(model, timeout=MAX_LOCK_WAIT_SECONDS)) as model_connection,
            closing(sqlite3.connect(partial)) as connection,
        ):
            connection.execute("PRAGMA journal_mode = WAL")
            tables = model_connection.execute(
                "SELECT sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%'"
            )
            for (statement,) in tables:
                connection.execute(statement)
            version = model_connection.execute("SELECT version_num FROM alembic_version").fetchone()
            connection.execute("INSERT INTO alembic_version VALUES (?)", version)
            connection.commit()
        with suppress(FileExistsError):
            file.hardlink_to(partial)
        partial.unlink()


class SqliteRuns(StoredRuns, SqliteRunStorage):
    """Dagster's runs."""

    def __init__(self, conn_string: str) -> None:
        self._engines = _Engines()
        super().__init__(conn_string)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Give a connection in a transaction."""
        with self._engines.of(self._conn_string).connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Close the open engines."""
        super().dispose()
        self._engines.close()


class SqliteTicks(StoredTicks, SqliteScheduleStorage):
    """Dagster's ticks."""


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's own storage, with engines that stay."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        spare_the_disk(Path(base_dir).resolve())
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(MAX_BATCH_EVENTS))  # noqa: TID251 - Dagster's only switch
        super().__init__(base_dir, inst_data)
        folder = Path(base_dir).resolve()
        self._run_storage = SqliteRuns(f"sqlite:///{folder}/history/runs.db")
        self._event_log_storage = SqliteEvents(f"{folder}/history/runs")
        self._schedule_storage = SqliteTicks(f"sqlite:///{folder}/schedules/schedules.db")

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "SqliteStorage":
        """Make the storage that a dagster.yaml declares; Dagster's own method makes another."""
        return cls.from_local(inst_data=inst_data, **config_value)


class _IdleConnections:
    """One connection for each of the files that were used last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._of_file: OrderedDict[str, sqlite3.Connection] = OrderedDict()

    def keep(self, file: str) -> None:
        """Keep ``file`` open; close the least recently used one."""
        with self._lock:
            if file not in self._of_file:
                self._of_file[file] = sqlite3.connect(file, check_same_thread=False)
            # Only who has read since Dagster made the file's log counts as a user of that log.
            self._of_file[file].execute("SELECT 1 FROM sqlite_master").fetchall()
            self._of_file.move_to_end(file)
            if len(self._of_file) > MAX_OPEN_FILES:
                self._of_file.popitem(last=False)[1].close()


_SPARED: set[Path] = set()
"""The folders below which files are opened that way, in this process."""


def spare_the_disk(folder: Path) -> None:
    """From now on open the SQLite files below ``folder`` that way, in this process."""
    _SPARED.add(folder)
    _tune_connections()


@cache
def _tune_connections() -> None:
    idle = _IdleConnections()

    @event.listens_for(Pool, "connect")
    def tune(connection: Any, _record: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        file = connection.execute("PRAGMA database_list").fetchone()[2]
        if file and not _SPARED.isdisjoint(Path(file).parents):
            connection.execute("PRAGMA synchronous = NORMAL")
            idle.keep(file)
