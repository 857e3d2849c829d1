"""Loads documents: files are captured, extracted in worker processes, and written together.

Each file is a work item, and each document a partition with captures, a fence and pages. What
cannot be extracted is an outcome: its document has a reason, and its item failed.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import Connection, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.work_items import ClaimedItem, ItemSettlement
from orchestration_project.domains.documents.chunks import ChunkRule
from orchestration_project.domains.documents.extraction import Document
from orchestration_project.domains.documents.reasons import REASONS, DocumentError
from orchestration_project.domains.documents.rows import (
    chunk_rows,
    document_row,
    first_of_each,
    page_rows,
    reason_text,
)
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import (
    Delivery,
    TableSpec,
    Transform,
    ValidatedBatch,
    Warehouse,
    WriteResult,
    prepare_all,
)
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.engine.warehouse.delivery import no_note, no_warnings
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.warehouse.landing import is_landed, land_all
from orchestration_project.engine.warehouse.target import no_summary
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.documents.extraction import Extraction, Source
from orchestration_project.tables.documents import (
    documents,
    documents_chunks,
    documents_members,
    documents_pages,
)

READABLE = ("loaded", "empty")
"""States of documents that no further attempt is made for."""

MAX_BATCH_BYTES = 32 * 2**20
"""Bytes of files that a run reads for a transaction; one file may have more."""

MAX_BATCH_TIME = timedelta(seconds=20)
"""Time after which no further file of a batch is begun, so that what is done is written."""

PIECE_FILES = 16
"""Files that are captured and extracted between two polls at the time."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


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
    """Bytes that an item stands for: a capture, stored or not, or why there are none.

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
class DocumentPool:
    """Captures and extracts the items of a batch; known documents are not extracted again.

    Attributes:
        captures: The store.
        warehouse: Knows blobs and documents.
        extraction: The worker processes.
        version: Documents of other rules are extracted again.
    """

    captures: Captures
    warehouse: Warehouse
    extraction: Extraction
    version: str

    def run(
        self, function: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, timeout: timedelta
    ) -> Iterator[tuple[ItemT, ResultT]]:
        """Yield each item with what it holds; ``function`` returns the `Reading` of an item.

        Raises:
            OrchestrationError: The store or a worker process fails.
        """
        waiting, until = list(items), time.monotonic() + MAX_BATCH_TIME.total_seconds()
        while waiting:
            some, waiting = waiting[:PIECE_FILES], waiting[PIECE_FILES:]
            readings = [cast(Reading, function(item)) for item in some]
            taken = self._take(self._stored(readings))
            yield from zip(some, cast(list[ResultT], taken), strict=True)
            if time.monotonic() > until:
                break
        yield from ((item, cast(ResultT, NOT_BEGUN)) for item in waiting)

    def _stored(self, readings: Sequence[Reading]) -> list[Reading]:
        """Store the captures that are not stored yet."""
        new = [each.capture for each in readings if each.capture and not each.capture.storage_uri]
        stored = {each.sha256: each for each in self.captures.keep_all(new, self._known_blobs)}
        return [
            each._replace(capture=each.capture.stored_as(stored[each.capture.sha256].blob))
            if each.capture and not each.capture.storage_uri
            else each
            for each in readings
        ]

    def _known_blobs(self, wanted: Sequence[str]) -> Mapping[str, Blob]:
        with self.warehouse.reading() as connection:
            return read_blobs(connection, wanted)

    def _take(self, readings: Sequence[Reading]) -> list[Taken]:
        ids = [each.capture.sha256 for each in readings if each.capture]
        with self.warehouse.reading() as connection:
            known = _states(connection, ids, self.version)
        sources: dict[str, Source] = {}
        for each in readings:
            if each.capture and each.capture.sha256 not in known:
                read = partial(_bytes_of, each)
                sources.setdefault(
                    each.capture.sha256, Source(f"{each.capture.sha256}/{each.name}", read)
                )
        by_name = {source.name: document_id for document_id, source in sources.items()}
        found: dict[str, list[Document]] = {document_id: [] for document_id in sources}
        for document in self.extraction.extract(sources.values()):
            found[by_name[document.path[0]]].append(document)
        return [_taken(each, known, found) for each in readings]


def _bytes_of(reading: Reading) -> bytes:
    if reading.error is not None or reading.capture is None:
        raise reading.error or DocumentError("unreadable")
    return reading.capture.body


def _taken(
    reading: Reading, known: Mapping[str, str], found: Mapping[str, Sequence[Document]]
) -> Taken:
    if reading.capture is None:
        return Taken(reading)
    document_id = reading.capture.sha256
    bare = reading._replace(capture=reading.capture.without_body())
    if document_id in known:
        return Taken(bare, (), document_id, known[document_id])
    own = [_identified(each, reading) for each in found[document_id]]
    return Taken(bare, own, document_id, own[0].extracted.state)


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


AfterLoad = Callable[[Connection, Mapping[str, str]], None]
"""Records which document each item, by its key, was found to be, in the transaction of the load."""


@dataclass
class DocumentLoader:
    """Reads items, and writes documents, pages and chunks; doing so again changes nothing.

    Attributes:
        read: Returns the bytes of an item.
        clock: Its time.
        run_id: Dagster's run.
        chunk_rule: How pages are cut.
        version: Version of the rules that make pages and chunks.
        preset: Preset of the run; None: none is applied.
        note: Records the documents of items.
        enqueue: Enqueues the items that wait, before the first ones are claimed.
    """

    read: Callable[[ClaimedDocument], Reading]
    clock: Clock
    run_id: str
    chunk_rule: ChunkRule
    version: str
    preset: str | None
    note: AfterLoad
    enqueue: Callable[[], object]
    written: Counter[str] = field(default_factory=Counter)

    def ready(self) -> None:
        """Enqueue what waits; the run has its database, its store and its workers."""
        self.enqueue()

    @property
    def extract(self) -> Callable[[ClaimedDocument], Reading]:
        """`read`; the pool makes documents of its results."""
        return self.read

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedDocument, Any]]
    ) -> Sequence[ItemSettlement]:
        """Write the documents of items, with pages and chunks, and return how each item ended."""
        taken = cast(Sequence[tuple[ClaimedDocument, Taken]], batch)
        deliveries = {
            document.document_id: each.reading
            for _, each in reversed(taken)
            for document in each.found
            if each.reading and document.document_id
        }
        found = first_of_each(document for _, each in taken for document in each.found)
        errors = self._write(connection, found, deliveries) if found else {}
        _write_members(connection, [document for _, each in taken for document in each.found])
        self.note(
            connection,
            {
                item.key: each.document_id
                for item, each in taken
                if each.document_id and each.document_id not in errors
            },
        )
        return [self._settlement(item, each, found, errors) for item, each in taken]

    def _write(
        self,
        connection: Connection,
        found: Mapping[str, Document],
        deliveries: Mapping[str, Reading],
    ) -> Mapping[str, OrchestrationError]:
        """Write documents with pages and chunks; return the errors of those that are not."""
        batches = self._batches(connection, found, deliveries)
        new = [each for each in batches if not is_landed(each.target.state, each)]
        ended = land_all(connection, new, self.clock.now(), no_warnings, no_note)
        errors: dict[str, OrchestrationError] = {}
        for each, outcome in zip(new, ended, strict=True):
            if isinstance(outcome, WriteResult):
                self.written[documents_pages.name] += each.validated.row_count
            else:
                errors[each.target.partition_key] = outcome
        chunks = {
            each.target.partition_key: len((each.derived or {}).get(documents_chunks, ()))
            for each in batches
        }
        self.written[documents_chunks.name] += sum(chunks.values())
        written = {key: each for key, each in found.items() if key not in errors}
        self._write_states(connection, written, chunks, deliveries)
        return errors

    def _batches(
        self,
        connection: Connection,
        found: Mapping[str, Document],
        deliveries: Mapping[str, Reading],
    ) -> list[ValidatedBatch[None]]:
        spec = TableSpec(
            table=documents_pages,
            rule_version=self.version,
            transforms={documents_chunks: Transform(partial(chunk_rows, rule=self.chunk_rule))},
            summarise=no_summary,
        )
        states = read_states(connection, documents_pages, list(found))
        return prepare_all(
            [
                (
                    spec.target(key, {"document_id": key}, states[key], run_id=self.run_id),
                    _delivery(key, deliveries[key]),
                    rows,
                )
                for key, rows in zip(found, page_rows(found), strict=True)
            ]
        )

    def _write_states(
        self,
        connection: Connection,
        found: Mapping[str, Document],
        chunks: Mapping[str, int],
        deliveries: Mapping[str, Reading],
    ) -> None:
        """Insert or replace the rows of `documents`; where a document was first seen stays."""
        now = self.clock.now()
        own = {
            "rule_version": self.version,
            "preset": self.preset,
            "extracted_at": now,
            "run_id": self.run_id,
        }
        rows = {
            key: {
                **document_row(each),
                **own,
                "chunk_count": chunks[key],
                "superseded_by": None,
                "first_seen_at": deliveries[key].first_seen_at,
            }
            for key, each in found.items()
        }
        inserted = {key for (key,) in insert_absent(connection, documents, list(rows.values()))}
        kept = ("document_id", "superseded_by", "first_seen_at")
        for document_id, row in rows.items():
            if document_id not in inserted:
                is_within = ("parent_id", "path_in_parent") if row["parent_id"] else ()
                values = {name: row[name] for name in row if name not in (*kept, *is_within)}
                is_own = documents.c.document_id == document_id
                connection.execute(update(documents).where(is_own).values(values))

    def _settlement(
        self,
        item: ClaimedDocument,
        taken: Taken,
        found: Mapping[str, Document],
        errors: Mapping[str, OrchestrationError],
    ) -> ItemSettlement:
        if not taken.is_begun:
            return ItemSettlement(item, "ready")
        error = errors.get(taken.document_id or "")
        if error is not None:
            return ItemSettlement.of_error(item, error)
        if taken.document_id is None:
            return _unread(item, taken.reading)
        document = found.get(taken.document_id)
        if document is None:  # the same bytes were loaded before
            return ItemSettlement(item, "skipped", result_version=self.version)
        extracted = document.extracted
        category = extracted.reason.category if extracted.reason else ""
        return ItemSettlement(
            item,
            "done" if extracted.state in READABLE else "failed",
            result_version=self.version,
            reason_code=extracted.reason_code,
            reason=reason_text(extracted),
            is_retryable=category == "recoverable",
        )


def _write_members(connection: Connection, found: Sequence[Document]) -> None:
    """Record which document each attachment and member lies in; one may lie in several."""
    rows = {
        (each.parent_id, each.document_id, each.path[-1]): {
            "parent_id": each.parent_id,
            "document_id": each.document_id,
            "path_in_parent": each.path[-1],
        }
        for each in found
        if each.parent_id and each.document_id
    }
    if rows:
        insert_absent(connection, documents_members, list(rows.values()))


def _unread(item: ClaimedDocument, reading: Reading | None) -> ItemSettlement:
    """Return the settlement of an item without bytes."""
    error = (reading.error if reading else None) or DocumentError("unreadable")
    reason = REASONS[error.reason_code]
    detail = f" ({error.detail})" if error.detail else ""
    return ItemSettlement(
        item,
        "failed",
        reason_code=error.reason_code,
        reason=f"{reason.meaning}{detail}; what to do: {reason.remedy}",
        is_retryable=reason.category == "recoverable",
    )


def _delivery(document_id: str, reading: Reading) -> Delivery:
    if reading.capture is None:
        raise AssertionError("a document is made of bytes")
    return Delivery(
        source=reading.source,
        dataset="files",
        source_version=document_id,
        record_total=None,
        scope={},
        captures=[reading.capture],
        replay_of=reading.replay_of,
        lands_again=reading.replay_of is not None,
    )
