"""Files are read, and extracted in worker processes; what goes wrong is a reason of that file.

A reader that hangs, crashes or needs too much memory ends its own process alone. Files within a
file are items of the pool like others, so a bad one does not cost the file that holds it. A
document that is known, and was made by the present rules, is not extracted again.
"""

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, select

from orchestration_project.domains.documents.extracted import MIB, Extracted, Limits
from orchestration_project.domains.documents.extraction import (
    Delivered,
    Document,
    Waiting,
    unread,
)
from orchestration_project.domains.documents.formats import LIBRARIES
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.domains.documents.tables import documents
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.contracts.work_items import ClaimedItem
from orchestration_project.engine.pools import ItemError, ProcessPool
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.resources.documents.worker import (
    File,
    ReaderSettings,
    apply_to_each,
    extract_file,
)

MEMORY_BYTES, TIMEOUT = 512 * MIB, timedelta(seconds=60)
MAX_RESULT_BYTES = 256 * MIB

REASONS_OF_ENDS = {
    "timeout": "parser_timed_out",
    "memory": "parser_out_of_memory",
    "exit": "parser_crashed",
    "exception": "parser_failed",
    "result": "result_too_large",
    "item": "parser_failed",
}
"""Reason of an `ItemError` to that of the document."""

ALLOCATION_FAILED = "memory allocation of "
"""Written by libraries in Rust before they end their process."""

BLOCK = 4 * MIB

GROUP_FILES, GROUP_BYTES = 8, MIB // 4
"""Sent to a worker together at most: a message costs as much as reading a small file."""


class Source(NamedTuple):
    """A file to deliver: its name, and how to get its bytes.

    Attributes:
        name: What documents show, e.g. a path.
        read: Returns the bytes; it raises `DocumentError` with the reason if it cannot.
    """

    name: str
    read: Callable[[], bytes]


def require_libraries() -> None:
    """Check that the libraries of the readers are installed.

    Raises:
        ConfigurationError: One is missing.
    """
    missing = [package for module, package in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            "documents cannot be read: libraries are missing",
            expected="the extra documents of this package",
            found=f"not installed: {', '.join(missing)}",
            remedy="pip install 'orchestration_project[documents]', or in a checkout: "
            "pip install '.[documents]'",
        )


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a regular file, or of what a link to one leads to.

    Raises:
        DocumentError: ``not_a_file``, ``too_large``, ``unreadable``, ``vanished`` or
            ``changed_while_read``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return _read(file.fileno(), max_bytes)
    except FileNotFoundError as error:
        raise DocumentError("vanished", str(error.strerror)) from error
    except IsADirectoryError as error:
        raise DocumentError("not_a_file", "a folder") from error
    except (OSError, ValueError) as error:
        is_device = isinstance(error, OSError) and error.errno in (errno.ENXIO, errno.ENODEV)
        code = "not_a_file" if is_device else "unreadable"
        raise DocumentError(code, getattr(error, "strerror", None) or str(error)) from error


def _read(descriptor: int, max_bytes: int) -> bytes:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        kind = "a folder" if stat.S_ISDIR(before.st_mode) else "a device, pipe or socket"
        raise DocumentError("not_a_file", kind)
    if before.st_size > max_bytes:
        raise DocumentError("too_large", f"{before.st_size:,} bytes, limit {max_bytes:,}")
    content = bytearray()
    while len(content) <= before.st_size and (block := os.read(descriptor, BLOCK)):
        content += block
    after = os.fstat(descriptor)
    if len(content) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
        raise DocumentError(
            "changed_while_read", f"{before.st_size:,} bytes before, {len(content):,} read"
        )
    return bytes(content)


