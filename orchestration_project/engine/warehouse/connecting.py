"""Engines: which driver a URL means, and how each database is asked to behave."""

import logging
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    column,
    create_engine,
    event,
    exc,
    make_url,
    select,
    table,
    text,
)
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL

from orchestration_project.engine.connections.files import ensure_state_folder, use_write_ahead_log
from orchestration_project.engine.connections.sqlite_files import rewrite
from orchestration_project.engine.warehouse.remedies import (
    find_remedy,
    prepare_no_statements,
)
from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError
from orchestration_project.migrations import NEWEST_VERSION, VERSION_TABLE
from orchestration_project.settings import SECRET_QUERY_WORDS, Settings, project_folder

registry.register("db2", "orchestration_project.engine.warehouse.db2", "Db2Dialect")

OWN_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "ibm_db_sa": "db2",
    "db2+ibm_db": "db2",
}
"""Drivers of URLs that name none for PostgreSQL, or IBM's unchanged dialect for Db2."""

TIMEOUTS = {"sqlite": ("timeout", 30), "postgresql": ("connect_timeout", 15)}
"""Seconds to wait for another's write to end, or for a server to answer; a URL may say otherwise.
The names are those of the drivers."""

IN_UTF_8 = {"client_encoding": "utf8"}
"""Options for PostgreSQL's drivers, whatever the server, the role or the URL prefers: a COPY
brings and gets texts in UTF-8."""

CANONICAL_OUTPUT = (
    "SET LOCAL DateStyle = ISO; SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1"
)
"""So PostgreSQL writes days, moments and every digit of a number, whatever they prefer."""

MAX_LOOK_UPS = 8
"""Connections of single reads that are kept open."""

PATIENT_FOR_LOCKS = (
    "SELECT set_config('lock_timeout', '120s', true) WHERE current_setting('lock_timeout') = '0'"
)
"""PostgreSQL would wait for ever for a process that holds a lock and is paused. A lock_timeout that
the user, the role or the URL has set stays."""

OUTAGE_SECONDS = 120
"""How long new connections wait for a server that is restarted, in runs and the daemon."""

ANSWERING_SECONDS = 2
"""The same in the gateway and the web server, whose callers may repeat their request."""

PAUSES = (0.1, 0.2, 0.5, 1, 2, 5)
"""Seconds between two attempts to connect; the last one is repeated."""

LOG = logging.getLogger(__name__)

PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

FILE, ATTACHED, MAIN = "incoming file", "incoming files attached", "database file"
"""Keys of a connection's info: path of the incoming rows, number of attached files, path of the
database."""

DATABASE_SIZE = {
    "postgresql": text("SELECT pg_database_size(current_database())"),
    "sqlite": text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
}
"""Size of the database, bytes; unknown for another kind of database."""


def parse_url(given: str | URL) -> URL:
    """Read a database URL; a bare ``postgresql://`` or ``postgres://`` means psycopg 3.

    However Db2 is written, it is spoken to in the dialect that this project makes whole.

    A relative SQLite file lies below the project folder, wherever a process was started.

    Raises:
        ConfigurationError: The text is not a SQLAlchemy URL, or a SQLite database in memory.
    """
    try:
        url = make_url(given)
    except (exc.ArgumentError, ValueError):
        raise _build_url_error() from None  # the original names the URL, with its password
    url = url.set(drivername=OWN_DRIVERS.get(url.drivername, url.drivername))
    if url.get_backend_name() != "sqlite":
        if has_rest_of_password(url):
            raise _build_url_error()
        return url
    if url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "DATABASE_URL names a SQLite database without a file",
            expected="sqlite:////absolute/path/file.db",
            remedy="name a file; each connection would see a database of its own",
        )
    if _is_file_uri(url):
        return url
    return url.set(database=str(project_folder() / str(url.database)))


def _build_url_error() -> ConfigurationError:
    return ConfigurationError(
        "invalid DATABASE_URL",
        expected=(
            "a database URL, e.g. postgresql://user:password@host/database or "
            "sqlite:////path/file.db"
        ),
        remedy="correct DATABASE_URL; in a password, write @ : / as %40 %3A %2F",
    )


def has_rest_of_password(url: URL) -> bool:
    """Whether a password was cut at a bare @: errors would show what follows as the host."""
    return "@" in f"{url.host}{url.database}"


