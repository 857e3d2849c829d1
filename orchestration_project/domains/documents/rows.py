"""Rows of documents, their pages and their chunks, made of what extraction returned."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from orchestration_project.domains.documents.chunks import ChunkRule, chunks
from orchestration_project.domains.documents.extracted import (
    Cell,
    Extracted,
    Table,
    cell_text,
)
from orchestration_project.domains.documents.extraction import Document
from orchestration_project.domains.documents.formats import EXTRACTION_RULES
from orchestration_project.domains.documents.tables import documents_chunks, documents_pages
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.values import derive_schema

PAGE_COLUMNS = [
    name for name in derive_schema(documents_pages) if name not in ("capture_id", "known_from")
]
PAGE_SCHEMA = {**derive_schema(documents_pages, PAGE_COLUMNS), "part_number": pl.Int64()}
SECTION_SEPARATOR = " > "


def rule_version(rule: ChunkRule, ocr_languages: str = "") -> str:
    """Return the version of the rules that make pages and chunks, e.g. ``3/1/500/0/eng``.

    Args:
        rule: How pages are cut.
        ocr_languages: Languages in which images are recognised; empty: they are not.
    """
    return "/".join(filter(None, (f"{EXTRACTION_RULES}/{rule.label}", ocr_languages)))


def page_rows(documents: Mapping[str, Document]) -> list[Validated]:
    """Return the pages of each document, by its id, as rows of `documents_pages`.

    A document with another number of parts in its bytes than were extracted is quarantined.
    """
    rows = [
        (
            document_id,
            page.number,
            page.text,
            _encode_json(
                [{"name": table.name, "rows": _convert_cells(table)} for table in page.tables]
            ),
            _encode_json([heading._asdict() for heading in page.headings]),
            page.method,
            page.confidence,
            1,
        )
        for document_id, document in documents.items()
        for page in document.extracted.pages
    ]
    frame, no_rejects = (
        pl.DataFrame(rows, PAGE_SCHEMA, orient="row"),
        pl.DataFrame(schema=REJECT_SCHEMA),
    )
    parted: list[Validated] = []
    place = 0
    for document in documents.values():
        count = len(document.extracted.pages)
        validated = Validated(frame.slice(place, count), no_rejects)
        parts = document.extracted.parts
        parted.append(validated.balanced([Balance("parts", *parts)]) if parts else validated)
        place += count
    return parted


def _convert_cells(table: Table) -> list[list[Any]]:
    return [[_convert_cell(cell) for cell in row] for row in table.rows]


def _convert_cell(value: Cell) -> Any:
    """Return a cell as JSON has it; dates, times and numbers that JSON lacks are texts."""
    is_finite = isinstance(value, float) and abs(value) < float("inf")
    if value is None or isinstance(value, str | int) or is_finite:
        return value
    return cell_text(value)


def _encode_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def chunk_rows(documents: Mapping[str, Document], rule: ChunkRule) -> dict[str, pl.DataFrame]:
    """Return the chunks of each document, by its id, as rows of `documents_chunks`."""
    rows: list[tuple[Any, ...]] = []
    ends: list[int] = []
    for document_id, document in documents.items():
        extracted = document.extracted
        rows += (
            (
                document_id,
                chunk.chunk_id,
                chunk.page_number,
                chunk.start,
                chunk.end,
                SECTION_SEPARATOR.join(" ".join(title.split()) for title in chunk.section_path),
                chunk.word_count,
                chunk.text,
            )
            for chunk in chunks(document_id, extracted.pages, rule, extracted.chunk_spans)
        )
        ends.append(len(rows))
    frame = pl.DataFrame(rows, derive_schema(documents_chunks), orient="row")
    starts = [0, *ends]
    return {
        key: frame.slice(start, end - start)
        for key, start, end in zip(documents, starts, ends, strict=False)
    }


def document_row(document: Document) -> Mapping[str, Any]:
    """Return the result of an extraction as columns of `documents`."""
    extracted = document.extracted
    return {
        "document_id": document.document_id,
        "media_type": extracted.media_type,
        "declared_type": extracted.declared_type,
        "byte_count": extracted.byte_count,
        "page_count": len(extracted.pages),
        "word_count": extracted.word_count,
        "language": extracted.language,
        "title": extracted.title,
        "author": extracted.author,
        "created_at": extracted.created_at,
        "parent_id": document.parent_id,
        "path_in_parent": document.path[-1] if document.parent_id else None,
        "state": extracted.state,
        "reason_code": extracted.reason_code,
        "reason": reason_text(extracted),
        "category": extracted.reason.category if extracted.reason else None,
    }


def reason_text(found: Extracted) -> str | None:
    """Return the decisive reason, what was found, and what to do; None: no remark."""
    if found.reason is None:
        return None
    detail = f" ({found.findings[0].detail})" if found.findings[0].detail else ""
    return f"{found.reason.meaning}{detail}; what to do: {found.reason.remedy}"


def first_of_each(documents: Iterable[Document]) -> dict[str, Document]:
    """Return a document for each content: one that was delivered itself before one within it.

    Those without bytes are left out.
    """
    first: dict[str, Document] = {}
    for document in documents:
        key = document.document_id
        if key is None:
            continue
        earlier = first.get(key)
        if earlier is None or (earlier.parent_id and document.parent_id is None):
            first[key] = document
    return first
