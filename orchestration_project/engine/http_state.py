"""State of requests in the tables `http_hosts`, `http_counts` and `http_quotas` of PostgreSQL.

Each decision is one statement and one transaction, made at the database's time: no lock waits for
a client, so a process that is killed, paused or slow holds up no other. A decision that reads, lets
Python decide and then writes made 600 decisions/s in four processes where one statement made 7,800:
whoever holds the row waits for the processor while the others wait for the row.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from psycopg.errors import UndefinedTable
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy.engine import URL

from orchestration_project.connections.http.shared_state import (
    BUSY_SECONDS,
    CLOSED,
    COUNTS_BY_SYSTEM,
    OPEN_SYSTEMS,
    Answer,
    BreakerState,
    Count,
    HostKey,
    QuotaCount,
    Rate,
    SharedState,
    SystemState,
    systems_of,
)
from orchestration_project.engine.warehouse.connecting import explained_errors, psycopg_arguments
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

NEW_HOST = """
INSERT INTO {hosts} (
  host, system, interval_ms, window_ms, batch_count, wait_ms, failure_count
) VALUES (%(host)s, %(system)s, 0, '{{}}', 0, 0, 0) ON CONFLICT DO NOTHING
"""

BREAKER = """
SELECT failure_count, last_failure, opened_at, retry_at FROM {hosts}
WHERE host = %(host)s AND system = %(system)s
"""

CHANGE_BREAKER = """
UPDATE {hosts} SET failure_count = %(failure_count)s, last_failure = %(last_failure)s,
  opened_at = %(opened_at)s, retry_at = %(retry_at)s
WHERE host = %(host)s AND system = %(system)s
  AND (failure_count, last_failure, opened_at, retry_at) IS NOT DISTINCT FROM (
    %(before_failure_count)s::bigint, %(before_last_failure)s::text,
    %(before_opened_at)s::timestamptz, %(before_retry_at)s::timestamptz
  )
RETURNING 1
"""

ADD_COUNTS = """
INSERT INTO {counts} AS counted (host, system, outcome, request_count, retry_count)
SELECT %(host)s, %(system)s, outcome, request_count, retry_count
FROM unnest(%(outcomes)s::text[], %(requests)s::bigint[], %(retries)s::bigint[])
  AS added (outcome, request_count, retry_count)
ORDER BY outcome
ON CONFLICT (host, system, outcome) DO UPDATE SET
  request_count = counted.request_count + excluded.request_count,
  retry_count = counted.retry_count + excluded.retry_count
