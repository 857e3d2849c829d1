"""Erasure in the artifact store: captured bytes, packs and other artifacts.

A blob with a subject is replaced by a redacted one, or deleted where no capture is left of it. An
object goes before the rows that name it, so that a process that is killed leaves the work to do
again.
"""

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import polars as pl
import zstandard
from sqlalchemy import Connection, delete, select, update

from orchestration_project.engine.captures import BlobError, Captures, build_capture
from orchestration_project.engine.connections.artifacts import ArtifactStore, StoredObject
from orchestration_project.engine.contracts.chain import ERASURE
from orchestration_project.engine.contracts.retention import EXPORTED, kind_of
from orchestration_project.engine.contracts.subjects import SubjectKind
from orchestration_project.engine.packs import PACKS, Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import move_blob
from orchestration_project.engine.warehouse.chain_amending import (
    find_capture_partitions,
    record_amendments,
)
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.erasure.rules import Subject, remove_records
from orchestration_project.tables.operations_artifacts import operations_removals
from orchestration_project.tables.spine import blobs, captures, deliveries

BLOBS = "blobs/"

PARQUET = b"PAR1"

SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)
"""An identifier that names bytes."""

MAX_REDACTED_BYTES = 256 * 2**20
"""Size up to which captured bytes are redacted; larger ones are searched in pieces and deleted."""

PIECE_BYTES, OVERLAP_BYTES = 8 * 2**20, 2**14

MAX_MEMBER_BYTES = 2**30
"""Bytes of a member of an archive that are searched."""


@dataclass
class StoreCounts:
    """Counts and names of what an erasure found in the store.

    Attributes:
        deleted: Blobs that no capture names.
        redacted: Blobs whose bytes have the subject.
        artifacts: Names of other artifacts that have the subject.
        unnamed: Names of objects below `BLOBS` that have it and that no table names.
        damaged: Names of objects that cannot be searched.
    """

    deleted: int = 0
    redacted: int = 0
    artifacts: list[str] = field(default_factory=list[str])
    unnamed: list[str] = field(default_factory=list[str])
    damaged: list[str] = field(default_factory=list[str])

    def add(self, other: "StoreCounts") -> None:
        """Add the counts of another pass."""
        self.deleted += other.deleted
        self.redacted += other.redacted
        self.artifacts += other.artifacts
        self.unnamed[:] = other.unnamed
        self.damaged += other.damaged

    @property
    def is_empty(self) -> bool:
        """Whether nothing was changed."""
        return not (self.deleted or self.redacted or self.artifacts)


class RecordedBlobs(NamedTuple):
    """Blobs by object, and source and dataset of their captures by SHA-256."""

    named: Mapping[str, list[Blob]]
    origins: Mapping[str, set[tuple[str, str]]]


def read_recorded(connection: Connection) -> RecordedBlobs:
    """Return the blobs that the tables name, as the connection sees it."""
    named: defaultdict[str, list[Blob]] = defaultdict(list)
    origins: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in connection.execute(select(*(blobs.c[name] for name in Blob._fields))):
        named[row.storage_uri].append(Blob(*row))
    own = (captures.c.sha256, captures.c.source, captures.c.dataset)
    for sha256, source, dataset in connection.execute(select(*own).distinct()):
        origins[sha256].add((source, dataset))
    return RecordedBlobs(named, origins)