def _is_file_uri(url: URL) -> bool:
    """Whether SQLite itself is to read a URI, such as file:/path?mode=ro."""
    return str(url.database).startswith("file:")


def redact_url(url: URL) -> str:
    """Return ``url`` without its password, which may also stand in its query."""
    query = {
        name: "***" if any(word in name.lower() for word in SECRET_QUERY_WORDS) else value
        for name, value in url.query.items()
    }
    return url.set(query=query).render_as_string(hide_password=True)


def open_engine(url: URL, schema: str | None) -> Engine:
    """Return an engine whose write transactions lock at once and whose reads see one state.

    Raises:
        ConfigurationError: The schema's name is not plain, the driver is not installed, or a
            SQLite file's folder cannot be made.
    """
    if schema is not None and not PLAIN_NAME.fullmatch(schema):
        raise ConfigurationError(
            f"DATABASE_SCHEMA {schema!r} is not a plain name",
            expected="letters, digits and underscores",
            remedy="choose another schema",
        )
    backend = url.get_backend_name()
    if backend == "sqlite" and not _is_file_uri(url):
        _make_folder_of(Path(str(url.database)))
    engine = _create_engine(url, pool_pre_ping=backend != "sqlite")
    if backend == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "checkin", detach_files)
    elif backend == "postgresql":
        event.listen(engine, "begin", lambda connection: _begin_postgresql(connection, schema))
    return engine


def open_look_ups(url: URL, schema: str | None) -> Engine | None:
    """Return an engine for single reads that are made all the time; None: the usual one has to do.

    Each statement is a transaction of its own and one message to the server: nothing asks before
    whether the connection still stands, and nothing is said after it.
    """
    if url.get_backend_name() not in TIMEOUTS:
        return None
    names = {"schema_translate_map": {None: schema}} if schema else {}
    engine = _create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        pool_size=MAX_LOOK_UPS,
        pool_use_lifo=True,
        execution_options=names,
    )
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        event.listen(engine, "connect", _prepare_look_ups)
    return engine


def _create_engine(url: URL, **options: Any) -> Engine:
    backend = url.get_backend_name()
    arguments: dict[str, Any] = {**IN_UTF_8} if backend == "postgresql" else {}
    name, seconds = TIMEOUTS.get(backend, ("", 0))
    if name and name not in url.query:
        arguments[name] = seconds
    try:
        engine = create_engine(url, hide_parameters=True, connect_args=arguments, **options)
    except (exc.NoSuchModuleError, ImportError) as error:
        raise ConfigurationError(
            f"no driver for DATABASE_URL: {error}",
            expected="sqlite:///… or postgresql://…, or a database whose driver is installed",
            remedy="install the driver or correct DATABASE_URL",
        ) from error
    if engine.dialect.driver == "psycopg":
        event.listen(engine, "connect", prepare_no_statements)
        wait_for_restarts(engine)
    return engine


class _Outages:
    """Servers that this process has reached, and since when those are away that it cannot reach.

    Attributes:
        longest_seconds: How long new connections wait for one of them.
    """

    def __init__(self) -> None:
        self.longest_seconds: float = OUTAGE_SECONDS
        self._reached: set[str] = set()
        self._begins: dict[str, float] = {}

    def ended(self, server: str) -> None:
        self._reached.add(server)
        if self._begins.pop(server, None) is not None:
            LOG.info("%s answers again", server, extra={"event": "database_returned"})

    def is_to_wait(self, server: str) -> bool:
        """Whether one that was reached before is away for a short time only."""
        if server not in self._reached:
            return False
        now = time.monotonic()
        begin = self._begins.setdefault(server, now)
        return now - begin < self.longest_seconds


_outages = _Outages()


def answer_during_outages() -> None:
    """Have connections of this process wait for a server no longer than people do."""
    _outages.longest_seconds = ANSWERING_SECONDS