"""

QUOTA = """
SELECT request_count, is_over FROM {quotas}
WHERE system = %(system)s AND vendor_day = %(day)s
"""

TAKE_FROM_QUOTA = """
WITH forgotten AS (
  DELETE FROM {quotas} WHERE system = %(system)s AND vendor_day < %(day)s
)
INSERT INTO {quotas} AS known (system, vendor_day, request_count, is_over)
SELECT %(system)s, %(day)s, 1, false WHERE 0 < coalesce(%(most)s, 1)
ON CONFLICT (system, vendor_day) DO UPDATE SET request_count = known.request_count + 1
WHERE NOT known.is_over AND known.request_count < coalesce(%(most)s, known.request_count + 1)
RETURNING 1
"""

END_QUOTA = """
INSERT INTO {quotas} (system, vendor_day, request_count, is_over)
VALUES (%(system)s, %(day)s, 0, true)
ON CONFLICT (system, vendor_day) DO UPDATE SET is_over = true
"""


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
        names = ("hosts", "counts", "quotas")
        self._tables = {
            name: Identifier(*([schema] if schema else []), f"http_{name}") for name in names
        }
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
        return self._of_host(ADMIT, values)[0][0]

    def breaker(self, key: HostKey) -> BreakerState:
        """Return a breaker as it is now, without waiting for others."""
        found = self._read(BREAKER, key._asdict())
        if not found:
            return CLOSED
        (failure_count, last_failure, opened_at, retry_at) = found[0]
        return BreakerState(failure_count, last_failure, _in_utc(opened_at), _in_utc(retry_at))

    def change_breaker(
        self, key: HostKey, decide: Callable[[BreakerState], tuple[BreakerState, Answer]]
    ) -> Answer:
        """Change a breaker from what it is to what ``decide`` returns; return its answer."""
        while True:
            before = self.breaker(key)
            after, answer = decide(before)
            if after == before:
                return answer
            earlier = {f"before_{name}": value for name, value in before._asdict().items()}
            values = {**key._asdict(), **after._asdict(), **earlier}
            if self._write(CHANGE_BREAKER, values):
                return answer
            self._write(NEW_HOST, key._asdict())

    def add_counts(self, key: HostKey, counts: Iterable[Count]) -> None:
        """Add ``counts`` to those of all processes."""
        outcomes, requests, retries = (list(each) for each in zip(*counts, strict=True))
        values = {"outcomes": outcomes, "requests": requests, "retries": retries}
        self._write(ADD_COUNTS, {**key._asdict(), **values})

    def systems(self) -> Mapping[str, SystemState]:
        """Return the state of each system that was requested, by name."""
        counts = self._read(COUNTS_BY_SYSTEM, {})
        opened = self._read(OPEN_SYSTEMS, {})
        return systems_of(
            [(system, outcome, int(some), int(few)) for system, outcome, some, few in counts],
            [system for (system,) in opened],
        )

    def quota(self, system: str, day: date) -> QuotaCount:
        """Return the requests of a vendor's day."""
        found = self._read(QUOTA, {"system": system, "day": day})
        return QuotaCount(*found[0]) if found else QuotaCount()

    def take_from_quota(self, system: str, day: date, limit: int | None) -> bool:
        """Count a request of ``day`` if fewer than ``limit`` were sent; return whether it was."""
        return bool(self._write(TAKE_FROM_QUOTA, {"system": system, "day": day, "most": limit}))

    def end_quota(self, system: str, day: date) -> None:
        """Note that the vendor refuses further requests of ``day``."""
        self._write(END_QUOTA, {"system": system, "day": day})

    def close(self) -> None:
        """Close the connection; the state stays."""
        with self._lock:
            self._drop()

    def _of_host(self, query: str, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Write to a host's row, which is made if it is missing."""
        if found := self._write(query, values):
            return found
        self._write(NEW_HOST, values)
        return self._write(query, values)

    def _read(self, query: str, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Return the rows; an empty list where the tables are not made yet."""
        with self._explained():
            try:
                return self._rows(query, values)
            except UndefinedTable:
                return []

    def _write(self, query: str, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        with self._explained():
            try:
                return self._rows(query, values)
            except UndefinedTable:
                self._prepare()
            return self._rows(query, values)

    def _explained(self) -> AbstractContextManager[None]:
        return explained_errors(self._url, psycopg.Error)

    def _rows(self, query: str, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Execute a statement as a transaction of its own.

        A connection that has ended, as when the server was restarted, is made again. A
        statement that may have had its effect is repeated then: it counts too much, never too
        little.
        """
        statement = SQL(query).format(**self._tables)  # pyright: ignore[reportArgumentType] - ours
        with self._lock:
            if self._connection is not None:
                try:
                    return self._execute(self._connection, statement, values)
                except psycopg.OperationalError:
                    if not self._connection.broken:
                        raise
                    self._drop()
            self._connection = self._connected()
            return self._execute(self._connection, statement, values)

    def _connected(self) -> psycopg.Connection:
        arguments = {**KEEPALIVE, **psycopg_arguments(self._url)}
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

    @staticmethod
    def _execute(
        connection: psycopg.Connection, statement: Composed, values: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        if connection.prepare_threshold is None:  # others get this session as well
            with connection.pipeline(), connection.transaction():
                connection.execute(SETTINGS.format(local=True, busy=f"{BUSY_SECONDS}s"))
                cursor = connection.execute(statement, values)
        else:
            cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description is not None else []

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_INHERITED: list[psycopg.Connection] = []
"""Connections of a parent process: to close them here would end its sessions."""


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment and moment.astimezone(UTC)
