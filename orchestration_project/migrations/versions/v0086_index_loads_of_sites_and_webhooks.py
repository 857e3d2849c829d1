"""Index loads of sites and webhooks."""

from orchestration_project.migrations.changes import (
    ChangeComment,
    CreateIndex,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Index

revision = "0086"
down_revision = "0085"

# fmt: off
CHANGES = [
    CreateIndex("events_webhooks", Index("events_webhooks_by_known_from", ["source", "known_from"])),
    CreateIndex("events_webhooks_history", Index("events_webhooks_history_by_known_from", ["source", "known_from"])),
    CreateIndex("events_webhooks_history", Index("events_webhooks_history_by_known_to", ["source", "known_to"])),
    ChangeComment("operations_readiness", "run_id", "Dagster run that probed it", "Dagster run that probed it; empty: a command did"),
    CreateIndex("web_pages", Index("web_pages_by_known_from", ["site", "known_from"])),
    CreateIndex("web_pages_history", Index("web_pages_history_by_known_from", ["site", "known_from"])),
    CreateIndex("web_pages_history", Index("web_pages_history_by_known_to", ["site", "known_to"])),
    CreateIndex("web_items", Index("web_items_by_known_from", ["site", "known_from"])),
    CreateIndex("web_items_history", Index("web_items_history_by_known_from", ["site", "known_from"])),
    CreateIndex("web_items_history", Index("web_items_history_by_known_to", ["site", "known_to"])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
