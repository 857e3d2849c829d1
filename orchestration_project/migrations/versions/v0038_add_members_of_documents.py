"""Add the members of documents, filled from the one parent that each had."""

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0038"
down_revision = "0037"

# fmt: off
CHANGES = [
    CreateTable(Table("documents_members", "One row per attachment or member of a document: the same bytes may lie in several.", [
        Column("parent_id", "text", "Document that holds it", key=True),
        Column("document_id", "text", "SHA-256 of its bytes, hex", key=True),
        Column("path_in_parent", "text", "Its name there", key=True),
    ], indexes=[
        Index("documents_members_by_document", ["document_id"]),
    ])),
]
# fmt: on

NAMES = ("parent_id", "document_id", "path_in_parent")


def upgrade() -> None:
    """Make the changes, and fill the new table."""
    upgrade_by(CHANGES)
    known = sa.table("documents", *map(sa.column, NAMES))
    columns = [known.c[name] for name in NAMES]
    is_member = sa.and_(known.c.parent_id.is_not(None), known.c.path_in_parent.is_not(None))
    members = sa.table("documents_members", *map(sa.column, NAMES))
    op.execute(sa.insert(members).from_select(NAMES, sa.select(*columns).where(is_member)))


def downgrade() -> None:
    """Undo them; the parent of each document stays in its row."""
    downgrade_by(CHANGES)
