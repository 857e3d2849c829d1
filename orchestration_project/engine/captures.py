"""Raw bytes, kept unchanged under their SHA-256 before anything reads them.

Large ones are read and compressed as streams, in constant memory.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Required, TypedDict, Unpack

import zstandard

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.packs import PACKED_BYTES, Blob, make_packs, pack_frames
from orchestration_project.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STREAM_BYTES = 2**18
"""Bytes of a stream that are read at once."""


def hash_file(source: BinaryIO) -> tuple[str, int]:
    """Return the SHA-256 of what is left of a file, hex, and its size in bytes."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(STREAM_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def compress_file(
    source: BinaryIO, sha256: str, byte_count: int, sizes: list[int]
) -> Iterator[bytes]:
    """Yield a zstd frame of the file's bytes, and note the size of each chunk.

    Raises:
        TransientError: The bytes are not those of ``sha256``.
    """
    digest, left = hashlib.sha256(), byte_count
    frame = zstandard.ZstdCompressor(level=1).compressobj(size=byte_count)
    while left and (chunk := source.read(min(left, STREAM_BYTES))):
        digest.update(chunk)
        left -= len(chunk)
        if compressed := frame.compress(chunk):
            sizes.append(len(compressed))
            yield compressed
    if digest.hexdigest() != sha256 or source.read(1):
        raise TransientError(
            "a file changed while it was captured",
            expected=f"{byte_count} bytes whose SHA-256 is {sha256}, as read before",
            found="other bytes at the second reading",
            remedy="capture the file again when its writer has closed it",
        )
    last = frame.flush()
    sizes.append(len(last))
    yield last


class VerifiedBlob(io.RawIOBase):
    """The bytes of a zstd frame, whose size and SHA-256 are compared at the end.

    Args:
        stored: The frame; closed with this reader.
        sha256: SHA-256 of the bytes, hex.
        byte_count: Size of the bytes.
        changed: Makes the error that a read raises where the bytes are others, of what was found.
    """

    def __init__(
        self,
        stored: BinaryIO,
        sha256: str,
        byte_count: int,
        changed: Callable[[str], Exception],
    ) -> None:
        self._stored = stored
        self._reader = zstandard.ZstdDecompressor().stream_reader(
            stored,
            STREAM_BYTES,
            read_across_frames=True,  # so that bytes after the frame are found
        )
        self._digest = hashlib.sha256()
        self._sha256 = sha256
        self._left = byte_count
        self._changed = changed

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill the buffer with the next bytes; return how many, 0 at the verified end."""
        view = memoryview(buffer)
        try:
            count = self._reader.readinto(view)
        except zstandard.ZstdError as error:
            raise self._changed(f"no zstd: {error}") from error
        self._digest.update(view[:count])
        self._left -= count
        if self._left < 0 or (count == 0 and self._left):
            raise self._changed("another size")
        if count == 0 and (hexdigest := self._digest.hexdigest()) != self._sha256:
            raise self._changed(f"bytes whose SHA-256 is {hexdigest}")
        return count

    def close(self) -> None:
        """Close the stored file."""
        self._stored.close()
        super().close()


MIN_BLOB_AGE = timedelta(days=1)
"""Age below which a stored blob is not cleaned up, as a load may use it: longer than any load, and
less than the least retention."""


class BlobError(ConfigurationError):
    """The artifact store lacks a blob that was captured, or holds other bytes in its place."""


class Fetch(TypedDict, total=False):
    """Fields of `Capture` that say how bytes were fetched."""

    url: Required[str]
    request: Required[Mapping[str, object]]
    fetched_at: Required[datetime]
    response_headers: Mapping[str, str]
    http_status: int | None
    row_count: int | None
    market: str | None


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One answer of a source whose bytes are stored: the bytes, and how they were fetched.

    Attributes:
        body: The bytes; empty once they are released, as the artifact store has them.
        url: Where they came from.
        request: What was requested, without secrets.
        response_headers: Headers of the answer that are kept.
        http_status: Its status; None: it did not come over HTTP.
        row_count: The number of data lines; None: the bytes have none.
        fetched_at: When they came.
        market: Set where a source delivers a market at a time.
        byte_count: Size as received.
        sha256: SHA-256 of the bytes, hex.
        stored_byte_count: Size as stored, bytes.
        storage_uri: The name of the stored object.
        run_id: The run that fetched it, where it is taken up again.
        source: Its source, where that is another one than its delivery's.
        byte_offset: Where it begins in a stored pack; None: the object has it alone.
        erased_at: When an erasure replaced its bytes; None: they are as received.
    """

    body: bytes
    url: str
    request: Mapping[str, object]
    fetched_at: datetime
    response_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    http_status: int | None = None
    row_count: int | None = None
    market: str | None = None
    byte_count: int
    sha256: str
    stored_byte_count: int = 0
    storage_uri: str = ""
    run_id: str | None = None
    source: str | None = None
    byte_offset: int | None = None
    erased_at: datetime | None = None

    def stored_as(self, blob: Blob) -> "Capture":
        """Return it with where its bytes are."""
        values = {
            "stored_byte_count": blob.stored_byte_count,
            "storage_uri": blob.storage_uri,
            "byte_offset": blob.byte_offset,
        }
        return Capture(**{**vars(self), **values})  # `replace` takes twice the time

    def without_body(self) -> "Capture":
        """Return it without its bytes, which the artifact store has."""
        return replace(self, body=b"")

    def as_part(self, number: int, body: bytes) -> Part:
        """Return it as a part of a delivery, with its bytes."""
        return Part(
            number,
            body,
            self.market,
            self.url,
            self.request,
            self.response_headers,
            self.http_status,
        )

    @property
    def blob(self) -> Blob:
        """The row of its bytes."""
        values = (self.sha256, self.byte_count, self.stored_byte_count, self.storage_uri)
        return Blob(*values, self.byte_offset)

    @property
    def blob_row(self) -> dict[str, object]:
        """The row of `blobs`, without its time."""
        return self.blob._asdict()

    @property
    def capture_row(self) -> dict[str, object]:
        """The row of `captures`, without what the delivery knows."""
        return {
            "sha256": self.sha256,
            "url": self.url,
            "request": _as_json(self.request),
            "response_headers": _as_json(dict(self.response_headers)),
            "http_status": self.http_status,
            "row_count": self.row_count,
            "fetched_at": self.fetched_at,
            "erased_at": self.erased_at,
        }


