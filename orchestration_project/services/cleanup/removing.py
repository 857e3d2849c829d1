"""Old artifacts, found and deleted; what goes is recorded before it goes.

A blob that a load or a replay takes up again is put again if it lies there for long (`Captures`),
and what was put lately is never deleted here: so what is about to be used stays.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

import polars as pl
from sqlalchemy import Connection, Table, delete, insert, select

from orchestration_project.engine.captures import BlobError, Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.repair import is_expired
from orchestration_project.engine.contracts.retention import CAPTURED, SET_ASIDE, kind_of
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import move_blob
from orchestration_project.engine.warehouse.recorded import find_effective_groups
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.cleanup.retention import RowRetention
from orchestration_project.services.cleanup.rules import (
    File,
    find_removable_blobs,
    find_removable_files,
)
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.operations_artifacts import operations_removals
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import blobs, captures, deliveries, rejects

logger = logging.getLogger(__name__)

MOVED_SHARE = 0.5
"""Share of a pack's bytes up to which the needed ones move, so that the others can go."""

MIN_AGE = timedelta(days=2)
"""Age from which an object of the store may be deleted: a load may be using a younger one."""

MAX_BATCH_ARTIFACTS = 500
"""Recorded in one transaction, then deleted."""


class Retention(NamedTuple):
    """How long artifacts are kept: days by kind (None: for ever), and how many of the newest.

    Captured bytes of some datasets have days of their own, by source and dataset.
    """

    days: Mapping[str, int | None]
    keep_newest: int
    of_datasets: Mapping[tuple[str, str], int] = MappingProxyType({})


class Plan(NamedTuple):
    """Artifacts that may go, and what a clean-up does first.

    Attributes:
        files: By kind, those to delete.
        before: By kind, the time before which an artifact must have been stored.
        moved: Those blobs of packs to delete that are still needed; they move to new packs.
    """

    files: dict[str, list[File]]
    before: dict[str, datetime]
    moved: Mapping[str, list[Blob]] = MappingProxyType({})


def plan_cleanup(
    warehouse: Warehouse,
    artifacts: ArtifactStore,
    retention: Retention,
    *,
    now: datetime,
    row_retention: Sequence[RowRetention] = (),
) -> Plan:
    """Find the artifacts that may go, and none that only another database might name.

    Args:
        warehouse: Whose tables name the artifacts that are still needed.
        artifacts: The store.
        retention: What stays in any case.
        now: The project's time, by which captures are dated.
        row_retention: Rows that lose contents by age; the captured bytes of these go as well.
    """
    machine_now = Clock().now()  # by which files are dated
    files: dict[str, list[File]] = {}
    before: dict[str, datetime] = {}
    blobs_by_name: Mapping[str, list[Blob]] = {}
    stored = [File(*stored_object) for stored_object in artifacts.listed()]
    for kind, days in retention.days.items():
        of_kind = [] if days is None else [days]
        of_kind += retention.of_datasets.values() if kind == CAPTURED else []
        if not of_kind:
            continue
        before[kind] = machine_now - timedelta(days=min(of_kind))
        own = [file for file in stored if kind_of(file.name) == kind]
        if kind == SET_ASIDE:  # its name has the day; a link keeps the time of the bytes
            before[kind] = machine_now
            today = now.date()
            files[kind] = sorted(file for file in own if is_expired(file.name, today, min(of_kind)))
        elif kind == CAPTURED:
            blobs_by_name = _find_old_objects(warehouse, retention, now)
            files[kind] = sorted(
                file for file in own if file.name in blobs_by_name and file.put_at < before[kind]
            )
        else:
            files[kind] = find_removable_files(
                own, before=before[kind], keep_newest=retention.keep_newest
            )
    plan = Plan(files, before, blobs_by_name)
    for rule in row_retention:
        with warehouse.reading() as connection:
            unneeded = rule.unneeded_blobs(connection, now)
            objects = _read_recorded_objects(connection)
        plan = _add_unneeded(plan, rule.kind, unneeded, objects, stored, machine_now - MIN_AGE)
    return plan


