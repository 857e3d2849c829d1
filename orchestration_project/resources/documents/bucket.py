"""Documents below the prefix of a bucket: each object is a file, whatever its key."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, BinaryIO

from orchestration_project.domains.documents.arrivals import ListedFile
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.documents.s3_bucket import ObjectError, ObjectVersion, S3Bucket
from orchestration_project.resources.documents.source import Listing, path_text, raw_path

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BYTES_PER_REQUEST = 8 * 2**20

CODES = {"vanished": "vanished", "changed": "changed_while_read", "refused": "unreadable"}
"""Reason of an `ObjectError` to that of the document."""


class DocumentBucket:
    """The objects of a bucket; a key is data and names no other file.

    Args:
        bucket: The bucket, below its prefix.
        setting: What names it, for messages.
    """

    def __init__(self, bucket: S3Bucket, setting: str) -> None:
        self._bucket = bucket
        self.setting = setting

    @property
    def shown_name(self) -> str:
        """Name of the source, for messages."""
        return f"the bucket of {self.setting}"

    def listing(self) -> Listing:
        """Return all objects; one page of them is held at a time."""
        return Listing(self._files())

    def _files(self) -> Iterator[ListedFile]:
        for page in self._bucket.pages():
            for key, byte_count, modified_at, etag in page:
                time = modified_at.astimezone(UTC).replace(tzinfo=None)
                yield _convert_key(key), byte_count, time, etag

    def url_of(self, path: str) -> str:
        """Return the URL of an object, with the text of its path."""
        return f"{self._bucket.url}/{path}"

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return the bytes of an object, all of one ETag."""
        with self.open(path) as file:
            byte_count = file.seek(0, io.SEEK_END)
            if byte_count > max_bytes:
                raise DocumentError("too_large", f"{byte_count:,} bytes, limit {max_bytes:,}")
            file.seek(0)
            return file.read(byte_count)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open the present version of an object; another one raises ``changed_while_read``."""
        key = raw_path(path)
        with _explain_errors():
            version = self._bucket.version(key)
        yield io.BufferedReader(_VersionReader(self._bucket, key, version), BYTES_PER_REQUEST)


def _convert_key(key: str) -> str:
    """Return the path of a key; uploads alone have one that begins with a slash."""
    text = path_text(key)
    return f"%2F{text[1:]}" if text.startswith("/") else text


@contextmanager
def _explain_errors() -> Iterator[None]:
    """Raise the reason of a document in the place of a store's error: other files may be read."""
    try:
        yield
    except ObjectError as error:
        raise DocumentError(CODES[error.reason], error.detail) from error
    except OrchestrationError as error:
        raise DocumentError("unreadable", error.line) from error


class _VersionReader(io.RawIOBase):
    """Reads one version of an object by ranges."""

    def __init__(self, bucket: S3Bucket, key: str, version: ObjectVersion) -> None:
        self._bucket = bucket
        self._key = key
        self._version = version
        self._place = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return the new place."""
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._version.byte_count}
        self._place = max(starts[whence] + offset, 0)
        return self._place

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill the buffer with the next bytes of the version; return how many."""
        view = memoryview(buffer)
        size = min(len(view), BYTES_PER_REQUEST)
        with _explain_errors():
            content = self._bucket.read_range(self._key, self._version, self._place, size)
        view[: len(content)] = content
        self._place += len(content)
        return len(content)
