"""Rows of an export in a file, and the loads that it contains."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.sql.util import find_tables

from orchestration_project.engine.connections.files import open_partial_file
from orchestration_project.engine.contracts.exports import (
    ARTIFACTS,
    SUFFIXES,
    DeclaredExport,
    FolderTarget,
    LoadRange,
)
from orchestration_project.engine.leases import EPOCH
from orchestration_project.engine.recovery import RenderedAgain
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import TransientError
from orchestration_project.services.export import WRITERS, open_batches, write_csv_for_excel
from orchestration_project.services.parquet_dataset import ParquetDataset, infer_partitioning
from orchestration_project.tables.catalogue import relation, relation_as_of, tables
from orchestration_project.tables.operations_artifacts import operations_exports
from orchestration_project.tables.queries.changes import CHANGE, changed_rows
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import fences, landings
from orchestration_project.tables.views import VIEWS

OLDEST_WRITER = text(
    "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)"
    " FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL"
    " AND pid <> pg_backend_pid()"
)
"""Age in seconds of the oldest transaction of PostgreSQL that writes."""


PREFIX, SUFFIX = ".export-", ".partial"
"""Names of files while they are written: what killed runs left is removed by them."""


@dataclass(frozen=True)
class RenderedExport:
    """An export as a file in the artifact store."""

    declared: DeclaredExport
    loads: LoadRange
    row_count: int
    byte_count: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the file at a target that keeps files: load and content."""
        is_manifest = isinstance(self.declared.target, FolderTarget)
        suffix = "json" if is_manifest else SUFFIXES[self.declared.export.file_format]
        at = f"{self.loads.until:%Y%m%dT%H%M%S%fZ}"
        return f"{self.declared.name}/{at}-{self.sha256[:12]}.{suffix}"

    @property
    def artifact(self) -> str:
        """Name of the file in the artifact store; of another target's, that of staged rows."""
        is_artifact = self.declared.export.target == ARTIFACTS
        return f"{'exports' if is_artifact else 'staged/exports'}/{self.file_name}"


def select_rows(
    declared: DeclaredExport, loads: LoadRange, *, is_latest: bool = False
) -> tuple[Relation, list[str]]:
    """Return the rows of an export without its conditions, and its columns.

    A table with history has its rows as of the latest load; an incremental export has the column
    ``change`` before the others. If no later load ``is_latest``, no row of it is in the history.
    """
    export = declared.export
    chosen = relation(export.table)
    names = chosen.columns(export.columns)
    if export.incremental:
        chosen = changed_rows(export.table, loads.since, loads.until, export.where)
        names = [CHANGE, *names]
    elif chosen.table.info.get(HISTORY) is not None:
        chosen = relation_as_of(export.table, loads.until)
    if is_latest and loads.since is None:
        chosen = replace(chosen, parts=chosen.parts[:1])
    return chosen, names


@contextmanager
def render(
    warehouse: Warehouse, declared: DeclaredExport, loads: LoadRange, folder: Path
) -> Iterator[tuple[RenderedExport, BinaryIO]]:
    """Write an export into a file of ``folder`` in constant memory; the file goes at the end.

    A dataset is written to its target, partition by partition; its manifest is the file.
    """
    if isinstance(declared.target, FolderTarget):
        dataset = _build_dataset(declared, declared.target)
        summary = dataset.export(warehouse)
        with dataset.manifest.open("rb") as written:
            yield _measure_file(declared, loads, summary.row_count, written), written
        return
    with open_partial_file(folder, prefix=PREFIX, suffix=SUFFIX) as (file, path):
        try:
            with _explain_errors(folder):
                row_count = _write(warehouse, declared, loads, file)
            with path.open("rb") as written:
                yield _measure_file(declared, loads, row_count, written), written
        finally:
            path.unlink(missing_ok=True)


def _measure_file(
    declared: DeclaredExport, loads: LoadRange, row_count: int, file: BufferedReader
) -> RenderedExport:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = os.fstat(file.fileno()).st_size
    return RenderedExport(declared, loads, row_count, size, digest)


def _build_dataset(declared: DeclaredExport, target: FolderTarget) -> ParquetDataset:
    export, chosen = declared.export, relation(declared.export.table)
    by = export.partition_by or infer_partitioning(chosen)
    folder = Path(target.path) / declared.name
    return ParquetDataset(folder, chosen, by, export.columns, export.where)


def _write(warehouse: Warehouse, declared: DeclaredExport, loads: LoadRange, file: BinaryIO) -> int:
    """Write the rows, and return their number.

    While the loads are the latest, the table alone has the rows, which a database reads four times
    as fast as with its history; if another load came meanwhile, they are written again.
    """
    if _is_latest(warehouse, declared, loads):
        row_count = _write_rows(warehouse, declared, loads, file, is_latest=True)
        if _is_latest(warehouse, declared, loads):
            return row_count
        file.seek(0)
        file.truncate()
    return _write_rows(warehouse, declared, loads, file, is_latest=False)


def _is_latest(warehouse: Warehouse, declared: DeclaredExport, loads: LoadRange) -> bool:
    with warehouse.reading() as connection:
        return _find_latest_load(connection, relation(declared.export.table).table) == loads.until