_as_json = json.JSONEncoder(sort_keys=True).encode


def build_capture(body: bytes, **fetch: Unpack[Fetch]) -> Capture:
    """Return a capture whose bytes the store does not have yet."""
    return Capture(
        body=body, byte_count=len(body), sha256=hashlib.sha256(body).hexdigest(), **fetch
    )


def limit_memory(captures: Iterable[Capture]) -> list[Capture]:
    """Return captures of which the first `HELD_BYTES` alone are in memory."""
    bounded_captures: list[Capture] = []
    size = 0
    for capture in captures:
        size += capture.byte_count
        bounded_captures.append(capture if size <= HELD_BYTES else capture.without_body())
    return bounded_captures


def build_parts(captures: Sequence[Capture]) -> list[Part]:
    """Return the captures' bytes as the numbered parts of a delivery."""
    return [
        capture.as_part(number, capture.body) for number, capture in enumerate(captures, start=1)
    ]


MAX_SINGLE_READ_BYTES, PIECE_BYTES = 32 * 2**20, 8 * 2**20
"""Bytes of text that are validated together: up to 32 MiB at once, which is fastest; more in
pieces, as text takes several times the memory of rows."""

HELD_BYTES = 64 * 2**20
"""Bytes of text that the replay of a week holds in memory until it is validated."""


