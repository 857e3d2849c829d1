"""Files that are uploaded to inboxes: received in pieces, stored once, and enqueued."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from sqlalchemy import Connection, func, select

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.work_items import NewItem
from orchestration_project.domains.uploads import (
    RULE_VERSION,
    TOPIC_PREFIX,
    FileInbox,
    read_inboxes,
    upload_id_of,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.environment import state_folder
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import CaptureGroup, CaptureLog
from orchestration_project.engine.warehouse.delivery import capture_id, group_of
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import uploads

PARTIAL_SECONDS = 7 * 24 * 3600
"""Age from which a partial upload is deleted."""


class QuotaError(ConfigurationError):
    """The files of an inbox take all of its quota."""


class BusyUploadError(TransientError):
    """Another request writes the same partial upload."""


def declared_inboxes(settings: Settings) -> Mapping[str, FileInbox]:
    """Return the declared inboxes by name.

    Raises:
        ConfigurationError: The file that declares them cannot be read, or is invalid.
    """
    path = settings.inboxes_path
    try:
        return read_inboxes(path.read_text(encoding="utf-8"))
    except ConfigurationError as error:
        raise error.within(file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "invalid inboxes for files: the file cannot be read",
            expected=f"a text file in UTF-8 at {path}",
            found=f"{type(error).__name__}: {error}",
            remedy="correct INBOXES_FILE, or put the file there; `inboxes: {}` declares none",
        ) from error


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
class Uploads:
    """Receives and stores files."""

    warehouse: Warehouse
    artifacts: ArtifactStore
    clock: Clock
    settings: Settings

    @contextmanager
    def whole(self) -> Iterator[BinaryIO]:
        """Give a file without a name: nothing is left of it when the request ends."""
        with TemporaryFile(dir=self._folder()) as file:
            yield file

    @contextmanager
    def partial(self, new: NewFile, total: int) -> Iterator[BinaryIO]:
        """Give the file with what was received of an upload so far, open at its end.

        Raises:
            BusyUploadError: Another request writes it.
        """
        path = self._partial_path(new, total)
        self._delete_old(path.parent)
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BusyUploadError(
                    "another request uploads the same file",
                    expected="one request at a time for an inbox, a name, a size and a key",
                    remedy="wait until it ended, then ask with Content-Range: bytes */total",
                ) from error
            file.seek(0, os.SEEK_END)
            yield file

    def discard(self, new: NewFile, total: int) -> None:
        """Delete a partial upload."""
        self._partial_path(new, total).unlink(missing_ok=True)

    def _folder(self) -> Path:
        return state_folder(self.settings, "uploads")

    def _partial_path(self, new: NewFile, total: int) -> Path:
        named = json.dumps([new.inbox, new.user_name, new.file_name, total])
        return self._folder() / f"{hashlib.sha256(named.encode()).hexdigest()}.part"

    def _delete_old(self, folder: Path) -> None:
        before = time.time() - PARTIAL_SECONDS
        for path in folder.glob("*.part"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def require_quota(self, new: NewFile, declared: FileInbox, byte_count: int) -> None:
        """Make sure that a file fits into the quota of its inbox.

        Raises:
            QuotaError: It does not.
        """
        with self.warehouse.reading() as connection:
            _require_quota(connection, new.inbox, declared, byte_count)

    def store(
        self, new: NewFile, declared: FileInbox, file: BinaryIO, *, is_enqueued: bool = True
    ) -> StoredFile:
        """Store a complete file, and enqueue it as a work item of its inbox.

        Its bytes are a blob before any row names them; the rows are one transaction. A file that a
        domain lists by itself is not enqueued.

        Raises:
            QuotaError: It does not fit into the quota of the inbox.
        """
        at = self.clock.now()
        capture = Captures(self.artifacts).put_stream(
            file,
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
        with self.warehouse.writing() as connection:
            is_new = bool(insert_absent(connection, uploads, [row]))
            if is_new:
                _require_quota(connection, new.inbox, declared, 0)
                CaptureLog(at).record(connection, [capture], group)
                if is_enqueued:
                    WorkItems(self.warehouse, self.clock).enqueue(
                        f"{TOPIC_PREFIX}{new.inbox}", [item], are_new=True, connection=connection
                    )
        return StoredFile(upload_id, capture.sha256, capture.byte_count, is_new)


def _require_quota(
    connection: Connection, inbox: str, declared: FileInbox, byte_count: int
) -> None:
    used = connection.scalar(
        select(func.coalesce(func.sum(uploads.c.byte_count), 0)).where(uploads.c.inbox == inbox)
    )
    if int(used or 0) + byte_count > declared.quota_bytes:
        raise QuotaError(
            f"the inbox {inbox} is full",
            expected=f"at most {declared.quota_mib} MiB of files (quota_mib)",
            found=f"{int(used or 0)} bytes, and {byte_count} bytes more",
            remedy="raise quota_mib in the file that INBOXES_FILE names",
        )