def wait_for_restarts(engine: Engine) -> None:
    """Have new connections of an engine wait for a server that was reached before, and is away.

    It waits for `OUTAGE_SECONDS` from the beginning of an outage, which all engines of a process
    share; then each attempt fails at once, until one succeeds. A server that this process never
    reached is not waited for: its address may be wrong.
    """
    server = redact_url(engine.url)

    def connect(dialect: Any, _: Any, arguments: Any, named: Any) -> Any:
        pauses = chain(PAUSES, repeat(PAUSES[-1]))
        while True:
            try:
                connection = dialect.connect(*arguments, **named)
            except dialect.loaded_dbapi.Error as error:
                if not (may_pass(error) and _outages.is_to_wait(server)):
                    raise
                text = ("waiting for %s: %s", server, str(error).strip())
                LOG.warning(*text, extra={"event": "database_awaited"})
                time.sleep(next(pauses))
            else:
                _outages.ended(server)
                return connection

    event.listen(engine, "do_connect", connect)


def build_psycopg_args(url: URL) -> Mapping[str, Any]:
    """Return the keyword arguments of psycopg's `connect` for a URL of PostgreSQL."""
    dialect = url.set(drivername="postgresql+psycopg").get_dialect()()
    _, arguments = dialect.create_connect_args(url)
    name, seconds = TIMEOUTS["postgresql"]
    return {name: seconds, **arguments, **IN_UTF_8}


def _make_folder_of(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            "the folder of the SQLite database cannot be made",
            expected=f"a writable place at {file.parent}",
            found=str(error.strerror),
            remedy="correct DATABASE_URL or the permissions of the folder above it",
        ) from error


def _prepare_sqlite(connection: Any, record: Any) -> None:
    try:
        connection.isolation_level = None  # we say BEGIN ourselves, so that DDL is in it as well
        use_write_ahead_log(connection, timeout_seconds=TIMEOUTS["sqlite"][1])
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        attach_bulk_file(connection, record.info)
    except Exception:
        connection.close()  # the pool would leave the file open
        raise


def _prepare_look_ups(connection: Any, _: Any) -> None:
    """Set for all transactions of a connection what `_begin_postgresql` sets for its own."""
    with connection.cursor() as cursor:
        cursor.execute(CANONICAL_OUTPUT.replace("SET LOCAL", "SET"))
    connection.commit()


def _is_writing(connection: Connection) -> bool:
    return connection.get_execution_options().get("writes", False)


def _begin_sqlite(connection: Connection) -> None:
    writes = _is_writing(connection)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    if writes:
        remove_left_file(connection)


def _begin_postgresql(connection: Connection, schema: str | None) -> None:
    """Set the options of this transaction alone: a pool of connections may sit between.

    A writer sees what others committed while it waited for its lock; a reader sees one state.
    """
    if _is_writing(connection):
        connection.exec_driver_sql(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; "
            f"{CANONICAL_OUTPUT}; {PATIENT_FOR_LOCKS}"
        )
    else:
        connection.exec_driver_sql(
            f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; {CANONICAL_OUTPUT}"
        )
    if schema is not None:
        connection.exec_driver_sql(f'SET LOCAL search_path TO "{schema}"')


TRANSIENT_SQLITE_CODES = (5, 6)
"""SQLITE_BUSY and SQLITE_LOCKED."""

SQLITE_CODES_OF_DEFECTS = (1, 18, 19, 20, 21, 25)
"""Wrong SQL or values, broken constraints, misuse: nothing that a user could mend."""

TRANSIENT_SQL_STATES = ("08", "25P03", "25P04", "40", "53300", "55P03", "57")
"""Prefixes of transient SQLSTATEs: connection lost, a transaction idle or open for too long,
rolled back, too many connections, a lock timeout, canceled."""

REFUSING_SQL_STATES = ("22P05", "25006", "28", "3D", "3F", "42501", "53", "58")
"""A letter that the database's encoding lacks, read-only, not let in, no such database or schema,
no permission, out of space, broken disk."""

PERMANENT_ERROR_TEXTS = (
    "invalid connection option",
    "invalid sslmode",
    "does not support ssl",
    "certificate",
)
"""Errors of libpq about the URL's options, and about an insecure server."""

NETWORK_ERROR_TEXTS = (
    *("connection", "timeout", "timed out", "closed", "broken pipe", "no route", "unreachable"),
    "temporary failure in name resolution",
    *("eof detected", "unexpected eof"),  # TLS, of a connection that ended
)
"""Texts of drivers, without a SQLSTATE, for transient network errors."""

STARTUP_ERROR_TEXTS = ("starting up", "shutting down", "too many", "recovery")