def _add_unneeded(
    plan: Plan,
    kind: str,
    unneeded: Set[str],
    objects: Mapping[str, Sequence[Blob]],
    stored: Sequence[File],
    before: datetime,
) -> Plan:
    """Return a plan that also deletes the objects with unneeded blobs; the other blobs move.

    Args:
        plan: What is deleted anyway.
        kind: What the unneeded blobs are.
        unneeded: Their SHA-256.
        objects: Blobs by name of their object.
        stored: The objects of the store.
        before: Objects that were stored at this time or later stay.
    """
    blobs_by_name = dict(plan.moved)
    planned = {file.name for files in plan.files.values() for file in files}
    files: list[File] = []
    for file in stored:
        some = objects.get(file.name, ())
        if file.put_at < before and any(blob.sha256 in unneeded for blob in some):
            needed = blobs_by_name.get(file.name, some) if file.name in planned else some
            blobs_by_name[file.name] = [blob for blob in needed if blob.sha256 not in unneeded]
            files.append(file)
    names = {file.name for file in files}
    other_files = {
        name: [file for file in some if file.name not in names] for name, some in plan.files.items()
    }
    return Plan({**other_files, kind: sorted(files)}, {**plan.before, kind: before}, blobs_by_name)


def clean_up(
    warehouse: Warehouse, artifacts: ArtifactStore, plan: Plan, *, now: datetime, run_id: str
) -> dict[str, list[File]]:
    """Record and delete what ``plan`` names, and return what was deleted, by kind."""
    deleted: dict[str, list[File]] = {}
    for kind, files in plan.files.items():
        deleted[kind] = []
        for start in range(0, len(files), MAX_BATCH_ARTIFACTS):
            some = files[start : start + MAX_BATCH_ARTIFACTS]
            some = [file for file in some if _is_free(warehouse, artifacts, plan, file, now)]
            if not some:
                continue
            _record(warehouse, kind, some, now, run_id)
            before = plan.before[kind]
            stayed, name = list[File](), 0
            try:
                for name, file in enumerate(some, start=1):  # noqa: B007 - counted for the end
                    is_gone = artifacts.delete_older(file.name, before)
                    (deleted[kind] if is_gone else stayed).append(file)
            finally:  # one whose deletion failed may be gone
                _withdraw_removals(warehouse, [*stayed, *some[name:]], now, run_id)
    return deleted


def refuse_shared_store(plan: Plan, *, only_database: bool) -> None:
    """Refuse to delete captured bytes of a store that other databases may use.

    Raises:
        ConfigurationError: No setting says that no other database uses it.
    """
    blob_count = sum(
        kind_of(file.name) == CAPTURED for some in plan.files.values() for file in some
    )
    if blob_count and not only_database:
        raise ConfigurationError(
            "captured bytes are not deleted: another database may need them",
            expected="only_database: true in the run's config, where no other database (such as "
            "that of another DATA_PROFILE) keeps its captures in this store",
            found=f"{blob_count} blobs that this database no longer needs",
            remedy="make sure, and say so; or unset ARTIFACTS_CAPTURED_DAYS and the like to clean "
            "up the rest",
        )


def _record(
    warehouse: Warehouse, kind: str, files: Sequence[File], now: datetime, run_id: str
) -> None:
    rows = [
        {
            "name": file.name,
            "removed_at": now,
            "kind": kind,
            "byte_count": file.byte_count,
            "put_at": file.put_at,
            "run_id": run_id,
        }
        for file in files
    ]
    with warehouse.writing() as connection:
        connection.execute(insert(operations_removals), rows)


