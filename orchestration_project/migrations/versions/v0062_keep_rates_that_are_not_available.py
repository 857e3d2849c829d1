"""Keep rates that are not available."""

from alembic import op

from orchestration_project.migrations.changes import RebuildTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0062"
down_revision = "0061"

# fmt: off
CHANGES = [
    RebuildTable(Table("fx_rates_daily", "One row per TARGET working day and currency: the ECB's euro reference rate.", [
        Column("rate_date", "date", "TARGET working day of the rate", key=True),
        Column("currency_code", "text", "ISO 4217 code, such as USD", key=True),
        Column("rate", "bigint", "Units of the currency for 1 EUR, x 10^6"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ]), Table("fx_rates_daily", "One row per TARGET working day and currency: the ECB's euro reference rate.", [
        Column("rate_date", "date", "TARGET working day of the rate", key=True),
        Column("currency_code", "text", "ISO 4217 code, such as USD", key=True),
        Column("rate", "bigint", "Units of the currency for 1 EUR, x 10^6; NULL: the ECB states N/A, not available", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    RebuildTable(Table("fx_rates_daily_history", "One row per earlier state of a row of fx_rates_daily, valid from known_from to known_to.", [
        Column("rate_date", "date", "TARGET working day of the rate", key=True),
        Column("currency_code", "text", "ISO 4217 code, such as USD", key=True),
        Column("rate", "bigint", "Units of the currency for 1 EUR, x 10^6"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ]), Table("fx_rates_daily_history", "One row per earlier state of a row of fx_rates_daily, valid from known_from to known_to.", [
        Column("rate_date", "date", "TARGET working day of the rate", key=True),
        Column("currency_code", "text", "ISO 4217 code, such as USD", key=True),
        Column("rate", "bigint", "Units of the currency for 1 EUR, x 10^6; NULL: the ECB states N/A, not available", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them; a rate that is not available has no place in the earlier tables."""
    for table in ("fx_rates_daily", "fx_rates_daily_history"):
        op.execute(f"DELETE FROM {table} WHERE rate IS NULL")  # noqa: S608 - names of ours
    downgrade_by(CHANGES)
