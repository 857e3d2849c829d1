"""Add market volume."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0056"
down_revision = "0055"

# fmt: off
CHANGES = [
    CreateTable(Table("market_volume_daily", "One row per day and exchange or off-exchange facility: trading in US equities by tape.", [
        Column("trade_date", "date", "Day of trading", key=True),
        Column("participant_code", "text", "Letters of the exchange, e.g. N; D, or D and a letter: off exchange", key=True),
        Column("participant_name", "text", "Name as Cboe writes it on that day, e.g. NYSE (N)"),
        Column("tape_a_share_quantity", "bigint", "Shares of tape A"),
        Column("tape_b_share_quantity", "bigint", "Shares of tape B"),
        Column("tape_c_share_quantity", "bigint", "Shares of tape C"),
        Column("total_share_quantity", "bigint", "Shares of all tapes"),
        Column("tape_a_notional_usd", "bigint", "Traded value of tape A, US dollars x 10^6"),
        Column("tape_b_notional_usd", "bigint", "Traded value of tape B, US dollars x 10^6"),
        Column("tape_c_notional_usd", "bigint", "Traded value of tape C, US dollars x 10^6"),
        Column("total_notional_usd", "bigint", "Traded value of all tapes, US dollars x 10^6"),
        Column("tape_a_trade_count", "bigint", "Trades of tape A"),
        Column("tape_b_trade_count", "bigint", "Trades of tape B"),
        Column("tape_c_trade_count", "bigint", "Trades of tape C"),
        Column("total_trade_count", "bigint", "Trades of all tapes"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    CreateTable(Table("market_volume_daily_history", "One row per earlier state of a row of market_volume_daily, valid from known_from to known_to.", [
        Column("trade_date", "date", "Day of trading", key=True),
        Column("participant_code", "text", "Letters of the exchange, e.g. N; D, or D and a letter: off exchange", key=True),
        Column("participant_name", "text", "Name as Cboe writes it on that day, e.g. NYSE (N)"),
        Column("tape_a_share_quantity", "bigint", "Shares of tape A"),
        Column("tape_b_share_quantity", "bigint", "Shares of tape B"),
        Column("tape_c_share_quantity", "bigint", "Shares of tape C"),
        Column("total_share_quantity", "bigint", "Shares of all tapes"),
        Column("tape_a_notional_usd", "bigint", "Traded value of tape A, US dollars x 10^6"),
        Column("tape_b_notional_usd", "bigint", "Traded value of tape B, US dollars x 10^6"),
        Column("tape_c_notional_usd", "bigint", "Traded value of tape C, US dollars x 10^6"),
        Column("total_notional_usd", "bigint", "Traded value of all tapes, US dollars x 10^6"),
        Column("tape_a_trade_count", "bigint", "Trades of tape A"),
        Column("tape_b_trade_count", "bigint", "Trades of tape B"),
        Column("tape_c_trade_count", "bigint", "Trades of tape C"),
        Column("total_trade_count", "bigint", "Trades of all tapes"),
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
    """Undo them."""
    downgrade_by(CHANGES)
