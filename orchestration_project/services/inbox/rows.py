"""Rows of the inbox: how deliveries are stored, many in one transaction.

Group commit: deliveries that come while a transaction is written share the next one. A commit costs
a flush of the disk, whether it holds one row or a hundred.

The database has a body once. It is in `inbox` from the receipt on, because the response must not
wait for the artifact store. The transaction that loads it moves it to `events_webhooks`.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, or_, select, update

from orchestration_project.engine.captures import Capture, build_capture
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.webhooks.queue import RETRY_PAUSES
from orchestration_project.engine.contracts.work_items import PERMANENT_REMEDIES, NewItem
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.engine.tracing.traceparent import TraceContext
from orchestration_project.engine.warehouse import Delivery, Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import TransientError
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import DELIVERY_TOPICS, audits, inbox
from orchestration_project.tables.webhooks import events_webhooks

Stored = Literal["stored", "duplicate", "changed"]
"""Outcome of a delivery: new, a duplicate, or a conflict with another body."""

SAME_BODY = "same_id_has_the_same_body"

BODY_REMOVED = "body_removed"
"""Reason code of dead deliveries whose body was removed."""

ITEM_REMEDIES = PERMANENT_REMEDIES | {
    BODY_REMOVED: "the sender has to deliver it again under a new ID"
}
"""By reason code of permanent failures: changes that a retry needs."""


@dataclass(frozen=True)
class Content:
    """A delivery of the inbox as it came."""

    source: str
    delivery_id: str
    kind: str | None
    body: bytes
    headers: Mapping[str, str]
    received_at: datetime


@dataclass(frozen=True)
class NewDelivery:
    """A delivery whose signature is right, and what there is to do with it.

    Attributes:
        source: Its source's name.
        delivery_id: Its id among those of the source.
        kind: What the sender says has happened.
        body: The bytes as they came.
        headers: What is worth keeping of what came with it.
        allowed_attempts: Failures after which it is dead; 0: there is nothing to be done with it.
        trace: Trace of the request; the runs for the delivery belong to it.
    """

    source: str
    delivery_id: str
    kind: str | None
    body: bytes
    headers: Mapping[str, str]
    allowed_attempts: int
    trace: TraceContext | None = None


def build_topic(source: str) -> str:
    """Return the topic of the work items of a source's deliveries."""
    return DELIVERY_TOPICS + source


def open_delivery_items(warehouse: Warehouse, clock: Clock) -> WorkItems:
    """Return the work items of deliveries."""
    return WorkItems(warehouse, clock, pauses=RETRY_PAUSES)