OTHER_TABLES_SQL_STATES = ("42P01", "42703", "42P10", "42804", "42883")
"""Tables or columns that are missing, no key or index for ON CONFLICT, columns of other types."""

OTHER_TABLES_TEXTS = (
    *("no such table", "no such column", "has no column named"),
    "on conflict clause does not match",
)
"""Texts of SQLite, which has one code for all of these."""


def explain_errors(engine: Engine) -> AbstractContextManager[None]:
    """Turn errors of the database into ours; defects of our own SQL stay as they are."""
    return explain_driver_errors(engine.url, engine.dialect.loaded_dbapi.Error)


@contextmanager
def explain_driver_errors(url: URL, driver_error: type[Exception]) -> Iterator[None]:
    """Do the same for connections to ``url`` whose driver raises ``driver_error``."""
    try:
        yield
    except (exc.SQLAlchemyError, driver_error) as error:
        explanation = _explain_error(error, redact_url(url))
        if explanation is None:
            raise
        raise explanation from error


def explain_error(error: BaseException) -> OrchestrationError | None:
    """Return an error of ours as it is, and one that a database caused as one of ours.

    The outermost caller of a program writes it in the place of a traceback. Returns None if
    ``error`` is a defect in which no database took part.
    """
    import psycopg  # which takes longer than what succeeds on SQLite

    if isinstance(error, OrchestrationError):
        return error
    database_errors = (exc.SQLAlchemyError, sqlite3.Error, psycopg.Error)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, database_errors):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    driver_error = _get_driver_error(cause)
    return _explain_error(cause, "the URL that the settings name") or ConfigurationError(
        "the database refused a statement of this program",
        expected="a statement that its tables and rows permit",
        found=str(driver_error).strip(),
        remedy="run `orchestrate migrate`, which names tables that differ; if none does, report "
        "this with the traceback that --verbose prints",
    )


def _explain_error(error: BaseException, shown_url: str) -> OrchestrationError | None:
    """Return an error of a database as one of ours; None: our own statement was wrong."""
    if isinstance(error, exc.TimeoutError):
        return TransientError(
            "no connection to the database came free",
            found=str(error),
            remedy="take fewer partitions at once, or look for a session that hangs",
        )
    cause = _get_driver_error(error)
    if _is_of_other_tables(cause):
        return ConfigurationError(
            "the database lacks a table, column or key that this program declares",
            expected=f"the tables of this version at {shown_url}",
            found=str(cause).strip(),
            remedy="run `orchestrate migrate`, which names each difference",
        )
    if isinstance(error, exc.SQLAlchemyError) and not isinstance(error, exc.DBAPIError):
        return None
    if not _is_refusal(cause):
        return None
    kind: type[OrchestrationError] = TransientError if may_pass(cause) else ConfigurationError
    return kind(
        "the database did not do what was asked",
        expected=f"a reachable, writable database at {shown_url}",
        found=str(cause).strip(),
        remedy=find_remedy(
            *_read_codes(cause), found=str(cause), timeout_seconds=TIMEOUTS["sqlite"][1]
        ),
    )


def _get_driver_error(error: BaseException) -> BaseException:
    return getattr(error, "orig", None) or error


