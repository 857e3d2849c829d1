"""Documents' routes of the API: a document, its text, pages and chunks."""

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from starlette.responses import Response

from orchestration_project.domains.documents.tables import documents_pages, v_documents_chunks
from orchestration_project.engine.contracts.api.models import Document, Page
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import (
    FILE,
    USUAL_ROWS,
    Rows,
    Text,
    read_table,
    sent_file,
)
from orchestration_project.gateway.api.growing_files import GrowingFile
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import not_found, problem_of
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.documents.lookups import FoundDocument, read_document
from orchestration_project.tables.catalogue import relation
from orchestration_project.tables.queries.paging import page

BREAK = b"\n\f\n"
"""Between the texts of pages or chunks."""

TEXT = {"type": "string"}


class DocumentName(Parameters):
    """Document to read."""

    document_id: Name = Field(description="SHA-256 of its bytes, hex")


class Parts(DocumentName):
    """Pages or chunks to read, in the order of the text."""

    format: Literal["json", "csv", "text"] = Field(
        "json",
        description="Format of the response: a page of rows, or all as a file; the parts of a text "
        "are separated by a line with a form feed",
    )
    limit: int | None = Field(
        None,
        ge=1,
        le=MAX_PAGE_ENTRIES,
        description=f"At most so many; of json {USUAL_ROWS} if not said, else all",
    )
    cursor: Text | None = Field(None, description="`next_cursor` of the previous page")


async def show_document(call: Call[DocumentName, Body]) -> Document:
    """Read a document: its row, paths, children and similar documents."""
    found_document = await call.services.in_thread(
        _require_document, call.services, call.query.document_id
    )
    return Document(
        document=dict(found_document.row),
        paths=list(found_document.paths),
        children=[dict(child) for child in found_document.children],
        similar=[dict(entry) for entry in found_document.similar],
    )


def _require_document(services: Services, document_id: str) -> FoundDocument:
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        document = read_document(connection, document_id)
    if document is None:
        raise not_found(f"document not found: {document_id}")
    return document


async def read_text(call: Call[DocumentName, Body]) -> Response:
    """Read the text of a document: its pages, separated by form feeds."""
    parts = Parts(document_id=call.query.document_id, format="text", limit=None, cursor=None)
    return await _read(call, parts, documents_pages.name)


async def read_pages(call: Call[Parts, Body]) -> Response:
    """Read the pages of a document as rows of documents_pages, or their texts."""
    return await _read(call, call.query, documents_pages.name)


async def read_chunks(call: Call[Parts, Body]) -> Response:
    """Read the chunks of a document as rows of v_documents_chunks, or their texts."""
    return await _read(call, call.query, v_documents_chunks.table.name)


async def _read(call: Call[Any, Body], wanted: Parts, table: str) -> Response:
    await call.services.in_thread(_require_document, call.services, wanted.document_id)
    where = f"document_id={wanted.document_id}"
    if wanted.format == "text":
        return await _stream_text(call.services, table, where, wanted)
    rows = Rows(
        name=table,
        columns=None,
        where=[where],
        as_of=None,
        published_by=None,
        order_by=None,
        format=wanted.format,
        escape_formulas=None,
        limit=wanted.limit,
        cursor=wanted.cursor,
    )
    return await read_table(replace(call, query=rows))


async def _stream_text(services: Services, table: str, where: str, wanted: Parts) -> Response:
    """Return the texts of rows as a file that is sent while it is written."""
    chosen = relation(table)
    try:
        statement = page(chosen, ["text"], [where], cursor=wanted.cursor, limit=wanted.limit)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error

    def write(file: GrowingFile) -> None:
        mark = b""
        seconds = services.read_seconds
        with services.warehouse.batches(statement, chosen.table, seconds=seconds) as batches:
            for frame in file.followed(batches):
                for text in frame["text"]:
                    file.sink.write(mark + text.encode())
                    mark = BREAK

    name = f"{wanted.document_id}.txt"
    return await sent_file(services, write, name=name, media_type="text/plain; charset=utf-8")


OPERATIONS = (
    Operation(
        "GET",
        "/documents/{document_id}",
        "viewer",
        "Read a document",
        show_document,
        query=DocumentName,
        answer=Document,
    ),
    Operation(
        "GET",
        "/documents/{document_id}/text",
        "viewer",
        "Read the text of a document",
        read_text,
        query=DocumentName,
        media={"text/plain": TEXT},
    ),
    Operation(
        "GET",
        "/documents/{document_id}/pages",
        "viewer",
        "Read the pages of a document",
        read_pages,
        query=Parts,
        answer=Page,
        media={"text/csv": FILE, "text/plain": TEXT},
    ),
    Operation(
        "GET",
        "/documents/{document_id}/chunks",
        "viewer",
        "Read the chunks of a document",
        read_chunks,
        query=Parts,
        answer=Page,
        media={"text/csv": FILE, "text/plain": TEXT},
    ),
)
