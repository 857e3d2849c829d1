"""Fields and tables of FINRA's further datasets; `domains/finra/datasets.py` declares the rest."""

from orchestration_project.domains.finra.tables.weekly import TIERS
from orchestration_project.tables.key_groups import look_up_in_groups
from orchestration_project.tables.schema import (
    USD_SCALE,
    Field,
    count,
    dataset_table,
    day,
    quantity,
    scaled,
    text,
)

VOLUME_SCALE = 6
"""Decimals of a volume: stored as an integer, times 10 to this power."""


def _declare_volume(name: str, column: str, comment: str, unit: str = "in FINRA's unit") -> Field:
    return Field(name, count(column, f"{comment}, {unit} x 10^6", optional=True), VOLUME_SCALE)


def _declare_treasury_key(date_field: Field) -> tuple[Field, ...]:
    return (
        date_field,
        Field(
            "productCategory",
            text("product_category", "Product category, such as Bills, FRNs or TIPS", key=True),
        ),
        Field(
            "yearsToMaturity",
            text("years_to_maturity", "Range of remaining years; blank: all maturities", key=True),
            may_be_blank=True,
        ),
        Field(
            "benchmark",
            text("benchmark", "Benchmark: On-the-run or Off-the-run; blank: both", key=True),
            may_be_blank=True,
        ),
    )


def _declare_treasury_volumes() -> tuple[Field, Field]:
    billions = "billions of US dollars"
    return (
        _declare_volume(
            "atsInterdealerVolume",
            "ats_interdealer_volume",
            "Volume on ATSs and between dealers",
            billions,
        ),
        _declare_volume(
            "dealerCustomerVolume",
            "dealer_customer_volume",
            "Volume between dealers and customers",
            billions,
        ),
    )


def _declare_treasury_counts() -> tuple[Field, Field]:
    return (
        Field(
            "atsInterdealerCount",
            count("ats_interdealer_count", "Trades on ATSs and between dealers", optional=True),
        ),
        Field(
            "dealerCustomerCount",
            count("dealer_customer_count", "Trades between dealers and customers", optional=True),
        ),
    )


TREASURY_FIELDS = (
    *_declare_treasury_key(
        Field("beginningOfWeekDate", day("week_start", "Monday of the week", key=True))
    ),
    *_declare_treasury_volumes(),
)
finra_treasury_weekly = dataset_table(
    "finra_treasury_weekly",
    "One row per week, product category, range of maturity and benchmark: the trading in US "
    "Treasury securities reported to FINRA.",
    *TREASURY_FIELDS,
)

TREASURY_DAILY_FIELDS = (
    *_declare_treasury_key(Field("tradeDate", day("trade_date", "Day of the trades", key=True))),
    *_declare_treasury_counts(),
    *_declare_treasury_volumes(),
    Field(
        "volumeWeightedAveragePrice",
        scaled(
            "vwap",
            "Volume-weighted average price, percent of par x 10^6; NULL: FINRA gives none",
            optional=True,
        ),
        scale=USD_SCALE,
    ),
)
finra_treasury_daily = dataset_table(
    "finra_treasury_daily",
    "One row per day, product category, range of maturity and benchmark: the trading in US "
    "Treasury securities reported to FINRA.",
    *TREASURY_DAILY_FIELDS,
)

TREASURY_MONTHLY_FIELDS = (
    *_declare_treasury_key(
        Field("beginningOfTheMonthDate", day("trade_month", "First day of the month", key=True))
    ),
    *_declare_treasury_counts(),
    *_declare_treasury_volumes(),
)
finra_treasury_monthly = dataset_table(
    "finra_treasury_monthly",
    "One row per month, product category, range of maturity and benchmark: the trading in US "
    "Treasury securities reported to FINRA.",
    *TREASURY_MONTHLY_FIELDS,
)

