"""Documents: files of a folder, what each held, its members, pages and chunks.

A document is a content: the same bytes at two paths are one document with two paths.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Index, Table

from orchestration_project.tables.schema import (
    ASSET,
    INTERNAL,
    count,
    flag,
    history_of,
    moment,
    ratio,
    table,
    text,
)
from orchestration_project.tables.views import ViewColumn, as_it_is, view


def _name_asset(declared: Table, name: str) -> Table:
    declared.info[ASSET] = name
    return declared


documents_files = table(
    "documents_files",
    "One row per path that the source of documents lists, or listed.",
    text(
        "path",
        "Path below the folder; control characters and bytes other than UTF-8 are percent-encoded",
        key=True,
        from_senders=True,
    ),
    count("byte_count", "Size at the latest poll, bytes"),
    moment("modified_at", "UTC time of its latest change, by the file system"),
    text("document_id", "Document that was read from it; NULL: none yet", optional=True),
    text(
        "state",
        "State: seen, stable (waits to be loaded), loaded (read, whatever its document's state), "
        "changed (since it was loaded) or gone",
        values=("seen", "stable", "loaded", "changed", "gone"),
    ),
    moment("first_seen_at", "UTC time of the first poll that found it; its day is the partition"),
    moment("unchanged_since", "UTC time of the first poll that found this size and change time"),
    text(
        "file_version",
        "Distinguishes states of the same size and change time: the time at which the file "
        "system last changed the file in any way (ctime), or an object's ETag. If it changes, "
        "the bytes are read and compared by SHA-256; NULL: an upload, or not known yet",
        optional=True,
        from_senders=True,
    ),
)
Index("documents_files_by_document", documents_files.c.document_id)

documents = _name_asset(
    table(
        "documents",
        "One row per distinct document: what extraction made of its latest attempt.",
        text("document_id", "SHA-256 of the bytes, hex", key=True),
        text("media_type", "Media type by content"),
        text("declared_type", "Media type by extension; NULL: none or unknown", optional=True),
        count("byte_count", "Size, bytes"),
        count("page_count", "Pages, slides, sheets or chapters"),
        count("word_count", "Words of all pages; no tokens of a model"),
        text("language", "Language, ISO 639-1; NULL: not detected", optional=True),
        text("title", "Title in its properties; NULL: none", optional=True, from_senders=True),
        text("author", "Author in its properties; NULL: none", optional=True, from_senders=True),
        moment("created_at", "UTC creation time in its properties; NULL: none", optional=True),
        text(
            "parent_id",
            "Document that holds it, as an attachment or member; NULL: it was delivered itself",
            optional=True,
        ),
        text("path_in_parent", "Its name there; NULL: none", optional=True, from_senders=True),
        text(
            "state",
            "State: loaded, empty, needs_ocr, encrypted or refused",
            values=("loaded", "empty", "needs_ocr", "encrypted", "refused"),
        ),
        text("reason_code", "Decisive reason code; NULL: no remark", optional=True),
        text("reason", "The reason, and what was found", optional=True, from_senders=True),
        text(
            "category",
            "Category of the reason: recoverable, permanent or needs_configuration",
            optional=True,
        ),
        text("rule_version", "Version of the rules of extraction and chunks"),
        text("preset", "Preset of the run; NULL: none", optional=True),
        text(
            "superseded_by",
            "Document that took its place at its last path; NULL: none",
            optional=True,
        ),
        count("chunk_count", "Chunks"),
        moment(
            "first_seen_at", "UTC time of the first sight of its file; its day is the partition"
        ),
        moment("extracted_at", "UTC time of the latest extraction"),
        text("run_id", "Dagster run of the latest extraction"),
    ),
    "documents/capture",
)
Index("documents_by_parent", documents.c.parent_id)
Index("documents_by_day", documents.c.first_seen_at)
Index("documents_by_run", documents.c.run_id)

documents_members = table(
    "documents_members",
    "One row per attachment or member of a document: the same bytes may lie in several.",
    text("parent_id", "Document that holds it", key=True),
    text("document_id", "SHA-256 of its bytes, hex", key=True),
    text("path_in_parent", "Its name there", key=True, from_senders=True),
)
Index("documents_members_by_document", documents_members.c.document_id)

documents_pages = table(
    "documents_pages",
    "One row per page of a document.",
    text("document_id", "SHA-256 of the document's bytes, hex", key=True),
    count("page_number", "Number of the page, from 1", key=True),
    text("text", "Text of the page", from_senders=True),
    text("tables", "Tables of the page with typed cells, JSON", from_senders=True),
    text("headings", "Headings with offset and level, JSON", from_senders=True),
    text("method", "How the text was read: native, ocr or none"),
    ratio("confidence", "Confidence of recognised text, 0-1; NULL: native text", optional=True),
    count("capture_id", "Capture that the row was read from"),
    moment("known_from", "UTC time from which the row is valid (system time)"),
)
documents_pages_history = history_of(documents_pages)

documents_chunks = table(
    "documents_chunks",
    "One row per chunk of a document: a span of the text of a page.",
    text("document_id", "SHA-256 of the document's bytes, hex", key=True),
    text("chunk_id", "SHA-256 of document, rules, page and span, hex", key=True),
    count("page_number", "Page of the span"),
    count("start_offset", "First character of the span in the page's text, from 0"),
    count("end_offset", "First character after the span"),
    text(
        "section_path", "Headings above it, outermost first, separated by ' > '", from_senders=True
    ),
    count("word_count", "Words"),
    text("text", "The page's text cut at the span", from_senders=True),
)

documents_reader_setups = table(
    "documents_reader_setups",
    "One row per set of passwords, and of languages of OCR, that documents were read with.",
    text("kind", "Kind: passwords or ocr", key=True),
    text("fingerprint", "scrypt of the set with the salt, hex", key=True, secret=True),
    text("salt", "Salt, hex; the same for all sets"),
    moment("activated_at", "UTC time from which it was used, the latest one"),
)
documents_reader_setups.info[INTERNAL] = True
_chunk = documents_chunks.c


def _mark_key(column: Column[Any]) -> ViewColumn:
    return replace(as_it_is(column), is_key=True)


v_documents_chunks = view(
    "v_documents_chunks",
    "One row per row of documents_chunks, in the order of the text.",
    as_it_is(_chunk.document_id),
    _mark_key(_chunk.page_number),
    _mark_key(_chunk.start_offset),
    as_it_is(_chunk.end_offset),
    replace(as_it_is(_chunk.chunk_id), is_key=False),
    as_it_is(_chunk.section_path),
    as_it_is(_chunk.word_count),
    as_it_is(_chunk.text),
)

documents_similarity = table(
    "documents_similarity",
    "One row per pair of documents with similar text, the smaller document_id first.",
    text("document_id", "SHA-256 of the one document's bytes, hex", key=True),
    text("similar_id", "SHA-256 of the other's, hex; greater than document_id", key=True),
    ratio("score", "Estimated Jaccard similarity of their shingles of 3 words, 0.6-1"),
    text(
        "group_id", "Smallest document_id of all documents that pairs connect with them; may change"
    ),
)
Index("documents_similarity_by_similar", documents_similarity.c.similar_id)
Index("documents_similarity_by_group", documents_similarity.c.group_id)

documents_fingerprints = table(
    "documents_fingerprints",
    "One row per document: what its similarity is derived from.",
    text("document_id", "SHA-256 of the document's bytes, hex", key=True),
    moment("extracted_at", "extracted_at of the extraction that it was made by"),
    text("signature", "MinHash of its text, base64; NULL: no word", optional=True),
    text("group_id", "Its group of similar documents; NULL: none", optional=True),
    flag("is_compared", "Whether its pairs are written"),
    internal=True,
)
Index("documents_fingerprints_by_group", documents_fingerprints.c.group_id)

documents_bands = table(
    "documents_bands",
    "One row per document and band of its signature, of the first documents of a bucket.",
    count("bucket", "Hash of the band, 64 bits; documents with an equal band share it", key=True),
    text("document_id", "SHA-256 of the document's bytes, hex", key=True),
    internal=True,
)
