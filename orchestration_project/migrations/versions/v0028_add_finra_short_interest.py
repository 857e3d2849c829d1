"""Add finra short interest."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0028"
down_revision = "0027"

# fmt: off
CHANGES = [
    CreateTable(Table("finra_short_interest", "One row per settlement date and symbol: the short positions that members reported to FINRA.", [
        Column("settlement_date", "date", "Mid-month or end of the month", key=True),
        Column("symbol", "text", "FINRA's symbol, exact to the byte", key=True),
        Column("issue_name", "text", "The security's name", optional=True),
        Column("exchange_code", "text", "FINRA's code of the listing exchange", optional=True),
        Column("market_class_code", "text", "Such as NYSE or OTC", optional=True),
        Column("accounting_period", "bigint", "FINRA's number of the period; NULL: not given", optional=True),
        Column("short_quantity", "bigint", "Shares sold short"),
        Column("previous_short_quantity", "bigint", "At the settlement date before; NULL: not given", optional=True),
        Column("short_change", "bigint", "Since then, shares; NULL: not given", optional=True),
        Column("change_percent", "bigint", "The same in percent x 10^6; NULL: not given", optional=True),
        Column("average_daily_volume", "bigint", "Shares traded in a day; NULL: not given", optional=True),
        Column("days_to_cover", "bigint", "Days of that volume, at most 999.99, x 10^6; NULL: not given", optional=True),
        Column("stock_split_flag", "text", "S: split in the period", optional=True),
        Column("revision_flag", "text", "R: revised after publication", optional=True),
        Column("capture_id", "bigint", "The capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which we knew the row"),
    ])),
    CreateTable(Table("finra_short_interest_history", "One row per earlier state of a row of finra_short_interest: true from known_from to known_to.", [
        Column("settlement_date", "date", "Mid-month or end of the month", key=True),
        Column("symbol", "text", "FINRA's symbol, exact to the byte", key=True),
        Column("issue_name", "text", "The security's name", optional=True),
        Column("exchange_code", "text", "FINRA's code of the listing exchange", optional=True),
        Column("market_class_code", "text", "Such as NYSE or OTC", optional=True),
        Column("accounting_period", "bigint", "FINRA's number of the period; NULL: not given", optional=True),
        Column("short_quantity", "bigint", "Shares sold short"),
        Column("previous_short_quantity", "bigint", "At the settlement date before; NULL: not given", optional=True),
        Column("short_change", "bigint", "Since then, shares; NULL: not given", optional=True),
        Column("change_percent", "bigint", "The same in percent x 10^6; NULL: not given", optional=True),
        Column("average_daily_volume", "bigint", "Shares traded in a day; NULL: not given", optional=True),
        Column("days_to_cover", "bigint", "Days of that volume, at most 999.99, x 10^6; NULL: not given", optional=True),
        Column("stock_split_flag", "text", "S: split in the period", optional=True),
        Column("revision_flag", "text", "R: revised after publication", optional=True),
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
