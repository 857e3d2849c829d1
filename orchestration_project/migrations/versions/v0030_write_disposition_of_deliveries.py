"""Store with each delivery how it is written, filled from the scopes of landings."""

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column

revision = "0030"
down_revision = "0029"

# fmt: off
CHANGES = [
    AddColumn("deliveries", Column("write_disposition", "text", "How it is written: replace_scope, merge, append", optional=True)),
]
# fmt: on

_deliveries = sa.table("deliveries", *map(sa.column, ("group_id", "write_disposition")))
_landings = sa.table("landings", *map(sa.column, ("group_id", "scope")))


def _is_written_by(name: str) -> sa.ColumnElement[bool]:
    scope = _landings.c.scope
    groups = sa.select(_landings.c.group_id).where(scope.endswith(f"write_disposition={name}"))
    return _deliveries.c.group_id.in_(groups)


def upgrade() -> None:
    """Make the changes, and fill the new column."""
    upgrade_by(CHANGES)
    written = [(_is_written_by(name), name) for name in ("merge", "append")]
    disposition = sa.case(*written, else_="replace_scope")
    op.execute(sa.update(_deliveries).values(write_disposition=disposition))


def downgrade() -> None:
    """Undo them; the scopes of landings still say it."""
    downgrade_by(CHANGES)
