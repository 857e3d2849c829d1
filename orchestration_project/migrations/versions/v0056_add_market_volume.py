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
    CreateTable(Table("off_exchange_share_daily", "One row per day and tape: trading on and off exchange, and the share off exchange.", [
        Column("trade_date", "date", "Day of trading", key=True),
        Column("tape", "text", "Tape of the listing: A, B, C, or all", key=True),
        Column("exchange_share_quantity", "bigint", "Shares traded on exchanges"),
        Column("off_exchange_share_quantity", "bigint", "Shares traded off exchange"),
        Column("off_exchange_share_ratio", "double", "Shares off exchange / all, 0-1; NULL: no shares", optional=True),
        Column("exchange_notional_usd", "bigint", "Value traded on exchanges, US dollars x 10^6"),
        Column("off_exchange_notional_usd", "bigint", "Value traded off exchange, US dollars x 10^6"),
        Column("off_exchange_notional_ratio", "double", "Value off exchange / all, 0-1; NULL: no value", optional=True),
        Column("exchange_trade_count", "bigint", "Trades on exchanges"),
        Column("off_exchange_trade_count", "bigint", "Trades off exchange"),
        Column("off_exchange_trade_ratio", "double", "Trades off exchange / all, 0-1; NULL: no trades", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
    ])),
    CreateTable(Table("off_exchange_share_weekly", "One row per week and tape: the sums of its loaded days, beside FINRA's shares of the week.", [
        Column("week_start", "date", "Monday of the week", key=True),
        Column("tape", "text", "Tape of the listing: A, B, C, or all", key=True),
        Column("day_count", "bigint", "Loaded days of the week"),
        Column("session_count", "bigint", "Days of the week on which exchanges trade"),
        Column("exchange_share_quantity", "bigint", "Shares traded on exchanges"),
        Column("off_exchange_share_quantity", "bigint", "Shares traded off exchange"),
        Column("off_exchange_share_ratio", "double", "Shares off exchange / all, 0-1; NULL: no shares", optional=True),
        Column("exchange_notional_usd", "bigint", "Value traded on exchanges, US dollars x 10^6"),
        Column("off_exchange_notional_usd", "bigint", "Value traded off exchange, US dollars x 10^6"),
        Column("off_exchange_notional_ratio", "double", "Value off exchange / all, 0-1; NULL: no value", optional=True),
        Column("exchange_trade_count", "bigint", "Trades on exchanges"),
        Column("off_exchange_trade_count", "bigint", "Trades off exchange"),
        Column("off_exchange_trade_ratio", "double", "Trades off exchange / all, 0-1; NULL: no trades", optional=True),
        Column("finra_ats_share_quantity", "bigint", "FINRA's shares on ATSs, T1 and T2; NULL: a tape, or a tier is not loaded", optional=True),
        Column("finra_non_ats_share_quantity", "bigint", "FINRA's shares off exchange outside ATSs, T1 and T2; NULL: as above", optional=True),
        Column("finra_ats_share_ratio", "double", "finra_ats_share_quantity / shares on and off exchange; NULL: also if a day is missing", optional=True),
        Column("finra_non_ats_share_ratio", "double", "finra_non_ats_share_quantity / shares on and off exchange; NULL: as above", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
        Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