class Extraction:
    """Extracts files in the worker processes of a pool, each within limits."""

    def __init__(
        self,
        *,
        workers: int,
        memory_bytes: int = MEMORY_BYTES,
        timeout: timedelta = TIMEOUT,
        cpu_seconds: int | None = None,
        limits: Limits | None = None,
        settings: ReaderSettings | None = None,
        max_result_bytes: int = MAX_RESULT_BYTES,
        function: Callable[[File], Extracted] = extract_file,
    ) -> None:
        """Prepare the pool; workers start when they are needed.

        Args:
            workers: Files that are extracted at a time.
            memory_bytes: What a worker may allocate.
            timeout: Wall clock for one file.
            cpu_seconds: CPU time for one file, by default that of `timeout`.
            limits: What each delivered file must not exceed.
            settings: Passwords, and how images are recognised, for which `timeout` is extended.
            max_result_bytes: What the result for one file may have, its children included.
            function: What extracts a file, for tests of what may end a worker.

        Raises:
            ConfigurationError: A limit is too small, or a library is missing.
        """
        require_libraries()
        self._limits = limits or Limits()
        self._settings = settings or ReaderSettings()
        ocr = self._settings.ocr
        self._timeout = timeout + timedelta(seconds=ocr.seconds if ocr else 0)
        self._cpu_seconds = cpu_seconds or max(1, round(timeout.total_seconds()))
        self._function = function
        self._pool = ProcessPool(workers, memory_bytes, max_result_bytes=max_result_bytes)

    def __enter__(self) -> "Extraction":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def extract(self, sources: Iterable[Source]) -> Iterator[Document]:
        """Yield each file and the files within it, in the order in which they are done.

        Sources are read as workers become free, and files within a file before other sources, so
        few of them are held at a time.

        Raises:
            TransientError: A worker cannot be started.
            ConfigurationError: A worker cannot load the readers.
        """
        work = _Work(sources, self._limits, self._cpu_seconds, self._settings)
        function = partial(apply_to_each, self._function)
        while True:
            for files, result in self._pool.run(function, work.groups(), timeout=self._timeout):
                yield from work.settle(files, result)
                yield from work.settled()
            yield from work.settled()
            if not work.is_left:
                return


class _Work:
    """Files for the pool: of the sources, and of the files within those that were extracted."""

    def __init__(
        self,
        sources: Iterable[Source],
        limits: Limits,
        cpu_seconds: int,
        settings: ReaderSettings,
    ) -> None:
        self._sources = iter(sources)
        self._limits = limits
        self._cpu_seconds = cpu_seconds
        self._settings = settings
        self._open: dict[int, tuple[File, Delivered, Waiting]] = {}
        self._backlog: deque[Delivered] = deque()
        self._alone: deque[File] = deque()
        self._settled: deque[Document] = deque()

    @property
    def is_left(self) -> bool:
        """Whether files within others, or of a group that failed, still wait."""
        return bool(self._backlog or self._alone)

    def groups(self) -> Iterator[Sequence[File]]:
        """Yield the files that wait, small ones together; it may end while others are to come.

        Recognition takes seconds for an image, so where it is configured each file is alone.
        """
        group: list[File] = []
        byte_count = 0
        for file in self._files():
            byte_count += len(file.content)
            if group and byte_count > GROUP_BYTES:
                yield group
                group, byte_count = [], len(file.content)
            group.append(file)
            if len(group) == GROUP_FILES or self._settings.ocr:
                yield group
                group, byte_count = [], 0
            while self._alone:
                yield [self._alone.popleft()]
        if group:
            yield group
        while self._alone:
            yield [self._alone.popleft()]

    def _files(self) -> Iterator[File]:
        while True:
            while self._backlog:
                yield from self._files_of(self._backlog.popleft())
            source = next(self._sources, None)
            if source is None:
                return
            try:
                content = source.read()
            except DocumentError as error:
                self._settled.append(unread(source.name, error))
                continue
            yield from self._files_of(Delivered(source.name, content, self._limits))

    def _files_of(self, delivered: Delivered) -> Iterator[File]:
        while delivered.waiting:
            waiting, left = delivered.next_up()
            if delivered.is_too_deep(waiting):
                error = DocumentError("nested_too_deep", f"deeper than {left.depth}")
                self._settled.append(delivered.settle(waiting, error))
                continue
            file = File(waiting.path[-1], waiting.content, left, self._cpu_seconds, self._settings)
            self._open[id(file)] = (file, delivered, waiting)
            yield file

    def settle(
        self, files: Sequence[File], result: Sequence[Extracted] | OrchestrationError
    ) -> Iterator[Document]:
        """Yield the documents of files; the files within them wait from now on.

        If one of several ended the worker, each waits to be extracted alone.
        """
        if not isinstance(result, OrchestrationError):
            for file, found in zip(files, result, strict=True):
                yield self._settle(file, found)
            return
        error = _convert_error(result)
        if len(files) == 1:
            yield self._settle(files[0], error)
        else:
            self._alone.extend(files)

    def _settle(self, file: File, found: Extracted | DocumentError) -> Document:
        _, delivered, waiting = self._open.pop(id(file))
        document = delivered.settle(waiting, found)
        if delivered.waiting and delivered not in self._backlog:
            self._backlog.append(delivered)
        return document

    def settled(self) -> Iterator[Document]:
        """Yield the documents that needed no worker."""
        while self._settled:
            yield self._settled.popleft()


