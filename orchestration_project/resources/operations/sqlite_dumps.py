"""Files of SQLite in and out of backups, by SQLite's online backup."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from uuid import uuid4

from orchestration_project.engine.contracts.backups import SQLITE, DatabaseBackup, Part
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.operations.database_dumps import (
    CHUNK_BYTES,
    PartReader,
    PartWriter,
    not_empty,
    refuse_difference,
    with_data,
    write_file,
)

BUSY_SECONDS = 30


class SqliteFiles:
    """One file of SQLite, or those of a folder.

    Args:
        prefix: Folder of the parts, such as dagster/.
        folder: Folder of the files.
        patterns: Their paths below it, such as history/*.db.
        version_table: Table with the version of the tables.
        stored_as: Name in backups of the one file that the only pattern names; None: its own.
    """

    kind = SQLITE

    def __init__(
        self,
        prefix: str,
        folder: Path,
        patterns: Sequence[str],
        version_table: str,
        *,
        stored_as: str | None = None,
    ) -> None:
        self._prefix = prefix
        self._folder = folder
        self._patterns = patterns
        self._version_table = version_table
        self._stored_as = stored_as

    @property
    def shown_url(self) -> str:
        """The folder or file."""
        return str(self._folder / self._patterns[0] if self._stored_as else self._folder)

    def dump(self, write: PartWriter, spool: Path) -> DatabaseBackup:
        """Copy the files one after the other, each as it is at one time."""
        parts: list[Part] = []
        versions: list[str] = []
        for name, file in self._files():
            copy = spool / f"{uuid4().hex}.sqlite"
            try:
                counts, version = _copy_file(file, copy, self._version_table)
                sha256, size = write(f"{self._prefix}{name}", _iterate_chunks(copy))
            finally:
                copy.unlink(missing_ok=True)
            parts.append(Part(f"{self._prefix}{name}", sha256, size, counts))
            versions += [version] if version else []
        return DatabaseBackup(SQLITE, max(versions, default=""), parts)

    def is_restored(self, backup: DatabaseBackup) -> bool:
        """Compare the rows of each file that exists."""
        expected = {part.name.removeprefix(self._prefix): part for part in backup.parts}
        entries = {name: _count_file_rows(file) for name, file in self._files()}
        other_names = {
            table
            for name, counts in entries.items()
            if name not in expected or with_data(expected[name].row_counts) != with_data(counts)
            for table in with_data(counts)
        }
        if other_names:
            raise not_empty(self.shown_url, sorted(other_names))
        return all(
            name in entries and with_data(entries[name]) == with_data(part.row_counts)
            for name, part in expected.items()
        )

    def restore(self, backup: DatabaseBackup, read: PartReader) -> None:
        """Write each file beside its place, compare it, and move it there."""
        for part in backup.parts:
            file = self._place(part.name)
            if file.exists() and with_data(_count_file_rows(file)) == with_data(part.row_counts):
                continue  # an earlier restore was killed after it
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f"{file.name}.restoring")
            try:
                write_file(partial, read(part))
                refuse_difference(part.row_counts, _count_file_rows(partial), part.name)
                for suffix in ("", "-wal", "-shm"):
                    file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
                partial.replace(file)
            finally:
                for suffix in ("", "-wal", "-shm"):
                    partial.with_name(f"{partial.name}{suffix}").unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[str, Path]]:
        if self._stored_as:
            file = self._folder / self._patterns[0]
            if file.exists():
                yield self._stored_as, file
            return
        for pattern in self._patterns:
            for file in sorted(self._folder.glob(pattern)):
                yield file.relative_to(self._folder).as_posix(), file

    def _place(self, part_name: str) -> Path:
        """Return the file of a part; the manifest with its name is not trusted."""
        name = part_name.removeprefix(self._prefix)
        if self._stored_as and part_name == f"{self._prefix}{self._stored_as}":
            return self._folder / self._patterns[0]
        is_of_it = (
            not self._stored_as
            and part_name.startswith(self._prefix)
            and any(
                fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")
                for pattern in self._patterns
            )
        )
        if not is_of_it:
            raise ContractError(
                f"the backup has a file that does not belong to {self._prefix}",
                expected=f"one of {', '.join(self._patterns)}",
                found=part_name,
                remedy="restore another backup: --backup ID",
            )
        return self._folder / name


def _copy_file(file: Path, copy: Path, version_table: str) -> tuple[Mapping[str, int], str]:
    """Copy a database while others write to it; return its rows by table, and its version."""
    with (
        _explain_errors(file),
        closing(_open_database(file)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        target.execute("PRAGMA synchronous = OFF")
        source.backup(target)
        counts = _count_rows(target)
        version = (
            target.execute(f"SELECT max(version_num) FROM {version_table}").fetchone()[0]  # noqa: S608 - a name of ours
            if version_table in counts
            else ""
        )
    return counts, version or ""


@contextmanager
def _explain_errors(file: Path) -> Iterator[None]:
    """Raise the project's error for what SQLite refuses, such as on a full disk."""
    try:
        yield
    except sqlite3.Error as error:
        kind = ContractError if type(error) is sqlite3.DatabaseError else ConfigurationError
        raise kind(
            f"the database {file} cannot be copied or read",
            expected="a database of SQLite, and free space in STATE_DIR for a copy of it",
            found=str(error),
            remedy="free some disk, or replace a damaged file by that of another backup",
        ) from error


def _open_database(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)


def _count_file_rows(file: Path) -> Mapping[str, int]:
    if not file.stat().st_size:
        return {}
    with _explain_errors(file), closing(_open_database(file)) as driver:
        return _count_rows(driver)


def _count_rows(driver: sqlite3.Connection) -> Mapping[str, int]:
    names = driver.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    counted: dict[str, int] = {}
    for (name,) in names:
        quoted = name.replace('"', '""')
        counted[name] = driver.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0]  # noqa: S608 - quoted
    return counted


def _iterate_chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            yield chunk
