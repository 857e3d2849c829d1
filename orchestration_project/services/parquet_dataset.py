"""A table as a folder of Parquet files, one for each value of its partition columns.

The folders are named as Hive does, such as week_start=2025-11-10/tier=T1, which pandas, polars,
DuckDB and Arrow read as columns: the files themselves do not have these. `_manifest.json` records
what each file was written from. A file is written again only if the rows of its partition changed,
and takes its place whole; readers skip names that begin with a dot or an underscore.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Date, and_, func, select

from orchestration_project.engine.connections.files import find_default_mode, open_partial_file
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.export import PARTIAL_PREFIX, PARTIAL_SUFFIX, write_parquet
from orchestration_project.tables.conditions import (
    condition,
    public_names,
    refuse_contradictions,
)
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.schema import key_names

MANIFEST = "_manifest.json"
FILE = "part-0.parquet"
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
"""Stands for NULL in the name of a folder, as in Hive."""

MAX_PARTITIONS = 100_000
"""More files come of a column such as a symbol, which divides rows too finely."""

CHANGED_AT = "known_from"
"""Later in each row that a load writes than in all before."""

READ_BYTES = 2**20


class Partition(BaseModel):
    """A file of a dataset, and the rows that it was written from.

    Attributes:
        path: Relative to the folder.
        values: Of the partition columns, as text; None: NULL.
        row_count: Rows in the file.
        latest: ISO time at which the latest of them was loaded; None: the table does not have it.
        byte_count: Size of the file.
        sha256: Of the file, hex.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    values: Mapping[str, str | None]
    row_count: int
    latest: str | None
    byte_count: int
    sha256: str


