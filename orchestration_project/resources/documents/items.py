"""Work items of documents: files of a partition, and recorded documents that are replayed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from shlex import quote
from typing import Any

from sqlalchemy import Column, Connection, and_, bindparam, func, select, update

from orchestration_project.domains.documents.reasons import REASONS, DocumentError
from orchestration_project.domains.documents.tables import (
    documents,
    documents_files,
    documents_pages,
)
from orchestration_project.engine.captures import BlobError, Capture, Captures, build_capture
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import ClaimedItem, ItemSettlement, NewItem
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.run_items import FAILURES_SHOWN, ItemSummary
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.resources.documents.extraction import (
    MAX_BATCH_BYTES,
    ClaimedDocument,
    Reading,
)
from orchestration_project.resources.documents.source import DocumentSource, is_upload, read_upload
from orchestration_project.resources.documents.waiting import REPLAY_PREFIX
from orchestration_project.tables.spine import blobs, captures, deliveries

UPLOADS = "uploads"
"""Source of the deliveries of uploads."""

NOT_READ = "not_read_document_count"
"""Metadata of a replay: documents by the present rules, whose bytes were not verified."""

OUTCOMES = ("loaded", "empty", "needs_ocr", "encrypted", "refused", "unchanged", "failed", "lost")
"""Counts of a run's items: by the state of the document; unchanged: the same bytes were loaded."""


class DocumentQueue:
    """Items whose size is known, so that a batch holds no more bytes than memory has.

    Args:
        warehouse: The database.
        clock: Its time.
        key: The column whose values are the keys of the items; its table has size and first sight.
    """

    def __init__(self, warehouse: Warehouse, clock: Clock, key: Column[str]) -> None:
        self._warehouse = warehouse
        self._items = WorkItems(warehouse, clock)
        self._key = key

    def claim(
        self, topic: str, *, limit: int, run_id: str, until: datetime, in_order: bool
    ) -> Sequence[ClaimedDocument]:
        """Lease items that are due, one at least if there is one, of `MAX_BATCH_BYTES` in all."""
        with self._warehouse.writing() as connection:
            items = self._items.claim(
                topic,
                limit=limit,
                run_id=run_id,
                until=until,
                in_order=in_order,
                connection=connection,
            )
            described = self._described(connection, items)
            totals = accumulate(claimed_document.byte_count for claimed_document in described)
            count = max(sum(total <= MAX_BATCH_BYTES for total in totals), 1)
            remaining_item_settlements = [
                ItemSettlement(claimed_document, "ready") for claimed_document in described[count:]
            ]
            self._items.settle(connection, remaining_item_settlements)
        return described[:count]

    def settle(
        self, connection: Connection, results: Sequence[ItemSettlement]
    ) -> Sequence[ItemSettlement]:
        """Record how items ended, as `WorkItems.settle`."""
        return self._items.settle(connection, results)

    def _described(
        self, connection: Connection, items: Sequence[ClaimedItem]
    ) -> list[ClaimedDocument]:
        columns = self._key.table.c
        row_query = select(self._key, columns.byte_count, columns.first_seen_at).where(
            self._key.in_([item.key for item in items])
        )
        values = {row[0]: (row[1], row[2]) for row in connection.execute(row_query)}
        described: list[ClaimedDocument] = []
        for item in items:
            byte_count, first_seen_at = values.get(item.key, (0, item.enqueued_at))
            described.append(
                ClaimedDocument(**vars(item), byte_count=byte_count, first_seen_at=first_seen_at)
            )
        return described


