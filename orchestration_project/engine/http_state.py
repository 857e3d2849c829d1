"""State of requests in the tables `http_hosts`, `http_counts` and `http_quotas` of PostgreSQL.

Each decision is one statement and one transaction, made at the database's time: no lock waits for
a client, so a process that is killed, paused or slow holds up no other. A decision that reads, lets
Python decide and then writes made 600 decisions/s in four processes where one statement made 7,800:
whoever holds the row waits for the processor while the others wait for the row.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg.errors import UndefinedTable
from psycopg.sql import SQL, Composable, Composed, Identifier
from sqlalchemy.engine import URL

from orchestration_project.engine.http.shared_state import (
    BUSY_SECONDS,
    NEW_HOST,
    HostKey,
    Rate,
    SharedState,
)
from orchestration_project.engine.warehouse.connecting import (
    build_psycopg_args,
    explain_driver_errors,
)
from orchestration_project.engine.warehouse.remedies import is_pooled

SETTINGS = SQL(
    "SELECT set_config('synchronous_commit', 'off', {local}), "
    "set_config('statement_timeout', {busy}, {local})"
)
"""A crash of the server may undo only what is younger than the minute for which it matters."""

KEEPALIVE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
"""Options by which a connection to a host that has gone ends; a URL may say otherwise."""

ADMIT = """
UPDATE {hosts} AS entry SET (interval_ms, window_ms, batch_count, wait_ms) = (
  SELECT
    %(span_ms)s,
    CASE
      WHEN wait_ms > 0 THEN entry.window_ms
      WHEN joins THEN (known[:size - 1] || now_ms)::text
      ELSE ((known || now_ms)[greatest(size + 2 - %(batches)s, 1):])::text
    END,
    CASE WHEN wait_ms > 0 THEN entry.batch_count WHEN joins THEN entry.batch_count + 1 ELSE 1 END,
    wait_ms
  FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms) AS clock,
  LATERAL (SELECT entry.window_ms::bigint[] AS written) AS stored,
  LATERAL (
    SELECT CASE
      WHEN written[cardinality(written)] > now_ms + %(span_ms)s THEN '{{}}' ELSE written
    END AS known
  ) AS past,
  LATERAL (SELECT cardinality(known) AS size) AS counted,
  LATERAL (SELECT size > 0 AND entry.batch_count < %(batch_size)s AS joins) AS batch,
  LATERAL (
    SELECT CASE
      WHEN joins OR size < %(batches)s THEN 0
      ELSE greatest(known[size - %(batches)s + 1] + %(span_ms)s + 1 - now_ms, 0)
    END AS wait_ms
  ) AS decision
)
WHERE host = %(host)s AND system = %(system)s
RETURNING wait_ms
"""
"""The decision of `Window.admit`: of a row that another changed meanwhile, PostgreSQL makes it
again, at the time at which it then is."""


class Outcome(NamedTuple):
    """Rows that a statement returned, and how many it wrote."""

    rows: Sequence[tuple[Any, ...]]
    row_count: int


class PostgresqlState(SharedState):
    """State that all processes share whose settings name the same database and schema.

    It has a connection of its own, made at the first use, none of the database's pool.

    Args:
        url: Of PostgreSQL.
        schema: Where its tables are; None: as the role's search path says.
        prepare: Makes the tables, called when something is to be written and they are missing.
    """

    def __init__(
        self, url: URL, schema: str | None, *, prepare: Callable[[], None] = lambda: None
    ) -> None:
        self._url = url
        self._prepare = prepare
        self._connection: psycopg.Connection | None = None
        self._parts: dict[str, Composable] = {
            name: Identifier(*([schema] if schema else []), f"http_{name}")
            for name in ("hosts", "counts", "quotas")
        }
        self._parts["is_same"] = SQL("IS NOT DISTINCT FROM")
        super().__init__()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        if self._connection is not None:
            _INHERITED.append(self._connection)
            self._connection = None

    def admit(self, key: HostKey, rate: Rate) -> int:
        """Count a request that may leave now and return 0, or return the ms until one may."""
        values = {
            **key._asdict(),
            "span_ms": rate.span_ms,
            "batches": rate.batches,
            "batch_size": rate.batch_size,
        }
        rows = self._change(ADMIT, values).rows
        if not rows:
            self._write(NEW_HOST, key._asdict())
            rows = self._change(ADMIT, values).rows
        return rows[0][0]

    def close(self) -> None:
        """Close the connection; the state stays."""
        with self._lock:
            self._drop()

    def _read(self, statement: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        with self._explained():
            try:
                return self._execute(_name_parameters(statement), values).rows
            except UndefinedTable:
                return []

    def _write(self, statement: str, values: Mapping[str, object]) -> int:
        return self._change(_name_parameters(statement), values).row_count

    def _change(self, statement: str, values: Mapping[str, object]) -> Outcome:
        """Execute a statement that writes; tables that are missing are made first."""
        with self._explained():
            try:
                return self._execute(statement, values)
            except UndefinedTable:
                self._prepare()
            return self._execute(statement, values)

    def _explained(self) -> AbstractContextManager[None]:
        return explain_driver_errors(self._url, psycopg.Error)

    def _execute(self, query: str, values: Mapping[str, object]) -> Outcome:
        """Execute a statement as a transaction of its own.

        A connection that has ended, as when the server was restarted, is made again. A
        statement that may have had its effect is repeated then: it counts too much, never too
        little.
        """
        statement = SQL(query).format(**self._parts)  # pyright: ignore[reportArgumentType] - ours
        with self._lock:
            if self._connection is not None:
                try:
                    return _execute(self._connection, statement, values)
                except psycopg.OperationalError:
                    if not self._connection.broken:
                        raise
                    self._drop()
            self._connection = self._connected()
            return _execute(self._connection, statement, values)

    def _connected(self) -> psycopg.Connection:
        arguments = {**KEEPALIVE, **build_psycopg_args(self._url)}
        connection = psycopg.connect(**arguments, autocommit=True)
        try:
            if is_pooled(connection):
                connection.prepare_threshold = None
            else:
                connection.execute(SETTINGS.format(local=False, busy=f"{BUSY_SECONDS}s"))
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_INHERITED: list[psycopg.Connection] = []
"""Connections of a parent process: to close them here would end its sessions."""


def _execute(
    connection: psycopg.Connection, statement: Composed, values: Mapping[str, object]
) -> Outcome:
    if connection.prepare_threshold is None:  # others get this session as well
        with connection.pipeline(), connection.transaction():
            connection.execute(SETTINGS.format(local=True, busy=f"{BUSY_SECONDS}s"))
            cursor = connection.execute(statement, values)
    else:
        cursor = connection.execute(statement, values)
    return Outcome(cursor.fetchall() if cursor.description else [], cursor.rowcount)


@cache
def _name_parameters(statement: str) -> str:
    """Return a statement of both databases with its parameters as psycopg names them."""
    return re.sub(r":(\w+)", r"%(\1)s", statement)