class DatasetManifest(BaseModel):
    """The definition of a dataset, and its files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    partition_by: Sequence[str]
    columns: Sequence[str]
    where: Sequence[str]
    partitions: Sequence[Partition] = ()


@dataclass
class DatasetSummary:
    """Result of an export of a dataset.

    Attributes:
        written: Partitions whose file was written.
        removed: Partitions that have no rows any more; their files are deleted.
        row_count: Rows in all files.
        byte_count: Size of all files.
    """

    written: list[str] = field(default_factory=list)
    unchanged: int = 0
    removed: list[str] = field(default_factory=list)
    row_count: int = 0
    byte_count: int = 0


class _Group(NamedTuple):
    """Rows with the same values of the partition columns."""

    values: tuple[Any, ...]
    row_count: int
    latest: datetime | None


def infer_partitioning(chosen: Relation) -> list[str]:
    """Return by what a table is partitioned unless said otherwise: the day of its key, and tier.

    Raises:
        ConfigurationError: Its key has no day.
    """
    key = key_names(chosen.table)
    days = [name for name in key if isinstance(chosen.table.columns[name].type, Date)][:1]
    if not days:
        raise ConfigurationError(
            f"{chosen.table.name} has no day in its key to be partitioned by",
            remedy="name the columns: --partition-by A,B",
        )
    return days + [name for name in key if name == "tier"]


class ParquetDataset:
    """The folder of one table.

    Args:
        folder: Made if it is missing.
        chosen: The table or view.
        partition_by: Its columns by whose values rows are divided into files.
        columns: The columns to write; those of the partition are in the names of the folders.
        wheres: Conditions, as a user writes them, that must all hold.

    Raises:
        ConfigurationError: A column or condition is none of the table's, or no column is left.
    """

    def __init__(
        self,
        folder: Path,
        chosen: Relation,
        partition_by: Sequence[str],
        columns: Sequence[str],
        wheres: Sequence[str],
    ) -> None:
        self._folder = folder
        self._chosen = chosen
        self._table = chosen.table
        self._by = public_names(self._table, partition_by)
        self._names = [name for name in chosen.columns(columns) if name not in self._by]
        if not self._names:
            raise ConfigurationError(
                "no column is left for the files: all are partition columns",
                remedy="name fewer columns with --partition-by, or more with --columns",
            )
        refuse_contradictions(wheres)
        self._conditions = [condition(self._table, where) for where in wheres]
        self._declared = DatasetManifest(
            table=self._table.name,
            partition_by=self._by,
            columns=self._names,
            where=sorted(wheres),
        )

    @property
    def manifest(self) -> Path:
        """File that names all files of the dataset."""
        return self._folder / MANIFEST

    def export(self, warehouse: Warehouse) -> DatasetSummary:
        """Write the partitions whose rows changed, then the manifest; delete what has no rows.

        A partition that is loaded meanwhile has its new rows or those before, and is written again
        the next time. After a crash, the next export writes what the manifest does not have.

        Raises:
            ConfigurationError: The folder is of another table or definition, or holds other files.
            TransientError: It cannot be written, or another process is writing it.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                return self._export(warehouse)
        except OSError as error:
            raise TransientError(
                f"the dataset in {self._folder} cannot be written",
                expected="a folder that is there and ours to write, with free space",
                found=str(error.strerror),
                remedy="free some disk, or name another folder; what is written stays",
            ) from error

    def _export(self, warehouse: Warehouse) -> DatasetSummary:
        manifest = self._read_manifest()
        before = {
            partition.path: partition
            for partition in manifest.partitions
            if _is_file(partition.path)
        }
        has_same_columns = manifest.columns == self._declared.columns  # not after some upgrades
        summary = DatasetSummary()
        after: list[Partition] = []
        for group in self._groups(warehouse):
            path = self._path(group.values)
            known_partition = before.get(path)
            if (
                known_partition is not None
                and has_same_columns
                and self._is_current(known_partition, group)
            ):
                summary.unchanged += 1
                after.append(known_partition)
            else:
                after.append(self._write(warehouse, path, group))
                summary.written.append(path)
        self._write_manifest(after)
        summary.removed = sorted(before.keys() - {partition.path for partition in after})
        for path in summary.removed:
            self._remove(path)
        summary.row_count = sum(partition.row_count for partition in after)
        summary.byte_count = sum(partition.byte_count for partition in after)
        return summary

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock, which the system frees with the process."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise TransientError(
                f"another process writes the dataset in {self._folder}",
                remedy="wait until it has ended, and repeat it",
            ) from None
        finally:
            os.close(descriptor)

    def _read_manifest(self) -> DatasetManifest:
        file = self.manifest
        if not file.exists():
            other_names = [path.name for path in self._folder.iterdir() if not _is_ours(path.name)]
            if other_names:
                raise ConfigurationError(
                    f"{self._folder} holds files, and no dataset",
                    expected="an empty folder, or one that `export --dataset` wrote",
                    found=", ".join(sorted(other_names)[:5]),
                    remedy="name another folder",
                )
            return self._declared
        try:
            model_validate_json = DatasetManifest.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise ConfigurationError(
                f"{file} is not the manifest of a dataset",
                expected="the file as `export --dataset` wrote it",
                found=str(error.errors()[0]["msg"]),
                remedy="delete the folder, or name another",
            ) from error
        for name in ("table", "partition_by", "where"):
            was, expected = (
                _format_field(getattr(dataset_manifest, name))
                for dataset_manifest in (model_validate_json, self._declared)
            )
            if was != expected:
                raise ConfigurationError(
                    f"the dataset in {self._folder} was written with another {name}",
                    expected=was,
                    found=expected,
                    remedy="name another folder, or delete this one",
                )
        return model_validate_json

    def _groups(self, warehouse: Warehouse) -> list[_Group]:
        columns = [self._table.columns[name] for name in self._by]
        has_time = CHANGED_AT in self._table.columns
        latest = func.max(self._table.columns[CHANGED_AT]) if has_time else None
        counted = select(*columns, func.count(), *([] if latest is None else [latest]))
        statement = counted.where(*self._conditions).group_by(*columns).limit(MAX_PARTITIONS + 1)
        with warehouse.reading() as connection:
            rows = connection.execute(statement).all()
        if len(rows) > MAX_PARTITIONS:
            raise ConfigurationError(
                f"{self._table.name} has more than {MAX_PARTITIONS:,} partitions by "
                f"{', '.join(self._by)}",
                remedy="name other columns: --partition-by, or fewer rows: --where",
            )
        width = len(columns)
        groups = [
            _Group(tuple(row[:width]), row[width], row[width + 1] if has_time else None)
            for row in rows
        ]
        return sorted(groups, key=lambda each: self._path(each.values))

    def _path(self, values: Sequence[Any]) -> str:
        folders = [
            f"{name}={NULL_FOLDER if value is None else quote(_format_value(value), safe='')}"
            for name, value in zip(self._by, values, strict=True)
        ]
        return "/".join([*folders, FILE])

    def _is_current(self, known: Partition, group: _Group) -> bool:
        """Whether a file holds the present rows: a load makes `latest` later, or the count less."""
        if group.latest is None:
            return False
        same = known.row_count == group.row_count and known.latest == group.latest.isoformat()
        try:
            return same and (self._folder / known.path).stat().st_size == known.byte_count
        except FileNotFoundError:
            return False

    def _write(self, warehouse: Warehouse, path: str, group: _Group) -> Partition:
        columns = [self._table.columns[name] for name in self._by]
        expression = and_(
            *(
                column.is_(None) if value is None else column == value
                for column, value in zip(columns, group.values, strict=True)
            ),
            *self._conditions,
        )
        needed = dict.fromkeys([*self._names, *key_names(self._table)])
        statement = (
            select(*(self._table.columns[name] for name in needed))
            .where(expression)
            .order_by(*(self._table.columns[name] for name in key_names(self._table)))
        )
        target = self._folder / path
        with (
            open_partial_file(self._folder, prefix=PARTIAL_PREFIX, suffix=PARTIAL_SUFFIX) as (
                file,
                at,
            ),
            warehouse.batches(statement, self._table) as batches,
        ):
            written = write_parquet((batch.select(self._names) for batch in batches), file)
            file.flush()
            os.fchmod(file.fileno(), find_default_mode())
            os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            at.replace(target)
        return Partition(
            path=path,
            values={
                name: None if value is None else _format_value(value)
                for name, value in zip(self._by, group.values, strict=True)
            },
            row_count=written.row_count,
            latest=None if group.latest is None else group.latest.isoformat(),
            byte_count=target.stat().st_size,
            sha256=_hash_file(target),
        )

    def _write_manifest(self, partitions: Sequence[Partition]) -> None:
        whole = self._declared.model_copy(update={"partitions": partitions})
        text = whole.model_dump_json(indent=1)
        with open_partial_file(self._folder, prefix=PARTIAL_PREFIX, suffix=PARTIAL_SUFFIX) as (
            file,
            at,
        ):
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), find_default_mode())
            os.fsync(file.fileno())
            at.replace(self.manifest)

    def _remove(self, path: str) -> None:
        file = self._folder / path
        file.unlink(missing_ok=True)
        for folder in list(file.parents)[: len(self._by)]:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()


def _is_ours(name: str) -> bool:
    """Whether a killed export may have left this: a partition or a part of a file."""
    return name.startswith(PARTIAL_PREFIX) or "=" in name


def _is_file(path: str) -> bool:
    """Whether a path of a manifest is that of a partition, and so within the folder."""
    *folders, file = path.split("/")
    return file == FILE and all("=" in folder for folder in folders)


def _format_field(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _format_value(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _hash_file(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
