"""Sources of documents: a folder, a bucket prefix, or uploads alone, by one protocol.

Paths of files are text that every database stores; `raw_path` returns what the source has. An
upload is a file of its own, whole, and never changes. Only its path begins with a slash.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol
from urllib.parse import unquote_to_bytes

from sqlalchemy import Connection, delete, select

from orchestration_project.domains.documents.arrivals import FileRow, ListedFile
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.settings import DocumentsSettings
from orchestration_project.engine.captures import BlobError, Capture, Captures
from orchestration_project.engine.contracts.uploads import TOPIC_PREFIX
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.engine.work_items import KEYS_PER_STATEMENT
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import uploads, work_items

ESCAPED = re.compile(
    "[%\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"  # bidi controls too
)


def path_text(raw: str) -> str:
    """Return a path as text that every database stores, from which `raw_path` returns it."""
    if raw.isascii() and raw.isprintable() and "%" not in raw:
        return raw
    return ESCAPED.sub(
        lambda found: "".join(f"%{number:02X}" for number in os.fsencode(found[0])), raw
    )


def raw_path(text: str) -> str:
    """Return the path of a text of `path_text`."""
    return os.fsdecode(unquote_to_bytes(text))


@dataclass
class Listing:
    """Files of a source.

    Attributes:
        files: The files, read once, in the order of their paths. A source that cannot be read
            raises `ConfigurationError` or `TransientError` here.
        unreadable: Folders and files that could not be read; complete once ``files`` ended.
    """

    files: Iterator[ListedFile]
    unreadable: list[str] = field(default_factory=list[str])


class DocumentSource(Protocol):
    """Files that others deliver."""

    @property
    def shown_name(self) -> str:
        """Name of the source, for messages, e.g. the folder of DOCUMENTS_DIR."""
        ...

    def listing(self) -> Listing:
        """Return the current listing of the source."""
        ...

    def url_of(self, path: str) -> str:
        """Return the origin that a capture of the file shows."""
        ...

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return the bytes of a listed file, all of the same version.

        Raises:
            DocumentError: ``too_large``, ``vanished``, ``changed_while_read``, ``unreadable`` or
                ``not_a_file``.
        """
        ...

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a listed file of any size for reading in constant memory; it can be sought.

        Raises:
            DocumentError: As `read`; so may a read.
        """
        ...


class NoFiles:
    """Source without files: uploads alone are loaded."""

    shown_name = "the inbox of uploads"

    def listing(self) -> Listing:
        """Return nothing."""
        return Listing(iter(()))

    def url_of(self, path: str) -> str:
        """Return the path."""
        return path

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Refuse: the file was of another source."""
        raise DocumentError("vanished", "DOCUMENTS_SOURCE has no such file")

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Refuse: the file was of another source."""
        raise DocumentError("vanished", "DOCUMENTS_SOURCE has no such file")


CAPTURE_SOURCES = frozenset({"demo", "folder", "s3"})


def _is_file(capture: RecordedCapture, settings: Settings) -> bool:
    """Whether it is a file of the source that the settings name; uploads have no other place."""
    chosen = DocumentsSettings.of(settings).documents_source
    is_document = capture.dataset == "files" and isinstance(capture.request.get("file"), str)
    return is_document and capture.source == chosen and chosen in CAPTURE_SOURCES


def _read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    source = given.open("documents")
    return source.read(capture.request["file"], max_bytes=max(capture.byte_count, 1))


RECOVERIES = [Recovery(way="source", applies=_is_file, read=_read)]
"""Files of a folder or bucket, in their present state."""


UPLOAD_PREFIX, AFTER_UPLOADS = "/inbox/", "/inbox0"
"""Paths of uploads are between these texts."""


def is_upload(path: str) -> bool:
    """Return whether a path is that of an upload."""
    return path.startswith(UPLOAD_PREFIX)


def upload_path(inbox: str, upload_id: str, file_name: str) -> str:
    """Return the path of an upload, e.g. ``/inbox/documents/<upload_id>/report.pdf``."""
    return f"{UPLOAD_PREFIX}{inbox}/{upload_id}/{path_text(file_name)}"


def take_uploads(connection: Connection, inbox: str, now: datetime) -> list[FileRow]:
    """Remove work items of an inbox, and return the rows of their files, at most a page of them.

    The caller enqueues each file in the same transaction, as the work item of its day.
    """
    topic, item, upload = f"{TOPIC_PREFIX}{inbox}", work_items.c, uploads.c
    query = (
        select(upload.upload_id, upload.file_name, upload.byte_count, upload.received_at)
        .join(work_items, item.item_key == upload.upload_id)
        .where(upload.inbox == inbox, item.topic == topic, item.state == "ready")
        .order_by(upload.upload_id)
        .limit(KEYS_PER_STATEMENT)
    )
    waiting = connection.execute(query).all()
    upload_ids = [row.upload_id for row in waiting]
    connection.execute(delete(work_items).where(item.topic == topic, item.item_key.in_(upload_ids)))
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
    inbox, upload_id, _ = path.removeprefix(UPLOAD_PREFIX).split("/", 2)
    columns = uploads.c
    query = select(columns.sha256).where(columns.inbox == inbox, columns.upload_id == upload_id)
    with warehouse.reading() as connection:
        sha256 = connection.execute(query).scalar_one_or_none()
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
    text = f"{blob.byte_count:,} bytes, limit {max_bytes:,}"
    return capture, DocumentError("too_large", text)
