"""Documents: files, pages, chunks and similarity."""

from orchestration_project.migrations.baseline.columns import LOADED, History
from orchestration_project.migrations.frozen import Column, Index, Table

# fmt: off
DOCUMENTS: list[Table | History] = [
    Table("documents_files", "One row per path that the source of documents lists, or listed.", [
        Column("path", "text", "Path below the folder; control characters and bytes other than UTF-8 are percent-encoded", key=True),
        Column("byte_count", "bigint", "Size at the latest poll, bytes"),
        Column("modified_at", "timestamp", "UTC time of its latest change, by the file system"),
        Column("document_id", "text", "Document that was read from it; NULL: none yet", optional=True),
        Column("state", "text", "State: seen, stable (waits to be loaded), loaded (read, whatever its document's state), changed (since it was loaded) or gone"),
        Column("first_seen_at", "timestamp", "UTC time of the first poll that found it; its day is the partition"),
        Column("unchanged_since", "timestamp", "UTC time of the first poll that found this size and change time"),
        Column("file_version", "text", "Distinguishes states of the same size and change time: the time at which the file system last changed the file in any way (ctime), or an object's ETag. If it changes, the bytes are read and compared by SHA-256; NULL: an upload, or not known yet", optional=True),
    ], indexes=[Index("documents_files_by_document", ["document_id"])]),
    Table("documents", "One row per distinct document: what extraction made of its latest attempt.", [
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
        Index("documents_by_run", ["run_id"]),
    ]),
    Table("documents_pages", "One row per page of a document.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("page_number", "bigint", "Number of the page, from 1", key=True),
        Column("text", "text", "Text of the page"),
        Column("tables", "text", "Tables of the page with typed cells, JSON"),
        Column("headings", "text", "Headings with offset and level, JSON"),
        Column("method", "text", "How the text was read: native, ocr or none"),
        Column("confidence", "double", "Confidence of recognised text, 0-1; NULL: native text", optional=True),
        *LOADED,
    ]),
    History("documents_pages"),
    Table("documents_chunks", "One row per chunk of a document: a span of the text of a page.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("chunk_id", "text", "SHA-256 of document, rules, page and span, hex", key=True),
        Column("page_number", "bigint", "Page of the span"),
        Column("start_offset", "bigint", "First character of the span in the page's text, from 0"),
        Column("end_offset", "bigint", "First character after the span"),
        Column("section_path", "text", "Headings above it, outermost first, separated by ' > '"),
        Column("word_count", "bigint", "Words"),
        Column("text", "text", "The page's text cut at the span"),
    ]),
    Table("documents_members", "One row per attachment or member of a document: the same bytes may lie in several.", [
        Column("parent_id", "text", "Document that holds it", key=True),
        Column("document_id", "text", "SHA-256 of its bytes, hex", key=True),
        Column("path_in_parent", "text", "Its name there", key=True),
    ], indexes=[Index("documents_members_by_document", ["document_id"])]),
    Table("documents_reader_setups", "One row per set of passwords, and of languages of OCR, that documents were read with.", [
        Column("kind", "text", "Kind: passwords or ocr", key=True),
        Column("fingerprint", "text", "scrypt of the set with the salt, hex", key=True),
        Column("salt", "text", "Salt, hex; the same for all sets"),
        Column("activated_at", "timestamp", "UTC time from which it was used, the latest one"),
    ]),
    Table("documents_similarity", "One row per pair of documents with similar text, the smaller document_id first.", [
        Column("document_id", "text", "SHA-256 of the one document's bytes, hex", key=True),
        Column("similar_id", "text", "SHA-256 of the other's, hex; greater than document_id", key=True),
        Column("score", "double", "Estimated Jaccard similarity of their shingles of 3 words, 0.6-1"),
        Column("group_id", "text", "Smallest document_id of all documents that pairs connect with them; may change"),
    ], indexes=[
        Index("documents_similarity_by_group", ["group_id"]),
        Index("documents_similarity_by_similar", ["similar_id"]),
    ]),
    Table("documents_fingerprints", "One row per document: what its similarity is derived from.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("extracted_at", "timestamp", "extracted_at of the extraction that it was made by"),
        Column("signature", "text", "MinHash of its text, base64; NULL: no word", optional=True),
        Column("group_id", "text", "Its group of similar documents; NULL: none", optional=True),
        Column("is_compared", "boolean", "Whether its pairs are written"),
    ], indexes=[Index("documents_fingerprints_by_group", ["group_id"])]),
    Table("documents_bands", "One row per document and band of its signature, of the first documents of a bucket.", [
        Column("bucket", "bigint", "Hash of the band, 64 bits; documents with an equal band share it", key=True),
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
    ]),
]
