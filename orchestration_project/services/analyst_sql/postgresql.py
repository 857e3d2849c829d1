"""Queries of analysts on PostgreSQL: by a role of its own, within limits of time and rows.

The role is what protects: it may write nothing, and read no column with hashes of secrets, which is
verified before each query. A query runs as a subquery of one statement in a read-only transaction
that is never committed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString, cast

import polars as pl
import psycopg
from psycopg.sql import SQL, Composed, Literal

from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.analyst_sql import (
    MAX_BYTES,
    MAX_ROW_BYTES,
    MAX_ROWS,
    TIMEOUT_SECONDS,
    build_frame,
    convert_value,
    refuse_large_rows,
    refuse_query,
    refuse_slow_query,
    select_as_of,
)
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.conditions import is_secret
from orchestration_project.tables.schema import is_personal

OPTIONS = "-c default_transaction_read_only=on -c lock_timeout=2s -c statement_timeout={}ms"
ROLE_REMEDY = "make a role with SELECT on tables of data only, as docs/how-to/query-by-sql.md shows"

MAY_WRITE = SQL("""
SELECT c.relname FROM pg_class c
WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p')
  AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') ORDER BY 1
""")
MAY_READ_SECRETS = SQL("""
SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relname || '.' || a.attname = ANY(%s)
  AND has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY 1
""")
IS_SUPERUSER = SQL("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")


LARGE_ROW = "this row is too large"

BOUNDED = SQL("""
{}SELECT *, octet_length(query::text) FROM (\n{}\n) AS query
WHERE CASE WHEN octet_length(query::text) > {}
  THEN CAST('{}' || left(query::text, 0) AS integer) = 1 ELSE true END
LIMIT {}
""")
"""A query as a subquery. SQL has nothing that raises an error, so the number of a large row is a
text that says so; as it depends on the row, no planner computes it before.
"""


def run_query(
    url: str,
    query: str,
    *,
    as_of: datetime | None = None,
    limit: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> pl.DataFrame:
    """Return the rows of a query of the role that ``url`` names.

    Args:
        url: A postgresql:// URL.
        query: One SELECT, or WITH … SELECT.
        as_of: Moment whose rows the tables have; None: the present ones.
        limit: The most rows that it may have.
        max_bytes: Bytes that its rows may have together.
        timeout_seconds: Time after which the server ends it.

    Raises:
        ConfigurationError: The role may do too much, the query fails, or its rows are too many or
            too large.
        TransientError: The database cannot be reached.
    """
    tables = _build_tables_as_of(query, as_of) if as_of else ""
    options = OPTIONS.format(round(timeout_seconds * 1000))
    try:
        connection = psycopg.connect(url, options=options, connect_timeout=5)
    except psycopg.OperationalError as error:
        raise TransientError(
            "the database for analysts cannot be reached",
            expected="a PostgreSQL server at ANALYST_DATABASE_URL",
            found=str(error).strip(),
            remedy="start the server, or correct ANALYST_DATABASE_URL",
        ) from error
    with connection:
        try:
            _refuse_strong_role(connection)
            names, rows = _read_rows(connection, tables, query, limit, max_bytes)
        except psycopg.errors.QueryCanceled as error:
            message_primary = error.diag.message_primary or type(error).__name__
            raise refuse_slow_query(timeout_seconds, message_primary) from error
        except psycopg.Error as error:
            if LARGE_ROW in (error.diag.message_primary or ""):
                size = f"rows of at most {MAX_ROW_BYTES:,} bytes each"
                raise refuse_large_rows(size) from error
            raise refuse_query(error.diag.message_primary or type(error).__name__) from error
        finally:
            connection.rollback()
    return build_frame(names, rows, limit)


def _build_tables_as_of(query: str, as_of: datetime) -> str:
    """Return the WITH clause that has a query read tables of a moment."""
    selects = select_as_of(query, as_of, f"TIMESTAMPTZ '{as_of.isoformat()}'")
    tables = (f"{name} AS NOT MATERIALIZED ({select})" for name, select in selects.items())
    return f"WITH {', '.join(tables)}\n" if selects else ""


def _refuse_strong_role(connection: psycopg.Connection[Any]) -> None:
    tables = list(METADATA.tables)
    secrets = [
        f"{table.name}.{column.name}"
        for table in METADATA.tables.values()
        for column in table.columns
        if is_secret(column) or is_personal(column)
    ]
    [[is_superuser]] = connection.execute(IS_SUPERUSER).fetchall()
    writable = connection.execute(MAY_WRITE, [tables]).fetchall()
    readable = connection.execute(MAY_READ_SECRETS, [secrets]).fetchall()
    names = [
        *(["it is a superuser"] if is_superuser else []),
        *(f"it may write {name}" for (name,) in writable[:3]),
        *(f"it may read {name}" for (name,) in readable[:3]),
    ]
    if names:
        raise ConfigurationError(
            "the role of ANALYST_DATABASE_URL may do too much",
            expected="a role that may only read, without hashes of secrets and personal columns",
            found="; ".join(names),
            remedy=ROLE_REMEDY,
        )


def _read_rows(
    connection: psycopg.Connection[Any], tables: str, query: str, limit: int, max_bytes: int
) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    """Return names and rows; binary results take the protocol that knows only one statement."""
    text = SQL(cast("LiteralString", query.strip().rstrip(";")))
    statement: Composed = BOUNDED.format(
        SQL(cast("LiteralString", tables)),
        text,
        Literal(MAX_ROW_BYTES),
        SQL(LARGE_ROW),
        Literal(limit + 1),
    )
    rows, left = list[tuple[Any, ...]](), max_bytes
    with connection.cursor() as cursor:
        for *row, size in cursor.stream(statement, binary=True):
            left -= size
            if left < 0:
                raise refuse_large_rows(f"rows of at most {max_bytes:,} bytes together")
            rows.append(tuple(map(convert_value, row)))
        names = [column.name for column in cursor.description or ()]
    return names[:-1], rows
