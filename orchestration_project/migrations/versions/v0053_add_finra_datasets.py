"""Add datasets of FINRA: Treasuries, short sales, months and blocks."""

from orchestration_project.migrations.changes import (
    ChangeComment,
    CreateTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Table

revision = "0053"
down_revision = "0051"

# fmt: off
CHANGES = [
    CreateTable(Table("finra_treasury_daily", "One row per day, product category, range of maturity and benchmark: the trading in US Treasury securities reported to FINRA.", [
        Column("trade_date", "date", "Day of the trades", key=True),
        Column("product_category", "text", "Product category, such as Bills, FRNs or TIPS", key=True),
        Column("years_to_maturity", "text", "Range of remaining years; blank: all maturities", key=True),
        Column("benchmark", "text", "Benchmark: On-the-run or Off-the-run; blank: both", key=True),
        Column("ats_interdealer_count", "bigint", "Trades on ATSs and between dealers", optional=True),
        Column("dealer_customer_count", "bigint", "Trades between dealers and customers", optional=True),
        Column("ats_interdealer_volume", "bigint", "Volume on ATSs and between dealers, billions of US dollars x 10^6", optional=True),
        Column("dealer_customer_volume", "bigint", "Volume between dealers and customers, billions of US dollars x 10^6", optional=True),
        Column("vwap", "bigint", "Volume-weighted average price, percent of par x 10^6; NULL: FINRA gives none", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    CreateTable(Table("finra_treasury_daily_history", "One row per earlier state of a row of finra_treasury_daily, valid from known_from to known_to.", [
        Column("trade_date", "date", "Day of the trades", key=True),
        Column("product_category", "text", "Product category, such as Bills, FRNs or TIPS", key=True),
        Column("years_to_maturity", "text", "Range of remaining years; blank: all maturities", key=True),
        Column("benchmark", "text", "Benchmark: On-the-run or Off-the-run; blank: both", key=True),
        Column("ats_interdealer_count", "bigint", "Trades on ATSs and between dealers", optional=True),
        Column("dealer_customer_count", "bigint", "Trades between dealers and customers", optional=True),
        Column("ats_interdealer_volume", "bigint", "Volume on ATSs and between dealers, billions of US dollars x 10^6", optional=True),
        Column("dealer_customer_volume", "bigint", "Volume between dealers and customers, billions of US dollars x 10^6", optional=True),
        Column("vwap", "bigint", "Volume-weighted average price, percent of par x 10^6; NULL: FINRA gives none", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    CreateTable(Table("finra_treasury_monthly", "One row per month, product category, range of maturity and benchmark: the trading in US Treasury securities reported to FINRA.", [
        Column("trade_month", "date", "First day of the month", key=True),
        Column("product_category", "text", "Product category, such as Bills, FRNs or TIPS", key=True),
        Column("years_to_maturity", "text", "Range of remaining years; blank: all maturities", key=True),
        Column("benchmark", "text", "Benchmark: On-the-run or Off-the-run; blank: both", key=True),
        Column("ats_interdealer_count", "bigint", "Trades on ATSs and between dealers", optional=True),
        Column("dealer_customer_count", "bigint", "Trades between dealers and customers", optional=True),
        Column("ats_interdealer_volume", "bigint", "Volume on ATSs and between dealers, billions of US dollars x 10^6", optional=True),
        Column("dealer_customer_volume", "bigint", "Volume between dealers and customers, billions of US dollars x 10^6", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    CreateTable(Table("finra_treasury_monthly_history", "One row per earlier state of a row of finra_treasury_monthly, valid from known_from to known_to.", [
        Column("trade_month", "date", "First day of the month", key=True),
        Column("product_category", "text", "Product category, such as Bills, FRNs or TIPS", key=True),
        Column("years_to_maturity", "text", "Range of remaining years; blank: all maturities", key=True),
        Column("benchmark", "text", "Benchmark: On-the-run or Off-the-run; blank: both", key=True),
        Column("ats_interdealer_count", "bigint", "Trades on ATSs and between dealers", optional=True),
        Column("dealer_customer_count", "bigint", "Trades between dealers and customers", optional=True),
        Column("ats_interdealer_volume", "bigint", "Volume on ATSs and between dealers, billions of US dollars x 10^6", optional=True),
        Column("dealer_customer_volume", "bigint", "Volume between dealers and customers, billions of US dollars x 10^6", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    ChangeComment("finra_treasury_weekly", "product_category", "Product category, such as Bills or Nominal Coupons", "Product category, such as Bills, FRNs or TIPS"),
    ChangeComment("finra_treasury_weekly", "ats_interdealer_volume", "Volume on ATSs and between dealers, in FINRA's unit x 10^6", "Volume on ATSs and between dealers, billions of US dollars x 10^6"),
    ChangeComment("finra_treasury_weekly", "dealer_customer_volume", "Volume between dealers and customers, in FINRA's unit x 10^6", "Volume between dealers and customers, billions of US dollars x 10^6"),
    ChangeComment("finra_treasury_weekly_history", "product_category", "Product category, such as Bills or Nominal Coupons", "Product category, such as Bills, FRNs or TIPS"),
    ChangeComment("finra_treasury_weekly_history", "ats_interdealer_volume", "Volume on ATSs and between dealers, in FINRA's unit x 10^6", "Volume on ATSs and between dealers, billions of US dollars x 10^6"),
    ChangeComment("finra_treasury_weekly_history", "dealer_customer_volume", "Volume between dealers and customers, in FINRA's unit x 10^6", "Volume between dealers and customers, billions of US dollars x 10^6"),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
