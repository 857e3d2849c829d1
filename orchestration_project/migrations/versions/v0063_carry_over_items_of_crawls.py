"""Add days of success and carried items of crawls."""

from orchestration_project.migrations.changes import (
    AddColumn,
    ChangeComment,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column

revision = "0063"
down_revision = "0062"

# fmt: off
CHANGES = [
    AddColumn("web_frontier", Column("last_success_on", "date", "UTC day of the latest crawl that read it, where this one did not; its items stay as they were then, unless it is gone; NULL: none, or read", optional=True)),
    ChangeComment("web_frontier", "verdict", "Verdict: page, unchanged, blocked, login, gone, redirected, disallowed (robots.txt), refused or failed (no answer; the next run retries); NULL: waits", "Verdict: page, unchanged, blocked, login, gone (404 or 410 alone), redirected, disallowed (robots.txt), refused (4xx, or by our limits) or failed (no page; the next run retries); NULL: waits"),
    ChangeComment("web_pages", "verdict", "Verdict: page, unchanged, blocked, login, gone or redirected", "Verdict: page, unchanged, blocked, login, gone, refused or failed"),
    ChangeComment("web_pages_history", "verdict", "Verdict: page, unchanged, blocked, login, gone or redirected", "Verdict: page, unchanged, blocked, login, gone, refused or failed"),
    AddColumn("web_crawls", Column("carried_count", "bigint", "Loaded items that stay as they were: the page was not read or the item not understood; NULL: not counted", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
