"""Blobs read and compressed as streams, in constant memory."""

import hashlib
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import zstandard

from orchestration_project.errors import TransientError

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
        if count == 0 and (found := self._digest.hexdigest()) != self._sha256:
            raise self._changed(f"bytes whose SHA-256 is {found}")
        return count

    def close(self) -> None:
        """Close the stored file."""
        self._stored.close()
        super().close()
