"""Read-only SQL of analysts, on PostgreSQL: by a role of its own, within limits of time and rows.

The role is what protects: it may write nothing, and read no column with hashes of secrets, which is
verified before each query. A query runs as a subquery of one statement in a read-only transaction
that is never committed.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, LiteralString, cast

import polars as pl
import psycopg
from psycopg.sql import SQL, Composed, Literal

from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.tables.conditions import is_secret
from orchestration_project.tables.schema import METADATA, is_personal

TIMEOUT_SECONDS = 20
"""Time after which the server ends a query."""

MAX_ROWS = 100_000
"""Rows that a query may have."""

MAX_ROW_BYTES = 2**20
"""Size of a row, as text: the driver holds a whole row before anything can judge it."""

MAX_BYTES = 64 * 2**20
"""Size of all rows of a query, as text."""

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
SELECT *, octet_length(query::text) FROM (\n{}\n) AS query
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
    limit: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> pl.DataFrame:
    """Return the rows of a query of the role that ``url`` names.

    Args:
        url: A postgresql:// URL.
        query: One SELECT, or WITH … SELECT.
        limit: The most rows that it may have.
        max_bytes: Bytes that its rows may have together.
        timeout_seconds: Time after which the server ends it.

    Raises:
        ConfigurationError: The role may do too much, the query fails, or its rows are too many or
            too large.
        TransientError: The database cannot be reached.
    """
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
            names, rows = _rows(connection, query, limit, max_bytes)
        except psycopg.errors.QueryCanceled as error:
            raise ConfigurationError(
                "the query was ended",
                expected=f"a query of at most {timeout_seconds:g} s",
                found=error.diag.message_primary or type(error).__name__,
                remedy="name weeks and tiers in WHERE, or export the table",
            ) from error
        except psycopg.Error as error:
            if LARGE_ROW in (error.diag.message_primary or ""):
                raise _too_large(f"rows of at most {MAX_ROW_BYTES:,} bytes each") from error
            raise ConfigurationError(
                "invalid SQL: expected one SELECT, e.g. SELECT * FROM finra_symbols",
                found=error.diag.message_primary or type(error).__name__,
            ) from error
        finally:
            connection.rollback()
    if len(rows) > limit:
        raise ConfigurationError(
            "the query has too many rows",
            expected=f"at most {limit} rows",
            remedy="sum in SQL, use LIMIT, or export the table",
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(
            "columns have the same name", found=", ".join(twice), remedy="name them with AS"
        )
    return pl.DataFrame(rows, names, orient="row", infer_schema_length=None)


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
    found = [
        *(["it is a superuser"] if is_superuser else []),
        *(f"it may write {name}" for (name,) in writable[:3]),
        *(f"it may read {name}" for (name,) in readable[:3]),
    ]
    if found:
        raise ConfigurationError(
            "the role of ANALYST_DATABASE_URL may do too much",
            expected="a role that may only read, without hashes of secrets and personal columns",
            found="; ".join(found),
            remedy=ROLE_REMEDY,
        )


def _rows(
    connection: psycopg.Connection[Any], query: str, limit: int, max_bytes: int
) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    """Return names and rows; binary results take the protocol that knows only one statement."""
    text = SQL(cast("LiteralString", query.strip().rstrip(";")))
    statement: Composed = BOUNDED.format(
        text, Literal(MAX_ROW_BYTES), SQL(LARGE_ROW), Literal(limit + 1)
    )
    rows, left = list[tuple[Any, ...]](), max_bytes
    with connection.cursor() as cursor:
        for *row, size in cursor.stream(statement, binary=True):
            left -= size
            if left < 0:
                raise _too_large(f"rows of at most {max_bytes:,} bytes together")
            rows.append(tuple(map(_plain, row)))
        names = [column.name for column in cursor.description or ()]
    return names[:-1], rows


def _too_large(expected: str) -> ConfigurationError:
    return ConfigurationError(
        "the rows of the query are too large",
        expected=expected,
        remedy="select fewer columns, sum in SQL, or export the table",
    )


def _plain(value: object) -> object:
    kinds = (bool, int, float, str, date, datetime, Decimal, type(None))
    return value if isinstance(value, kinds) else str(value)
