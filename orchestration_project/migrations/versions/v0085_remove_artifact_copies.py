"""Remove the second artifact store.

Its table has only how far it was a copy. Repairs from it are recorded as those from a copy.
"""

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import (
    ChangeComment,
    DropIndex,
    DropTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0085"
down_revision = "0084"

# fmt: off
CHANGES = [
    DropTable(Table("operations_artifact_copies", "One row per second artifact store and kind of rows that it follows: how far it is a copy.", [
        Column("url", "text", "Folder or URL of the second store, without secrets", key=True),
        Column("kind", "text", "Followed rows: blobs, exports or removals", key=True),
        Column("followed_until", "timestamp", "UTC time up to which the rows were followed"),
        Column("object_count", "bigint", "Objects copied so far; of removals, deleted"),
        Column("byte_count", "bigint", "Their size as stored, bytes"),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
        Column("run_id", "text", "Dagster run of the latest change"),
    ])),
    DropIndex("blobs", Index("blobs_by_time", ["stored_at", "sha256"])),
    ChangeComment("operations_damaged_artifacts", "repaired_from", "Origin of the repair: second_store, source or derived; NULL: not repaired, or found whole", "Origin of the repair: copy, source or derived; NULL: not repaired, or found whole"),
]
# fmt: on


REPAIRS = sa.table("operations_damaged_artifacts", sa.column("repaired_from", sa.Text))


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)
    _rename_way("second_store", "copy")


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
    _rename_way("copy", "second_store")


def _rename_way(old: str, new: str) -> None:
    op.execute(sa.update(REPAIRS).where(REPAIRS.c.repaired_from == old).values(repaired_from=new))
