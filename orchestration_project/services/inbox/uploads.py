"""Files that are uploaded to inboxes: received in pieces, stored once, and enqueued."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import BinaryIO
from uuid import uuid4

from sqlalchemy import Connection, and_, delete, func, select, update

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.contracts.uploads import (
    RULE_VERSION,
    TOPIC_PREFIX,
    FileInbox,
    upload_id_of,
)
from orchestration_project.engine.contracts.work_items import NewItem
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import CaptureGroup, CaptureLog
from orchestration_project.engine.warehouse.delivery import capture_id, group_of
from orchestration_project.engine.warehouse.frames import clean_text, insert_absent
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import upload_refusals, uploads

PARTIAL_SECONDS = 7 * 24 * 3600
"""Age from which a partial upload is deleted."""

MAX_REFUSALS_PER_USER = 1_000
"""Refusals of a user that are kept, the latest first."""


@dataclass(frozen=True)
class LoadedInboxes:
    """Registers a reader of the inboxes whose files a domain loads."""

    read: Callable[[Settings], Collection[str]]


class QuotaError(ConfigurationError):
    """The files of an inbox take all of its quota."""


class BusyUploadError(TransientError):
    """Another request writes the same partial upload."""


@dataclass(frozen=True)
class NewFile:
    """A file that is uploaded.

    Attributes:
        inbox: Name of the inbox.
        file_name: Its name, which is data.
        content_type: Its media type.
        user_name: Owner of the key.
    """

    inbox: str
    file_name: str
    content_type: str
    user_name: str


@dataclass(frozen=True)
class StoredFile:
    """A file of an inbox; ``is_new`` is False for the same name and bytes as before."""

    upload_id: str
    sha256: str
    byte_count: int
    is_new: bool


@dataclass(frozen=True)
class Reservations:
    """Bytes that requests in progress of this process may write, by inbox and name of the upload.

    The lock is held while a quota is judged, and while a file becomes one of the stored ones.
    """

    lock: Lock = field(default_factory=Lock)
    byte_counts: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])


@dataclass
class IncomingFile:
    """An upload in progress; bytes are reserved in the quota of its inbox before they are written.

    Attributes:
        file: What was received so far, open at its end.
        name: Name of the reservation: that of the partial file, or a random one.
        path: The partial file; None: the file has no name.
    """

    uploads: "Uploads"
    new: NewFile
    declared: FileInbox
    file: BinaryIO
    name: str
    path: Path | None = None
    reserved_bytes: int = 0

    @property
    def byte_count(self) -> int:
        """Bytes that were received; the file is at its end afterwards."""
        return self.file.seek(0, os.SEEK_END)

    def reserve(self, byte_count: int) -> None:
        """Reserve so many bytes for all of the upload.

        Raises:
            QuotaError: They do not fit into the quota of the inbox.
        """
        if byte_count > self.reserved_bytes:
            self.uploads.reserve(self, byte_count)
            self.reserved_bytes = byte_count

    def write(self, content: bytes) -> None:
        """Append bytes.

        Raises:
            QuotaError: They do not fit into the quota of the inbox; none is written.
        """
        self.reserve(self.byte_count + len(content))
        self.file.write(content)
        self.file.flush()


@dataclass(frozen=True)
class Uploads:
    """Receives and stores files."""

    warehouse: Warehouse
    artifacts: ArtifactStore
    clock: Clock
    settings: Settings
    reservations: Reservations

    @contextmanager
    def whole(self, new: NewFile, declared: FileInbox) -> Iterator[IncomingFile]:
        """Give a file without a name: nothing is left of it when the request ends."""
        with TemporaryFile(dir=self._folder()) as file:
            incoming = IncomingFile(self, new, declared, file, uuid4().hex)
            try:
                yield incoming
            finally:
                self._release(incoming)

    @contextmanager
    def partial(self, new: NewFile, declared: FileInbox, total: int) -> Iterator[IncomingFile]:
        """Give the file with what was received of an upload so far; an empty one is deleted.

        Raises:
            BusyUploadError: Another request writes it.
        """
        path = self._partial_path(new, total)
        self._delete_old(path.parent)
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _build_error() from error
            if not os.fstat(file.fileno()).st_nlink:  # deleted before it was locked
                raise _build_error()
            incoming = IncomingFile(self, new, declared, file, path.name, path)
            try:
                yield incoming
            finally:
                if not incoming.byte_count:
                    path.unlink(missing_ok=True)
                self._release(incoming)

    def _folder(self) -> Path:
        return ensure_state_folder(self.settings, "uploads")

    def _partial_path(self, new: NewFile, total: int) -> Path:
        named = json.dumps([new.inbox, new.user_name, new.file_name, total])
        return self._folder() / f"{new.inbox}.{hashlib.sha256(named.encode()).hexdigest()}.part"

    def _delete_old(self, folder: Path) -> None:
        before = time.time() - PARTIAL_SECONDS
        for path in folder.glob("*.part"):
            if (status := _read_status(path)) and status.st_mtime < before:
                path.unlink(missing_ok=True)

    def reserve(self, incoming: IncomingFile, byte_count: int) -> None:
        """Reserve bytes of the quota of an inbox, beside stored, unfinished and incoming files.

        Raises:
            QuotaError: They do not fit.
        """
        inbox, declared = incoming.new.inbox, incoming.declared
        with self.reservations.lock:
            byte_counts = self.reservations.byte_counts
            names = {name for owner, name in byte_counts if owner == inbox} | {incoming.name}
            reserved = sum(
                size
                for (owner, name), size in byte_counts.items()
                if owner == inbox and name != incoming.name
            )
            unfinished = sum(
                status.st_size
                for path in self._folder().glob(f"{inbox}.*.part")
                if path.name not in names and (status := _read_status(path))
            )
            stored = self._stored_bytes(inbox)
            if stored + unfinished + reserved + byte_count > declared.quota_bytes:
                raise QuotaError(
                    f"the inbox {inbox} is full",
                    expected=f"at most {declared.quota_mib} MiB of files (quota_mib)",
                    found=f"{stored} bytes, {unfinished + reserved} bytes of unfinished uploads, "
                    f"and {byte_count} bytes more",
                    remedy="raise quota_mib in the file that INBOXES_FILE names; unfinished "
                    f"uploads are deleted after {PARTIAL_SECONDS // (24 * 3600)} days",
                )
            byte_counts[inbox, incoming.name] = byte_count

    def _release(self, incoming: IncomingFile) -> None:
        with self.reservations.lock:
            self._forget(incoming)

    def _forget(self, incoming: IncomingFile) -> None:
        self.reservations.byte_counts.pop((incoming.new.inbox, incoming.name), None)

    def _stored_bytes(self, inbox: str) -> int:
        total = select(func.sum(uploads.c.byte_count)).where(uploads.c.inbox == inbox)
        with self.warehouse.reading() as connection:
            return int(connection.scalar(total) or 0)

    def store(self, incoming: IncomingFile) -> StoredFile:
        """Store a complete file, and enqueue it as a work item of its inbox.

        Its bytes were reserved, and are a blob before any row names them; the rows are one
        transaction.
        """
        at, new = self.clock.now(), incoming.new
        incoming.reserve(incoming.byte_count)
        capture = Captures(self.artifacts).put_stream(
            incoming.file,
            url=f"/api/v1/inbox/{new.inbox}",
            request={"file_name": new.file_name, "content_type": new.content_type},
            fetched_at=at,
        )
        upload_id = upload_id_of(new.file_name, capture.sha256)
        key = f"{new.inbox}|{upload_id}"
        group_id = group_of(uploads, key, 1)
        row = {
            **vars(new),
            "upload_id": upload_id,
            "sha256": capture.sha256,
            "byte_count": capture.byte_count,
            "received_at": at,
            "capture_id": capture_id(group_id, 1),
        }
        group = CaptureGroup(
            group_id=group_id,
            table_name=uploads.name,
            partition_key=key,
            source="uploads",
            dataset=new.inbox,
            source_version=capture.sha256,
            part_count=1,
            rule_version=RULE_VERSION,
            run_id="",
        )
        item = NewItem(upload_id, capture.sha256, input_sha256=capture.sha256, enqueued_at=at)
        with self.reservations.lock:
            with self.warehouse.writing() as connection:
                _delete_refusals(connection, new)
                is_new = bool(insert_absent(connection, uploads, [row]))
                if is_new:
                    CaptureLog(at).record(connection, [capture], group)
                    WorkItems(self.warehouse, self.clock).enqueue(
                        f"{TOPIC_PREFIX}{new.inbox}", [item], are_new=True, connection=connection
                    )
            if incoming.path is not None:
                incoming.path.unlink(missing_ok=True)
            self._forget(incoming)
        return StoredFile(upload_id, capture.sha256, capture.byte_count, is_new)


@dataclass(frozen=True)
class Refusal:
    """A file that an inbox refused over HTTP; its fields are the columns of `upload_refusals`."""

    refusal_id: str
    inbox: str
    file_name: str
    user_name: str
    status: int
    reason: str
    expected: str
    byte_count: int | None
    attempt_count: int
    first_refused_at: datetime
    refused_at: datetime


@dataclass(frozen=True)
class UploadRefusals:
    """The files that inboxes refused, so that the page of what needs a person shows them.

    One row stands for all requests of a user with a file of one name and answer. It goes when the
    user uploads a file of that name, when it is old, or when the user has too many.
    """

    warehouse: Warehouse
    clock: Clock
    max_per_user: int = MAX_REFUSALS_PER_USER

    def record(
        self, new: NewFile, status: int, reason: str, expected: str, byte_count: int | None
    ) -> None:
        """Record a refusal of a file; of many of a user, the oldest go."""
        column, now = upload_refusals.c, self.clock.now()
        named = json.dumps([new.inbox, new.user_name, new.file_name, status])
        refusal_id = hashlib.sha256(named.encode()).hexdigest()[:32]
        latest = {
            "reason": clean_text(reason),
            "expected": clean_text(expected),
            "byte_count": byte_count,
            "refused_at": now,
        }
        row = {
            "refusal_id": refusal_id,
            "inbox": new.inbox,
            "file_name": clean_text(new.file_name),
            "user_name": clean_text(new.user_name),
            "status": status,
            "attempt_count": 1,
            "first_refused_at": now,
            **latest,
        }
        with self.warehouse.writing() as connection:
            if insert_absent(connection, upload_refusals, [row]):
                self._delete_excess(connection, row["user_name"])
                return
            repeated = {**latest, "attempt_count": column.attempt_count + 1}
            same = column.refusal_id == refusal_id
            connection.execute(update(upload_refusals).where(same).values(repeated))

    def _delete_excess(self, connection: Connection, user_name: str) -> None:
        """Delete the oldest refusals of a user that has too many."""
        column = upload_refusals.c
        newest = select(column.refused_at).where(column.user_name == user_name)
        newest = newest.order_by(column.refused_at.desc()).offset(self.max_per_user - 1).limit(1)
        oldest_kept = connection.scalar(newest)
        if oldest_kept is not None:
            is_excess = (column.user_name == user_name) & (column.refused_at < oldest_kept)
            connection.execute(delete(upload_refusals).where(is_excess))

    def read(self, limit: int) -> Sequence[Refusal]:
        """Return the refusals, the latest first."""
        column = upload_refusals.c
        newest = select(upload_refusals).order_by(column.refused_at.desc(), column.refusal_id)
        with self.warehouse.reading() as connection:
            return [Refusal(*row) for row in connection.execute(newest.limit(limit))]


def _delete_refusals(connection: Connection, stored: NewFile) -> None:
    """Delete the refusals of a file that is stored now."""
    column = upload_refusals.c
    is_same = and_(
        column.user_name == clean_text(stored.user_name),
        column.inbox == stored.inbox,
        column.file_name == clean_text(stored.file_name),
    )
    connection.execute(delete(upload_refusals).where(is_same))


def _build_error() -> BusyUploadError:
    return BusyUploadError(
        "another request uploads the same file",
        expected="one request at a time for an inbox, a name, a size and a key",
        remedy="wait until it ended, then ask with Content-Range: bytes */total",
    )


def _read_status(path: Path) -> os.stat_result | None:
    """Return the status of a file, None if another request has deleted it."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
