"""Copies of artifacts in a second store, which follow new rows from cursors.

What a run costs depends on the objects that are new since the last one, and on those of the last
`OVERLAP`; it does not grow with the store.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, or_, select, update

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.blob_repair import copy_object, problem_of, problem_of_file
from orchestration_project.engine.leases import EPOCH
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.services.repair.damage import EXPORTS, DamagedArtifact, record_damage
from orchestration_project.tables.operations import operations_exports, operations_removals
from orchestration_project.tables.operations_deployment import operations_artifact_copies as copies
from orchestration_project.tables.schema import Query
from orchestration_project.tables.spine import blobs

OVERLAP = timedelta(hours=1)
"""Time before a cursor whose rows are followed again: a load may commit so long after its time."""

ROWS_AT_ONCE = 500


class CopyCounts(NamedTuple):
    """Counts of a run, for one kind of rows.

    Attributes:
        kind: blobs, exports or removals.
        object_count: Objects that were copied; of removals, deleted.
        byte_count: Their size as stored, bytes.
        present_count: Objects that the second store had.
        damaged: Objects that are damaged in the first store, and not copied.
    """

    kind: str
    object_count: int = 0
    byte_count: int = 0
    present_count: int = 0
    damaged: Sequence[DamagedArtifact] = ()

    def plus(self, other: "CopyCounts") -> "CopyCounts":
        """Return the sum with those of another batch of the same kind."""
        return CopyCounts(
            self.kind,
            self.object_count + other.object_count,
            self.byte_count + other.byte_count,
            self.present_count + other.present_count,
            [*self.damaged, *other.damaged],
        )


@dataclass(frozen=True, kw_only=True)
class ArtifactCopies:
    """Copies new artifacts to a second store, and deletes there what was cleaned up.

    Attributes:
        warehouse: Names the artifacts, and has the cursors.
        artifacts: The first store.
        second_store: The second one.
        clock: The database's time.
        run_id: Dagster run.
        follows_all: Whether all rows are followed, from the first one.
    """

    warehouse: Warehouse
    artifacts: ArtifactStore
    second_store: ArtifactStore
    clock: Clock
    run_id: str
    follows_all: bool = False

    def copy(self) -> Iterator[CopyCounts]:
        """Copy what is new; yield the counts of each batch, whose cursor is recorded.

        Raises:
            TransientError: A store or the database does not answer; the next run goes on there.
            ConfigurationError: The second store cannot be written.
        """
        now = self.clock.now()
        yield from self._followed("blobs", BLOBS, self._copy_blobs, now)
        yield from self._followed("exports", EXPORTED, self._copy_exports, now)
        yield from self._followed("removals", REMOVED, self._remove, now)

    def _followed(
        self,
        kind: str,
        wanted: "_Followed",
        take: Callable[[Sequence[Row[Any]]], CopyCounts],
        now: datetime,
    ) -> Iterator[CopyCounts]:
        """Take rows in the order of their times, batch by batch."""
        since = self._cursor(kind)
        last: Row[Any] | None = None
        while True:
            with self.warehouse.reading() as connection:
                rows = connection.execute(wanted.query(since, now, last)).all()
            is_end = len(rows) < ROWS_AT_ONCE
            counts = take(rows) if rows else CopyCounts(kind)
            self._record(kind, counts, now if is_end else rows[-1].at)
            if rows:
                yield counts
                last = rows[-1]
            if is_end:
                return

    def _cursor(self, kind: str) -> datetime:
        """Return the time from which rows are followed; without a cursor, of the first row."""
        if self.follows_all:
            return EPOCH
        own = (copies.c.url == self.second_store.url, copies.c.kind == kind)
        with self.warehouse.reading() as connection:
            found = connection.execute(select(copies.c.followed_until).where(*own)).scalar()
        return EPOCH if found is None else max(found - OVERLAP, EPOCH)

    def _record(self, kind: str, counts: CopyCounts, until: datetime) -> None:
        """Move the cursor, never back, and record objects that are damaged in the first store."""
        now = self.clock.now()
        key = {"url": self.second_store.url, "kind": kind}
        empty = {"followed_until": EPOCH, "object_count": 0, "byte_count": 0}
        row = {**key, **empty, "changed_at": now, "run_id": self.run_id}
        own = (copies.c.url == key["url"], copies.c.kind == kind)
        with self.warehouse.writing() as connection:
            insert_absent(connection, copies, [row])
            locked = select(copies.c.followed_until).where(*own).with_for_update()
            before = connection.execute(locked).scalar_one()
            connection.execute(
                update(copies)
                .where(*own)
                .values(
                    followed_until=max(before, until),
                    object_count=copies.c.object_count + counts.object_count,
                    byte_count=copies.c.byte_count + counts.byte_count,
                    changed_at=now,
                    run_id=self.run_id,
                )
            )
            record_damage(connection, counts.damaged, at=now, run_id=self.run_id)

    def _copy_blobs(self, rows: Sequence[Row[Any]]) -> CopyCounts:
        named: dict[str, list[Blob]] = {}
        for row in rows:
            blob = Blob(*(getattr(row, name) for name in Blob._fields))
            named.setdefault(blob.storage_uri, []).append(blob)
        counts = CopyCounts("blobs")
        for name, some in named.items():
            counts = counts.plus(self._copy_object(name, some))
        return counts

    def _copy_object(self, name: str, some: Sequence[Blob]) -> CopyCounts:
        """Copy the object of some blobs, and verify the copy; a damaged one is not kept."""
        if self.second_store.found(name) is not None:
            return CopyCounts("blobs", present_count=1)
        size = copy_object(self.artifacts, self.second_store, name)
        if size is not None and all(problem_of(self.second_store, each) is None for each in some):
            return CopyCounts("blobs", 1, size)
        if size is not None:
            self.second_store.delete(name)
        damaged = [
            DamagedArtifact.of_blob(each, problem)
            for each in some
            if (problem := problem_of(self.artifacts, each)) is not None
        ]
        return CopyCounts("blobs", damaged=damaged)

    def _copy_exports(self, rows: Sequence[Row[Any]]) -> CopyCounts:
        counts = CopyCounts("exports")
        for row in rows:
            counts = counts.plus(self._copy_export(row.artifact, row.sha256, row.byte_count))
        return counts

    def _copy_export(self, name: str, sha256: str, byte_count: int) -> CopyCounts:
        if self.second_store.found(name) is not None:
            return CopyCounts("exports", present_count=1)
        size = copy_object(self.artifacts, self.second_store, name)
        if size is not None:
            if problem_of_file(self.second_store, name, sha256, byte_count) is None:
                return CopyCounts("exports", 1, size)
            self.second_store.delete(name)
        problem = problem_of_file(self.artifacts, name, sha256, byte_count)
        damaged = [DamagedArtifact(name, sha256, problem, None, byte_count)] if problem else []
        return CopyCounts("exports", damaged=damaged)

    def _remove(self, rows: Sequence[Row[Any]]) -> CopyCounts:
        """Delete what a clean-up deleted, unless it was stored again since."""
        counts = CopyCounts("removals")
        for row in rows:
            found = self.second_store.found(row.name)
            if found is not None and self.artifacts.found(row.name) is None:
                self.second_store.delete(row.name)
                counts = counts.plus(CopyCounts("removals", 1, found.byte_count))
        return counts


class _Followed(NamedTuple):
    """Rows that are followed, by columns of one table.

    Attributes:
        columns: What is read of a row, without its time and key.
        at: Time by which rows are ordered; indexed.
        key: Key of rows of the same time.
        conditions: Further conditions.
    """

    columns: Sequence[ColumnElement[Any]]
    at: ColumnElement[datetime]
    key: ColumnElement[str]
    conditions: Sequence[ColumnElement[bool]] = ()

    def query(self, since: datetime, until: datetime, last: Row[Any] | None) -> Query:
        """Return the query of the next rows between two times, after the last one that was read."""
        own = select(self.at.label("at"), self.key.label("key"), *self.columns).where(
            self.at >= since, self.at <= until, *self.conditions
        )
        if last is not None:
            own = own.where(or_(self.at > last.at, and_(self.at == last.at, self.key > last.key)))
        return own.order_by(self.at, self.key).limit(ROWS_AT_ONCE)


BLOBS = _Followed([blobs.c[name] for name in Blob._fields], blobs.c.stored_at, blobs.c.sha256)
EXPORTED = _Followed(
    [operations_exports.c[name] for name in ("artifact", "sha256", "byte_count")],
    operations_exports.c.rendered_at,
    operations_exports.c.artifact,
    [
        operations_exports.c.artifact.like(f"{EXPORTS}%"),
        operations_exports.c.artifact.not_in(select(operations_removals.c.name)),
    ],
)
REMOVED = _Followed(
    [operations_removals.c.name], operations_removals.c.removed_at, operations_removals.c.name
)
