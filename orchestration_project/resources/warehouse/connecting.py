"""Engines: which driver a URL means, and how each database is asked to behave."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.engine import URL

from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError

BUSY_TIMEOUT_SECONDS = 30
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def parsed_url(text: str) -> URL:
    """Read a database URL; a bare ``postgresql://`` or ``postgres://`` means psycopg 3.

    Raises:
        ConfigurationError: The text is no SQLAlchemy URL, or a SQLite database in memory.
    """
    try:
        url = make_url(text)
    except exc.ArgumentError:
        raise ConfigurationError(
            "DATABASE_URL is no database URL",
            expected="such as postgresql://user:password@host/database or sqlite:////path/file.db",
            remedy="correct DATABASE_URL",
        ) from None  # the original names the URL, with its password
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "DATABASE_URL names a SQLite database without a file",
            expected="sqlite:////absolute/path/file.db",
            remedy="name a file; each connection would see a database of its own",
        )
    return url


def open_engine(url: URL, schema: str | None) -> Engine:
    """Return an engine whose write transactions lock at once and whose reads see one state.

    Raises:
        ConfigurationError: The schema's name is not plain, or the driver is not installed.
    """
    if schema is not None and not PLAIN_NAME.fullmatch(schema):
        raise ConfigurationError(
            f"DATABASE_SCHEMA {schema!r} is not a plain name",
            expected="letters, digits and underscores",
            remedy="choose another schema",
        )
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    try:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=not is_sqlite)
    except (exc.NoSuchModuleError, ImportError) as error:
        raise ConfigurationError(
            f"no driver for DATABASE_URL: {error}",
            expected="sqlite:///… or postgresql://…, or a database whose driver is installed",
            remedy="install the driver or correct DATABASE_URL",
        ) from error
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif schema is not None:
        event.listen(engine, "connect", lambda connection, _: _use_schema(connection, schema))
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, so that DDL is in it as well
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _use_schema(connection: Any, schema: str) -> None:
    connection.autocommit = True
    connection.execute(f'SET search_path TO "{schema}"')
    connection.autocommit = False


TRANSIENT_TEXTS = ("locked", "connection", "server closed", "timeout", "deadlock", "serialize")


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn the driver's operational errors into ours; SQL errors stay as they are."""
    shown = url.render_as_string(hide_password=True)
    try:
        yield
    except exc.OperationalError as error:
        text = str(error.orig).strip()
        is_transient = any(word in text.lower() for word in TRANSIENT_TEXTS)
        kind: type[OrchestrationError] = TransientError if is_transient else ConfigurationError
        raise kind(
            "the database did not do what was asked",
            expected=f"a reachable, writable database at {shown}",
            found=text,
            remedy="check that it runs, that DATABASE_URL is right, and that its disk has space",
        ) from error
