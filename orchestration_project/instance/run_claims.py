"""Claims of runs: of the processes that are asked to execute a run, one claims it.

A broker may deliver a message twice. Dagster's own check reads the run's status, so two processes
that read it at once would both execute the run. A claim is a row of Dagster's table of keys and
values, which one process alone can insert.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import psutil
from dagster import DagsterEventType
from sqlalchemy import Connection, delete, insert, literal, select, text
from sqlalchemy.exc import IntegrityError

from orchestration_project.instance.heartbeats import KEY_VALUES, own_machine

PREFIX = "orchestration_project/claimed/"

RUN_ENDS = {
    DagsterEventType.RUN_SUCCESS,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
}

_kvs = KEY_VALUES.c


_NOW: Mapping[str, Any] = {
    "postgresql": text("extract(epoch FROM clock_timestamp())::text"),
    "sqlite": text("CAST((julianday('now') - 2440587.5) * 86400.0 AS TEXT)"),
}
"""Seconds since 1970 as text, by the clock of the server."""


class Claim(NamedTuple):
    """A process that has claimed a run.

    Attributes:
        host: Its host name, in a container with its PID namespace.
        pid: Its process ID.
        process_started_at: Start of the process, in seconds since 1970 by the clock of its host.
        age_seconds: Age of the claim, by the clock of the database.
    """

    host: str
    pid: int
    process_started_at: float
    age_seconds: float

    def is_of_this_host(self) -> bool:
        """Whether the process can be looked up here."""
        return self.host == own_machine()


def _claim(value: str, now: float) -> Claim:
    """Return a stored claim; an earlier release stored host and process ID alone."""
    host, pid, started_at, at = (*value.split(" "), "inf", str(now))[:4]
    return Claim(host, int(pid), float(started_at), now - float(at))


class RunClaims:
    """Claims of runs.

    Args:
        connect: Opens a connection to Dagster's storage of runs.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connect = connect

    def take(self, run_id: str) -> bool:
        """Claim a run for this process; return False if another process has claimed it."""
        started_at = psutil.Process().create_time()
        holder = f"{own_machine()} {os.getpid()} {started_at} "
        try:
            with self._connect() as connection:
                now = _NOW[connection.dialect.name]
                row = {"key": PREFIX + run_id, "value": literal(holder).concat(now)}
                connection.execute(insert(KEY_VALUES).values(row))
        except IntegrityError:
            return False
        return True

    def all(self) -> Mapping[str, Claim]:
        """Return the claims of runs that have not ended, by run ID."""
        with self._connect() as connection:
            now = float(connection.execute(select(_NOW[connection.dialect.name])).scalar_one())
            rows = connection.execute(
                select(_kvs.key, _kvs.value).where(_kvs.key.startswith(PREFIX, autoescape=True))
            ).all()
        return {key.removeprefix(PREFIX): _claim(value, now) for key, value in rows}

    def holder(self, run_id: str) -> str | None:
        """Return host and process ID of the process that claimed a run, None without one."""
        with self._connect() as connection:
            value = connection.scalar(select(_kvs.value).where(_kvs.key == PREFIX + run_id))
        return value and " ".join(value.split(" ")[:2])

    def release(self, run_id: str) -> None:
        """Remove the claim of a run, if it has one."""
        with self._connect() as connection:
            connection.execute(delete(KEY_VALUES).where(_kvs.key == PREFIX + run_id))
