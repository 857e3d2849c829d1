"""Artifact store for captured bytes and staged files: a local folder, or an S3 endpoint.

An object is there whole or not at all: it is written elsewhere and renamed, or put in one request
or in parts that are joined by the last one, and is on disk before the call returns.
"""

import fcntl
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from orchestration_project.engine.connections.files import open_partial_file
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.redaction import redacted
from orchestration_project.settings import Settings, project_path, read_secrets, without_secrets

if TYPE_CHECKING:
    import polars as pl
    from _typeshed import ReadableBuffer, WriteableBuffer
    from obstore.store import ObjectStore


S3_STREAM_PARTS = 1
"""Parts of 5 MiB of a stream that are sent at once."""

S3_RETRIES, S3_RETRY_SECONDS = 4, 60

S3_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Credentials that may be in files; obstore reads the other AWS_… variables itself."""

PARTIAL = ".partial"
"""The folder of what is being written, below that of the artifacts."""


CHUNK_BYTES = 2**20
"""Bytes of a file that are copied at once."""


class StoredObject(NamedTuple):
    """An artifact as it lies in the store: its name, size in bytes, and when it was last put."""

    name: str
    byte_count: int
    put_at: datetime


class ArtifactStore(Protocol):
    """Keeps bytes under names with slashes."""

    url: str

    def put(self, name: str, content: bytes | BinaryIO) -> None:
        """Store ``content``, of a file all of it, under ``name``, replacing what was there."""
        ...

    def put_chunks(self, name: str, chunks: Iterator[bytes]) -> None:
        """Store chunks as they come, in constant memory; if one raises, nothing is stored."""
        ...

    def get(self, name: str) -> bytes:
        """Return the bytes under ``name``; FileNotFoundError if there are none."""
        ...

    def get_range(self, name: str, start: int, size: int) -> bytes:
        """Return bytes from ``start``, fewer at the end; FileNotFoundError: no such name."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open ``name`` for reading in constant memory; FileNotFoundError if it does not exist."""
        ...

    def delete(self, name: str) -> None:
        """Delete the object ``name``, whenever it was put."""
        ...

    def listed(self, below: str = "") -> Iterator[StoredObject]:
        """Yield all that is stored, in no order; what is being written is left out.

        Args:
            below: A folder, without a slash at its end; empty: all.
        """
        ...

    def found(self, name: str) -> StoredObject | None:
        """Return the stored object ``name``, None if there is none."""
        ...

    def delete_older(self, name: str, before: datetime) -> bool:
        """Delete the object ``name`` if it was last put before that time; return whether it was."""
        ...

    def copy(self, name: str, to: str) -> None:
        """Copy the object ``name`` to ``to``, replacing that; it need not be readable.

        FileNotFoundError if there is nothing under ``name``.
        """
        ...


def open_artifacts(url: str, *, setting: str = "ARTIFACTS_URL") -> ArtifactStore:
    """Open the store at ``url``, which ``setting`` gives: a folder, a file:// or an s3:// URL.

    A relative folder lies below the project folder, wherever a process was started. An s3:// URL
    takes endpoint, region and credentials from the usual AWS_… variables; the secret may be in the
    file that AWS_SECRET_ACCESS_KEY_FILE names.

    Raises:
        ConfigurationError: The URL has another scheme, or names no bucket or folder.
    """
    scheme, mark, _ = url.partition("://")
    if not mark:
        return FolderStore(project_path(Path(url)), setting=setting)
    parts = urlsplit(url)
    if scheme == "s3" and parts.netloc:
        return S3Store(url, setting=setting)
    if scheme == "file" and parts.netloc in ("", "localhost"):
        return FolderStore(Path(unquote(parts.path)), setting=setting)
    raise ConfigurationError(
        f"{setting} cannot be used",
        expected="a folder, file:///… or s3://bucket/prefix",
        found=without_secrets(url),
        remedy=f"set {setting} to one of these, or leave it unset",
    )


def encode_parquet(frame: "pl.DataFrame") -> bytes:
    """Return ``frame`` as a Parquet file; one release of polars makes the same of equal rows."""
    buffer = io.BytesIO()
    # Level 1 is 2 % larger than the default, in 3/4 of the time; no request reads a part of the
    # file's rows, for which statistics are, and they are a third of the rest.
    frame.rechunk().write_parquet(buffer, compression_level=1, statistics=False)
    return buffer.getvalue()


def write_parquet(frames: "Iterable[pl.DataFrame]", file: BinaryIO) -> None:
    """Write frames of the same columns, one at least, as a Parquet file with a row group of each.

    One release of pyarrow makes the same of equal frames.
    """
    import polars as pl
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    for frame in frames:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if writer is None:
            writer = pq.ParquetWriter(
                file, table.schema, compression="zstd", compression_level=1, write_statistics=False
            )
        writer.write_table(table, row_group_size=max(len(frame), 1))
    if writer is not None:
        writer.close()


