"""Exported files that are rendered again, for repairs of the artifact store."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import select

from orchestration_project.domains.operations.exports import DeclaredExport, LoadRange
from orchestration_project.engine.recovery import RenderedAgain
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.exports.rendering import render
from orchestration_project.tables.catalogue import relation
from orchestration_project.tables.operations import operations_exports
from orchestration_project.tables.schema import HISTORY


def renderer(
    warehouse: Warehouse, declared: Mapping[str, DeclaredExport], folder: Path
) -> Callable[[str], AbstractContextManager[RenderedAgain | None]]:
    """Return what renders an exported file again, by its name in the artifact store.

    Args:
        warehouse: The database with the rows.
        declared: The exports of EXPORTS_FILE and of domains.
        folder: Folder for the file while it is written.
    """
    return partial(_rendered, warehouse, declared, folder)


@contextmanager
def _rendered(
    warehouse: Warehouse, declared: Mapping[str, DeclaredExport], folder: Path, name: str
) -> Iterator[RenderedAgain | None]:
    """Give the rows of the same loads as a file, or None if the export is declared otherwise.

    One release of polars and pyarrow writes equal rows as the same bytes, another one may not. The
    rows of a table without history may be others by now.

    Raises:
        TransientError: The file cannot be written.
    """
    row = operations_exports.c
    wanted = select(row.name, row.definition_sha256, row.from_load, row.to_load, row.row_count)
    with warehouse.reading() as connection:
        found = connection.execute(wanted.where(row.artifact == name).limit(1)).one_or_none()
    export = None if found is None else declared.get(found.name)
    if found is None or export is None or export.definition_sha256 != found.definition_sha256:
        yield None
        return
    loads = LoadRange(found.from_load, found.to_load)
    has_history = relation(export.export.table).table.info.get(HISTORY) is not None
    with render(warehouse, export, loads, folder) as (rendered, file):
        yield RenderedAgain(
            file,
            rendered.artifact,
            rendered.sha256,
            rendered.byte_count,
            has_same_rows=has_history and rendered.row_count == found.row_count,
        )
