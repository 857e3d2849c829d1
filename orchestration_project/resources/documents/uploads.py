"""Uploads to an inbox as files of documents: each is a file of its own and never changes.

Their paths begin with a slash, as no file of a folder or bucket does.
"""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import bindparam, select

from orchestration_project.domains.documents.arrivals import ListedFile
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.engine.captures import BlobError, Capture, Captures
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.resources.documents.source import path_text
from orchestration_project.tables.spine import uploads

PREFIX = "/inbox/"

ROWS_PER_PAGE = 10_000


def is_upload(path: str) -> bool:
    """Return whether a path is that of an upload."""
    return path.startswith(PREFIX)


def upload_path(inbox: str, upload_id: str, file_name: str) -> str:
    """Return the path of an upload, e.g. ``/inbox/documents/<upload_id>/report.pdf``."""
    return f"{PREFIX}{inbox}/{upload_id}/{path_text(file_name)}"


def uploaded_files(warehouse: Warehouse, inbox: str) -> Iterator[ListedFile]:
    """Yield the files of an inbox, in the order of their paths; a page is held at a time."""
    columns, last = uploads.c, ""
    wanted = (
        select(columns.upload_id, columns.file_name, columns.byte_count, columns.received_at)
        .where(columns.inbox == inbox, columns.upload_id > bindparam("last"))
        .order_by(columns.upload_id)
        .limit(ROWS_PER_PAGE)
    )
    while True:
        with warehouse.reading() as connection:
            page = connection.execute(wanted, {"last": last}).all()
        for upload_id, file_name, byte_count, received_at in page:
            path = upload_path(inbox, upload_id, file_name)
            yield path, byte_count, received_at.replace(tzinfo=None), None
        if len(page) < ROWS_PER_PAGE:
            return
        last = page[-1][0]


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