def _convert_error(result: OrchestrationError) -> DocumentError:
    """Return the reason for which a worker extracted nothing from a file.

    Raises:
        OrchestrationError: No error of the file.
    """
    if not isinstance(result, ItemError):
        raise result
    first_line = result.found.splitlines()[0] if result.found else ""
    if "SIGXCPU" in first_line:
        return DocumentError("parser_timed_out", "CPU time")
    if ALLOCATION_FAILED in (result.found or ""):
        return DocumentError("parser_out_of_memory", first_line)
    return DocumentError(REASONS_OF_ENDS[result.reason_code], first_line)


READABLE = ("loaded", "empty")
"""States of documents that no further attempt is made for."""

MAX_BATCH_BYTES = 32 * 2**20
"""Bytes of files that a run reads for a transaction; one file may have more."""

MAX_BATCH_TIME = timedelta(seconds=20)
"""Time after which no further file of a batch is begun, so that what is done is written."""

PIECE_FILES = 50
"""Files that are captured together, and between two looks at the time."""


@dataclass(frozen=True, kw_only=True)
class ClaimedDocument(ClaimedItem):
    """A file, or a recorded document, that a run works on.

    Attributes:
        byte_count: Its size at the latest poll, bytes.
        first_seen_at: When its file was first seen.
    """

    byte_count: int
    first_seen_at: datetime


class Reading(NamedTuple):
    """Bytes that an item stands for: a capture, stored or not, or the reason why it cannot be read.

    Attributes:
        name: It declares the type of the document.
        capture: The bytes; None: they cannot be read.
        error: Why not; of a file that is too large it comes with its capture.
        first_seen_at: When its file was first seen.
        source: Recorded as the source of the delivery.
        replay_of: Of a replay, the delivery that was fetched.
    """

    name: str
    capture: Capture | None
    first_seen_at: datetime
    source: str
    error: DocumentError | None = None
    replay_of: str | None = None


@dataclass(frozen=True)
class Taken:
    """Result of a batch for an item.

    Attributes:
        reading: Its bytes.
        found: The documents that it holds, itself first; empty: nothing is written of it.
        document_id: Its document; None: it has no bytes.
        state: The state of its document, as it was known before or as extraction found it.
        is_begun: Whether there was time for it.
    """

    reading: Reading | None = None
    found: Sequence[Document] = ()
    document_id: str | None = None
    state: str = ""
    is_begun: bool = True


NOT_BEGUN = Taken(is_begun=False)


