"""Add renames of declared tables."""

from orchestration_project.migrations.changes import (
    AddColumn,
    ChangeComment,
    CreateTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Table

revision = "0081"
down_revision = "0080"

# fmt: off
CHANGES = [
    CreateTable(Table("table_renames", "One row per rename of a table that a project declares.", [
        Column("old_name", "text", "Name of the table before", key=True),
        Column("renamed_at", "timestamp", "UTC time of the rename", key=True),
        Column("table_name", "text", "Name that the table has now"),
        Column("old_asset", "text", "Asset that the table was before, such as shop/pieces"),
    ])),
    AddColumn("fences", Column("delivery_table", "text", "Table in the group_id of the latest delivery, if it was renamed since; NULL: table_name", optional=True)),
    ChangeComment("load_chain", "kind", "Kind: start (of the chain), columns (that later records hash), load, quarantine, refusal, erasure, retention or schema (these replace the hashes of an earlier record)", "Kind: start (of the chain), columns (that later records hash), load, quarantine, refusal, erasure, retention or schema (these replace the hashes of an earlier record), rename (of the table)"),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
