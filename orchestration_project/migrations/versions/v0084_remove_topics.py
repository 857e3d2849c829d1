"""Remove topics of documents.

Keywords by frequency are derived no more, and what they were derived from goes. The version before
counts terms of all documents: so going back empties what similarity was derived from, and the next
loads and the job documents_derive fill it again.
"""

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import (
    DropTable,
    RebuildTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0084"
down_revision = "0083"

# fmt: off
CHANGES = [
    DropTable(Table("documents_topics", "One row per keyword of a document.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("rank", "bigint", "1: the highest score", key=True),
        Column("keyword", "text", "Word in lower case"),
        Column("score", "double", "TF-IDF, by the documents that were loaded when it was computed"),
    ])),
    DropTable(Table("documents_frequencies", "One row per term: in how many documents it occurs.", [
        Column("term", "text", "Word in lower case; empty: all documents with terms", key=True),
        Column("document_count", "bigint", "Documents that have it among their most frequent terms"),
    ])),
    RebuildTable(Table("documents_fingerprints", "One row per document: what its similarity and topics are derived from.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("extracted_at", "timestamp", "extracted_at of the extraction that it was made by"),
        Column("signature", "text", "MinHash of its text, base64; NULL: no word", optional=True),
        Column("terms", "text", "Its most frequent terms with their counts, JSON"),
        Column("group_id", "text", "Its group of similar documents; NULL: none", optional=True),
        Column("is_compared", "boolean", "Whether its pairs and the frequencies of its terms are written"),
        Column("has_topics", "boolean", "Whether its keywords were computed from these terms"),
    ], indexes=[
        Index("documents_fingerprints_by_group", ["group_id"]),
    ]), Table("documents_fingerprints", "One row per document: what its similarity is derived from.", [
        Column("document_id", "text", "SHA-256 of the document's bytes, hex", key=True),
        Column("extracted_at", "timestamp", "extracted_at of the extraction that it was made by"),
        Column("signature", "text", "MinHash of its text, base64; NULL: no word", optional=True),
        Column("group_id", "text", "Its group of similar documents; NULL: none", optional=True),
        Column("is_compared", "boolean", "Whether its pairs are written"),
    ], indexes=[
        Index("documents_fingerprints_by_group", ["group_id"]),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them; what a version before would read in part is empty."""
    for name in ("documents_similarity", "documents_bands", "documents_fingerprints"):
        op.execute(sa.delete(sa.table(name)))
    downgrade_by(CHANGES)
