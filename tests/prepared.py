"""Databases with our tables and nothing in them: to make the tables takes longer than most tests.

They do not say yet what data they hold, as if they had only been migrated.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import delete

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import find_database_url, parse_url
from orchestration_project.migrations import NEWEST_VERSION, VERSION_TABLE
from orchestration_project.settings import Settings
from orchestration_project.tables.schema import METADATA
from orchestration_project.tables.spine import database_labels
from tests.postgres import new_database

WITH_ROWS = """SELECT relname FROM pg_class
WHERE relnamespace = %s::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 0"""
"""Tables of a schema that have or had rows: a statement for each of all would be a hundred."""

DELETED = {database_labels.name: SQL("WHERE name <> 'schema'")}
"""Rows that go, of a table of which one stays: the hash of the tables, which stay as they are."""

RENAME = """ALTER SCHEMA public RENAME TO ours;
ALTER SCHEMA ours OWNER TO CURRENT_USER;
REVOKE ALL ON SCHEMA ours FROM PUBLIC;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC"""
"""Makes of a database with tables one with them in a schema of a role's own."""


class Prepared:
    """Copies databases that were made once."""

    def __init__(self, server: Callable[[], str]) -> None:
        self._server = server

    def sqlite(self, file: Path) -> str:
        """Make ``file`` such a database, and return its URL."""
        return write_sqlite(file)

    def postgresql(self) -> str:
        """Make such a database on the server, and return its URL."""
        return new_database(self._server(), f"copy_{uuid4().hex}", self._template)

    @contextmanager
    def schema(self) -> Iterator[tuple[str, str]]:
        """Lend a database's URL and a schema in it; in the end all rows go.

        That costs nothing, where a new database costs as much as a test; tables stay as they are,
        and so does their version.
        """
        url, name, head = self._shared
        yield url, name
        with psycopg.connect(url) as connection:
            connection.execute("SET lock_timeout = '20s'")
            with_rows = connection.execute(WITH_ROWS, [name]).fetchall()
            version = SQL("UPDATE {} SET version_num = {}")
            connection.execute(
                SQL("; ").join(
                    [
                        version.format(Identifier(name, VERSION_TABLE), head),
                        *(
                            SQL("DELETE FROM {} {}").format(
                                Identifier(name, table), DELETED.get(table, SQL(""))
                            )
                            for (table,) in with_rows
                            if table in METADATA.tables
                        ),
                    ]
                )
            )

    @cached_property
    def _template(self) -> str:
        _migrate(new_database(self._server(), "prepared"))
        return "prepared"

    @cached_property
    def _shared(self) -> tuple[str, str, str]:
        """The URL, the schema and the newest version; a copy's schema gets its name."""
        url = new_database(self._server(), "shared", self._template)
        with psycopg.connect(url) as connection:
            connection.execute(RENAME)
        return url, "ours", NEWEST_VERSION


def write_sqlite(file: Path) -> str:
    """Make ``file`` such a database, where no fixture is at hand, and return its URL."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_migrated_sqlite())
    return f"sqlite:///{file}"


def write_default(settings: Settings) -> Settings:
    """Make the SQLite file that these settings mean such a database, and return them."""
    write_sqlite(Path(str(parse_url(find_database_url(settings)).database)))
    return settings


@cache
def _migrated_sqlite() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "prepared.sqlite"
        _migrate(f"sqlite:///{file}")
        return file.read_bytes()


def _migrate(url: str) -> None:
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="demo")
        with warehouse.writing() as connection:
            label = database_labels.c.name == "data"
            connection.execute(delete(database_labels).where(label))