@dataclass(frozen=True)
class FileReader:
    """Reads files, and uploads.

    Attributes:
        files: Where files lie.
        warehouse: Knows uploads.
        captures: Has uploads, and stores files that are too large to be read.
        clock: Its time.
        source: Recorded as the source of deliveries.
        max_bytes: Bytes of the largest file that is read.
    """

    files: DocumentSource
    warehouse: Warehouse
    captures: Captures
    clock: Clock
    source: str
    max_bytes: int

    def __call__(self, item: ClaimedDocument) -> Reading:
        """Return the bytes of a listed file, or the reason why it cannot be read."""
        reading = Reading(item.key, None, item.first_seen_at, self.source)
        try:
            if is_upload(item.key):
                capture, error = read_upload(
                    self.warehouse,
                    self.captures,
                    item.key,
                    fetched_at=self.clock.now(),
                    max_bytes=self.max_bytes,
                )
                return reading._replace(capture=capture, error=error, source=UPLOADS)
            return self._of_file(item, reading)
        except DocumentError as error:
            return reading._replace(error=error)
        except OSError as error:
            unreadable = DocumentError("unreadable", str(error.strerror))
            return reading._replace(error=unreadable)

    def _of_file(self, item: ClaimedDocument, reading: Reading) -> Reading:
        fetch: Any = {
            "url": self.files.url_of(item.key),
            "request": {"file": item.key},
            "fetched_at": self.clock.now(),
        }
        try:
            content = self.files.read(item.key, max_bytes=self.max_bytes)
        except DocumentError as error:
            if error.reason_code != "too_large":
                raise
            with self.files.open(item.key) as file:
                capture = self.captures.put_stream(file, **fetch)
            _require_listed_size(item, capture.byte_count)
            return reading._replace(capture=capture, error=error)
        _require_listed_size(item, len(content))
        return reading._replace(capture=build_capture(content, **fetch))


def _require_listed_size(item: ClaimedDocument, byte_count: int) -> None:
    """Check that a file has the size with which it was listed when it was stable.

    Raises:
        DocumentError: ``changed_while_read``; the next poll lists what it is now.
    """
    listed = item.version.partition("|")[0]
    if listed != str(byte_count):
        raise DocumentError("changed_while_read", f"{listed} bytes as listed, {byte_count} read")


def record_files(connection: Connection, found: Mapping[str, str]) -> None:
    """Record the document of each path; one that it took the place of names it.

    A document that lies at another path still is not superseded.
    """
    columns = documents_files.c
    row_query = select(columns.path, columns.document_id).where(columns.path.in_(list(found)))
    before = {row.path: row.document_id for row in connection.execute(row_query)}
    if found:
        condition = columns.path == bindparam("of")
        recorded = (
            update(documents_files).where(condition).values(document_id=bindparam("document"))
        )
        entries = [{"of": path, "document": key} for path, key in sorted(found.items())]
        connection.execute(recorded, entries)
        is_same = and_(condition, columns.state == "stable")
        loaded = update(documents_files).where(is_same).values(state="loaded")
        connection.execute(loaded, [{"of": path} for path in sorted(found)])
    replaced = {
        before[path]: document_id
        for path, document_id in found.items()
        if before.get(path) not in (None, document_id)
    }
    present = set(found.values())
    if replaced:
        query = select(columns.document_id).where(
            columns.document_id.in_(list(replaced)), columns.state != "gone"
        )
        present |= set(connection.execute(query).scalars())
    for earlier, document_id in replaced.items():
        if earlier not in present:
            _supersede(connection, [str(earlier)], document_id)
    _supersede(connection, sorted(present), None)


def _supersede(connection: Connection, ids: Sequence[str], by: str | None) -> None:
    condition = documents.c.document_id.in_(ids)
    connection.execute(update(documents).where(condition).values(superseded_by=by))


@dataclass(frozen=True)
class RecordedReader:
    """Reads the captured bytes of documents.

    Attributes:
        warehouse: Knows where they are.
        captures: The store.
        max_bytes: Bytes of the largest document that is read.
    """

    warehouse: Warehouse
    captures: Captures
    max_bytes: int

    def __call__(self, item: ClaimedDocument) -> Reading:
        """Return the captured bytes of a document, as its latest delivery has them."""
        with self.warehouse.reading() as connection:
            row = connection.execute(_select_recorded(item.key)).mappings().first()
        if row is None:
            error = DocumentError("vanished", "no capture of it is recorded")
            return Reading(item.key, None, item.first_seen_at, "", error)
        request = json.loads(row["request"])
        blob = Blob(*(row[name] for name in Blob._fields))
        capture = Capture(
            body=b"",
            url=row["url"],
            request=request,
            fetched_at=row["fetched_at"],
            byte_count=row["byte_count"],
            sha256=row["sha256"],
            run_id=row["run_id"],
            source=row["source"],
        ).stored_as(blob)
        replay_of = row["replay_of"] or row["group_id"]
        name = str(request.get("file", item.key))
        reading = Reading(name, capture, item.first_seen_at, row["source"], replay_of=replay_of)
        if capture.byte_count > self.max_bytes:
            large = f"{capture.byte_count:,} bytes, limit {self.max_bytes:,}"
            return reading._replace(error=DocumentError("too_large", large))
        try:
            body = self.captures.restore(blob)
        except BlobError as error:
            return reading._replace(capture=None, error=DocumentError("unreadable", str(error)))
        return reading._replace(capture=_replace_body(capture, body))


