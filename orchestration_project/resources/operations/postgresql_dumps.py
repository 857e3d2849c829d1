"""Tables of PostgreSQL in and out of backups, by COPY, as one transaction sees them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from orchestration_project.engine.contracts.backups import (
    POSTGRESQL,
    DatabaseBackup,
    Part,
    format_names,
)
from orchestration_project.engine.warehouse.connecting import (
    explain_errors,
    open_engine,
    redact_url,
)
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.operations.database_dumps import (
    CHUNK_BYTES,
    PartReader,
    PartWriter,
    not_empty,
    refuse_difference,
    with_data,
)


class PostgresqlTables:
    """Tables of a database of PostgreSQL.

    Args:
        prefix: Folder of the parts, such as dagster/.
        url: The database.
        schema: Schema of the tables; None: the role's search path.
        tables: Returns the names of the tables, those that others refer to first.
        version_table: Table with the version of the tables.
        make: Makes the tables of a version in a transaction, where they are missing.
        first: Name of the table with declarations of further tables; it is restored first.
        make_declared: Makes the tables that ``first`` declares.
    """

    kind = POSTGRESQL

    def __init__(
        self,
        prefix: str,
        url: URL,
        *,
        schema: str | None,
        tables: Callable[[Connection], Sequence[str]],
        version_table: str,
        make: Callable[[Connection, str], None],
        first: str = "",
        make_declared: Callable[[Connection], None] | None = None,
    ) -> None:
        self._prefix = prefix
        self._url = url.set(drivername="postgresql+psycopg")
        self._schema = schema
        self._tables = tables
        self._version_table = version_table
        self._make = make
        self._first = first
        self._make_declared = make_declared

    @property
    def shown_url(self) -> str:
        """The database's URL without its password."""
        return redact_url(self._url)

    @contextmanager
    def _connected(self, *, writes: bool) -> Iterator[Connection]:
        engine = open_engine(self._url, self._schema)
        try:
            with (
                explain_errors(engine),
                engine.connect().execution_options(writes=writes) as connection,
                connection.begin(),
            ):
                yield connection
        finally:
            engine.dispose()

    def dump(self, write: PartWriter, spool: Path) -> DatabaseBackup:
        """Write every table with rows by COPY, as one transaction sees them.

        All are locked first: a snapshot sees no rows of a table that was truncated since.
        """
        with self._connected(writes=False) as connection:
            version = _read_version(connection, self._version_table)
            present = _select_present(connection, self._tables(connection))
            if present:
                names = ", ".join(map(connection.dialect.identifier_preparer.quote, present))
                connection.execute(text(f"LOCK TABLE {names} IN ACCESS SHARE MODE"))
            parts = [self._dump_table(connection, name, write) for name in present]
        return DatabaseBackup(POSTGRESQL, version, parts)

    def _dump_table(self, connection: Connection, table: str, write: PartWriter) -> Part:
        quote = connection.dialect.identifier_preparer.quote
        columns, sequences = _read_columns(connection, table)
        name = f"{self._prefix}{table}.copy"
        if connection.execute(text(f'SELECT 1 FROM "{table}" LIMIT 1')).first() is None:  # noqa: S608 - a name of ours
            return Part(name, sha256(b"").hexdigest(), 0, {table: 0}, columns, sequences)
        listed = ", ".join(map(quote, columns))
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            with cursor.copy(f"COPY {quote(table)} ({listed}) TO STDOUT") as copy:
                digest, size = write(name, _join_lines(copy))
            counts = {table: cursor.rowcount}
        return Part(name, digest, size, counts, columns, sequences)

    def is_restored(self, backup: DatabaseBackup) -> bool:
        """Compare the rows of the tables that exist."""
        with self._connected(writes=False) as connection:
            table_counts = _count_rows(connection, self._tables(connection))
            version = _read_version(connection, self._version_table) if table_counts else ""
        if not with_data(table_counts):
            return False
        if version != backup.version or with_data(table_counts) != with_data(backup.row_counts):
            raise not_empty(self.shown_url, sorted(with_data(table_counts)))
        return True

    def restore(self, backup: DatabaseBackup, read: PartReader) -> None:
        """Make the tables of the backup's version and fill them, in one transaction."""
        if not backup.parts:
            return  # the database had no tables yet
        with self._connected(writes=True) as connection:
            self._make(connection, backup.version)
            version = _read_version(connection, self._version_table)
            if version != backup.version:
                raise ConfigurationError(
                    "the database has tables of another version than the backup",
                    expected=f"version {backup.version}, or a database without tables",
                    found=f"version {version or 'unknown'} at {self.shown_url}",
                    remedy="restore into a new database",
                )
            for name in reversed(list(_count_rows(connection, self._tables(connection)))):
                connection.execute(text(f'DELETE FROM "{name}"'))  # noqa: S608 - a name of ours
            for part in sorted(backup.parts, key=lambda part: self._first not in part.row_counts):
                self._restore_table(connection, part, read)
                if self._make_declared is not None and self._first in part.row_counts:
                    self._make_declared(connection)
            found_counts = _count_rows(connection, list(backup.row_counts))
            refuse_difference(backup.row_counts, found_counts, self._prefix)

    def _restore_table(self, connection: Connection, part: Part, read: PartReader) -> None:
        [table] = part.row_counts
        tables = self._tables(connection)
        if table not in tables or part.name != f"{self._prefix}{table}.copy":
            raise ContractError(
                f"the backup has a table that does not belong to {self._prefix}",
                expected=format_names(sorted(tables)),
                found=part.name,
                remedy="restore another backup: --backup ID",
            )
        quote = connection.dialect.identifier_preparer.quote
        columns = ", ".join(map(quote, part.columns))
        driver: Any = connection.connection.driver_connection
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY {quote(table)} ({columns}) FROM STDIN") as copy,
        ):
            for chunk in read(part) if part.byte_count else ():
                copy.write(chunk)
        for column, last in part.sequences.items():
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence(:table, :column), :last)"),
                {"table": quote(table), "column": column, "last": max(last, 1)},
            )


