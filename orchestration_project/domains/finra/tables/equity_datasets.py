"""Fields and tables of FINRA's datasets of equities, of the group otcMarket."""

from orchestration_project.domains.finra.tables.datasets import (
    number_or_null,
    optional_day,
)
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


def _declare_fractional(name: str, column: str, comment: str) -> Field:
    """Shares with up to six decimals: FINRA counts fractions since 2026."""
    return Field(name, quantity(column, f"{comment}, shares"), scale=USD_SCALE)


REG_SHO_FIELDS = (
    Field("tradeReportDate", day("trade_date", "Day of the trades", key=True)),
    Field(
        "securitiesInformationProcessorSymbolIdentifier",
        text("symbol", "SIP's symbol, exact to the byte, such as BRK/B or ABRpD", key=True),
    ),
    Field(
        "reportingFacilityCode",
        text("facility_code", "Reporting facility: NQTRF, NCTRF, NYTRF or ADF", key=True),
    ),
    Field("marketCode", text("market_code", "Letter of the facility, such as Q or N", key=True)),
    _declare_fractional(
        "shortParQuantity", "short_quantity", "Volume of short sales, exempt ones included"
    ),
    _declare_fractional(
        "shortExemptParQuantity", "short_exempt_quantity", "Volume of short sales that are exempt"
    ),
    _declare_fractional("totalParQuantity", "total_quantity", "Volume of all trades"),
)
finra_reg_sho_daily = dataset_table(
    "finra_reg_sho_daily",
    "One row per day, symbol and reporting facility: the volume of short sales off exchanges in "
    "regular hours.",
    *REG_SHO_FIELDS,
)

MONTHLY_ROWS = "OTC_M_SMBL_FIRM"
"""The summary type of rows by symbol and firm: FINRA's others add them up."""

MONTHLY_FIELDS = (
    Field("monthStartDate", day("trade_month", "First day of the month", key=True)),
    Field(
        "tierIdentifier", text("tier", "FINRA tier: NMS or OTCE", values=("NMS", "OTCE"), key=True)
    ),
    Field("issueSymbolIdentifier", text("symbol", "FINRA's symbol, exact to the byte", key=True)),
    Field(
        "issueName",
        text("issue_name", "Name of the security; a month may have two of a symbol", key=True),
        may_be_blank=True,
    ),
    Field("firmCRDNumber", count("firm_crd_number", "CRD number; 0: De Minimis Firms", key=True)),
    Field("marketParticipantName", text("participant_name", "Name of the firm", optional=True)),
    Field("totalMonthlyShareQuantity", quantity("share_quantity", "Shares traded in the month")),
    Field("totalMonthlyTradeCount", count("trade_count", "Trades in the month")),
    Field(
        "totalNotionalSum",
        scaled(
            "notional_usd", "Traded value, US dollars x 10^6; NULL: FINRA lacks it", optional=True
        ),
        scale=USD_SCALE,
    ),
    Field("productTypeCode", text("product_type_code", "FINRA's product type", optional=True)),
    Field(
        "summaryTypeCode",
        text("summary_type", f"FINRA's summary type: {MONTHLY_ROWS}"),
        pattern=f"^{MONTHLY_ROWS}$",
    ),
    optional_day("summaryStartDate", "summary_start_date", "First day of the summary"),
    optional_day("initialPublishedDate", "initial_published_date", "Day of first publication"),
    optional_day("lastUpdateDate", "last_update_date", "Day of the latest change"),
    optional_day("lastReportedDate", "last_reported_date", "Day of the latest report of a firm"),
)
finra_otc_monthly = dataset_table(
    "finra_otc_monthly",
    "One row per month, tier, symbol and firm: trading off exchanges and off ATSs.",
    *MONTHLY_FIELDS,
)

THRESHOLD_FIELDS = (
    Field("tradeDate", day("trade_date", "Day of the list", key=True)),
    Field("issueSymbolIdentifier", text("symbol", "FINRA's symbol, exact to the byte", key=True)),
    Field("issueName", text("issue_name", "Name of the security", optional=True)),
    Field("marketClassCode", text("market_class_code", "Market class, such as u", optional=True)),
    Field(
        "marketCategoryDescription",
        text("market_category", "Market category, such as Other OTC", optional=True),
    ),
    Field(
        "thresholdListFlag",
        text("threshold_list_flag", "R: Regulation SHO, NR: FINRA Rule 4320", optional=True),
    ),
    Field(
        "regShoThresholdFlag",
        text("reg_sho_flag", "Y: a threshold security of Regulation SHO, else N", optional=True),
    ),
    Field(
        "rule4320Flag",
        text("rule_4320_flag", "Y: a threshold security of FINRA Rule 4320, else N", optional=True),
    ),
)
finra_threshold_list = dataset_table(
    "finra_threshold_list",
    "One row per day and OTC equity security with persistent fails to deliver.",
    *THRESHOLD_FIELDS,
)


