"""Dagster's storages in PostgreSQL: a server that is restarted is waited for, and reads end.

A web server's reads end after a time.
Dagster gives that limit to the session, which through a pooler would come to others with it: a load
would be ended after the seconds that a page may take.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from dagster import DagsterEventType, EventLogEntry
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import create_pg_engine, set_pg_statement_timeout
from sqlalchemy import Engine, event, insert, text
from sqlalchemy.exc import IntegrityError

from orchestration_project.engine.warehouse.connecting import wait_for_restarts
from orchestration_project.engine.warehouse.remedies import is_pooled
from orchestration_project.instance.heartbeats import NODE, Heartbeats
from orchestration_project.instance.run_claims import RUN_ENDS
from orchestration_project.instance.stored import StoredEvents, StoredRuns, StoredTicks
from orchestration_project.settings import load_shared_settings
from orchestration_project.settings.given import ENVIRONMENT


class LimitedReads:
    """Put before a storage in PostgreSQL."""

    postgres_url: str
    _engine: Engine

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        wait_for_restarts(self._engine)

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Keep a connection open; ``statement_timeout`` (milliseconds) counts without a pooler."""

        def limit(connection: Any, _: Any) -> None:
            if not is_pooled(connection):
                set_pg_statement_timeout(connection, statement_timeout)

        self._engine = create_pg_engine(
            self.postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            pool_recycle=pool_recycle,
            max_overflow=max_overflow,
            pool_pre_ping=True,
        )
        wait_for_restarts(self._engine)
        event.listen(self._engine, "connect", limit)


class PostgresRuns(StoredRuns, LimitedReads, PostgresRunStorage):
    """In PostgreSQL."""

    def _core_add_run(self, col_values: dict[str, Any], tags: Mapping[str, str]) -> None:
        """Insert a run and its tags in one transaction.

        Dagster commits each by itself. A process that ends in between leaves a run that is not
        found by its run key, so that it is requested again.
        """
        rows = [
            {"run_id": col_values["run_id"], "key": key, "value": value}
            for key, value in tags.items()
        ]
        with self.connect() as connection:
            transactional = connection.execution_options(isolation_level="READ COMMITTED")
            try:
                with transactional.begin():
                    transactional.execute(insert(RunsTable).values(**col_values))
                    if rows:
                        transactional.execute(insert(RunTagsTable), rows)
            except IntegrityError as error:
                raise DagsterRunAlreadyExists from error


class _PostgresTicks(StoredTicks, LimitedReads, PostgresScheduleStorage):
    pass


LOCK_RUN = text("SELECT pg_advisory_xact_lock(hashtextextended(:run_id, 0))")
"""Until the transaction ends, another process that ends the run waits."""


class PostgresEvents(StoredEvents, LimitedReads, PostgresEventLogStorage):
    """Storage in PostgreSQL, where other machines may check the process of a run."""

    @cached_property
    def heartbeats(self) -> Heartbeats:
        """Heartbeats of runs."""
        return Heartbeats(self.index_connection)

    @contextmanager
    def ending(self, run_id: str) -> Iterator[None]:
        """Let one process at a time end a run."""
        with self.index_connection() as connection:
            transactional = connection.execution_options(isolation_level="READ COMMITTED")
            with transactional.begin():
                transactional.execute(LOCK_RUN, {"run_id": run_id})
                yield

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; who stores that a run started executes it, until it ends."""
        if event.dagster_event_type == DagsterEventType.RUN_START:
            self.heartbeats.begin(event.run_id)
            self._report_node(event.run_id)
        super().store_event(event)
        if event.dagster_event_type in RUN_ENDS:
            self.heartbeats.end(event.run_id)
            self._node_reports.pop(event.run_id, lambda: None)()

    @cached_property
    def _node_reports(self) -> dict[str, Callable[[], None]]:
        """Return the functions that end reports of this pod's node, by run."""
        return {}

    def _report_node(self, run_id: str) -> None:
        """Report the node as a host until the run's end, if the run has a pod of its own."""
        if node := ENVIRONMENT.get(NODE):
            from orchestration_project.services.hosts import RUN, HostReport

            report = HostReport(load_shared_settings(), RUN, host=node)
            report.start()
            self._node_reports[run_id] = report.stop


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's own storage in PostgreSQL."""

    def __init__(self, url: str, inst_data: Any = None) -> None:
        super().__init__(url, inst_data=inst_data)  # makes the tables
        self._run_storage.dispose()
        self._run_storage = PostgresRuns(url, should_autocreate_tables=False)
        self._event_log_storage.dispose()
        self._event_log_storage = PostgresEvents(url, should_autocreate_tables=False)
        self._schedule_storage.dispose()
        self._schedule_storage = _PostgresTicks(url, should_autocreate_tables=False)
