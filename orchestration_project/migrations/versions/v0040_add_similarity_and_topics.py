"""Add similarity and topics."""

from orchestration_project.migrations.changes import (
    CreateIndex,
    CreateTable,
    CreateView,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table, View

revision = "0040"
down_revision = "0039"

# fmt: off
CHANGES = [
    CreateTable(Table("documents_similarity", "One row per pair of documents with similar text, the smaller document_id first.", [
        Column("document_id", "text", "SHA-256 of the one document's bytes, hex", key=True),
        Column("similar_id", "text", "SHA-256 of the other's, hex; greater than document_id", key=True),
        Column("score", "double", "Estimated Jaccard similarity of their shingles of 3 words, 0.6-1"),
        Column("group_id", "text", "Smallest document_id of all documents that pairs connect with them; may change"),
    ], indexes=[
        Index("documents_similarity_by_group", ["group_id"]),
        Index("documents_similarity_by_similar", ["similar_id"]),
    ])),
    CreateTable(Table("documents_topics", "One row per keyword of a document.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("rank", "bigint", "1: the highest score", key=True),
        Column("keyword", "text", "Word in lower case"),
        Column("score", "double", "TF-IDF, by the documents that were loaded when it was computed"),
    ])),
    CreateTable(Table("documents_fingerprints", "One row per document: what its similarity and topics are derived from.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("extracted_at", "timestamp", "extracted_at of the extraction that it was made by"),
        Column("signature", "text", "MinHash of its text, base64; NULL: no word", optional=True),
        Column("terms", "text", "Its most frequent terms with their counts, JSON"),
        Column("group_id", "text", "Its group of similar documents; NULL: none", optional=True),
        Column("is_compared", "boolean", "Whether its pairs and the frequencies of its terms are written"),
        Column("has_topics", "boolean", "Whether its keywords were computed from these terms"),
    ], indexes=[
        Index("documents_fingerprints_by_group", ["group_id"]),
    ])),
    CreateTable(Table("documents_bands", "One row per document and band of its signature, of the first documents of a bucket.", [
        Column("bucket", "bigint", "Hash of the band, 64 bits; documents with an equal band share it", key=True),
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
    ])),
    CreateTable(Table("documents_frequencies", "One row per term: in how many documents it occurs.", [
        Column("term", "text", "Word in lower case; empty: all documents with terms", key=True),
        Column("document_count", "bigint", "Documents that have it among their most frequent terms"),
    ])),
    CreateIndex("documents", Index("documents_by_run", ["run_id"])),
    CreateView(View("v_documents_chunks", "One row per row of documents_chunks, in the order of the text.", {
        "document_id": "SHA-256 of the document's bytes, hex",
        "page_number": "Page of the span",
        "start_offset": "First character of the span in the page's text, from 0",
        "end_offset": "First character after the span",
        "chunk_id": "SHA-256 of document, rules, page and span, hex",
        "section_path": "Headings above it, outermost first, separated by ' > '",
        "word_count": "Words",
        "text": "The page's text cut at the span",
    }, """
SELECT documents_chunks.document_id AS document_id,
documents_chunks.page_number AS page_number,
documents_chunks.start_offset AS start_offset,
documents_chunks.end_offset AS end_offset,
documents_chunks.chunk_id AS chunk_id,
documents_chunks.section_path AS section_path,
documents_chunks.word_count AS word_count,
documents_chunks.text AS text
FROM documents_chunks
""")),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
