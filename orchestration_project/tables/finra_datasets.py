"""Fields and tables of FINRA's further datasets; `domains/finra/datasets.py` declares the rest."""

from orchestration_project.tables.fields import Field, dataset_table
from orchestration_project.tables.schema import count, day, text

VOLUME_SCALE = 6
"""Decimals of a volume that are kept: as a whole number times 10 to this power, exact."""


def _volume(name: str, column: str, comment: str) -> Field:
    return Field(
        name, count(column, f"{comment}, in FINRA's unit x 10^6", optional=True), VOLUME_SCALE
    )


TREASURY_FIELDS = (
    Field("beginningOfWeekDate", day("week_start", "Monday of the week", key=True)),
    Field(
        "productCategory", text("product_category", "Such as Bills or Nominal Coupons", key=True)
    ),
    Field(
        "yearsToMaturity",
        text("years_to_maturity", "Range of remaining years; blank: not told apart", key=True),
        may_be_blank=True,
    ),
    Field(
        "benchmark",
        text("benchmark", "On-the-run or Off-the-run; blank: not told apart", key=True),
        may_be_blank=True,
    ),
    _volume("atsInterdealerVolume", "ats_interdealer_volume", "Volume on ATSs and between dealers"),
    _volume(
        "dealerCustomerVolume", "dealer_customer_volume", "Volume between dealers and customers"
    ),
)
finra_treasury_weekly = dataset_table(
    "finra_treasury_weekly",
    "One row per week, product category, range of maturity and benchmark: the trading in US "
    "Treasury securities reported to FINRA.",
    *TREASURY_FIELDS,
)

BOND_FIELDS = (
    Field("weekEnding", day("week_ending", "Friday of the week", key=True)),
    Field("tierIdentifier", text("tier", "Bucket of liquidity: T1, T2 or OTCE", key=True)),
    Field(
        "cusip",
        text("cusip", "The bond: nine characters, the last a check digit", key=True),
        form="cusip",
    ),
    Field("totalVolume", count("volume_total", "Par value traded in the week, US dollars")),
    Field("tradeCount", count("trade_count", "Trades in the week")),
)
fact_bond_trade_activity = dataset_table(
    "fact_bond_trade_activity",
    "One row per week, tier and bond: the par value and the trades of a licensed feed.",
    *BOND_FIELDS,
    asset="finra/bond_trade_activity",
)

BREADTH_FIELDS = (
    Field("tradeReportDate", day("trade_date", "Day of the trades", key=True)),
    Field("productCategory", text("product_category", "Such as high yield", key=True)),
    Field("totalTrades", count("trade_count", "Trades")),
    Field("advances", count("advance_count", "Bonds whose price rose")),
    Field("declines", count("decline_count", "Bonds whose price fell")),
    Field("unchanged", count("unchanged_count", "Bonds whose price stayed")),
    Field("fiftyTwoWeekHigh", count("new_high_count", "Bonds at their highest of 52 weeks")),
    Field("fiftyTwoWeekLow", count("new_low_count", "Bonds at their lowest of 52 weeks")),
    _volume("totalVolume", "total_volume", "Volume traded"),
)
finra_corporate_market_breadth = dataset_table(
    "finra_corporate_market_breadth",
    "One row per day and product category: how many corporate bonds rose, fell and stayed.",
    *BREADTH_FIELDS,
)
