"""Amend changed columns."""

from orchestration_project.migrations.changes import ChangeComment, downgrade_by, upgrade_by

revision = "0079"
down_revision = "0078"

# fmt: off
CHANGES = [
    ChangeComment("load_chain", "kind", "Kind: start (of the chain), columns (that later records hash), load, quarantine, refusal, erasure or retention (both replace the hashes of an earlier record)", "Kind: start (of the chain), columns (that later records hash), load, quarantine, refusal, erasure, retention or schema (these replace the hashes of an earlier record)"),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
