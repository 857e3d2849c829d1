"""Which applied preset a run went by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from orchestration_project.migrations.versions.v0008_ledger import VIEWS

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
SESSIONS = "operations_sessions"
"""Its EXISTS (SELECT *) holds, in PostgreSQL, the columns of when it was made."""


def upgrade() -> None:
    """Add the column; what ran before gets its value by `operations_reconcile`."""
    op.execute(f"DROP VIEW {SESSIONS}")
    op.add_column(
        "operations_runs",
        sa.Column(
            "preset",
            TEXT,
            nullable=True,
            comment="Applied preset that it went by, such as strict_quality#3; NULL: by none",
        ),
    )
    _create_sessions()


def _create_sessions() -> None:
    view, comment, columns = VIEWS[SESSIONS]
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.execute(view.format(double="DOUBLE PRECISION" if is_postgresql else "DOUBLE"))
    if is_postgresql:
        op.execute(f"COMMENT ON VIEW {SESSIONS} IS '{comment}'")
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {SESSIONS}.{column} IS '{text}'")


def downgrade() -> None:
    """Drop it."""
    op.execute(f"DROP VIEW {SESSIONS}")
    op.drop_column("operations_runs", "preset")
    _create_sessions()