class Captures:
    """Stores fetched captures; the database rows follow in the transaction that uses them."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    def keep(self, body: bytes, **fetch: Unpack[Fetch]) -> Capture:
        """Store the bytes of an answer durably, unless they were stored lately."""
        return self.store(build_capture(body, **fetch))

    def store(self, capture: Capture) -> Capture:
        """Store a capture of `unstored` as an object of its own, unless it was stored lately."""
        return capture.stored_as(self._keep_alone(capture.sha256, capture.body))

    def keep_all(
        self, fetched: Sequence[Capture], known: Callable[[Sequence[str]], Mapping[str, Blob]]
    ) -> list[Capture]:
        """Store captures that are not stored yet; the small ones lie together in packs.

        A crash leaves whole packs, which no row names.

        Args:
            fetched: As `unstored` made them.
            known: Returns those blobs of some SHA-256 that a database has; they are not stored
                again.
        """
        bodies = {capture.sha256: capture.body for capture in fetched}
        blobs_by_name = known(list(bodies))
        objects = {blob.storage_uri for blob in blobs_by_name.values()}
        present = {name for name in objects if self._is_refreshed(name)}
        blobs = {
            sha256: blob for sha256, blob in blobs_by_name.items() if blob.storage_uri in present
        }
        new = {sha256: body for sha256, body in bodies.items() if sha256 not in blobs}
        small = {sha256: body for sha256, body in new.items() if len(body) < PACKED_BYTES}
        if len(small) > 1:
            for pack in make_packs(small):
                self._artifacts.put(pack.name, pack.content)
                blobs |= {each.sha256: each for each in pack.blobs}
        for sha256, body in new.items():
            if sha256 not in blobs:
                blobs[sha256] = self._keep_alone(sha256, body)
        return [capture.stored_as(blobs[capture.sha256]) for capture in fetched]

    def _keep_alone(self, sha256: str, body: bytes) -> Blob:
        name = name_blob(sha256)
        size = self._byte_count_if_new(name)
        if size is None:
            stored = zstandard.ZstdCompressor(level=1).compress(body)
            self._artifacts.put(name, stored)
            size = len(stored)
        return Blob(sha256, len(body), size, name)

    def _is_refreshed(self, name: str) -> bool:
        """Put an object that was stored long ago again, so that a clean-up lets it be.

        Returns:
            Whether it exists.
        """
        if self._byte_count_if_new(name) is None:
            try:
                self._artifacts.put(name, self._artifacts.get(name))
            except FileNotFoundError:
                return False
        return True

    def put_stream(self, source: BinaryIO, **fetch: Unpack[Fetch]) -> Capture:
        """Store the bytes of a seekable file like `keep`, in constant memory.

        The file is read twice: for its SHA-256, and again if the store lacks these bytes. The
        capture has no body.

        Raises:
            TransientError: The file changed between the two readings. Nothing is stored.
        """
        source.seek(0)
        sha256, byte_count = hash_file(source)
        name = name_blob(sha256)
        size = self._byte_count_if_new(name)
        if size is None:
            source.seek(0)
            sizes: list[int] = []
            self._artifacts.put_chunks(name, compress_file(source, sha256, byte_count, sizes))
            size = sum(sizes)
        capture = Capture(body=b"", byte_count=byte_count, sha256=sha256, **fetch)
        return capture.stored_as(Blob(sha256, byte_count, size, name))

    def open(self, blob: Blob) -> BinaryIO:
        """Open a blob for reading in constant memory.

        The last read, which finds the end, raises BlobError if the bytes were others than those
        that were received. So does a read of what cannot be decompressed.

        Raises:
            BlobError: The store has no such blob.
        """
        if blob.byte_offset is not None:
            return io.BytesIO(self.read(blob))
        try:
            stored = self._artifacts.open(blob.storage_uri)
        except FileNotFoundError as error:
            raise self._changed(blob, "no such blob") from error
        reader = VerifiedBlob(stored, blob.sha256, blob.byte_count, partial(self._changed, blob))
        return io.BufferedReader(reader, STREAM_BYTES)

    def verify(self, blob: Blob) -> None:
        """Read a blob to its end in constant memory.

        Raises:
            BlobError: It does not exist, or has other bytes than those that were received.
        """
        with self.open(blob) as body:
            while body.read(STREAM_BYTES):
                pass

    def pieces(self, captures: Sequence[Capture]) -> Iterator[Sequence[Part]]:
        """Yield the parts of a delivery, as many at a time as are read together; once at least.

        What a capture holds no more is read from the store, when it is its turn.

        Raises:
            BlobError: The store does not hold what was captured.
        """
        is_usual = sum(capture.byte_count for capture in captures) <= MAX_SINGLE_READ_BYTES
        name = MAX_SINGLE_READ_BYTES if is_usual else PIECE_BYTES
        piece: list[Part] = []
        size = 0
        for number, capture in enumerate(captures, start=1):
            if size and size + capture.byte_count > name:
                yield piece
                piece, size = [], 0
            piece.append(capture.as_part(number, self._body_of(capture)))
            size += capture.byte_count
        yield piece

    def _body_of(self, capture: Capture) -> bytes:
        body = capture.body
        if body or not capture.byte_count:
            return body
        return self.read(capture.blob)

    def read(self, blob: Blob) -> bytes:
        """Return a blob's bytes, having made sure that they are those that were received.

        Raises:
            BlobError: There are none, or others.
        """
        return self._verified(blob)[0]

    def repack(self, blobs: Sequence[Blob]) -> list[Blob]:
        """Store blobs of one pack in new packs, and return where they are.

        Raises:
            BlobError: The bytes of one are not those that were received. Nothing is stored.
        """
        pack = self._object(blobs[0])
        frames: list[tuple[str, int, bytes]] = []
        for blob in blobs:
            start = blob.byte_offset or 0
            frame = pack[start : start + blob.stored_byte_count]
            self._decompressed(blob, frame)
            frames.append((blob.sha256, blob.byte_count, frame))
        moved_blobs: list[Blob] = []
        for new in pack_frames(iter(frames)):
            self._artifacts.put(new.name, new.content)
            moved_blobs += new.blobs
        return moved_blobs

    def restore(self, blob: Blob) -> bytes:
        """Do the same for bytes that will be loaded again, so that a clean-up lets them be.

        Raises:
            BlobError: There are none, or others.
        """
        body, stored = self._verified(blob)
        if blob.byte_offset is not None:
            self._is_refreshed(blob.storage_uri)
        elif self._byte_count_if_new(blob.storage_uri) is None:
            self._artifacts.put(blob.storage_uri, stored)
        return body

    def _byte_count_if_new(self, name: str) -> int | None:
        """Return the size of a blob that was put lately; one that was not may be cleaned up."""
        stored_object = self._artifacts.found(name)
        return (
            stored_object.byte_count
            if stored_object and stored_object.put_at >= Clock().now() - MIN_BLOB_AGE
            else None
        )

    def _verified(self, blob: Blob) -> tuple[bytes, bytes]:
        """Return a blob's bytes, as they were received and as they are stored."""
        if blob.byte_offset is None:
            stored = self._object(blob)
        else:
            try:
                stored = self._artifacts.get_range(
                    blob.storage_uri, blob.byte_offset, blob.stored_byte_count
                )
            except FileNotFoundError as error:
                raise self._changed(blob, "no such blob") from error
        return self._decompressed(blob, stored), stored

    def _object(self, blob: Blob) -> bytes:
        """Return all bytes of the object that holds a blob."""
        try:
            return self._artifacts.get(blob.storage_uri)
        except FileNotFoundError as error:
            raise self._changed(blob, "no such blob") from error

    def _decompressed(self, blob: Blob, stored: bytes) -> bytes:
        """Return a blob's bytes of its frame, having made sure that they are those received."""
        try:
            if zstandard.frame_content_size(stored) != blob.byte_count:
                raise self._changed(blob, "another size")
            body = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise self._changed(blob, f"no zstd: {error}") from error
        if (hexdigest := hashlib.sha256(body).hexdigest()) != blob.sha256:
            raise self._changed(blob, f"bytes whose SHA-256 is {hexdigest}")
        return body

    def _changed(self, blob: Blob, found: str) -> BlobError:
        return BlobError(
            f"the blob {blob.storage_uri} is not what was captured",
            expected=f"bytes whose SHA-256 is {blob.sha256}, in {self._artifacts.url}",
            found=found,
            remedy="set ARTIFACTS_URL to where the bytes lie, or put the blob back from a backup",
        )


def name_blob(sha256: str) -> str:
    """Return the name of the object that holds the bytes of a SHA-256 alone."""
    return f"blobs/{sha256[:2]}/{sha256}.zst"


VERSION_DIGITS = 16


def compute_version(dataset: str, captures: Captures, pages: Sequence[Capture]) -> str:
    """Return the state of a dataset that these pages show, however its rows are spread over them.

    A page is a header and lines. The bytes of many pages are in the store alone.
    """
    digest = hashlib.sha256()
    for part in (part for piece in captures.pieces(pages) for part in piece):
        digest.update(part.body.partition(b"\n")[2].rstrip(b"\n") + b"\n")
    rows = sum(page.row_count or 0 for page in pages)
    return f"{dataset}: {rows} records, {digest.hexdigest()[:VERSION_DIGITS]}"