@dataclass(frozen=True)
class StoreErasure:
    """Searches the store for a subject, and erases it.

    Attributes:
        only_database: Whether no other database uses the store.
        moved: Where blobs of deleted packs are now, by SHA-256.
        gone: Names of deleted packs.
    """

    warehouse: Warehouse
    artifacts: ArtifactStore
    kind: SubjectKind
    subject: Subject
    only_database: bool
    moved: dict[str, Blob] = field(default_factory=dict[str, Blob])
    gone: set[str] = field(default_factory=set[str])

    def erase(self, recorded: RecordedBlobs, at: datetime, *, is_dry_run: bool) -> StoreCounts:
        """Erase the subject; in a dry run, only count.

        Raises:
            ConfigurationError: Captured bytes must go, and another database may need them.
        """
        counts = StoreCounts()
        self._repair(recorded, at)
        for name, some in sorted(recorded.named.items()):
            self._erase_object(name, some, recorded.origins, at, counts, is_dry_run=is_dry_run)
        for stored in list(self.artifacts.listed()):
            if stored.name in recorded.named:
                continue
            is_blob = stored.name.startswith(BLOBS)
            subject = self._has_subject(stored.name, counts)
            if subject and (not is_blob or self.only_database):
                counts.artifacts.append(stored.name)
                if not is_dry_run:
                    self._record_export(stored, at)
                    self._delete_object(stored.name)
            elif subject:
                counts.unnamed.append(stored.name)
        return counts

    def _erase_object(
        self,
        name: str,
        some: Sequence[Blob],
        origins: Mapping[str, set[tuple[str, str]]],
        at: datetime,
        counts: StoreCounts,
        *,
        is_dry_run: bool,
    ) -> None:
        unneeded = [blob for blob in some if blob.sha256 not in origins]
        try:
            redacted = self._redacted_blobs(some, origins)
            hidden = 0 if unneeded or redacted else self._hidden_count(name, some, counts)
            if (unneeded or redacted or hidden) and not is_dry_run:
                self._refuse_shared(len(unneeded) + len(redacted) + hidden)
                for blob, (new, cut_count) in redacted.items():
                    self._replace(blob, new, cut_count, at)
                removed = [*unneeded, *redacted]
                self._delete(name, removed, [blob for blob in some if blob not in removed], at)
        except BlobError:
            counts.damaged.append(name)
            return
        counts.deleted += len(unneeded) + hidden
        counts.redacted += len(redacted)

    def _hidden_count(self, name: str, some: Sequence[Blob], counts: StoreCounts) -> int:
        """Return 1 if a pack has the subject in what was moved out of it, which no row names."""
        stored_object = self.artifacts.found(name) if name.startswith(PACKS) else None
        if stored_object is None or stored_object.byte_count == sum(
            blob.stored_byte_count for blob in some
        ):
            return 0
        return int(self._has_subject(name, counts))

    def _repair(self, recorded: RecordedBlobs, at: datetime) -> None:
        """Move blobs again that a run has recorded in a pack which was deleted meanwhile."""
        lost = [
            {"of": blob.sha256, **self.moved[blob.sha256]._asdict()}
            for name in self.gone & recorded.named.keys()
            for blob in recorded.named[name]
            if blob.sha256 in self.moved and self.artifacts.found(name) is None
        ]
        if lost:
            with self.warehouse.writing() as connection:
                connection.execute(move_blob(at), lost)

    def _redacted_blobs(
        self, some: Sequence[Blob], origins: Mapping[str, set[tuple[str, str]]]
    ) -> dict[Blob, tuple[bytes, int]]:
        """Return the redacted bytes of those blobs with captures that have the subject.

        Raises:
            BlobError: The bytes of one are not those that were captured.
        """
        redacted_blobs: dict[Blob, tuple[bytes, int]] = {}
        for blob in some:
            if blob.sha256 in origins:
                new = self._redacted(blob, origins[blob.sha256])
                if new is not None:
                    redacted_blobs[blob] = new
        return redacted_blobs

    def _has_rows(self, content: bytes) -> bool:
        """Whether staged rows have the identifier in a declared column."""
        if not content.startswith(PARQUET):
            return False
        names = {column.column.name for column in self.kind.columns if not column.path}
        rows = pl.read_parquet(io.BytesIO(content))
        return any(
            self.subject.is_first(value)
            for name in names & set(rows.columns)
            for value in rows[name].unique()
        )

    def _refuse_shared(self, count: int) -> None:
        if not self.only_database:
            raise ConfigurationError(
                "captured bytes are not erased: another database may need them",
                expected="only_database: true in the run's config, where no other database (such "
                "as that of another DATA_PROFILE) keeps its captures in this store",
                found=f"{count} blobs or more with the subject",
                remedy="make sure, and start the job again with only_database: true",
            )

    def _redacted(self, blob: Blob, origins: set[tuple[str, str]]) -> tuple[bytes, int] | None:
        """Return the redacted bytes of a blob, and the number of records that were cut out of it.

        None: it does not have the subject.

        Raises:
            BlobError: Its bytes are not those that were captured.
        """
        if not self.kind.is_masked_in_captures:
            return None
        store = Captures(self.artifacts)
        if blob.byte_count > MAX_REDACTED_BYTES:
            with store.open(blob) as body:
                return (b"", 0) if _is_in(body.read, self.subject) else None
        content = new = store.read(blob)
        cut_count = 0
        for record in self.kind.records:
            if (record.source, record.dataset) in origins:
                new, count = remove_records(new, record, self.subject)
                cut_count += count
        new = self.subject.mask_bytes(new)
        return None if new == content else (new, cut_count)

    def _replace(self, blob: Blob, new: bytes, cut_count: int, at: datetime) -> None:
        """Have the captures of a blob name a redacted one, with fewer rows."""
        stored = Captures(self.artifacts).store(
            build_capture(new, url="", request={}, fetched_at=at)
        )
        condition = captures.c.sha256 == blob.sha256
        groups = select(captures.c.group_id).where(condition)
        row_count = captures.c.row_count - cut_count
        values = {"sha256": stored.sha256, "erased_at": at, "row_count": row_count}
        with self.warehouse.writing() as connection:
            insert_absent(connection, blobs, [{**stored.blob_row, "stored_at": at}])
            reached = find_capture_partitions(connection, condition)
            with record_amendments(connection, ERASURE, "redacted bytes", at, reached):
                connection.execute(
                    update(deliveries)
                    .where(deliveries.c.group_id.in_(groups))
                    .values(record_total=deliveries.c.record_total - cut_count)
                )
                connection.execute(update(captures).where(condition).values(values))

    def _delete(
        self, name: str, gone: Sequence[Blob], needed: Sequence[Blob], at: datetime
    ) -> None:
        """Delete an object, and the rows of its blobs that are gone; the others move first.

        Raises:
            BlobError: One that is needed is damaged. Nothing is deleted.
        """
        if needed:
            moved_blobs = Captures(self.artifacts).repack(needed)
            rows = [{"of": blob.sha256, **blob._asdict()} for blob in moved_blobs]
            self.moved.update((blob.sha256, blob) for blob in moved_blobs)
            self.gone.add(name)
            with self.warehouse.writing() as connection:
                connection.execute(move_blob(at), rows)
        self._delete_object(name)
        hashes = [blob.sha256 for blob in gone]
        with self.warehouse.writing() as connection:
            connection.execute(delete(blobs).where(blobs.c.sha256.in_(hashes)))

    def _delete_object(self, name: str) -> None:
        if self.artifacts.found(name) is not None:
            self.artifacts.delete(name)

    def _record_export(self, stored: StoredObject, at: datetime) -> None:
        """Record that an exported file is deleted, so that no verification misses it."""
        if kind_of(stored.name) != EXPORTED or self.subject.mask(stored.name) != stored.name:
            return
        row = {**stored._asdict(), "removed_at": at, "kind": EXPORTED, "run_id": ""}
        with self.warehouse.writing() as connection:
            insert_absent(connection, operations_removals, [row])

    def _has_subject(self, name: str, counts: StoreCounts) -> bool:
        """Whether an object has the subject: its bytes, what is compressed in it, or its name."""
        if self.subject.mask(name) != name:
            return True
        try:
            if not name.startswith(BLOBS):
                content = self.artifacts.get(name)
                return is_in_content(content, self.subject) or self._has_rows(content)
            if name.startswith(PACKS) and self._is_in_pack(name):
                return True
            with self.artifacts.open(name) as stored:
                frames = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
                return _is_in(frames.read, self.subject)
        except FileNotFoundError:
            return False
        except UNREADABLE:
            counts.damaged.append(name)
            return False

    def _is_in_pack(self, name: str) -> bool:
        """Whether a pack has bytes whose SHA-256 is an identifier.

        Raises:
            ZstdError: It is damaged.
        """
        if not any(map(SHA256.fullmatch, self.subject.identifiers)):
            return False
        left, decompressor = self.artifacts.get(name), zstandard.ZstdDecompressor()
        while left:
            frame = decompressor.decompressobj()
            if hashlib.sha256(frame.decompress(left)).hexdigest() in self.subject.identifiers:
                return True
            left = frame.unused_data
        return False


