"""Add documents."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0037"
down_revision = "0036"

# fmt: off
CHANGES = [
    CreateTable(Table("documents_files", "One row per path that the source of documents lists, or listed.", [
        Column("path", "text", "Path below the folder; control characters and bytes other than UTF-8 are percent-encoded", key=True),
        Column("byte_count", "bigint", "Size at the latest poll, bytes"),
        Column("modified_at", "timestamp", "UTC time of its latest change, by the file system"),
        Column("document_id", "text", "Document that was read from it; NULL: none yet", optional=True),
        Column("state", "text", "State: seen, stable (waits to be loaded), loaded (read, whatever its document's state), changed (since it was loaded) or gone"),
        Column("first_seen_at", "timestamp", "UTC time of the first poll that found it; its day is the partition"),
        Column("unchanged_since", "timestamp", "UTC time of the first poll that found this size and change time"),
    ], indexes=[
        Index("documents_files_by_document", ["document_id"]),
    ])),
    CreateTable(Table("documents", "One row per distinct document: what extraction made of its latest attempt.", [
        Column("document_id", "text", "SHA-256 of the bytes, hex", key=True),
        Column("media_type", "text", "Media type by content"),
        Column("declared_type", "text", "Media type by extension; NULL: none or unknown", optional=True),
        Column("byte_count", "bigint", "Size, bytes"),
        Column("page_count", "bigint", "Pages, slides, sheets or chapters"),
        Column("word_count", "bigint", "Words of all pages; no tokens of a model"),
        Column("language", "text", "Language, ISO 639-1; NULL: not detected", optional=True),
        Column("title", "text", "Title in its properties; NULL: none", optional=True),
        Column("author", "text", "Author in its properties; NULL: none", optional=True),
        Column("created_at", "timestamp", "UTC creation time in its properties; NULL: none", optional=True),
        Column("parent_id", "text", "Document that holds it, as an attachment or member; NULL: it was delivered itself", optional=True),
        Column("path_in_parent", "text", "Its name there; NULL: none", optional=True),
        Column("state", "text", "State: loaded, empty, needs_ocr, encrypted or refused"),
        Column("reason_code", "text", "Decisive reason code; NULL: no remark", optional=True),
        Column("reason", "text", "The reason, and what was found", optional=True),
        Column("category", "text", "Category of the reason: recoverable, permanent or needs_configuration", optional=True),
        Column("rule_version", "text", "Version of the rules of extraction and chunks"),
        Column("preset", "text", "Preset of the run; NULL: none", optional=True),
        Column("superseded_by", "text", "Document that took its place at its last path; NULL: none", optional=True),
        Column("chunk_count", "bigint", "Chunks"),
        Column("first_seen_at", "timestamp", "UTC time of the first sight of its file; its day is the partition"),
        Column("extracted_at", "timestamp", "UTC time of the latest extraction"),
        Column("run_id", "text", "Dagster run of the latest extraction"),
    ], indexes=[
        Index("documents_by_day", ["first_seen_at"]),
        Index("documents_by_parent", ["parent_id"]),
    ])),
    CreateTable(Table("documents_pages", "One row per page of a document.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("page_number", "bigint", "Number of the page, from 1", key=True),
        Column("text", "text", "Text of the page"),
        Column("tables", "text", "Tables of the page with typed cells, JSON"),
        Column("headings", "text", "Headings with offset and level, JSON"),
        Column("method", "text", "How the text was read: native, ocr or none"),
        Column("confidence", "double", "Confidence of recognised text, 0-1; NULL: native text", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    CreateTable(Table("documents_pages_history", "One row per earlier state of a row of documents_pages, valid from known_from to known_to.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("page_number", "bigint", "Number of the page, from 1", key=True),
        Column("text", "text", "Text of the page"),
        Column("tables", "text", "Tables of the page with typed cells, JSON"),
        Column("headings", "text", "Headings with offset and level, JSON"),
        Column("method", "text", "How the text was read: native, ocr or none"),
        Column("confidence", "double", "Confidence of recognised text, 0-1; NULL: native text", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    CreateTable(Table("documents_chunks", "One row per chunk of a document: a span of the text of a page.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("chunk_id", "text", "SHA-256 of document, rules, page and span, hex", key=True),
        Column("page_number", "bigint", "Page of the span"),
        Column("start_offset", "bigint", "First character of the span in the page's text, from 0"),
        Column("end_offset", "bigint", "First character after the span"),
        Column("section_path", "text", "Headings above it, outermost first, separated by ' > '"),
        Column("word_count", "bigint", "Words"),
        Column("text", "text", "The page's text cut at the span"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
