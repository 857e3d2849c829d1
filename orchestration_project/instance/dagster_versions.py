"""Versions of the tables of Dagster's storage: the stored ones, and that of this Dagster."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import dagster as dg
from sqlalchemy import inspect, text

from orchestration_project.engine.warehouse.connecting import open_engine, parse_url
from orchestration_project.instance.operations_backup import (
    DAGSTER_FILES,
    DAGSTER_VERSION_TABLE,
)
from orchestration_project.instance.storage import postgres_url
from orchestration_project.settings import Settings

HAS_VERSION = "SELECT count(*) FROM sqlite_master WHERE name = ?"
VERSION = f"SELECT version_num FROM {DAGSTER_VERSION_TABLE}"  # noqa: S608 - a constant


class DagsterVersions(NamedTuple):
    """Versions of Dagster's tables by name of Alembic.

    Attributes:
        stored: Those that there are, sorted: files of SQLite have one each; none: no tables.
        newest: That of the installed Dagster.
    """

    stored: list[str]
    newest: str

    @property
    def is_other(self) -> bool:
        """Whether another Dagster made them, mostly an older one; the names have no order."""
        return bool(set(self.stored) - {self.newest})


def read_dagster_versions(settings: Settings) -> DagsterVersions:
    """Return the versions of Dagster's tables; nothing is made or changed.

    Raises:
        ConfigurationError: The URL of Dagster's database is invalid.
        sqlalchemy.exc.OperationalError: It cannot be reached.
    """
    url = settings.dagster_database_url
    if url is None:
        stored = _read_files(settings.state_path / "dagster")
    else:
        stored = _read_database(postgres_url(url.get_secret_value()))
    with TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        instance.get_runs_count()  # which makes the tables
        [newest] = _read_files(Path(folder))
    return DagsterVersions(sorted(stored), newest)


def _read_files(folder: Path) -> set[str]:
    files = [file for pattern in DAGSTER_FILES for file in folder.glob(pattern)]
    return {version for file in files for version in _read_file(file)}


def _read_file(file: Path) -> Iterable[str]:
    """Return the version in a file; none: another process is just making its tables."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        [has_version] = connection.execute(HAS_VERSION, [DAGSTER_VERSION_TABLE]).fetchone()
        return [version for (version,) in connection.execute(VERSION)] if has_version else []


def _read_database(url: str) -> set[str]:
    engine = open_engine(parse_url(url), None)
    try:
        with engine.connect() as connection:
            has_version = inspect(connection).has_table(DAGSTER_VERSION_TABLE)
            return set(connection.execute(text(VERSION)).scalars()) if has_version else set()
    finally:
        engine.dispose()
