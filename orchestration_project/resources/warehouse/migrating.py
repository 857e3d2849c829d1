"""Our tables brought to the version that this code needs, by Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, inspect, text

import orchestration_project.migrations
from orchestration_project.errors import ConfigurationError

VERSION_TABLE = "orchestration_project_version"
LOCK = 0x6F72636865737472
"""PostgreSQL's advisory lock that one migrating process holds."""


def migration_config(connection: Connection) -> Config:
    """Return Alembic's configuration, without a file."""
    config = Config()
    folder = Path(str(orchestration_project.migrations.__file__)).parent
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    return config


def current_version(connection: Connection) -> str | None:
    """Return the version of the tables, None where there are none."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def is_current(connection: Connection) -> bool:
    """Whether the tables have the version that this code needs.

    Raises:
        ConfigurationError: The tables are of a newer version.
    """
    script = ScriptDirectory.from_config(migration_config(connection))
    version = current_version(connection)
    if version is None:
        return False
    try:
        script.get_revision(version)
    except CommandError:
        raise ConfigurationError(
            "the database was made by a newer version of this project",
            expected=f"version {script.get_current_head()} or older",
            found=f"version {version}",
            remedy="run the newer version, or use another DATABASE_URL",
        ) from None
    return version == script.get_current_head()


def migrate(connection: Connection, schema: str | None) -> None:
    """Bring the tables up to date; safe twice, and from two processes at once.

    ``connection`` is in a write transaction, which on SQLite is the lock.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        if schema is not None and schema not in inspect(connection).get_schema_names():
            connection.execute(text(f'CREATE SCHEMA "{schema}"'))
    if not is_current(connection):
        command.upgrade(migration_config(connection), "head")
