"""Sources of documents: a folder, a bucket prefix, or uploads alone, by one protocol.

Paths of files are text that every database stores; `raw_path` returns what the source has.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol
from urllib.parse import unquote_to_bytes

from orchestration_project.domains.documents.arrivals import ListedFile
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.documents import DocumentsSettings

ESCAPED = re.compile(
    "[%\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"  # bidi controls too
)


def path_text(raw: str) -> str:
    """Return a path as text that every database stores, from which `raw_path` returns it."""
    if raw.isascii() and raw.isprintable() and "%" not in raw:
        return raw
    return ESCAPED.sub(lambda found: "".join(f"%{each:02X}" for each in os.fsencode(found[0])), raw)


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
        """Return what lies there now."""
        ...

    def url_of(self, path: str) -> str:
        """Return what a capture of the file shows as its origin."""
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
