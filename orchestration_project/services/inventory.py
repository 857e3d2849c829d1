"""Inventory of the artifact store, compared with the tables.

One store may serve several databases, so what this one does not name may be another's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from orchestration_project.engine.blob_repair import find_problem
from orchestration_project.engine.connections.artifacts import ArtifactStore, StoredObject
from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.repair import Problem
from orchestration_project.engine.contracts.retention import Compared, compare_sizes, sum_by_kind
from orchestration_project.engine.packs import PACKS, Blob, measure_object
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, UnknownNameError
from orchestration_project.tables.conditions import condition, refuse_contradictions
from orchestration_project.tables.operations_artifacts import operations_removals
from orchestration_project.tables.spine import blobs, captures, deliveries

SHOWN_COLUMNS = (
    *("capture_id", "dataset", "partition_key", "part_number", "fetched_at", "row_count"),
    *("sha256", "run_id", "url"),
)
SHA256_LENGTH = 64


class Inventory(NamedTuple):
    """Inventory: sizes by kind, differences from the tables, number of verified blobs.

    Attributes:
        kinds: Number and size of artifacts by kind.
        found: Differences of store and tables.
        changed: Names of objects with other bytes, or that cannot be read.
        read_count: Blobs that were read.
        damaged: Blobs that are missing, or have other bytes, with how they differ.
    """

    kinds: pl.DataFrame
    found: Compared
    changed: list[str]
    read_count: int
    damaged: Sequence[tuple[Blob, Problem]] = ()


def read_captures(warehouse: Warehouse, where: Sequence[str], limit: int) -> pl.DataFrame:
    """Return the rows of `read_capture_rows` as a frame.

    Raises:
        ConfigurationError: A condition is none.
    """
    from orchestration_project.engine.contracts.frame_types import POLARS_TYPES

    schema = {column.name: POLARS_TYPES[type(column.type)] for column in _list_shown_columns()}
    return pl.DataFrame(read_capture_rows(warehouse, where, limit), schema, orient="row")


def _list_shown_columns() -> list[ColumnElement[Any]]:
    return [*(captures.c[name] for name in SHOWN_COLUMNS), blobs.c.byte_count]


def read_capture_rows(
    warehouse: Warehouse, where: Sequence[str], limit: int
) -> list[dict[str, Any]]:
    """Return captures for which all conditions hold, the latest first, with their sizes in bytes.

    Raises:
        ConfigurationError: A condition is none.
    """
    refuse_contradictions(where)
    statement = (
        select(*_list_shown_columns())
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
        .where(*(condition(captures, text) for text in where))
        .order_by(captures.c.fetched_at.desc(), captures.c.capture_id.desc())
        .limit(limit)
    )
    with warehouse.reading() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def find_blob(warehouse: Warehouse, wanted: str) -> Blob:
    """Return the blob of a capture_id or of a SHA-256.

    Raises:
        ConfigurationError: There is none, or it is neither.
    """
    with warehouse.reading() as connection:
        found = _read_blobs(connection, *_match_wanted(wanted))
    if not found:
        raise ConfigurationError(
            f"nothing was captured under {wanted}",
            expected="a capture_id or a SHA-256 of the table captures",
            remedy="find it with `artifacts list --where 'partition_key=…'`",
        )
    return found[0]


def _match_wanted(wanted: str) -> list[ColumnElement[bool]]:
    if len(wanted) == SHA256_LENGTH:
        return [blobs.c.sha256 == wanted.lower()]
    if not (wanted.isascii() and wanted.isdecimal()):
        raise UnknownNameError(
            f"invalid capture {wanted!r}: expected a capture_id or a SHA-256, e.g. 17",
            remedy="find it with `artifacts list`",
        )
    capture = condition(captures, f"capture_id={wanted}")
    return [blobs.c.sha256.in_(select(captures.c.sha256).where(capture))]


def _read_blobs(connection: Connection, *conditions: ColumnElement[bool]) -> list[Blob]:
    columns = (blobs.c[name] for name in Blob._fields)
    return [Blob(*row) for row in connection.execute(select(*columns).where(*conditions))]


def take_inventory(warehouse: Warehouse, artifacts: ArtifactStore, *, read_all: bool) -> Inventory:
    """Compare the store with the table `blobs`, both ways.

    The table is read first: what is captured meanwhile is in the store before it is in the table.

    Args:
        warehouse: Whose table.
        artifacts: The store.
        read_all: Read every blob and compute its SHA-256; else only those of another size.
    """
    named: defaultdict[str, list[Blob]] = defaultdict(list)
    with warehouse.reading() as connection:
        for blob in _list_present(connection):
            named[blob.storage_uri].append(blob)
    stored = list(artifacts.listed())
    sizes = {
        stored_object.name: stored_object.byte_count
        for stored_object in stored
        if _is_blob(stored_object)
    }
    expected = {name: measure_object(some) for name, some in named.items()}
    longer = {name for name in expected if name.startswith(PACKS)}  # by what was moved out of it
    sizes |= {name: expected[name] for name in longer if sizes.get(name, 0) > expected[name]}
    found = compare_sizes(expected, sizes)
    missing = set(found.missing)
    read = [name for name in named if name not in missing] if read_all else found.resized
    damaged: list[tuple[Blob, Problem]] = [
        (blob, "missing") for name in found.missing for blob in named[name]
    ]
    changed: list[str] = []
    for name in read:
        wrong: list[tuple[Blob, Problem]] = [
            (blob, problem)
            for blob in named[name]
            if (problem := find_problem(artifacts, blob)) is not None
        ]
        changed += [name] if wrong else []
        damaged += wrong
    kinds = sum_by_kind((stored_object.name, stored_object.byte_count) for stored_object in stored)
    read_count = sum(len(named[name]) for name in read)
    return Inventory(kinds, found, changed, read_count, damaged)


def read_object_names(warehouse: Warehouse) -> set[str]:
    """Return the names of the objects that the table `blobs` names, cleaned up ones left out."""
    with warehouse.reading() as connection:
        return {blob.storage_uri for blob in _list_present(connection)}


def _list_present(connection: Connection) -> list[Blob]:
    """Return the blobs that were not cleaned up since they were last captured or replayed.

    Captures that are older than the table `deliveries` have no row there.
    """
    latest = func.max(func.coalesce(deliveries.c.recorded_at, captures.c.fetched_at))
    taken_up = (
        select(captures.c.sha256, latest.label("at"))
        .outerjoin(deliveries, captures.c.group_id == deliveries.c.group_id)
        .group_by(captures.c.sha256)
        .subquery()
    )
    removed = (
        select(blobs.c.sha256)
        .join(taken_up, taken_up.c.sha256 == blobs.c.sha256)
        .join(operations_removals, operations_removals.c.name == blobs.c.storage_uri)
        .where(operations_removals.c.removed_at > taken_up.c.at)
    )
    return _read_blobs(connection, blobs.c.sha256.not_in(removed))


def _is_blob(stored: StoredObject) -> bool:
    return stored.name.startswith("blobs/")