def _declare_percent(name: str, column: str, comment: str) -> Field:
    named = scaled(column, f"{comment}, percent x 10^6; NULL: not given", optional=True)
    return Field(name, named, scale=USD_SCALE)


def _declare_average(name: str, column: str, comment: str) -> Field:
    named = quantity(column, f"{comment}, shares; NULL: not given", optional=True)
    return Field(name, named, scale=USD_SCALE)


def _block_fields(market: str, *venue: Field) -> tuple[Field, ...]:
    """Return the fields of blocks: their names begin with the ``market``, ATS or OTC."""
    return (
        Field("monthStartDate", day("trade_month", "First day of the month", key=True)),
        Field(
            "summaryTypeCode",
            text(
                "block_size", "Least size of a block: FINRA's code, such as 10K or 200K", key=True
            ),
        ),
        *venue,
        Field("totalTradeCount", count("trade_count", "Trades, blocks and others")),
        Field("totalShareQuantity", quantity("share_quantity", "Shares traded, blocks and others")),
        Field(f"{market}BlockCount", count("block_trade_count", "Trades that are blocks")),
        Field(
            f"{market}BlockQuantity", quantity("block_share_quantity", "Shares traded in blocks")
        ),
        _declare_average("averageTradeSize", "average_trade_size", "Shares per trade"),
        _declare_average("averageBlockSize", "average_block_size", "Shares per block"),
        _declare_percent(f"{market}TradePercent", "trade_percent", "Share of the market's trades"),
        _declare_percent(f"{market}SharePercent", "share_percent", "Share of the market's shares"),
        _declare_percent(
            f"{market}BlockTradePercent", "block_trade_percent", "Share of the market's blocks"
        ),
        _declare_percent(
            f"{market}BlockSharePercent",
            "block_share_percent",
            "Share of the market's shares in blocks",
        ),
        _declare_percent(
            f"{market}BlockBusinessTradePercent",
            "block_business_trade_percent",
            "Blocks among the venue's own trades",
        ),
        _declare_percent(
            f"{market}BlockBusinessSharePercent",
            "block_business_share_percent",
            "Shares in blocks among the venue's own shares",
        ),
        *(
            number_or_null(name, column, f"Rank by {what}, from 1")
            for name, column, what in (
                (f"{market}TradeRank", "trade_rank", "trade_percent"),
                (f"{market}ShareRank", "share_rank", "share_percent"),
                ("averageTradeSizeRank", "average_trade_size_rank", "average_trade_size"),
                ("averageBlockSizeRank", "average_block_size_rank", "average_block_size"),
                (f"{market}BlockTradeRank", "block_trade_rank", "block_trade_percent"),
                (f"{market}BlockShareRank", "block_share_rank", "block_share_percent"),
                (
                    f"{market}BlockBusinessTradeRank",
                    "block_business_trade_rank",
                    "block_business_trade_percent",
                ),
                (
                    f"{market}BlockBusinessShareRank",
                    "block_business_share_rank",
                    "block_business_share_percent",
                ),
            )
        ),
        Field("atsOtc", text("market", f"FINRA's market: {market}", optional=True)),
        Field(
            "summaryTypeDescription",
            text("block_size_description", "FINRA's description of block_size", optional=True),
        ),
        optional_day("summaryStartDate", "summary_start_date", "First day of the summary"),
        optional_day("initialPublishedDate", "initial_published_date", "Day of first publication"),
        optional_day("lastUpdateDate", "last_update_date", "Day of the latest change"),
        optional_day(
            "lastReportedDate", "last_reported_date", "Day of the latest report of a firm"
        ),
    )


ATS_BLOCK_FIELDS = _block_fields(
    "ATS",
    Field("MPID", text("mpid", "MPID of the ATS", key=True)),
    Field("marketParticipantName", text("participant_name", "Name of the ATS", optional=True)),
)
finra_ats_blocks = dataset_table(
    "finra_ats_blocks",
    "One row per month, size of blocks and ATS: trades in NMS stocks, and those that are blocks.",
    *ATS_BLOCK_FIELDS,
)

OTC_BLOCK_FIELDS = _block_fields(
    "OTC",
    Field("crdFirmName", text("participant_name", "Name of the firm in the CRD", key=True)),
)
finra_otc_blocks = dataset_table(
    "finra_otc_blocks",
    "One row per month, size of blocks and firm: trades in NMS stocks off ATSs, and blocks.",
    *OTC_BLOCK_FIELDS,
)

look_up_in_groups(1, finra_reg_sho_daily, finra_threshold_list)
look_up_in_groups(2, finra_otc_monthly, finra_ats_blocks, finra_otc_blocks)
