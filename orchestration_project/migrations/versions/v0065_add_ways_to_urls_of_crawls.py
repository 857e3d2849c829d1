"""Add ways to urls of crawls."""

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column

revision = "0065"
down_revision = "0064"

# fmt: off
CHANGES = [
    AddColumn("web_frontier", Column("found_by", "text", "What leads to it: index (of sitemaps; it must be a sitemap), page (also a sitemap, or the site file) or feed (feeds alone: an item is not removed as it is absent); NULL: not known", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
