"""A document's timeline, from the tables that have traces of it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select

from orchestration_project.domains.documents.tables import (
    documents,
    documents_files,
    documents_members,
    documents_pages,
)
from orchestration_project.domains.documents.timeline import (
    Timeline,
    TimelineEvent,
    attempt_event,
    in_order,
    remedy_of,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.documents.erasure import DOCUMENT_ID
from orchestration_project.resources.documents.source import path_text
from orchestration_project.resources.documents.waiting import REPLAY_PREFIX, TOPIC_PREFIX
from orchestration_project.services.erasure.requests import hash_identifier
from orchestration_project.tables.erasures import operations_erasures
from orchestration_project.tables.operations_artifacts import operations_exports
from orchestration_project.tables.spine import captures, deliveries, landings, work_items

MAX_EVENTS = 1_000
"""Rows of one table that a timeline reads; a document has some dozens."""

MAX_ERASURES = 200
"""Latest erasures whose salted hash an unknown name is compared with: each takes 50 ms."""


def read_timeline(warehouse: Warehouse, name: str) -> Timeline | None:
    """Return the timeline of a document, by its ID or the path of its file; None: unknown.

    Of a path, it is that of the document that was read from it last. A name that was erased has the
    time of that alone.
    """
    with warehouse.reading() as connection:
        files = _read_files(connection, name)
        read = (file.document_id for file in files if file.document_id)
        document_id = name if DOCUMENT_ID.fullmatch(name) else next(read, None)
        document = _read_document(connection, document_id)
        if document is None and not files:
            return _find_erasure(connection, name)
        events = list(_iterate_events(connection, document_id, document, files))
    paths = list(dict.fromkeys(file.path for file in files))
    state = document.state if document is not None else files[0].state
    return Timeline(document.document_id if document else None, paths, state, in_order(events))


def _read_files(connection: Connection, name: str) -> Sequence[Row[Any]]:
    columns = documents_files.c
    if DOCUMENT_ID.fullmatch(name):
        wanted_condition = columns.document_id == name
    else:
        path = columns.path.in_([name, path_text(name)])
        of_path = select(columns.document_id).where(path)
        wanted_condition = or_(path, columns.document_id.in_(of_path))
    ordered = (
        select(documents_files)
        .where(wanted_condition)
        .order_by(columns.first_seen_at, columns.path)
    )
    return connection.execute(ordered.limit(MAX_EVENTS)).all()


def _read_document(connection: Connection, document_id: str | None) -> Row[Any] | None:
    condition = documents.c.document_id == document_id
    return connection.execute(select(documents).where(condition)).first() if document_id else None


def _iterate_events(
    connection: Connection,
    document_id: str | None,
    document: Row[Any] | None,
    files: Sequence[Row[Any]],
) -> Iterator[TimelineEvent]:
    for file in files:
        yield from _describe_file(file)
    keys = [file.path for file in files]
    yield from _iterate_attempts(connection, TOPIC_PREFIX, keys)
    if document is None or document_id is None:
        return
    yield from _iterate_attempts(connection, REPLAY_PREFIX, [document_id])
    yield from _iterate_captures(connection, document_id)
    yield from _iterate_extractions(connection, document_id)
    yield from _iterate_members(connection, document_id)
    yield _describe_outcome(document)
    if document.superseded_by:
        later = _read_document(connection, document.superseded_by)
        yield TimelineEvent(
            later.extracted_at if later else None,
            "superseded",
            f"the file changed: document {document.superseded_by} took its place",
            later.run_id if later else None,
        )
    yield from _iterate_exports(connection, document)


def _describe_file(file: Row[Any]) -> Iterator[TimelineEvent]:
    yield TimelineEvent(file.first_seen_at, "first_seen", f"{file.path} was listed")
    text = f"{file.path} has had {file.byte_count:,} bytes and the same change time since"
    waits = "wait until it stays the same" if file.state in ("seen", "changed") else None
    yield TimelineEvent(file.unchanged_since, "stable", text, remedy=waits)
    if file.state == "gone":
        yield TimelineEvent(None, "gone", f"{file.path} was gone at the latest poll")


def _iterate_attempts(
    connection: Connection, prefix: str, keys: Sequence[str]
) -> Iterator[TimelineEvent]:
    columns = work_items.c
    query = select(work_items).where(
        columns.topic.startswith(prefix, autoescape=True), columns.item_key.in_(keys)
    )
    for row in connection.execute(query.order_by(columns.changed_at).limit(MAX_EVENTS)):
        yield attempt_event(
            state=row.state,
            attempt_count=row.attempt_count,
            allowed_count=row.allowed_count,
            reason_code=row.reason_code,
            reason=row.reason,
            at=row.changed_at,
            due_at=row.due_at,
            run_id=row.run_id,
        )


def _match_document(document_id: str) -> Any:
    of_pages = deliveries.c.table_name == documents_pages.name
    return and_(of_pages, deliveries.c.partition_key == document_id)


def _iterate_captures(connection: Connection, document_id: str) -> Iterator[TimelineEvent]:
    """Yield the fetches of the bytes; a replay has a capture of its own, of the same fetch."""
    columns = captures.c
    query = (
        select(
            *(columns.fetched_at, columns.run_id, columns.request, columns.sha256),
            columns.erased_at,
        )
        .join(deliveries, deliveries.c.group_id == columns.group_id)
        .where(_match_document(document_id), deliveries.c.replay_of.is_(None))
        .order_by(columns.fetched_at)
    )
    for row in connection.execute(query.limit(MAX_EVENTS)):
        within = "" if row.sha256 == document_id else f" within document {row.sha256}"
        text = f"bytes of {json.loads(row.request).get('file', '?')} were stored{within}"
        yield TimelineEvent(row.fetched_at, "captured", text, row.run_id)
        if row.erased_at:
            text = "an erasure replaced the stored bytes by redacted ones"
            yield TimelineEvent(row.erased_at, "redacted", text)


def _iterate_extractions(connection: Connection, document_id: str) -> Iterator[TimelineEvent]:
    columns, loads = deliveries.c, landings.c
    query = (
        select(
            *(columns.recorded_at, columns.run_id, columns.outcome, columns.replay_of),
            *(columns.rule_version, loads.rows_added, loads.rows_changed, loads.rows_removed),
        )
        .outerjoin(
            landings,
            and_(loads.group_id == columns.group_id, loads.table_name == columns.table_name),
        )
        .where(_match_document(document_id))
        .order_by(columns.recorded_at)
    )
    for row in connection.execute(query.limit(MAX_EVENTS)):
        by = "extracted again" if row.replay_of else "extracted"
        pages = (
            f"pages {row.rows_added or 0} added, {row.rows_changed or 0} changed, "
            f"{row.rows_removed or 0} removed"
        )
        text = f"{by} by rules {row.rule_version}: {pages}"
        yield TimelineEvent(row.recorded_at, "extracted", text, row.run_id)


def _iterate_members(connection: Connection, document_id: str) -> Iterator[TimelineEvent]:
    """Yield where the document lies in others: one event for each."""
    columns, holder = documents_members.c, documents.c
    query = (
        select(columns.parent_id, columns.path_in_parent, holder.extracted_at, holder.run_id)
        .join(documents, holder.document_id == columns.parent_id)
        .where(columns.document_id == document_id)
    )
    for row in connection.execute(query.limit(MAX_EVENTS)):
        text = f"found as {row.path_in_parent} in document {row.parent_id}"
        yield TimelineEvent(row.extracted_at, "captured", text, row.run_id)


def _describe_outcome(document: Row[Any]) -> TimelineEvent:
    is_loaded = document.state in ("loaded", "empty")
    text = f"{document.state}: {document.page_count} pages, {document.chunk_count} chunks"
    if document.reason:
        text += f"; {document.reason}"
    return TimelineEvent(
        document.extracted_at,
        "loaded" if is_loaded else "failed",
        text,
        document.run_id,
        document.reason_code,
        remedy_of(document.reason_code),
    )


def _iterate_exports(connection: Connection, document: Row[Any]) -> Iterator[TimelineEvent]:
    """Yield the exports of tables of documents that were written since; conditions are ignored."""
    columns = operations_exports.c
    query = (
        select(operations_exports)
        .where(
            columns.table_name.startswith(documents.name, autoescape=True),
            columns.rendered_at >= document.extracted_at,
        )
        .order_by(columns.rendered_at)
    )
    for row in connection.execute(query.limit(MAX_EVENTS)):
        text = f"export {row.name} of {row.table_name} was written: {row.row_count:,} rows"
        yield TimelineEvent(row.delivered_at or row.rendered_at, "exported", text, row.run_id)


def _find_erasure(connection: Connection, name: str) -> Timeline | None:
    """Return when a name was erased, found by its salted hash; None: it was not."""
    columns = operations_erasures.c
    query = select(columns.salt, columns.identifier_hash, columns.erased_at, columns.run_id)
    of_kind = query.where(columns.kind == "documents/document")
    latest = of_kind.order_by(columns.erased_at.desc()).limit(MAX_ERASURES)
    timeline_events = [
        TimelineEvent(row.erased_at, "erased", "all rows and bytes were erased", row.run_id)
        for row in connection.execute(latest)
        if hash_identifier(name, row.salt) == row.identifier_hash
    ]
    return Timeline(None, [], "erased", in_order(timeline_events)) if timeline_events else None