def _write_rows(
    warehouse: Warehouse,
    declared: DeclaredExport,
    loads: LoadRange,
    file: BinaryIO,
    *,
    is_latest: bool,
) -> int:
    export, form = declared.export, declared.export.file_format
    chosen, names = select_rows(declared, loads, is_latest=is_latest)
    statement = chosen.select(names, [] if export.incremental else export.where)
    with open_batches(
        warehouse, chosen, names, statement, form=form, escape=export.escape_formulas
    ) as batches:
        write = write_csv_for_excel if export.byte_order_mark else WRITERS[form]
        summary = write(batches, file)
    file.flush()
    return summary.row_count


@contextmanager
def _explain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransientError(
            "the file of an export cannot be written",
            expected=f"free space in {folder}",
            found=str(error.strerror),
            remedy="free some disk; it is retried",
        ) from error


def find_next_loads(
    connection: Connection,
    declared: DeclaredExport,
    last: datetime | None,
    now: datetime,
    clock_skew: timedelta,
) -> LoadRange | None:
    """Return the loads that an export would contain now; None: nothing is loaded since ``last``.

    A table without loads, such as one of operations, is exported as of now. An incremental export
    leaves out a load that ended while another was under way, or within the clock skew of several
    machines: the next one contains it, so that none is missed that is committed late.

    Args:
        connection: A transaction.
        declared: The export.
        last: The latest load that was delivered under the same declaration.
        now: The present of the database's rows.
        clock_skew: Tolerated difference between the clocks of machines.
    """
    table = relation(declared.export.table).table
    latest = _find_latest_load(connection, table)
    if latest is None:
        is_new = table.info.get(HISTORY) is None and (last is None or now > last)
        return LoadRange(None, now) if is_new else None
    if declared.export.incremental:
        settled = _find_settled_time(connection, now, clock_skew)
        latest = latest if latest <= settled else _find_newest_load(connection, table, settled)
    if latest is None or (last is not None and latest <= last):
        return None
    return LoadRange(last if declared.export.incremental else None, latest)


def _find_latest_load(connection: Connection, table: Table) -> datetime | None:
    """Return when a table, or each table of a view, was loaded last; None: some never was."""
    at = func.max(func.coalesce(fences.c.landed_at, fences.c.known_from))
    is_load = func.coalesce(fences.c.landed_at, fences.c.known_from) > EPOCH
    rows = dict(
        connection.execute(
            select(fences.c.table_name, at)
            .where(fences.c.table_name.in_(names := _list_loaded_names(table)), is_load)
            .group_by(fences.c.table_name)
        ).all()
    )
    return max(rows.values()) if set(rows) == set(names) else None


def _list_loaded_names(table: Table) -> list[str]:
    """Return the tables whose loads change the rows of a table or view."""
    if view := VIEWS.get(table.name):
        below = [
            find_table for find_table in find_tables(view.select) if isinstance(find_table, Table)
        ]
        return sorted({name for each in below for name in _list_loaded_names(each)})
    return [next((each.name for each in tables() if each.info.get(HISTORY) is table), table.name)]


def _find_newest_load(connection: Connection, table: Table, until: datetime) -> datetime | None:
    query = select(func.max(landings.c.landed_at)).where(
        landings.c.table_name == table.name, landings.c.landed_at <= until
    )
    return connection.execute(query).scalar_one()


def _find_settled_time(connection: Connection, now: datetime, clock_skew: timedelta) -> datetime:
    """Return the time up to which no load can be committed any more.

    A load has its time before its first statement. SQLite has one writer at a time, which takes
    the time when it has the lock.
    """
    if connection.dialect.name == "sqlite":
        return now
    age = 0.0
    if connection.dialect.name == "postgresql":
        age = float(connection.execute(OLDEST_WRITER).scalar_one())
    return now - clock_skew - timedelta(seconds=age)


def build_renderer(
    warehouse: Warehouse, declared: Mapping[str, DeclaredExport], folder: Path
) -> Callable[[str], AbstractContextManager[RenderedAgain | None]]:
    """Return a function that renders an exported file again, by its name in the artifact store.

    Args:
        warehouse: The database with the rows.
        declared: The exports of EXPORTS_FILE and of domains.
        folder: Folder for the file while it is written.
    """
    return partial(_render_again, warehouse, declared, folder)


@contextmanager
def _render_again(
    warehouse: Warehouse, declared: Mapping[str, DeclaredExport], folder: Path, name: str
) -> Iterator[RenderedAgain | None]:
    """Give the rows of the same loads as a file, or None if the export is declared otherwise.

    One release of polars and pyarrow writes equal rows as the same bytes, another one may not. The
    rows of a table without history may be others by now.

    Raises:
        TransientError: The file cannot be written.
    """
    row = operations_exports.c
    query = select(row.name, row.definition_sha256, row.from_load, row.to_load, row.row_count)
    with warehouse.reading() as connection:
        record = connection.execute(query.where(row.artifact == name).limit(1)).one_or_none()
    export = None if record is None else declared.get(record.name)
    if (
        record is None
        or export is None
        or export.definition_sha256 != record.definition_sha256
        or isinstance(export.target, FolderTarget)  # a manifest is of files as they were then
    ):
        yield None
        return
    loads = LoadRange(record.from_load, record.to_load)
    has_history = relation(export.export.table).table.info.get(HISTORY) is not None
    with render(warehouse, export, loads, folder) as (rendered, file):
        yield RenderedAgain(
            file,
            rendered.artifact,
            rendered.sha256,
            rendered.byte_count,
            has_same_rows=has_history and rendered.row_count == record.row_count,
        )
