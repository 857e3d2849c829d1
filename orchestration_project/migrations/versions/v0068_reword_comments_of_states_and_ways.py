"""Reword comments of states and ways."""

from orchestration_project.migrations.changes import ChangeComment, downgrade_by, upgrade_by

revision = "0068"
down_revision = "0067"

# fmt: off
CHANGES = [
    ChangeComment("saas_routing_rules", "cancelled_issue", "State of the task of an issue in a status such as Cancelled; NULL: completed", "State of the task of an issue in a status such as Cancelled: completed or open; NULL: completed"),
    ChangeComment("saas_routing_rules", "completed_task", "State of the issue of a completed task; NULL: done", "State of the issue of a completed task: done or cancelled; NULL: done"),
    ChangeComment("documents_files", "file_version", "Distinguishes states of the same size and change time: the time at which the file system last changed the file in any way (ctime), or an object's ETag. Where it changes, the bytes are read and compared by SHA-256; NULL: an upload, or not known yet", "Distinguishes states of the same size and change time: the time at which the file system last changed the file in any way (ctime), or an object's ETag. If it changes, the bytes are read and compared by SHA-256; NULL: an upload, or not known yet"),
    ChangeComment("web_frontier", "found_by", "What leads to it: index (of sitemaps; it must be a sitemap), page (also a sitemap, or the site file) or feed (feeds alone: an item is not removed as it is absent); NULL: not known", "Kind of page that leads to it: index (of sitemaps; it must be a sitemap), page (also a sitemap, or the site file) or feed (feeds alone: an item is not removed as it is absent); NULL: not known"),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