UNREADABLE = (zstandard.ZstdError, zipfile.BadZipFile, pl.exceptions.PolarsError)


def is_in_content(content: bytes, subject: Subject) -> bool:
    """Whether bytes have an identifier as they are, or once they are decompressed.

    Raises:
        ZstdError, BadZipFile, PolarsError: They are damaged.
    """
    return any(_is_in(read, subject) for read in _open_readers(io.BytesIO(content)))


def _is_in(read: Callable[[int], bytes], subject: Subject) -> bool:
    """Whether bytes have an identifier; they are read in pieces that overlap."""
    kept_name = b""
    while piece := read(PIECE_BYTES):
        if subject.is_in(kept_name + piece):
            return True
        kept_name = piece[-OVERLAP_BYTES:]
    return False


def _open_readers(content: io.BytesIO) -> Iterator[Callable[[int], bytes]]:
    """Yield functions that read an object as it lies, and as it is without compression."""
    yield content.read
    start = content.getvalue()[:4]
    content.seek(0)
    if start == zstandard.FRAME_HEADER:
        yield zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read
    elif start == PARQUET:
        yield _open_rows(content)
    elif start[:2] == b"PK":
        with zipfile.ZipFile(content) as archive:
            for member in archive.infolist():
                yield from _open_readers(io.BytesIO(_read_member(archive, member)))


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a member, as far as they are searched.

    Raises:
        BadZipFile: It is encrypted or damaged, or compressed by a method that is not known.
    """
    try:
        with archive.open(member) as opened:
            return opened.read(MAX_MEMBER_BYTES)
    except (EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise zipfile.BadZipFile(str(error)) from error


def _open_rows(content: io.BytesIO) -> Callable[[int], bytes]:
    frame = pl.read_parquet(content).select(pl.col(pl.String, pl.Binary))
    rows = "\n".join(
        json.dumps(value, ensure_ascii=False, default=lambda each: each.decode("latin-1"))
        for column in frame
        for value in column
        if value is not None
    )
    return io.BytesIO(rows.encode("utf-8", "surrogateescape")).read