def _withdraw_removals(
    warehouse: Warehouse, files: Sequence[File], now: datetime, run_id: str
) -> None:
    """Take back what was not deleted: a load or a replay has taken it up meanwhile."""
    row = operations_removals.c
    at = (row.removed_at == now) & (row.run_id == run_id)
    if files:
        with warehouse.writing() as connection:
            connection.execute(
                delete(operations_removals).where(at, row.name.in_([file.name for file in files]))
            )


def _is_free(
    warehouse: Warehouse, artifacts: ArtifactStore, plan: Plan, file: File, now: datetime
) -> bool:
    """Move the needed blobs of a pack to new ones, and return whether nothing is left in it.

    A pack with a damaged blob that is needed stays as it is.
    """
    needed = plan.moved.get(file.name)
    if not needed:
        return True
    try:
        blobs = Captures(artifacts).repack(needed)
    except BlobError as error:
        logger.warning(
            "a pack is not cleaned up, as a blob in it is damaged: %s",
            error,
            extra={"event": "damaged_pack_kept"},
        )
        return False
    rows = [{"of": blob.sha256, **blob._asdict()} for blob in blobs]
    with warehouse.writing() as connection:
        connection.execute(move_blob(now), rows)
    return True


def _find_old_objects(
    warehouse: Warehouse, retention: Retention, now: datetime
) -> Mapping[str, list[Blob]]:
    """Return the names of objects that this database has captured and no longer needs.

    With each come those of its blobs that are still needed: of a pack, less than half of it.
    """
    days = retention.days[CAPTURED]
    names = ["capture_id", "sha256", "group_id", "fetched_at"]
    names += ["source", "dataset"] if retention.of_datasets else []
    columns = [captures.c[name] for name in names]
    with warehouse.reading() as connection:
        whole = set(
            connection.scalars(select(deliveries.c.group_id).where(deliveries.c.part_count > 0))
        )
        layers = find_effective_groups(connection)
        current = {
            capture_id
            for table in _list_published()
            for capture_id in connection.scalars(select(table.c.capture_id).distinct())
        }
        objects = _read_recorded_objects(connection)
    old = find_removable_blobs(
        warehouse.frame(select(*columns), captures),
        whole=whole,
        layers=layers,
        current=current,
        before=None if days is None else now - timedelta(days=days),
        keep_newest=retention.keep_newest,
        of_datasets={
            text: now - timedelta(days=own) for text, own in retention.of_datasets.items()
        },
    )
    blobs_by_name = {
        name: [blob for blob in some if blob.sha256 not in old] for name, some in objects.items()
    }
    return {
        name: needed
        for name, needed in blobs_by_name.items()
        if _sum_bytes(needed) <= MOVED_SHARE * _sum_bytes(objects[name])
        and len(needed) < len(objects[name])
    }


def _read_recorded_objects(connection: Connection) -> Mapping[str, list[Blob]]:
    """Return the recorded blobs by the name of their object."""
    objects: defaultdict[str, list[Blob]] = defaultdict(list)
    for row in connection.execute(select(*(blobs.c[name] for name in Blob._fields))):
        objects[row.storage_uri].append(Blob(*row))
    return objects


def _sum_bytes(some: Sequence[Blob]) -> int:
    return sum(blob.stored_byte_count for blob in some)


def _list_published() -> list[Table]:
    """Return the tables whose rows say which capture they were read from, without history."""
    histories = {table.info.get(HISTORY) for table in METADATA.tables.values()}
    return [
        table
        for table in METADATA.tables.values()
        if "capture_id" in table.c and table not in {captures, rejects, *histories}
    ]


def sum_by_kind(files: Mapping[str, Sequence[File]]) -> pl.DataFrame:
    """Return number and bytes by kind."""
    return pl.DataFrame(
        {
            "kind": list(files),
            "artifact_count": [len(some) for some in files.values()],
            "byte_count": [sum(file.byte_count for file in some) for some in files.values()],
        },
        {"kind": pl.String, "artifact_count": pl.Int64, "byte_count": pl.Int64},
    )