def _replace_body(capture: Capture, body: bytes) -> Capture:
    return Capture(**{**vars(capture), "body": body})


def _select_recorded(document_id: str) -> Any:
    """Return the query of the latest delivery of a document that has its own bytes."""
    names = ("stored_byte_count", "storage_uri", "byte_offset", "byte_count")
    return (
        select(
            *(captures.c[text] for text in ("sha256", "url", "request", "fetched_at", "run_id")),
            captures.c.source,
            captures.c.group_id,
            *(blobs.c[name] for name in names),
            deliveries.c.replay_of,
        )
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
        .join(
            deliveries,
            and_(
                deliveries.c.group_id == captures.c.group_id,
                deliveries.c.table_name == documents_pages.name,
            ),
        )
        .where(captures.c.sha256 == document_id, captures.c.partition_key == document_id)
        .order_by(captures.c.fetched_at.desc(), deliveries.c.recorded_at.desc())
        .limit(1)
    )


def enqueue_outdated(warehouse: Warehouse, clock: Clock, day: date, *, version: str) -> int:
    """Enqueue delivered documents of a partition that other rules made; return how many wait."""
    row_query = select(documents.c.document_id).where(
        of_days(day, day), documents.c.parent_id.is_(None), documents.c.rule_version != version
    )
    with warehouse.reading() as connection:
        ids = list(connection.execute(row_query).scalars())
    items = [NewItem(identifier, version, input_sha256=identifier) for identifier in ids]
    WorkItems(warehouse, clock).enqueue(f"{REPLAY_PREFIX}{day}", items)
    return len(ids)


def count_current(warehouse: Warehouse, day: date, *, version: str) -> int:
    """Return how many delivered documents of a partition the present rules made.

    A replay neither reads them nor verifies their bytes.
    """
    row_query = select(func.count()).where(
        of_days(day, day), documents.c.parent_id.is_(None), documents.c.rule_version == version
    )
    with warehouse.reading() as connection:
        return connection.execute(row_query).scalar_one()


def record_nothing(_: Connection, found: Mapping[str, str]) -> None:
    """Record nothing: a replay finds the document that it read."""


def of_days(first: date, last: date) -> Any:
    """Return the condition that a document is of partitions from a first to a last one."""
    start, end = (datetime.combine(day, time(), UTC) for day in (first, last))
    column = documents.c.first_seen_at
    return and_(column >= start, column < end + timedelta(days=1))


@dataclass
class DocumentSummary(ItemSummary):
    """Outcomes of a run's items, by the state of their documents.

    Attributes:
        byte_count: Size of the files.
        not_read_count: Documents that a replay did not read; None: no replay.
    """

    byte_count: int = 0
    not_read_count: int | None = None

    def add(self, settlements: Sequence[ItemSettlement]) -> None:
        """Count how items ended; those that were not begun are claimed again."""
        for settlement in settlements:
            if settlement.state == "ready":
                continue
            outcome = _name_outcome(settlement)
            self.counts[outcome] += 1
            self.byte_count += getattr(settlement.item, "byte_count", 0)
            if settlement.state == "failed" and len(self.failures) < FAILURES_SHOWN:
                self.failures.append(
                    {
                        "item": settlement.item.key,
                        "state": "dead" if settlement.is_dead else settlement.state,
                        "category": settlement.reason_code or "",
                        "reason": settlement.reason or "",
                        "timeline": f"orchestrate documents timeline {quote(settlement.item.key)}",
                    }
                )

    def as_metadata(self) -> dict[str, Any]:
        """Return the counts and the first failures as Dagster metadata."""
        values = super().as_metadata()
        failures = {name: value for name, value in values.items() if name == "first_failures"}
        counts = {f"{outcome}_document_count": self.counts[outcome] for outcome in OUTCOMES}
        if self.not_read_count is not None:
            counts[NOT_READ] = self.not_read_count
        return {**counts, "bytes": self.byte_count, **failures}


def _name_outcome(settlement: ItemSettlement) -> str:
    if settlement.state == "skipped":
        return "unchanged"
    if settlement.error is not None:
        return "failed"
    code = settlement.reason_code
    return REASONS[code].state if code else "loaded"
