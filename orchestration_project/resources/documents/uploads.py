"""Uploads to an inbox as files of documents: each is a file of its own, whole, and never changes.

Their paths begin with a slash, as no file of a folder or bucket does.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, select

from orchestration_project.contracts.uploads import TOPIC_PREFIX
from orchestration_project.domains.documents.arrivals import FileRow
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.engine.captures import BlobError, Capture, Captures
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.engine.work_items import KEYS_PER_STATEMENT
from orchestration_project.resources.documents.source import path_text
from orchestration_project.tables.spine import uploads, work_items

PREFIX, AFTER_PREFIX = "/inbox/", "/inbox0"
"""Paths of uploads are between these texts."""


def is_upload(path: str) -> bool:
    """Return whether a path is that of an upload."""
    return path.startswith(PREFIX)


def upload_path(inbox: str, upload_id: str, file_name: str) -> str:
    """Return the path of an upload, e.g. ``/inbox/documents/<upload_id>/report.pdf``."""
    return f"{PREFIX}{inbox}/{upload_id}/{path_text(file_name)}"


def take_uploads(connection: Connection, inbox: str, now: datetime) -> list[FileRow]:
    """Remove work items of an inbox, and return the rows of their files, at most a page of them.

    The caller enqueues each file in the same transaction, as the work item of its day.
    """
    topic, item, upload = f"{TOPIC_PREFIX}{inbox}", work_items.c, uploads.c
    wanted = (
        select(upload.upload_id, upload.file_name, upload.byte_count, upload.received_at)
        .join(work_items, item.item_key == upload.upload_id)
        .where(upload.inbox == inbox, item.topic == topic, item.state == "ready")
        .order_by(upload.upload_id)
        .limit(KEYS_PER_STATEMENT)
    )
    waiting = connection.execute(wanted).all()
    taken = [row.upload_id for row in waiting]
    connection.execute(delete(work_items).where(item.topic == topic, item.item_key.in_(taken)))
    return [
        FileRow(
            upload_path(inbox, row.upload_id, row.file_name),
            row.byte_count,
            row.received_at,
            document_id=None,
            state="stable",
            first_seen_at=now,
            unchanged_since=now,
        )
        for row in waiting
    ]


def read_upload(
    warehouse: Warehouse, captures: Captures, path: str, *, fetched_at: datetime, max_bytes: int
) -> tuple[Capture, DocumentError | None]:
    """Return the capture of an upload, with its bytes unless they are too many, and why not.

    Raises:
        DocumentError: ``vanished``: it was erased; ``unreadable``: the store lacks its bytes.
    """
    inbox, upload_id, _ = path.removeprefix(PREFIX).split("/", 2)
    columns = uploads.c
    wanted = select(columns.sha256).where(columns.inbox == inbox, columns.upload_id == upload_id)
    with warehouse.reading() as connection:
        sha256 = connection.execute(wanted).scalar_one_or_none()
        blob = read_blobs(connection, [sha256]).get(sha256) if sha256 else None
    if sha256 is None or blob is None:
        raise DocumentError("vanished", "the upload was erased")
    large = blob.byte_count > max_bytes
    try:
        body = b"" if large else captures.restore(blob)
    except BlobError as error:
        raise DocumentError("unreadable", str(error)) from error
    capture = Capture(
        body=body,
        url=f"/api/v1/inbox/{inbox}",
        request={"file": path},
        fetched_at=fetched_at,
        byte_count=blob.byte_count,
        sha256=sha256,
    ).stored_as(blob)
    if not large:
        return capture, None
    found = f"{blob.byte_count:,} bytes, limit {max_bytes:,}"
    return capture, DocumentError("too_large", found)
