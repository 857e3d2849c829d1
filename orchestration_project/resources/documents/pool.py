"""Takes the items of a batch: files are captured, and extracted in worker processes.

A document that is known, and was made by the present rules, is not extracted again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection, select

from orchestration_project.contracts.work_items import ClaimedItem
from orchestration_project.domains.documents.extraction import Document
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.documents.extraction import Extraction, Source
from orchestration_project.tables.documents import documents

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
        for place, item in enumerate(items):
            is_begun = place < len(begun.readings)
            yield item, begun.taken(begun.readings[place]) if is_begun else NOT_BEGUN

    def _sources(
        self, readings: Iterator[Reading], begun: "_Begun", until: float
    ) -> Iterator[Source]:
        """Store some readings after the other as workers become free; yield what is to extract."""
        while time.monotonic() <= until and (some := list(islice(readings, PIECE_FILES))):
            stored = self._stored(some)
            ids = {each.capture.sha256 for each in stored if each.capture} - begun.found.keys()
            with self.warehouse.reading() as connection:
                begun.known.update(_states(connection, sorted(ids), self.version))
            for each in stored:
                begun.readings.append(each._replace(capture=_bare(each.capture)))
                document_id = each.capture.sha256 if each.capture else None
                if document_id and not begun.has(document_id):
                    begun.found[document_id] = []
                    yield Source(f"{document_id}/{each.name}", partial(_bytes_of, each))

    def _stored(self, readings: Sequence[Reading]) -> list[Reading]:
        """Store the captures that are not stored yet."""
        new = [each.capture for each in readings if each.capture and not each.capture.storage_uri]
        stored = {
            each.sha256: each for each in self.captures.keep_all(new, self.warehouse.known_blobs)
        }
        return [
            each._replace(capture=each.capture.stored_as(stored[each.capture.sha256].blob))
            if each.capture and not each.capture.storage_uri
            else each
            for each in readings
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
        """Add what was extracted; the first part of its path begins with the id of its file."""
        document_id, _, _ = document.path[0].partition("/")
        self.found[document_id].append(document)

    def taken(self, reading: Reading) -> Taken:
        """Return the result for an item."""
        if reading.capture is None:
            return Taken(reading)
        document_id = reading.capture.sha256
        if document_id in self.known:
            return Taken(reading, (), document_id, self.known[document_id])
        own = [_identified(each, reading) for each in self.found[document_id]]
        return Taken(reading, own, document_id, own[0].extracted.state)


def _bytes_of(reading: Reading) -> bytes:
    if reading.error is not None or reading.capture is None:
        raise reading.error or DocumentError("unreadable")
    return reading.capture.body


def _bare(capture: Capture | None) -> Capture | None:
    return capture.without_body() if capture else None


def _identified(document: Document, reading: Reading) -> Document:
    """Return a document without the bytes of those within it; its own are those of the capture."""
    if document.parent_id is not None or reading.capture is None:
        return document._replace(extracted=replace(document.extracted, children=()))
    extracted = replace(document.extracted, byte_count=reading.capture.byte_count, children=())
    return document._replace(document_id=reading.capture.sha256, extracted=extracted)


def _states(connection: Connection, ids: Sequence[str], version: str) -> dict[str, str]:
    """Return the state of each document that is readable and was made by the present rules."""
    wanted = select(documents.c.document_id, documents.c.state).where(
        documents.c.document_id.in_(ids),
        documents.c.rule_version == version,
        documents.c.state.in_(READABLE),
    )
    return {row.document_id: row.state for row in connection.execute(wanted)}
