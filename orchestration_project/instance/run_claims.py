"""Claims of runs: of the processes that are asked to execute a run, one claims it.

A broker may deliver a message twice. Dagster's own check reads the run's status, so two processes
that read it at once would both execute the run. A claim is a row of Dagster's table of keys and
values, which one process alone can insert.
"""

import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from dagster import DagsterEvent, DagsterEventType, RunsFilter
from dagster._core.storage.runs.schema import KeyValueStoreTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

PREFIX = "orchestration_project/claimed/"

ENDS = {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}

_kvs = KeyValueStoreTable.c


class RunClaims:
    """Claims of runs.

    Args:
        connect: Opens a connection to Dagster's storage of runs.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connect = connect

    def take(self, run_id: str) -> bool:
        """Claim a run for this process; return False if another process has claimed it."""
        row = {"key": PREFIX + run_id, "value": f"{socket.gethostname()} {os.getpid()}"}
        try:
            with self._connect() as connection:
                connection.execute(insert(KeyValueStoreTable).values(row))
        except IntegrityError:
            return False
        return True

    def holder(self, run_id: str) -> str | None:
        """Return host and process ID of the process that claimed a run, None without one."""
        with self._connect() as connection:
            return connection.scalar(select(_kvs.value).where(_kvs.key == PREFIX + run_id))

    def release(self, run_id: str) -> None:
        """Remove the claim of a run, if it has one."""
        with self._connect() as connection:
            connection.execute(delete(KeyValueStoreTable).where(_kvs.key == PREFIX + run_id))


class EndedOnce(SqlRunStorage):
    """Put before a storage of runs: a run that ended keeps its status, and needs no claim.

    A process that was paused goes on with a run that has failed meanwhile, as it sent no heartbeat.
    Its events are stored, but it no longer changes how the run ended.
    """

    def handle_run_event(self, run_id: str, event: DagsterEvent, *rest: Any, **named: Any) -> None:
        """Store the status that an event means."""
        if any(run.is_finished for run in self.get_runs(RunsFilter(run_ids=[run_id]))):
            return
        super().handle_run_event(run_id, event, *rest, **named)
        if event.event_type in ENDS:
            self.claims.release(run_id)

    @property
    def claims(self) -> RunClaims:
        """Claims of runs."""
        return RunClaims(self.connect)
