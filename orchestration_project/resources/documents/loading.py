"""Loads documents: what a batch holds is written in one transaction, with how its items ended.

Each file is a work item, and each document a partition with captures, a fence and pages. What
cannot be extracted is an outcome: its document has a reason, and its item failed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from sqlalchemy import Connection, update

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
from orchestration_project.domains.documents.tables import (
    documents,
    documents_chunks,
    documents_members,
    documents_pages,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.contracts.work_items import ItemSettlement
from orchestration_project.engine.warehouse import (
    Delivery,
    TableSpec,
    Transform,
    WriteResult,
)
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.warehouse.loading import LoadedScope, ScopeDelivery, load_scopes
from orchestration_project.engine.warehouse.target import skip_summary
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.documents.derivation import write_fingerprints
from orchestration_project.resources.documents.extraction import (
    READABLE,
    ClaimedDocument,
    DocumentExtractor,
    Reading,
    Taken,
)

AfterLoad = Callable[[Connection, Mapping[str, str]], None]
"""Records which document each item, by its key, was found to be, in the transaction of the load."""


@dataclass
class DocumentLoader:
    """Reads items, and writes documents, pages and chunks; doing so again changes nothing.

    Attributes:
        extractor: Makes documents of items.
        clock: Its time.
        run_id: Dagster's run.
        chunk_rule: How pages are cut.
        version: Version of the rules that make pages and chunks.
        preset: Preset of the run; None: none is applied.
        note: Records the documents of items.
        enqueue: Enqueues the items that wait, before the first ones are claimed.
    """

    extractor: DocumentExtractor
    clock: Clock
    run_id: str
    chunk_rule: ChunkRule
    version: str
    preset: str | None
    note: AfterLoad
    enqueue: Callable[[], object]
    written: Counter[str] = field(default_factory=Counter)

    def ready(self) -> None:
        """Enqueue waiting documents; the run has its database, its store and its workers."""
        self.enqueue()

    def extract(self, items: Sequence[ClaimedDocument]) -> Iterable[tuple[ClaimedDocument, Taken]]:
        """Capture items, and extract their documents."""
        return self.extractor.extract(items)

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedDocument, Taken]]
    ) -> Sequence[ItemSettlement]:
        """Write the documents of items, with pages and chunks, and return how each item ended."""
        deliveries = {
            document.document_id: result.reading
            for _, result in reversed(batch)
            for document in result.found
            if result.reading and document.document_id
        }
        first = first_of_each(document for _, result in batch for document in result.found)
        errors = self._write(connection, first, deliveries) if first else {}
        _write_members(connection, [document for _, result in batch for document in result.found])
        self.note(
            connection,
            {
                item.key: result.document_id
                for item, result in batch
                if result.document_id and result.document_id not in errors
            },
        )
        return [self._settlement(item, result, first, errors) for item, result in batch]

    def _write(
        self,
        connection: Connection,
        found: Mapping[str, Document],
        deliveries: Mapping[str, Reading],
    ) -> Mapping[str, OrchestrationError]:
        """Write documents with pages and chunks; return the errors of those that are not."""
        errors: dict[str, OrchestrationError] = {}
        chunks: dict[str, int] = {}
        for batch, outcome in self._load_pages(connection, found, deliveries):
            key = batch.target.partition_key
            chunks[key] = len((batch.derived or {}).get(documents_chunks, ()))
            if isinstance(outcome, WriteResult):
                self.written[documents_pages.name] += batch.validated.row_count
            elif outcome is not None:
                errors[key] = outcome
        self.written[documents_chunks.name] += sum(chunks.values())
        written = {key: value for key, value in found.items() if key not in errors}
        self._write_states(connection, written, chunks, deliveries)
        return errors

    def _load_pages(
        self,
        connection: Connection,
        found: Mapping[str, Document],
        deliveries: Mapping[str, Reading],
    ) -> Sequence[LoadedScope[None]]:
        made_frames = chunk_rows(found, self.chunk_rule)
        none = pl.DataFrame(schema=derive_schema(documents_chunks))
        spec = TableSpec(
            table=documents_pages,
            rule_version=self.version,
            transforms={
                documents_chunks: Transform(
                    lambda pages: none if pages.is_empty() else made_frames[pages["document_id"][0]]
                )
            },
            summarise=skip_summary,
        )
        pages = [
            ScopeDelivery(key, {"document_id": key}, _build_delivery(key, deliveries[key]), rows)
            for key, rows in zip(found, page_rows(found), strict=True)
        ]
        return load_scopes(connection, spec, pages, run_id=self.run_id, now=self.clock.now())

    def _write_states(
        self,
        connection: Connection,
        found: Mapping[str, Document],
        chunks: Mapping[str, int],
        deliveries: Mapping[str, Reading],
    ) -> None:
        """Insert or replace the rows of `documents`; where a document was first seen stays."""
        now = self.clock.now()
        entries = {
            "rule_version": self.version,
            "preset": self.preset,
            "extracted_at": now,
            "run_id": self.run_id,
        }
        rows = {
            key: {
                **document_row(value),
                **entries,
                "chunk_count": chunks[key],
                "superseded_by": None,
                "first_seen_at": deliveries[key].first_seen_at,
            }
            for key, value in found.items()
        }
        prints = {
            key: value.extracted.fingerprint
            for key, value in found.items()
            if value.extracted.fingerprint is not None
        }
        write_fingerprints(connection, now, prints)
        inserted = {key for (key,) in insert_absent(connection, documents, list(rows.values()))}
        kept_columns = ("document_id", "superseded_by", "first_seen_at")
        for document_id, row in rows.items():
            if document_id not in inserted:
                is_within = ("parent_id", "path_in_parent") if row["parent_id"] else ()
                values = {
                    name: row[name] for name in row if name not in (*kept_columns, *is_within)
                }
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
        ids = (document.document_id or "" for document in taken.found)
        error = next((errors[key] for key in ids if key in errors), None)
        if error is not None:
            return ItemSettlement.of_error(item, error)
        if taken.document_id is None:
            return _settle_unread(item, taken.reading)
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
        (document.parent_id, document.document_id, document.path[-1]): {
            "parent_id": document.parent_id,
            "document_id": document.document_id,
            "path_in_parent": document.path[-1],
        }
        for document in found
        if document.parent_id and document.document_id
    }
    if rows:
        insert_absent(connection, documents_members, list(rows.values()))


def _settle_unread(item: ClaimedDocument, reading: Reading | None) -> ItemSettlement:
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


def _build_delivery(document_id: str, reading: Reading) -> Delivery:
    if reading.capture is None:
        raise AssertionError("a document is made of bytes")
    return Delivery(
        source=reading.source,
        dataset="files",
        source_version=document_id,
        captures=[reading.capture],
        replay_of=reading.replay_of,
        loads_again=reading.replay_of is not None,
    )
