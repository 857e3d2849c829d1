"""The work items of exports: planned, claimed, rendered once per load, delivered and recorded."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder, open_partial_file
from orchestration_project.engine.contracts.exports import (
    EXPORTS_FOLDER,
    EXPORTS_TOPIC,
    DeclaredExport,
    LoadRange,
)
from orchestration_project.engine.contracts.work_items import (
    DONE_STATES,
    ClaimedItem,
    ItemSettlement,
    NewItem,
    WorkItem,
)
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import COLUMNS, WorkItems
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.exports.rendering import (
    PREFIX,
    SUFFIX,
    RenderedExport,
    find_next_loads,
    render,
)
from orchestration_project.services.exports.targets import Surroundings, deliver
from orchestration_project.tables.operations_artifacts import operations_exports as exports
from orchestration_project.tables.spine import work_items

ALLOWED_ATTEMPTS = 1_000_000
"""A target that is down is waited for without end; the pauses grow to an hour."""

EXPORT_LEASE = timedelta(hours=12)
"""A run that has ended loses its lease at once."""

LOST = "another run has claimed it meanwhile, and delivers the same"

Outcome = Literal["delivered", "unchanged", "under_way", "failed"]


@dataclass(frozen=True)
class ExportResult:
    """Result of an attempt.

    Attributes:
        outcome: ``unchanged``: nothing was loaded since the last delivery, or the same rows.
        detail: Place at the target, or why there is none.
        export: What was delivered.
    """

    name: str
    outcome: Outcome
    detail: str = ""
    export: RenderedExport | None = None


@dataclass(frozen=True)
class OverdueExport:
    """An export that waits for longer than it may, or is not retried by itself."""

    name: str
    waiting_since: datetime
    reason: str


@dataclass(frozen=True)
class _Claim:
    """Result of a claim: the item with its loads, or why there is none."""

    item: ClaimedItem | None = None
    loads: LoadRange | None = None
    held_by: str = ""


class Exports:
    """Plans exports and delivers them, each load of a name once.

    Args:
        warehouse: The database.
        given: Settings and artifact store.
        clock: The database's time.
    """

    def __init__(self, warehouse: Warehouse, given: Surroundings, clock: Clock) -> None:
        self._warehouse = warehouse
        self._given = given
        self._clock = clock
        self._items = WorkItems(warehouse, clock)

    @cached_property
    def _folder(self) -> Path:
        return ensure_state_folder(self._given.settings, EXPORTS_FOLDER)

    def run(
        self, declared: DeclaredExport, *, run_id: str, is_under_way: Callable[[str], bool]
    ) -> ExportResult:
        """Deliver an export: what an earlier attempt left, or else what was loaded since.

        Args:
            declared: The export.
            run_id: Dagster's run.
            is_under_way: Whether a run, by its id, has not ended.

        Raises:
            OrchestrationError: The database or the artifact store cannot be used.
        """
        claim = self._claim(declared, run_id, is_under_way)
        if claim.held_by:
            return ExportResult(declared.name, "under_way", f"the run {claim.held_by} delivers it")
        if claim.item is None or claim.loads is None:
            return ExportResult(declared.name, "unchanged", "nothing was loaded since")
        try:
            with self._file_of(declared, claim.loads) as (export, file, is_stored):
                if not is_stored:
                    if self._settle_if_same(claim.item, export):
                        return ExportResult(declared.name, "unchanged", "the rows are the same")
                    self._given.artifacts.put(export.artifact, file)
                    if not self._record_file(claim.item, export, run_id):
                        return ExportResult(declared.name, "under_way", LOST)
                uri = deliver(export, file, self._given)
        except OrchestrationError as error:
            self._settle_failed(claim.item, error)
            return ExportResult(declared.name, "failed", str(error))
        if not self._record_delivery(claim.item, export, uri, run_id):
            return ExportResult(declared.name, "under_way", LOST)
        return ExportResult(declared.name, "delivered", uri, export)

    def _claim(
        self, declared: DeclaredExport, run_id: str, is_under_way: Callable[[str], bool]
    ) -> _Claim:
        """Claim the loads that an earlier attempt left undelivered, or else those to export now."""
        definition, name = declared.definition_sha256, declared.name
        with self._warehouse.writing() as connection:
            lock_row(connection, f"{EXPORTS_TOPIC}|{name}")  # one run at a time plans it
            item = self._item(connection, name)
            holder = item.lease_holder if item is not None and item.state == "leased" else None
            if holder not in (None, run_id) and is_under_way(str(holder)):
                return _Claim(held_by=str(holder))
            loads = _find_unfinished(item, definition) or self._planned(connection, declared)
            if loads is None:
                return _Claim()
            self._items.retry(
                EXPORTS_TOPIC,
                keys=[name],
                states=("dead",),
                attempts=ALLOWED_ATTEMPTS,
                connection=connection,
            )
            claimed = self._items.claim_named(
                EXPORTS_TOPIC,
                [NewItem(name, loads.version(definition), allowed_count=ALLOWED_ATTEMPTS)],
                run_id=run_id,
                until=self._clock.now() + EXPORT_LEASE,
                is_under_way=is_under_way,
                connection=connection,
            )
        return _Claim(claimed.claimed.get(name), loads, claimed.held_by.get(name, ""))

    def _item(self, connection: Connection, name: str, *, locks: bool = False) -> WorkItem | None:
        query = select(*COLUMNS).where(
            work_items.c.topic == EXPORTS_TOPIC, work_items.c.item_key == name
        )
        row = connection.execute(query.with_for_update() if locks else query).one_or_none()
        return None if row is None else WorkItem(*row)

    def _planned(self, connection: Connection, declared: DeclaredExport) -> LoadRange | None:
        last = _find_last_delivery(connection, declared)
        skew = timedelta(seconds=self._given.settings.clock_skew_seconds)
        until = None if last is None else last.to_load
        return find_next_loads(connection, declared, until, self._clock.now(), skew)

    @contextmanager
    def _file_of(
        self, declared: DeclaredExport, loads: LoadRange
    ) -> Iterator[tuple[RenderedExport, BinaryIO, bool]]:
        """Give the file of an export: that of an earlier attempt, which is stored, or a new one.

        So a retry sends the same bytes, whatever was loaded meanwhile.
        """
        with self._warehouse.reading() as connection:
            row = connection.execute(select(exports).where(_is_own(declared, loads))).one_or_none()
        if row is not None:
            earlier = RenderedExport(declared, loads, row.row_count, row.byte_count, row.sha256)
            stored = self._given.artifacts.found(earlier.artifact)
            if stored is not None and stored.byte_count == earlier.byte_count:
                with self._copy(earlier.artifact) as file:
                    yield earlier, file, True
                return
        with render(self._warehouse, declared, loads, self._folder) as (export, file):
            yield export, file, False

    def _settle_if_same(self, item: ClaimedItem, export: RenderedExport) -> bool:
        """Settle an export of all rows whose file equals the one that was delivered last.

        That one contains the later loads, too. Tables without loads are compared so at each run.
        """
        declared = export.declared
        with self._warehouse.writing() as connection:
            last = _find_last_delivery(connection, declared)
            if declared.export.incremental or last is None or last.sha256 != export.sha256:
                return False
            same = and_(
                exports.c.name == declared.name,
                exports.c.definition_sha256 == declared.definition_sha256,
                exports.c.to_load == last.to_load,
            )
            if not self._items.settle(connection, [ItemSettlement(item, "skipped")]):
                condition = _is_own(declared, export.loads)  # of an attempt whose file is gone
                connection.execute(delete(exports).where(condition))
                connection.execute(update(exports).where(same).values(to_load=export.loads.until))
        return True

    @contextmanager
    def _copy(self, artifact: str) -> Iterator[BinaryIO]:
        """Give an object of the artifact store as a file that can be read in any order."""
        with open_partial_file(self._folder, prefix=PREFIX, suffix=SUFFIX) as (file, path):
            try:
                with self._given.artifacts.open(artifact) as stored:
                    shutil.copyfileobj(stored, file)
                file.flush()
                with path.open("rb") as copy:
                    yield copy
            finally:
                path.unlink(missing_ok=True)

    def _record_file(self, item: ClaimedItem, export: RenderedExport, run_id: str) -> bool:
        """Record the rendered file; return whether the run still has the item."""
        declared, condition = export.declared, _is_own(export.declared, export.loads)
        row: dict[str, Any] = {
            "name": declared.name,
            "to_load": export.loads.until,
            "definition_sha256": declared.definition_sha256,
            "from_load": export.loads.since,
            "table_name": declared.export.table,
            "condition": json.dumps(declared.export.where, ensure_ascii=False),
            "format": declared.export.file_format,
            "target": declared.export.target,
            "row_count": export.row_count,
            "byte_count": export.byte_count,
            "sha256": export.sha256,
            "artifact": export.artifact,
            "run_id": run_id,
            "rendered_at": self._clock.now(),
        }
        with self._warehouse.writing() as connection:
            if not item.is_current(self._item(connection, item.key, locks=True)):
                return False
            connection.execute(delete(exports).where(condition))
            connection.execute(insert(exports).values(row))
        return True

    def _record_delivery(
        self, item: ClaimedItem, export: RenderedExport, uri: str, run_id: str
    ) -> bool:
        """Record the delivery, in the transaction that settles its work item.

        Returns:
            Whether the run still had the item; of another's, nothing is recorded.
        """
        with self._warehouse.writing() as connection:
            if self._items.settle(connection, [ItemSettlement(item, "done")]):
                return False
            connection.execute(
                update(exports)
                .where(_is_own(export.declared, export.loads))
                .values(uri=uri, run_id=run_id, delivered_at=self._clock.now())
            )
        return True

    def _settle_failed(self, item: ClaimedItem, error: OrchestrationError) -> None:
        with self._warehouse.writing() as connection:
            self._items.settle(connection, [ItemSettlement.of_error(item, error)])


def find_due_exports(
    warehouse: Warehouse,
    clock: Clock,
    declared: Mapping[str, DeclaredExport],
    is_under_way: Callable[[str], bool],
) -> Sequence[str]:
    """Return the exports whose next attempt is due, or whose run ended before its end."""
    now = clock.now()

    def is_due(item: WorkItem) -> bool:
        if item.state == "leased":
            return not is_under_way(str(item.lease_holder))
        return item.state == "ready" or (item.state == "failed" and not item.waits(now))

    return [item.item_key for item in _read_items(warehouse, declared) if is_due(item)]


def find_overdue_exports(
    warehouse: Warehouse, clock: Clock, declared: Mapping[str, DeclaredExport]
) -> Sequence[OverdueExport]:
    """Return the exports that wait for longer than their ``alert_after_hours``."""
    now = clock.now()

    def is_overdue(item: WorkItem) -> bool:
        limit = timedelta(hours=declared[item.item_key].export.alert_after_hours)
        is_late = item.state == "failed" and now - item.enqueued_at >= limit
        return item.state == "dead" or is_late

    return [
        OverdueExport(item.item_key, item.enqueued_at, item.reason or "")
        for item in _read_items(warehouse, declared)
        if is_overdue(item)
    ]


def _read_items(warehouse: Warehouse, declared: Mapping[str, DeclaredExport]) -> Sequence[WorkItem]:
    if not declared:
        return []
    statement = (
        select(*COLUMNS)
        .where(work_items.c.topic == EXPORTS_TOPIC, work_items.c.item_key.in_(list(declared)))
        .order_by(work_items.c.item_key)
    )
    with warehouse.reading() as connection:
        return [WorkItem(*row) for row in connection.execute(statement)]


def _find_unfinished(item: WorkItem | None, definition: str) -> LoadRange | None:
    """Return the loads of an item that is not delivered; None: it is, or is declared otherwise."""
    if item is None or item.state in DONE_STATES:
        return None
    loads, planned_by = LoadRange.of_version(item.version)
    return loads if planned_by == definition else None


def _find_last_delivery(connection: Connection, declared: DeclaredExport) -> Row[Any, Any] | None:
    """Return the latest delivery of an export under its present declaration."""
    row_query = (
        select(exports.c.to_load, exports.c.sha256)
        .where(
            exports.c.name == declared.name,
            exports.c.definition_sha256 == declared.definition_sha256,
            exports.c.delivered_at.is_not(None),
        )
        .order_by(exports.c.to_load.desc())
        .limit(1)
    )
    return connection.execute(row_query).one_or_none()


def _is_own(declared: DeclaredExport, loads: LoadRange) -> ColumnElement[bool]:
    return and_(
        exports.c.name == declared.name,
        exports.c.to_load == loads.until,
        exports.c.definition_sha256 == declared.definition_sha256,
    )