BOND_FIELDS = (
    Field("weekEnding", day("week_ending", "Friday of the week", key=True)),
    Field("tierIdentifier", text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True)),
    Field(
        "cusip",
        text("cusip", "CUSIP of the bond: nine characters, the last a check digit", key=True),
        form="cusip",
    ),
    Field("totalVolume", quantity("volume_total", "Par value traded in the week, US dollars")),
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
    Field(
        "productCategory",
        text("product_category", "Product category, such as high yield", key=True),
    ),
    Field("totalTrades", count("trade_count", "Trades")),
    Field("advances", count("advance_count", "Bonds whose price rose")),
    Field("declines", count("decline_count", "Bonds whose price fell")),
    Field("unchanged", count("unchanged_count", "Bonds whose price was unchanged")),
    Field("fiftyTwoWeekHigh", count("new_high_count", "Bonds at their highest of 52 weeks")),
    Field("fiftyTwoWeekLow", count("new_low_count", "Bonds at their lowest of 52 weeks")),
    _declare_volume("totalVolume", "total_volume", "Volume traded"),
)
finra_corporate_market_breadth = dataset_table(
    "finra_corporate_market_breadth",
    "One row per day and product category: corporate bonds that rose, fell and were unchanged.",
    *BREADTH_FIELDS,
)


def number_or_null(name: str, column: str, comment: str) -> Field:
    """Return a field of a whole number that may be absent."""
    return Field(name, count(column, f"{comment}; NULL: not given", optional=True))


def quantity_or_null(name: str, column: str, comment: str) -> Field:
    """Return a field of shares that may be absent."""
    return Field(name, quantity(column, f"{comment}; NULL: not given", optional=True))


def optional_day(name: str, column: str, comment: str) -> Field:
    """Return a field of a day that may be absent."""
    return Field(name, day(column, f"{comment}; NULL: not given", optional=True))


def _declare_signed(name: str, column: str, comment: str) -> Field:
    named = scaled(column, f"{comment} x 10^6; NULL: not given", optional=True)
    return Field(name, named, scale=USD_SCALE, is_signed=True)


SHORT_INTEREST_FIELDS = (
    Field(
        "settlementDate",
        day("settlement_date", "Settlement date: mid-month or end of month", key=True),
    ),
    Field("symbolCode", text("symbol", "FINRA's symbol, exact to the byte", key=True)),
    Field("issueName", text("issue_name", "Name of the security", optional=True)),
    Field(
        "issuerServicesGroupExchangeCode",
        text("exchange_code", "FINRA's code of the listing exchange", optional=True),
    ),
    Field(
        "marketClassCode",
        text("market_class_code", "Market class, such as NYSE or OTC", optional=True),
    ),
    number_or_null(
        "accountingYearMonthNumber", "accounting_period", "FINRA's number of the period"
    ),
    Field("currentShortPositionQuantity", quantity("short_quantity", "Shares sold short")),
    quantity_or_null(
        "previousShortPositionQuantity",
        "previous_short_quantity",
        "Shares sold short at the previous settlement date",
    ),
    Field(
        "changePreviousNumber",
        quantity(
            "short_change",
            "Change of shares sold short since the previous settlement date; NULL: not reported",
            optional=True,
        ),
        is_signed=True,
    ),
    _declare_signed(
        "changePercent", "change_percent", "Change since the previous settlement date, percent"
    ),
    quantity_or_null(
        "averageDailyVolumeQuantity", "average_daily_volume", "Average shares traded per day"
    ),
    _declare_signed(
        "daysToCoverQuantity",
        "days_to_cover",
        "Shares sold short / average_daily_volume, days, at most 999.99,",
    ),
    Field(
        "stockSplitFlag",
        text("stock_split_flag", "Split flag; S: split in the period", optional=True),
    ),
    Field(
        "revisionFlag",
        text("revision_flag", "Revision flag; R: revised after publication", optional=True),
    ),
)
finra_short_interest = dataset_table(
    "finra_short_interest",
    "One row per settlement date and symbol: the short positions that members reported to FINRA.",
    *SHORT_INTEREST_FIELDS,
)

look_up_in_groups(1, finra_short_interest)
look_up_in_groups(2, fact_bond_trade_activity)