def _read_columns(connection: Connection, table: str) -> tuple[Sequence[str], Mapping[str, int]]:
    """Return the stored columns of a table, in order, and the last value of each numbered one."""
    rows = connection.execute(
        text(
            "SELECT attname, pg_get_serial_sequence(:name, attname) FROM pg_attribute "
            "WHERE attrelid = to_regclass(:name) "
            "AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
        ),
        {"name": connection.dialect.identifier_preparer.quote(table)},
    ).all()
    last_values = {
        column: connection.execute(text(f"SELECT last_value FROM {sequence}")).scalar_one()  # noqa: S608 - quoted by PostgreSQL
        for column, sequence in rows
        if sequence
    }
    return [column for column, _ in rows], last_values


def _read_version(connection: Connection, table: str) -> str:
    if not connection.execute(text("SELECT to_regclass(:name)"), {"name": table}).scalar():
        return ""
    return connection.execute(text(f"SELECT max(version_num) FROM {table}")).scalar() or ""  # noqa: S608 - a name of ours


def _select_present(connection: Connection, tables: Iterable[str]) -> Sequence[str]:
    """Return the tables that exist, in the given order."""
    statement = text(
        "SELECT name FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given (name, place) "
        "WHERE to_regclass(quote_ident(name)) IS NOT NULL ORDER BY place"
    )
    return connection.execute(statement, {"names": [*tables]}).scalars().all()


def _count_rows(connection: Connection, tables: Iterable[str]) -> dict[str, int]:
    """Return rows by table, of those that exist."""
    return {
        name: connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one()  # noqa: S608 - a name of ours
        for name in _select_present(connection, tables)
    }


def _join_lines(copy: Iterable[memoryview]) -> Iterator[bytes]:
    """Join the lines of a COPY to chunks."""
    joined = bytearray()
    for line in copy:
        joined += line
        if len(joined) >= CHUNK_BYTES:
            yield bytes(joined)
            joined.clear()
    if joined:
        yield bytes(joined)
