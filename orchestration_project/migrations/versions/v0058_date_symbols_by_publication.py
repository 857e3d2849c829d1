"""Date symbols by publication."""

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column

revision = "0058"
down_revision = "0057"

# fmt: off
CHANGES = [
    AddColumn("prices_corporate_actions", Column("known_from", "timestamp", "UTC time of the load of the day's prices", optional=True)),
    AddColumn("prices_returns", Column("known_from", "timestamp", "UTC time of the latest load of the 61 prices up to the day", optional=True)),
    AddColumn("finra_symbols", Column("published_at", "timestamp", "Latest last_update_date of its rows, at 00:00", optional=True)),
    AddColumn("finra_symbols", Column("is_stale", "boolean", "Whether a week was loaded or changed since; until it is derived again", optional=True)),
    AddColumn("finra_symbol_changes", Column("published_at", "timestamp", "Latest last_update_date of the symbol's rows, at 00:00", optional=True)),
    AddColumn("finra_symbol_changes", Column("is_stale", "boolean", "Whether a week was loaded or changed since; until it is derived again", optional=True)),
    AddColumn("finra_symbol_renames", Column("published_at", "timestamp", "Latest last_update_date of the rows of either, at 00:00", optional=True)),
    AddColumn("finra_symbol_renames", Column("is_stale", "boolean", "Whether a week was loaded or changed since; until it is derived again", optional=True)),
    AddColumn("off_exchange_share_weekly", Column("published_at", "timestamp", "Latest last_update_date of FINRA's rows, at 00:00; NULL: none, as Cboe does not date its", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
