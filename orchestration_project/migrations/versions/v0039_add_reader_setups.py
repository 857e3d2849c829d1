"""Add the setups of readers of documents."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0039"
down_revision = "0038"

# fmt: off
CHANGES = [
    CreateTable(Table("documents_reader_setups", "One row per set of passwords, and of languages of OCR, that documents were read with.", [
        Column("kind", "text", "Kind: passwords or ocr", key=True),
        Column("fingerprint", "text", "scrypt of the set with the salt, hex", key=True),
        Column("salt", "text", "Salt, hex; the same for all sets"),
        Column("activated_at", "timestamp", "UTC time from which it was used, the latest one"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Apply the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo the changes, last first."""
    downgrade_by(CHANGES)