def put_content(store: ArtifactStore, folder: str, content: bytes, *, suffix: str) -> str:
    """Store ``content`` in ``folder`` under its SHA-256 and return that name.

    One store may serve several databases and processes: equal names would overwrite each other.
    """
    name = f"{folder}/{hashlib.sha256(content).hexdigest()}.{suffix}"
    store.put(name, content)
    return name


def _describe_file(name: str, of_file: os.stat_result) -> StoredObject:
    return StoredObject(name, of_file.st_size, datetime.fromtimestamp(of_file.st_mtime, UTC))


class FolderStore:
    """Artifacts as files below a folder, which ``setting`` gives."""

    def __init__(self, folder: Path, *, setting: str = "ARTIFACTS_URL") -> None:
        self.url = folder.as_uri()
        self.folder = folder
        self._setting = setting

    def put(self, name: str, content: bytes | BinaryIO) -> None:
        """Write, flush to disk, rename, flush the folder: a crash leaves no half file."""
        self.put_chunks(
            name, iter([content]) if isinstance(content, bytes) else _read_chunks(content)
        )

    def put_chunks(self, name: str, chunks: Iterator[bytes]) -> None:
        """Do the same with chunks as they come."""
        path = self.folder / name
        with self._explained("write", name):
            _make_folder(path.parent)
            _make_folder(self.folder / PARTIAL)
            with open_partial_file(self.folder / PARTIAL) as (file, partial):
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
                with _lock_folder(self.folder, fcntl.LOCK_SH):
                    partial.replace(path)
            _flush_folder(path.parent)

    def get(self, name: str) -> bytes:
        """Return the bytes under ``name``; FileNotFoundError if there are none."""
        with self._explained("read", name):
            return (self.folder / name).read_bytes()

    def get_range(self, name: str, start: int, size: int) -> bytes:
        """Return bytes from ``start``, fewer at the end; FileNotFoundError: no such name."""
        with self._explained("read", name), (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read(size)

    def open(self, name: str) -> BinaryIO:
        """Open the file ``name``; FileNotFoundError if there is none."""
        with self._explained("read", name):
            return (self.folder / name).open("rb")

    def delete(self, name: str) -> None:
        """Remove the file ``name``."""
        with self._explained("delete", name):
            (self.folder / name).unlink()

    def listed(self, below: str = "") -> Iterator[StoredObject]:
        """Yield the files below the folder; one that is deleted meanwhile may be left out."""
        with self._explained("list", str(self.folder)):
            for path in (self.folder / below).rglob("*"):
                name = path.relative_to(self.folder)
                if name.parts[0] == PARTIAL:
                    continue
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    if S_ISREG(stat.st_mode):
                        yield _describe_file(name.as_posix(), stat)

    def found(self, name: str) -> StoredObject | None:
        """Return the file ``name`` as a stored object, None if there is none."""
        with self._explained("read", name):
            try:
                stat = (self.folder / name).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return _describe_file(name, stat) if S_ISREG(stat.st_mode) else None

    def delete_older(self, name: str, before: datetime) -> bool:
        """Delete the file ``name`` if it is as old, under the lock that excludes writers."""
        with self._explained("delete", name), _lock_folder(self.folder, fcntl.LOCK_EX):
            stored_object = self.found(name)
            if stored_object is None or stored_object.put_at >= before:
                return False
            (self.folder / name).unlink()
            return True

    def copy(self, name: str, to: str) -> None:
        """Link the file ``name`` as ``to``, which needs no right to read it."""
        source, target = self.folder / name, self.folder / to
        if not source.exists():
            raise FileNotFoundError(name)
        with self._explained("write", to):
            _make_folder(target.parent)
            _make_folder(self.folder / PARTIAL)
            partial = self.folder / PARTIAL / uuid4().hex
            try:
                partial.hardlink_to(source)
            except OSError:  # a file system without links
                with source.open("rb") as file:
                    self.put_chunks(to, _read_chunks(file))
                return
            partial.replace(target)
            partial.unlink(missing_ok=True)  # a rename to another name of the file does nothing
            _flush_folder(target.parent)

    @contextmanager
    def _explained(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if what == "read" and isinstance(error, FileNotFoundError):
                raise
            raise ConfigurationError(
                f"cannot {what} the artifact {name}",
                expected=(
                    f"a folder with free space that this user may read and write, at {self.folder}"
                ),
                found=f"{error.strerror}",
                remedy=f"fix the folder's permissions, free some disk, or set {self._setting}",
            ) from error


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file from its beginning."""
    file.seek(0)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it, each of them on disk."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)


@contextmanager
def _lock_folder(folder: Path, how: int) -> Iterator[None]:
    """Hold a lock on ``folder``; it ends with the process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class S3Store:
    """Artifacts as objects in a bucket, whose URL ``setting`` gives."""

    def __init__(self, url: str, *, setting: str = "ARTIFACTS_URL") -> None:
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        self.url = without_secrets(url)
        self._setting = setting
        retry_timeout = timedelta(seconds=S3_RETRY_SECONDS)
        credentials: Any = read_secrets(*S3_SECRETS)
        try:
            self._store: ObjectStore = from_url(
                url,
                config=credentials,
                retry_config={"max_retries": S3_RETRIES, "retry_timeout": retry_timeout},
            )
        except (BaseError, ValueError) as error:
            raise ConfigurationError(
                f"the artifact store {self.url} cannot be opened",
                expected="s3://bucket/prefix, and AWS_… variables that belong together",
                found=_read_message(error),
                remedy=f"correct {setting} or the AWS_… variables",
            ) from error

    def put(self, name: str, content: bytes | BinaryIO) -> None:
        """Put the object in one request; a file in parts, which are there together or not."""
        import obstore

        with self.explained("write", name):
            if isinstance(content, bytes):
                obstore.put(self._store, name, content, use_multipart=False)
            else:
                content.seek(0)
                obstore.put(self._store, name, content, use_multipart=True)

    def put_chunks(self, name: str, chunks: Iterator[bytes]) -> None:
        """Put the object part by part: the library's 12 parts at once would be 60 MiB."""
        import obstore

        with self.explained("write", name):
            obstore.put(
                self._store, name, chunks, use_multipart=True, max_concurrency=S3_STREAM_PARTS
            )

    def get(self, name: str) -> bytes:
        """Return the bytes under ``name``; FileNotFoundError if there are none."""
        import obstore

        with self.explained("read", name):
            return bytes(obstore.get(self._store, name).bytes())

    def get_range(self, name: str, start: int, size: int) -> bytes:
        """Return bytes from ``start``, fewer at the end; FileNotFoundError: no such name."""
        import obstore

        try:
            with self.explained("read", name):
                return bytes(obstore.get_range(self._store, name, start=start, length=size))
        except TransientError:
            stored_object = self.found(name)
            if stored_object is None or start + size <= stored_object.byte_count:
                raise
            return self.get(name)[start:]  # a range beyond the end is refused

    def open(self, name: str) -> BinaryIO:
        """Open the object ``name``, read in one request; FileNotFoundError if there is none."""
        import obstore

        with self.explained("read", name):
            chunks = obstore.get(self._store, name).stream(min_chunk_size=CHUNK_BYTES)
        return io.BufferedReader(_ObjectReader(iter(chunks), self, name), CHUNK_BYTES)

    def delete(self, name: str) -> None:
        """Remove the object ``name``."""
        import obstore

        with self.explained("delete", name):
            obstore.delete(self._store, name)

    def listed(self, below: str = "") -> Iterator[StoredObject]:
        """Yield the objects below the prefix."""
        import obstore

        with self.explained("list", self.url):
            for page in obstore.list(self._store, prefix=below or None):
                for object_meta in page:
                    yield StoredObject(
                        object_meta["path"], object_meta["size"], object_meta["last_modified"]
                    )

    def found(self, name: str) -> StoredObject | None:
        """Return the stored object ``name`` of the bucket, None if there is none."""
        import obstore

        try:
            with self.explained("read", name):
                head = obstore.head(self._store, name)
        except FileNotFoundError:
            return None
        return StoredObject(name, head["size"], head["last_modified"])

    def delete_older(self, name: str, before: datetime) -> bool:
        """Delete the object ``name`` if it is as old; one that is put in that moment goes, too."""
        import obstore

        stored_object = self.found(name)
        if stored_object is None or stored_object.put_at >= before:
            return False
        with self.explained("delete", name):
            obstore.delete(self._store, name)
        return True

    def copy(self, name: str, to: str) -> None:
        """Copy the object ``name`` within the bucket, in one request."""
        import obstore

        with self.explained("read", name):
            obstore.copy(self._store, name, to)

    @contextmanager
    def explained(self, what: str, name: str) -> Iterator[None]:
        """Raise the project's error, naming the object, in the place of the library's."""
        from obstore import exceptions

        refusals = (
            exceptions.PermissionDeniedError,
            exceptions.UnauthenticatedError,
            FileNotFoundError,
        )
        try:
            yield
        except (exceptions.BaseError, FileNotFoundError) as error:
            if what == "read" and isinstance(error, FileNotFoundError):
                raise
            kind = ConfigurationError if isinstance(error, refusals) else TransientError
            raise kind(
                f"cannot {what} the artifact {name}",
                expected=f"a bucket that we may read and write at {self.url}",
                found=_read_message(error),
                remedy=f"check {self._setting}, the AWS_… variables and the endpoint",
            ) from error


class _ObjectReader(io.RawIOBase):
    """Reads an object of a bucket; its errors name the object."""

    def __init__(self, chunks: "Iterator[ReadableBuffer]", store: S3Store, name: str) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")
        self._store = store
        self._name = name

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill the buffer with the next bytes; return how many."""
        if not self._chunk:
            with self._store.explained("read", self._name):
                self._chunk = memoryview(next(self._chunks, b""))
        view = memoryview(buffer)
        count = min(len(view), len(self._chunk))
        view[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        return count


def _read_message(error: Exception) -> str:
    """Return the message of an obstore error, without the state that follows it."""
    return redacted(str(error).partition("\n")[0])[:300]


def open_store(settings: Settings) -> ArtifactStore:
    """Return the artifact store of these settings."""
    return open_artifacts(settings.artifacts_url or str(settings.state_path / "artifacts"))
