"""Reading from the database, for a command that loads nothing: few modules are imported."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, column, select, table

from orchestration_project.engine.warehouse.connecting import (
    database_url,
    explained,
    open_engine,
    parsed_url,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import NEWEST_VERSION, VERSION_TABLE
from orchestration_project.settings import Settings


@contextmanager
def open_reading(settings: Settings) -> Iterator[Connection]:
    """Give a connection that sees one state of the database of these settings.

    Raises:
        ConfigurationError: It cannot be reached, or its tables are of another version.
    """
    engine = open_engine(parsed_url(database_url(settings)), settings.database_schema)
    try:
        with explained(engine), engine.connect() as connection, connection.begin():
            _require_version(connection)
            yield connection
    finally:
        engine.dispose()


def _require_version(connection: Connection) -> None:
    version = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE)))
    found = version.scalar()
    if found != NEWEST_VERSION:
        raise ConfigurationError(
            "the tables are of another version than this program",
            expected=f"version {NEWEST_VERSION}",
            found=f"version {found}",
            remedy="back up, and run `orchestrate migrate` of the newer release",
        )