class Inbox:
    """Stores deliveries, as many at once as there are, and enqueues the work on them."""

    def __init__(self, warehouse: Warehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._items = open_delivery_items(warehouse, clock)
        self._latest = datetime.min.replace(tzinfo=clock.now().tzinfo)

    def take(self, deliveries: Sequence[NewDelivery]) -> list[Stored]:
        """Store the new ones of ``deliveries``, in their order and in one transaction.

        One that is there with another body stays as it is, and an audit records it.

        Raises:
            OrchestrationError: The database does not take them; none of them is stored.
        """
        rows = [self._row(delivery) for delivery in deliveries]
        with self._warehouse.writing() as connection:
            inserted = insert_absent(connection, inbox, rows)
            stored: list[Stored] = ["stored"] * len(rows)
            if len(inserted) < len(rows):
                stored = _compare(connection, rows)
            self._enqueue(connection, deliveries, rows, stored)
        return stored

    def waiting_count(self, most: int) -> int:
        """Return how many deliveries are to be worked on, up to ``most``."""
        return self._items.count_waiting(DELIVERY_TOPICS, most)

    def _enqueue(
        self,
        connection: Connection,
        deliveries: Sequence[NewDelivery],
        rows: Sequence[Mapping[str, Any]],
        stored: Sequence[Stored],
    ) -> None:
        """Enqueue the deliveries that are new and to be worked on."""
        by_source: dict[str, list[NewItem]] = {}
        for delivery, row, outcome in zip(deliveries, rows, stored, strict=True):
            if outcome == "stored" and delivery.allowed_attempts:
                item = build_item(row, delivery.allowed_attempts)
                by_source.setdefault(delivery.source, []).append(item)
        for source, items in by_source.items():
            self._items.enqueue(build_topic(source), items, are_new=True, connection=connection)

    def _row(self, delivery: NewDelivery) -> dict[str, Any]:
        self._latest = max(self._clock.now(), self._latest + timedelta(microseconds=1))
        return {
            "source": delivery.source,
            "delivery_id": delivery.delivery_id,
            "kind": delivery.kind,
            "body": base64.b64encode(delivery.body).decode(),
            "headers": json.dumps(dict(delivery.headers), sort_keys=True),
            "sha256": hashlib.sha256(delivery.body).hexdigest(),
            "byte_count": len(delivery.body),
            "received_at": self._latest,
            "trace_id": delivery.trace.trace_id if delivery.trace else None,
            "span_id": delivery.trace.span_id if delivery.trace else None,
        }


def build_item(row: Mapping[Any, Any], allowed_attempts: int) -> NewItem:
    """Return the work item of a row of `inbox`."""
    return NewItem(
        row["delivery_id"],
        row["sha256"],
        input_sha256=row["sha256"],
        allowed_count=allowed_attempts,
        enqueued_at=row["received_at"],
    )


There = Mapping[tuple[str, str], Any]


def _find_present(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> There:
    """Return the deliveries that the inbox holds under the keys of ``rows``."""
    ids: dict[str, list[str]] = {}
    for row in rows:
        ids.setdefault(row["source"], []).append(row["delivery_id"])
    columns = (inbox.c.source, inbox.c.delivery_id, inbox.c.sha256, inbox.c.received_at)
    values = {}
    for source, of_source in ids.items():
        query = select(*columns).where(inbox.c.source == source, inbox.c.delivery_id.in_(of_source))
        values |= {
            (record.source, record.delivery_id): record for record in connection.execute(query)
        }
    return values


def _compare(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Stored]:
    """Return the outcomes of deliveries that the inbox had in part; audit those that differ."""
    there = _find_present(connection, rows)
    stored: list[Stored] = [
        _classify_row(row, there[row["source"], row["delivery_id"]]) for row in rows
    ]
    changed = [row for row, item in zip(rows, stored, strict=True) if item == "changed"]
    insert_absent(connection, audits, [_build_audit(row, there) for row in changed])
    return stored


def _classify_row(row: Mapping[str, Any], there: Any) -> Stored:
    if there.sha256 != row["sha256"]:
        return "changed"
    return "stored" if there.received_at == row["received_at"] else "duplicate"


def _build_audit(row: Mapping[str, Any], there: There) -> dict[str, Any]:
    stored = there[row["source"], row["delivery_id"]]
    return {
        "group_id": f"inbox:{row['source']}|{row['delivery_id']}#{row['sha256']}",
        "table_name": inbox.name,
        "name": SAME_BODY,
        "partition_key": row["source"],
        "severity": "error",
        "outcome": "failed",
        "expected": f"the body whose SHA-256 is {stored.sha256}, received at {stored.received_at}",
        "found": f"{row['byte_count']} bytes whose SHA-256 is {row['sha256']}; they were refused",
        "offenders": json.dumps([row["delivery_id"]]),
        "run_id": "",
        "audited_at": row["received_at"],
    }


_IS_LOADED = and_(
    events_webhooks.c.source == inbox.c.source,
    events_webhooks.c.delivery_id == inbox.c.delivery_id,
    events_webhooks.c.payload.is_not(None),
)

HAS_BODY = or_(inbox.c.body.is_not(None), exists().where(_IS_LOADED))
"""Condition of deliveries whose body was not removed."""

_CONTENTS = select(inbox, events_webhooks.c.payload).select_from(
    inbox.outerjoin(events_webhooks, _IS_LOADED)
)


def are_deliveries(
    source: str, delivery_ids: Sequence[str] | Select[tuple[str]]
) -> ColumnElement[bool]:
    """Return the condition of rows of `inbox` with some IDs."""
    return and_(inbox.c.source == source, inbox.c.delivery_id.in_(delivery_ids))


def read_contents(
    connection: Connection, source: str, delivery_ids: Sequence[str]
) -> Mapping[str, Content | None]:
    """Return deliveries of a source by ID; None: the body was removed."""
    rows = connection.execute(_CONTENTS.where(are_deliveries(source, delivery_ids)))
    return {row.delivery_id: _read_content(row) for row in rows}


def _read_content(row: Any) -> Content | None:
    if row.body is None and row.payload is None:
        return None
    body = row.payload.encode() if row.body is None else base64.b64decode(row.body)
    headers = json.loads(row.headers)
    return Content(row.source, row.delivery_id, row.kind, body, headers, row.received_at)


def remove_loaded_bodies(connection: Connection, source: str, contents: Sequence[Content]) -> None:
    """Remove bodies from `inbox` that `events_webhooks` has, by their SHA-256.

    Call it in the transaction that loads the deliveries.
    """
    hashes = {content.delivery_id: hashlib.sha256(content.body).digest() for content in contents}
    row = events_webhooks.c
    loaded = select(row.delivery_id, row.payload).where(
        row.source == source, row.delivery_id.in_(list(hashes)), row.payload.is_not(None)
    )
    same = [
        delivery_id
        for delivery_id, payload in connection.execute(loaded)
        if hashlib.sha256(payload.encode()).digest() == hashes[delivery_id]
    ]
    connection.execute(update(inbox).where(are_deliveries(source, same)).values(body=None))


def capture_of(content: Content) -> Capture:
    """Return the capture of a delivery of the inbox, which is not stored yet."""
    return build_capture(
        content.body,
        url=f"/hooks/{content.source}",
        request={"delivery_id": content.delivery_id, "method": "POST"},
        response_headers=content.headers,
        row_count=1,
        fetched_at=content.received_at,
    )


def build_delivery(content: Content, *captures: Capture) -> Delivery:
    """Return the delivery that names ``content``; ``captures`` has its bytes, once stored."""
    return Delivery(
        source="webhooks",
        dataset=content.source,
        source_version=captures[0].sha256 if captures else "",
        record_total=1,
        captures=captures,
    )


MAX_BATCH_DELIVERIES = 500
MAX_BATCH_BYTES = 64 * 1024 * 1024
"""Bounds of what waits for the next transaction: more is refused for now."""

Take = Callable[[Sequence[NewDelivery]], list[Stored]]


class _Batch:
    """Deliveries of one transaction; ``done`` is what came of them, in their order."""

    def __init__(self) -> None:
        self.deliveries: list[NewDelivery] = []
        self.byte_count = 0
        self.done: Future[list[Stored]]


class GroupCommit:
    """Hands deliveries to ``take``, all those together that came while it was at the last ones."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._lock = Lock()
        self._open: _Batch | None = None

    def close(self) -> None:
        """Write the submitted deliveries, and end the thread."""
        self._thread.shutdown()

    def store(self, delivery: NewDelivery) -> tuple[Future[list[Stored]], int]:
        """Hand a delivery in; return what will hold its outcome, and at which place.

        The future is that of all its batch, and must not be canceled.

        Raises:
            TransientError: Too much waits already.
        """
        with self._lock:
            if self._open is None:
                self._open = _Batch()
                self._open.done = self._thread.submit(self._write, self._open)
            batch = self._open
            is_full = batch.byte_count + len(delivery.body) > MAX_BATCH_BYTES
            if batch.deliveries and (is_full or len(batch.deliveries) >= MAX_BATCH_DELIVERIES):
                raise TransientError(
                    "more deliveries came than the database can store at present",
                    remedy="the sender repeats the delivery; raise the database's capacity",
                )
            batch.deliveries.append(delivery)
            batch.byte_count += len(delivery.body)
            return batch.done, len(batch.deliveries) - 1

    def _write(self, batch: _Batch) -> list[Stored]:
        with self._lock:
            self._open = None  # who comes now waits for the next one
        return self._take(batch.deliveries)


CAPTURE_SOURCE = "webhooks"


def _is_delivery(capture: RecordedCapture, _: Settings) -> bool:
    return capture.source == CAPTURE_SOURCE and isinstance(capture.request.get("delivery_id"), str)


def _read_body(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    """Return the body that the database has of the delivery; None: it has none any more."""
    delivery_id = capture.request["delivery_id"]
    with given.warehouse.reading() as connection:
        content = read_contents(connection, capture.dataset, [delivery_id]).get(delivery_id)
    return None if content is None else content.body


RECOVERIES = [Recovery(way="derived", applies=_is_delivery, read=_read_body)]
"""Bodies of deliveries, which the database has as they were received."""