def _is_of_other_tables(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return any(words in str(error).lower() for words in OTHER_TABLES_TEXTS)
    return find_sql_state(error) in OTHER_TABLES_SQL_STATES


def find_sql_state(error: BaseException | None) -> str | None:
    """Return the SQLSTATE that a driver gives, in an attribute or, as Db2's, in its text."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    written = re.search(r"\bSQLSTATE=(\w{5})\b", str(error))
    return state or (written[1] if written else None)


def _read_codes(error: BaseException) -> tuple[int | None, str | None]:
    """Return SQLite's code and the SQLSTATE, each None where the driver gives none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF, find_sql_state(error)


def _is_refusal(error: BaseException) -> bool:
    """Whether the database could not do it; otherwise our own statement was wrong."""
    code, state = _read_codes(error)
    if code is not None:
        return code not in SQLITE_CODES_OF_DEFECTS
    if state is not None:
        return state.startswith((*TRANSIENT_SQL_STATES, *REFUSING_SQL_STATES))
    kinds = {kind.__name__ for kind in type(error).__mro__}  # every driver has these by its own
    return bool(kinds & {"OperationalError", "InterfaceError"}) or (
        "invalid connection option" in str(error)
    )


def may_pass(error: BaseException) -> bool:
    """Whether a driver's error says that the database may do it a little later."""
    code, state = _read_codes(error)
    if code is not None:
        return code in TRANSIENT_SQLITE_CODES
    if state is not None:
        return state.startswith(TRANSIENT_SQL_STATES)
    words = str(error).lower()
    if "fatal:" in words:  # the server was reached, and says why it does not let us in
        return any(reason in words for reason in STARTUP_ERROR_TEXTS)
    is_about_network = any(word in words for word in NETWORK_ERROR_TEXTS)
    return is_about_network and not any(reason in words for reason in PERMANENT_ERROR_TEXTS)


REWRITTEN = ("sqlite", "postgresql")
"""Databases whose files are written again."""


def rewrite_tables(engine: Engine, tables: Sequence[Table], schema: str | None) -> bool:
    """Rewrite the file of SQLite, or tables of PostgreSQL; return False for another database.

    SQLite: VACUUM writes the whole file again, and the write-ahead log is emptied. PostgreSQL:
    VACUUM FULL writes a table and its indexes into new files, which locks it; ANALYZE replaces its
    statistics, which hold frequent values.

    Raises:
        TransientError: Another process reads the file of SQLite for long.
    """
    if engine.dialect.name not in REWRITTEN:
        return False
    raw = engine.raw_connection()
    try:
        driver = raw.driver_connection
        if engine.dialect.name == "sqlite":
            rewrite(driver)
        else:
            _vacuum_full(driver, [_name(each, schema) for each in tables])
    finally:
        raw.close()
    return True


def _name(table: Table, schema: str | None) -> str:
    return f'"{table.name}"' if schema is None else f'"{schema}"."{table.name}"'


def _vacuum_full(driver: Any, names: Sequence[str]) -> None:
    driver.rollback()
    driver.autocommit = True
    try:
        driver.execute("SET lock_timeout = '120s'")
        for name in names:
            driver.execute(f"VACUUM (FULL, ANALYZE) {name}")
        driver.execute("RESET lock_timeout")
    finally:
        driver.autocommit = False


def find_database_url(settings: Settings) -> str | URL:
    """Return DATABASE_URL; without it, a SQLite file for the data profile."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    folder = ensure_state_folder(settings)
    file = folder / f"{settings.data_profile}.sqlite"
    if (earlier := settings.earlier_database_file) and (folder / earlier).exists():
        file = folder / earlier
    return URL.create("sqlite", database=str(file))


def attach_bulk_file(driver: Any, info: dict[str, Any]) -> None:
    """Have a new connection know the file beside its database for rows on their way."""
    files = {name: file for _, name, file in driver.execute("PRAGMA database_list")}
    info |= {FILE: Path(f"{files['main']}-incoming"), ATTACHED: 0, MAIN: files["main"]}


def remove_left_file(connection: Connection) -> None:
    """Remove the file of a process that was killed: who has the database's one lock may."""
    connection.info[FILE].unlink(missing_ok=True)


def detach_files(driver: Any, record: Any) -> None:
    """Detach the files that a connection had attached, as it goes back to its pool.

    There is no ``driver`` any more where an interrupt broke a statement off.
    """
    if driver is None:
        return
    for number in range(record.info.get(ATTACHED, 0)):
        driver.execute(f"DETACH incoming_{number}")
    record.info[ATTACHED] = 0


@contextmanager
def open_reading(settings: Settings) -> Iterator[Connection]:
    """Give a connection that sees one state of the database of these settings.

    Raises:
        ConfigurationError: It cannot be reached, or its tables are of another version.
    """
    engine = open_engine(parse_url(find_database_url(settings)), settings.database_schema)
    try:
        with explain_errors(engine), engine.connect() as connection, connection.begin():
            _require_version(connection)
            yield connection
    finally:
        engine.dispose()


def _require_version(connection: Connection) -> None:
    version = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE)))
    stored_version = version.scalar()
    if stored_version != NEWEST_VERSION:
        raise ConfigurationError(
            "the tables are of another version than this program",
            expected=f"version {NEWEST_VERSION}",
            found=f"version {stored_version}",
            remedy="back up, and run `orchestrate migrate` of the newer release",
        )
