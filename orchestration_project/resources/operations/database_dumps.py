"""Rules for databases of both kinds that are backed up and restored.

`sqlite_dumps.py` copies files of SQLite, `postgresql_dumps.py` tables of PostgreSQL.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from orchestration_project.engine.contracts.backups import (
    DatabaseBackup,
    Part,
    compare_row_counts,
    format_names,
)
from orchestration_project.errors import ConfigurationError, ContractError

CHUNK_BYTES = 2**20

WITHOUT_DATA = frozenset(
    {
        *("alembic_version", "orchestration_project_version", "database_labels"),
        *("secondary_indexes", "instance_info", "daemon_heartbeats", "kvs"),
    }
)
"""Tables that a database has rows in before anybody used it."""


class PartWriter(Protocol):
    """Stores a part of a backup."""

    def __call__(self, name: str, chunks: Iterator[bytes]) -> tuple[str, int]:
        """Store chunks under ``name``; return their SHA-256 and size in bytes."""
        ...


class PartReader(Protocol):
    """Reads a part of a backup."""

    def __call__(self, part: Part) -> Iterator[bytes]:
        """Yield the bytes of a part.

        Raises:
            ContractError: At the end, if they are not those that were stored.
        """
        ...


class Database(Protocol):
    """A database that can be backed up, and restored into."""

    kind: str

    @property
    def shown_url(self) -> str:
        """Its place without secrets."""
        ...

    def dump(self, write: PartWriter, spool: Path) -> DatabaseBackup:
        """Write its tables as one state; ``spool`` is a folder for files on the way."""
        ...

    def is_restored(self, backup: DatabaseBackup) -> bool:
        """Whether it has exactly the numbers of rows of the backup; False: it is empty.

        Raises:
            ConfigurationError: It has other rows.
        """
        ...

    def restore(self, backup: DatabaseBackup, read: PartReader) -> None:
        """Write the tables of the backup into this empty database, all or none.

        Raises:
            ContractError: A part is not what was stored, or rows are missing.
        """
        ...


def with_data(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the number of rows of each table that has some."""
    return {name: rows for name, rows in counts.items() if rows and name not in WITHOUT_DATA}


def not_empty(shown_url: str, tables: Sequence[str]) -> ConfigurationError:
    """Return the error of a database to restore into that has rows in these tables."""
    return ConfigurationError(
        "the database to restore into is not empty",
        expected="no rows, or exactly those of this backup",
        found=f"rows in {format_names(tables)} of {shown_url}",
        remedy="name an empty database, or `orchestrate reset` a local one; it is unchanged",
    )


def refuse_difference(expected: Mapping[str, int], found: Mapping[str, int], name: str) -> None:
    """Refuse tables that do not have the rows of the manifest.

    Raises:
        ContractError: The number of rows of a table differs.
    """
    if differing := compare_row_counts(expected, found):
        raise ContractError(
            f"the restored tables of {name} do not have the rows of the manifest",
            expected="the number of rows that the manifest gives for each table",
            found="; ".join(differing[:5]),
            remedy="restore another backup: --backup ID",
        )


def write_file(file: Path, chunks: Iterable[bytes]) -> None:
    """Write a file of STATE_DIR and have it on disk.

    Raises:
        ConfigurationError: The disk is full, or the folder cannot be written.
    """
    try:
        with file.open("wb") as written:
            written.writelines(chunks)
            written.flush()
            os.fsync(written.fileno())
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {file}",
            expected="a folder with free space that this user may write",
            found=str(error.strerror),
            remedy="free some disk or fix the permissions, and repeat it",
        ) from error
