"""Add fx rates."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0025"
down_revision = "0024"

# fmt: off
CHANGES = [
    CreateTable(Table("fx_rates_daily", "One row per TARGET working day and currency: the ECB's euro reference rate.", [
        Column("rate_date", "date", "TARGET working day of the rate", key=True),
        Column("currency_code", "text", "ISO 4217 code, such as USD", key=True),
        Column("rate", "bigint", "Units of the currency for 1 EUR, x 10^6"),
        Column("capture_id", "bigint", "The capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which we knew the row"),
    ])),
    CreateTable(Table("fx_rates_daily_history", "One row per earlier state of a row of fx_rates_daily: true from known_from to known_to.", [
        Column("rate_date", "date", "TARGET working day of the rate", key=True),
        Column("currency_code", "text", "ISO 4217 code, such as USD", key=True),
        Column("rate", "bigint", "Units of the currency for 1 EUR, x 10^6"),
        Column("capture_id", "bigint", "The capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which we knew the row", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed"),
        Column("change_cause", "text", "Why: source (values), metadata (only its dates), ours (our rules)"),
        Column("rule_version", "text", "Version of our rules that made the row that followed"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