@dataclass(frozen=True)
class DocumentExtractor:
    """Captures and extracts the items of a batch; known documents are not extracted again.

    Attributes:
        read: Returns the bytes of an item.
        captures: The store.
        warehouse: Knows blobs and documents.
        extraction: The worker processes.
        version: Documents of other rules are extracted again.
    """

    read: Callable[[ClaimedDocument], Reading]
    captures: Captures
    warehouse: Warehouse
    extraction: Extraction
    version: str

    def extract(self, items: Sequence[ClaimedDocument]) -> Iterator[tuple[ClaimedDocument, Taken]]:
        """Yield each item with what it holds.

        Raises:
            OrchestrationError: The store or a worker process fails.
        """
        until = time.monotonic() + MAX_BATCH_TIME.total_seconds()
        begun = _Begun()
        sources = self._sources(map(self.read, items), begun, until)
        for document in self.extraction.extract(sources):
            begun.add(document)
        for index, item in enumerate(items):
            is_begun = index < len(begun.readings)
            yield item, begun.taken(begun.readings[index]) if is_begun else NOT_BEGUN

    def _sources(
        self, readings: Iterator[Reading], begun: "_Begun", until: float
    ) -> Iterator[Source]:
        """Store some readings after the other as workers become free; yield what is to extract."""
        while time.monotonic() <= until and (some := list(islice(readings, PIECE_FILES))):
            stored = self._stored(some)
            ids = {
                reading.capture.sha256 for reading in stored if reading.capture
            } - begun.found.keys()
            with self.warehouse.reading() as connection:
                begun.known.update(_read_states(connection, sorted(ids), self.version))
            for reading in stored:
                begun.readings.append(reading._replace(capture=_drop_body(reading.capture)))
                document_id = reading.capture.sha256 if reading.capture else None
                if document_id and not begun.has(document_id):
                    begun.found[document_id] = []
                    yield Source(f"{document_id}/{reading.name}", partial(_take_bytes, reading))

    def _stored(self, readings: Sequence[Reading]) -> list[Reading]:
        """Store the captures that are not stored yet."""
        new = [
            reading.capture
            for reading in readings
            if reading.capture and not reading.capture.storage_uri
        ]
        stored = {
            capture.sha256: capture
            for capture in self.captures.keep_all(new, self.warehouse.known_blobs)
        }
        return [
            reading._replace(capture=reading.capture.stored_as(stored[reading.capture.sha256].blob))
            if reading.capture and not reading.capture.storage_uri
            else reading
            for reading in readings
        ]


@dataclass(frozen=True)
class _Begun:
    """The items of a batch that were begun, and the documents found in them.

    Attributes:
        readings: Of each item in their order, without bytes.
        known: The state of each document that is not extracted again.
        found: Documents by the id of the file that holds them.
    """

    readings: list[Reading] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    found: dict[str, list[Document]] = field(default_factory=dict)

    def has(self, document_id: str) -> bool:
        """Return whether a file is known, or is extracted already."""
        return document_id in self.known or document_id in self.found

    def add(self, document: Document) -> None:
        """Add an extracted document; the first part of its path begins with the id of its file."""
        document_id, _, _ = document.path[0].partition("/")
        self.found[document_id].append(document)

    def taken(self, reading: Reading) -> Taken:
        """Return the result for an item."""
        if reading.capture is None:
            return Taken(reading)
        document_id = reading.capture.sha256
        if document_id in self.known:
            return Taken(reading, (), document_id, self.known[document_id])
        identified = [_identify_document(document, reading) for document in self.found[document_id]]
        return Taken(reading, identified, document_id, identified[0].extracted.state)


def _take_bytes(reading: Reading) -> bytes:
    if reading.error is not None or reading.capture is None:
        raise reading.error or DocumentError("unreadable")
    return reading.capture.body


def _drop_body(capture: Capture | None) -> Capture | None:
    return capture.without_body() if capture else None


def _identify_document(document: Document, reading: Reading) -> Document:
    """Return a document without the bytes of those within it; its own are those of the capture."""
    if document.parent_id is not None or reading.capture is None:
        return document._replace(extracted=replace(document.extracted, children=()))
    extracted = replace(document.extracted, byte_count=reading.capture.byte_count, children=())
    return document._replace(document_id=reading.capture.sha256, extracted=extracted)


def _read_states(connection: Connection, ids: Sequence[str], version: str) -> dict[str, str]:
    """Return the state of each document that is readable and was made by the present rules."""
    query = select(documents.c.document_id, documents.c.state).where(
        documents.c.document_id.in_(ids),
        documents.c.rule_version == version,
        documents.c.state.in_(READABLE),
    )
    return {row.document_id: row.state for row in connection.execute(query)}
