"""Where raw bytes and staged files are kept: a local folder, or any S3 endpoint.

An object is there whole or not at all: it is written beside its place and renamed, or put in one
request, and is on disk before the call returns.
"""

import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

import polars as pl

from orchestration_project.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class ArtifactStore(Protocol):
    """Keeps bytes under names with slashes."""

    url: str

    def put(self, name: str, content: bytes) -> None:
        """Store ``content`` under ``name``, replacing what was there."""
        ...

    def get(self, name: str) -> bytes:
        """Return the bytes under ``name``; FileNotFoundError if there are none."""
        ...

    def has(self, name: str) -> bool:
        """Whether there are bytes under ``name``."""
        ...


def open_artifacts(url: str) -> ArtifactStore:
    """Open the store at ``url``: a folder, a file:// or an s3:// URL.

    An s3:// URL takes endpoint, region and credentials from the usual AWS_… variables.

    Raises:
        ConfigurationError: The URL has another scheme, or the folder cannot be made.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return S3Store(url)
    if parts.scheme in ("", "file"):
        return FolderStore(Path(unquote(parts.path)))
    raise ConfigurationError(
        f"ARTIFACTS_URL has the scheme {parts.scheme}",
        expected="a folder, file:///… or s3://bucket/prefix",
        remedy="set ARTIFACTS_URL to one of these, or leave it unset",
    )


def put_frame(store: ArtifactStore, name: str, frame: pl.DataFrame) -> None:
    """Store ``frame`` as Parquet."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    store.put(name, buffer.getvalue())


class FolderStore:
    """Artifacts as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.url = folder.as_uri()
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        """Write, flush to disk, rename, flush the folder: a crash leaves no half file."""
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _flush_folder(path.parent)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write the artifact {name}",
                expected=f"a writable folder with free space at {self._folder}",
                found=f"{error.strerror}",
                remedy="mend the folder's permissions, free some disk, or set ARTIFACTS_URL",
            ) from error

    def get(self, name: str) -> bytes:
        """Return the bytes under ``name``; FileNotFoundError if there are none."""
        return (self._folder / name).read_bytes()

    def has(self, name: str) -> bool:
        """Whether there are bytes under ``name``."""
        return (self._folder / name).is_file()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class S3Store:
    """Artifacts as objects in a bucket."""

    def __init__(self, url: str) -> None:
        from obstore.store import from_url

        self.url = url
        self._store: ObjectStore = from_url(url)

    def put(self, name: str, content: bytes) -> None:
        """Put the object in one request."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.put(self._store, name, content)
        except BaseError as error:
            raise TransientError(
                f"cannot write the artifact {name}",
                expected=f"a writable bucket at {self.url}",
                found=str(error)[:300],
                remedy="check ARTIFACTS_URL, the AWS_… variables and the endpoint",
            ) from error

    def get(self, name: str) -> bytes:
        """Return the bytes under ``name``; FileNotFoundError if there are none."""
        import obstore

        return bytes(obstore.get(self._store, name).bytes())

    def has(self, name: str) -> bool:
        """Whether there is an object under ``name``."""
        import obstore

        try:
            obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True
