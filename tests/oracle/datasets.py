"""Recomputes rows of FINRA's further datasets: each column, its field of FINRA, and its kind."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.oracle.archive import Delivery, Row
from tests.oracle.lines import read_count, read_day, read_units, show_units, split_lines

Reader = Callable[[str], object]


def text(value: str) -> str:
    """Return a text of a key: a blank one is an empty text."""
    return value


def optional(value: str) -> str | None:
    """Return a text; a blank one is NULL."""
    return value or None


def day(value: str) -> str | None:
    """Return a day; a blank one is NULL."""
    return require(read_day(value)).isoformat() if value else None


def count(value: str) -> int | None:
    """Return a whole number; a blank one is NULL."""
    return require(read_count(value)) if value else None


def units(value: str) -> int | None:
    """Return a number times 10^6; a blank one is NULL."""
    return require(read_units(value)) if value else None


def shares(value: str) -> str | None:
    """Return a number with six decimals; a blank one is NULL."""
    return show_units(units(value))


def require(value):
    """Return a value that is one of its kind; else the line would be a reject."""
    if value is None:
        raise ValueError("a value is not of its kind")
    return value


@dataclass(frozen=True)
class Dataset:
    """Columns by name with field and reader, the key, and the columns of metadata."""

    columns: dict[str, tuple[str, Reader]]
    key: tuple[str, ...]
    metadata: tuple[str, ...] = ()

    def parse(self, delivery: Delivery) -> dict[tuple, Row]:
        """Return the rows of a delivery by key."""
        rows = {}
        for capture in delivery.captures:
            for line in split_lines(capture.content, "|"):
                row = {
                    name: reader(line.fields[source.lower()])
                    for name, (source, reader) in self.columns.items()
                }
                row["capture_id"] = capture.capture_id
                rows[tuple(row[name] for name in self.key)] = row
        return rows

    def partition(self, row: Row) -> str:
        """Return the partition of a row: a day, or tier and day; of settlement, a half-month."""
        first = str(row[self.key[0]])
        if self.key[0] == "settlement_date":
            return first[:8] + ("01" if first[8:] <= "15" else "16")
        return f"{row['tier']}|{first}" if "tier" in row else first


SECURITY = ("product_category", "years_to_maturity", "benchmark")
TREASURY = {
    "product_category": ("productCategory", text),
    "years_to_maturity": ("yearsToMaturity", text),
    "benchmark": ("benchmark", text),
}
COUNTS = {
    "ats_interdealer_count": ("atsInterdealerCount", count),
    "dealer_customer_count": ("dealerCustomerCount", count),
}
VOLUMES = {
    "ats_interdealer_volume": ("atsInterdealerVolume", units),
    "dealer_customer_volume": ("dealerCustomerVolume", units),
}
DATES = {
    "summary_start_date": ("summaryStartDate", day),
    "initial_published_date": ("initialPublishedDate", day),
    "last_update_date": ("lastUpdateDate", day),
    "last_reported_date": ("lastReportedDate", day),
}
PUBLICATION = ("initial_published_date", "last_update_date", "last_reported_date")


def blocks(prefix: str, venue: dict[str, tuple[str, Reader]]) -> Dataset:
    """Return a dataset of blocks, of ATSs or of other OTC trading."""
    columns = {
        "trade_month": ("monthStartDate", day),
        "block_size": ("summaryTypeCode", text),
        **venue,
        "trade_count": ("totalTradeCount", count),
        "share_quantity": ("totalShareQuantity", shares),
        "block_trade_count": (f"{prefix}BlockCount", count),
        "block_share_quantity": (f"{prefix}BlockQuantity", shares),
        "average_trade_size": ("averageTradeSize", shares),
        "average_block_size": ("averageBlockSize", shares),
        "trade_percent": (f"{prefix}TradePercent", units),
        "share_percent": (f"{prefix}SharePercent", units),
        "block_trade_percent": (f"{prefix}BlockTradePercent", units),
        "block_share_percent": (f"{prefix}BlockSharePercent", units),
        "block_business_trade_percent": (f"{prefix}BlockBusinessTradePercent", units),
        "block_business_share_percent": (f"{prefix}BlockBusinessSharePercent", units),
        "trade_rank": (f"{prefix}TradeRank", count),
        "share_rank": (f"{prefix}ShareRank", count),
        "average_trade_size_rank": ("averageTradeSizeRank", count),
        "average_block_size_rank": ("averageBlockSizeRank", count),
        "block_trade_rank": (f"{prefix}BlockTradeRank", count),
        "block_share_rank": (f"{prefix}BlockShareRank", count),
        "block_business_trade_rank": (f"{prefix}BlockBusinessTradeRank", count),
        "block_business_share_rank": (f"{prefix}BlockBusinessShareRank", count),
        "market": ("atsOtc", text),
        "block_size_description": ("summaryTypeDescription", optional),
        **DATES,
    }
    return Dataset(columns, ("trade_month", "block_size", next(iter(venue))), PUBLICATION)


DATASETS = {
    "finra_treasury_weekly": Dataset(
        {"week_start": ("beginningOfWeekDate", day), **TREASURY, **VOLUMES},
        ("week_start", *SECURITY),
    ),
    "finra_treasury_daily": Dataset(
        {
            "trade_date": ("tradeDate", day),
            **TREASURY,
            **COUNTS,
            **VOLUMES,
            "vwap": ("volumeWeightedAveragePrice", units),
        },
        ("trade_date", *SECURITY),
    ),
    "finra_treasury_monthly": Dataset(
        {"trade_month": ("beginningOfTheMonthDate", day), **TREASURY, **COUNTS, **VOLUMES},
        ("trade_month", *SECURITY),
    ),
    "finra_corporate_market_breadth": Dataset(
        {
            "trade_date": ("tradeReportDate", day),
            "product_category": ("productCategory", text),
            "trade_count": ("totalTrades", count),
            "advance_count": ("advances", count),
            "decline_count": ("declines", count),
            "unchanged_count": ("unchanged", count),
            "new_high_count": ("fiftyTwoWeekHigh", count),
            "new_low_count": ("fiftyTwoWeekLow", count),
            "total_volume": ("totalVolume", units),
        },
        ("trade_date", "product_category"),
    ),
    "finra_short_interest": Dataset(
        {
            "settlement_date": ("settlementDate", day),
            "symbol": ("symbolCode", text),
            "issue_name": ("issueName", optional),
            "exchange_code": ("issuerServicesGroupExchangeCode", optional),
            "market_class_code": ("marketClassCode", optional),
            "accounting_period": ("accountingYearMonthNumber", count),
            "short_quantity": ("currentShortPositionQuantity", shares),
            "previous_short_quantity": ("previousShortPositionQuantity", shares),
            "short_change": ("changePreviousNumber", shares),
            "change_percent": ("changePercent", units),
            "average_daily_volume": ("averageDailyVolumeQuantity", shares),
            "days_to_cover": ("daysToCoverQuantity", units),
            "stock_split_flag": ("stockSplitFlag", optional),
            "revision_flag": ("revisionFlag", optional),
        },
        ("settlement_date", "symbol"),
    ),
    "finra_reg_sho_daily": Dataset(
        {
            "trade_date": ("tradeReportDate", day),
            "symbol": ("securitiesInformationProcessorSymbolIdentifier", text),
            "facility_code": ("reportingFacilityCode", text),
            "market_code": ("marketCode", text),
            "short_quantity": ("shortParQuantity", shares),
            "short_exempt_quantity": ("shortExemptParQuantity", shares),
            "total_quantity": ("totalParQuantity", shares),
        },
        ("trade_date", "symbol", "facility_code", "market_code"),
    ),
    "finra_threshold_list": Dataset(
        {
            "trade_date": ("tradeDate", day),
            "symbol": ("issueSymbolIdentifier", text),
            "issue_name": ("issueName", optional),
            "market_class_code": ("marketClassCode", optional),
            "market_category": ("marketCategoryDescription", optional),
            "threshold_list_flag": ("thresholdListFlag", optional),
            "reg_sho_flag": ("regShoThresholdFlag", optional),
            "rule_4320_flag": ("rule4320Flag", optional),
        },
        ("trade_date", "symbol"),
    ),
    "finra_otc_monthly": Dataset(
        {
            "trade_month": ("monthStartDate", day),
            "tier": ("tierIdentifier", text),
            "symbol": ("issueSymbolIdentifier", text),
            "issue_name": ("issueName", text),
            "firm_crd_number": ("firmCRDNumber", count),
            "participant_name": ("marketParticipantName", optional),
            "share_quantity": ("totalMonthlyShareQuantity", shares),
            "trade_count": ("totalMonthlyTradeCount", count),
            "notional_usd": ("totalNotionalSum", units),
            "product_type_code": ("productTypeCode", optional),
            "summary_type": ("summaryTypeCode", text),
            **DATES,
        },
        ("trade_month", "tier", "symbol", "issue_name", "firm_crd_number"),
        PUBLICATION,
    ),
    "finra_ats_blocks": blocks(
        "ATS", {"mpid": ("MPID", text), "participant_name": ("marketParticipantName", optional)}
    ),
    "finra_otc_blocks": blocks("OTC", {"participant_name": ("crdFirmName", text)}),
    "fact_bond_trade_activity": Dataset(
        {
            "week_ending": ("weekEnding", day),
            "tier": ("tierIdentifier", text),
            "cusip": ("cusip", text),
            "volume_total": ("totalVolume", shares),
            "trade_count": ("tradeCount", count),
        },
        ("week_ending", "tier", "cusip"),
    ),
}
