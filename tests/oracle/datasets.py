"""Recomputes rows of FINRA's further datasets: each column, its field of FINRA, and its kind."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.oracle.archive import Delivery, Row
from tests.oracle.lines import (
    RejectError,
    read_count,
    read_day,
    read_units,
    reject_row,
    show_units,
    split_lines,
)


def read_cusip(text: str) -> str:
    """Return a CUSIP; another text, or a wrong check digit, rejects the line."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
    if len(text) != 9 or any(letter not in alphabet for letter in text):
        is_valid = False
    else:
        doubled = (
            alphabet.index(letter) * (1 + place % 2) for place, letter in enumerate(text[:8])
        )
        total = sum(value // 10 + value % 10 for value in doubled)
        is_valid = text[8] == str(-total % 10)
    if not is_valid:
        raise RejectError("not_a_cusip", f"not a CUSIP of nine characters: {text}")
    return text


def read_iso_day(text: str) -> str:
    """Return a day as the exports write it."""
    day = read_day(text)
    if day is None:
        raise RejectError("impossible_date", f"no date: {text}")
    return day.isoformat()


def read_amount(text: str) -> int | None:
    """Return a number times 10^6; one with more decimals rejects the line."""
    units = read_units(text)
    if units is None:
        reason = f"no number with up to 6 decimals that 64 bits keep exactly: {text}"
        raise RejectError("not_an_amount", reason)
    return units


KINDS: dict[str, Callable[[str], object]] = {
    "text": lambda text: text or None,
    "key": lambda text: text,
    "cusip": read_cusip,
    "day": read_iso_day,
    "count": read_count,
    "units": read_amount,
    "shares": lambda text: show_units(read_amount(text)),
}
"""Readers of values; units are x 10^6, and shares have six decimals. A blank one is NULL."""


def read_field(source: str, kind: str, text: str) -> object:
    """Return the value of a field; a reason of a reject begins with its name."""
    if not text and kind not in ("key", "cusip"):
        return None
    try:
        return KINDS[kind](text)
    except RejectError as reject:
        raise RejectError(reject.code, f"{source} is {reject.reason}") from reject


@dataclass(frozen=True)
class Dataset:
    """Columns with their field and kind, and the key."""

    columns: str
    key: tuple[str, ...]

    @property
    def metadata(self) -> tuple[str, ...]:
        """Columns whose change alone is one of metadata: the days of publication."""
        dates = ("initial_published_date", "last_update_date", "last_reported_date")
        return tuple(name for name in dates if name in self.columns)

    def parse(self, delivery: Delivery) -> tuple[dict[tuple, Row], list[Row]]:
        """Return the rows of a delivery by key, and its rejects."""
        rows, rejects = {}, []
        columns = [column.split() for column in self.columns.split(",")]
        for capture in delivery.captures:
            for line in split_lines(capture.content, "|"):
                try:
                    row = {
                        name: read_field(source, kind, line.fields[source.lower()])
                        for name, source, kind in columns
                    }
                except RejectError as reject:
                    rejects.append(reject_row(delivery, capture, line, reject))
                    continue
                rows[tuple(row[name] for name in self.key)] = row | {
                    "capture_id": capture.capture_id
                }
        return rows, rejects

    def partition(self, row: Row) -> str:
        """Return the partition of a row: a day, or tier and day; of settlement, a half-month."""
        first = str(row[self.key[0]])
        if self.key[0] == "settlement_date":
            return first[:8] + ("01" if first[8:] <= "15" else "16")
        return f"{row['tier']}|{first}" if "tier" in row else first


SECURITY = "product_category productCategory key, years_to_maturity yearsToMaturity key, "
SECURITY += "benchmark benchmark key, "
COUNTS = "ats_interdealer_count atsInterdealerCount count, "
COUNTS += "dealer_customer_count dealerCustomerCount count, "
VOLUMES = "ats_interdealer_volume atsInterdealerVolume units, "
VOLUMES += "dealer_customer_volume dealerCustomerVolume units"
SECURITY_KEY = ("product_category", "years_to_maturity", "benchmark")
DATES = """summary_start_date summaryStartDate day, initial_published_date initialPublishedDate day,
    last_update_date lastUpdateDate day, last_reported_date lastReportedDate day"""
BLOCKS = """, trade_count totalTradeCount count, share_quantity totalShareQuantity shares,
    block_trade_count @BlockCount count, block_share_quantity @BlockQuantity shares,
    average_trade_size averageTradeSize shares, average_block_size averageBlockSize shares,
    trade_percent @TradePercent units, share_percent @SharePercent units,
    block_trade_percent @BlockTradePercent units, block_share_percent @BlockSharePercent units,
    block_business_trade_percent @BlockBusinessTradePercent units,
    block_business_share_percent @BlockBusinessSharePercent units,
    trade_rank @TradeRank count, share_rank @ShareRank count,
    average_trade_size_rank averageTradeSizeRank count,
    average_block_size_rank averageBlockSizeRank count,
    block_trade_rank @BlockTradeRank count, block_share_rank @BlockShareRank count,
    block_business_trade_rank @BlockBusinessTradeRank count,
    block_business_share_rank @BlockBusinessShareRank count,
    market atsOtc key, block_size_description summaryTypeDescription text, """
MONTH_AND_SIZE = "trade_month monthStartDate day, block_size summaryTypeCode key, "
ATS = "mpid MPID key, participant_name marketParticipantName text"
OTC = "participant_name crdFirmName key"

DATASETS = {
    "finra_treasury_weekly": Dataset(
        f"week_start beginningOfWeekDate day, {SECURITY}{VOLUMES}", ("week_start", *SECURITY_KEY)
    ),
    "finra_treasury_daily": Dataset(
        f"trade_date tradeDate day, {SECURITY}{COUNTS}{VOLUMES}, "
        "vwap volumeWeightedAveragePrice units",
        ("trade_date", *SECURITY_KEY),
    ),
    "finra_treasury_monthly": Dataset(
        f"trade_month beginningOfTheMonthDate day, {SECURITY}{COUNTS}{VOLUMES}",
        ("trade_month", *SECURITY_KEY),
    ),
    "finra_corporate_market_breadth": Dataset(
        """trade_date tradeReportDate day, product_category productCategory key,
        trade_count totalTrades count, advance_count advances count, decline_count declines count,
        unchanged_count unchanged count, new_high_count fiftyTwoWeekHigh count,
        new_low_count fiftyTwoWeekLow count, total_volume totalVolume units""",
        ("trade_date", "product_category"),
    ),
    "finra_short_interest": Dataset(
        """settlement_date settlementDate day, symbol symbolCode key, issue_name issueName text,
        exchange_code issuerServicesGroupExchangeCode text, market_class_code marketClassCode text,
        accounting_period accountingYearMonthNumber count,
        short_quantity currentShortPositionQuantity shares,
        previous_short_quantity previousShortPositionQuantity shares,
        short_change changePreviousNumber shares, change_percent changePercent units,
        average_daily_volume averageDailyVolumeQuantity shares,
        days_to_cover daysToCoverQuantity units, stock_split_flag stockSplitFlag text,
        revision_flag revisionFlag text""",
        ("settlement_date", "symbol"),
    ),
    "finra_reg_sho_daily": Dataset(
        """trade_date tradeReportDate day,
        symbol securitiesInformationProcessorSymbolIdentifier key,
        facility_code reportingFacilityCode key, market_code marketCode key,
        short_quantity shortParQuantity shares, short_exempt_quantity shortExemptParQuantity shares,
        total_quantity totalParQuantity shares""",
        ("trade_date", "symbol", "facility_code", "market_code"),
    ),
    "finra_threshold_list": Dataset(
        """trade_date tradeDate day, symbol issueSymbolIdentifier key, issue_name issueName text,
        market_class_code marketClassCode text, market_category marketCategoryDescription text,
        threshold_list_flag thresholdListFlag text, reg_sho_flag regShoThresholdFlag text,
        rule_4320_flag rule4320Flag text""",
        ("trade_date", "symbol"),
    ),
    "finra_otc_monthly": Dataset(
        f"""trade_month monthStartDate day, tier tierIdentifier key,
        symbol issueSymbolIdentifier key, issue_name issueName key,
        firm_crd_number firmCRDNumber count, participant_name marketParticipantName text,
        share_quantity totalMonthlyShareQuantity shares, trade_count totalMonthlyTradeCount count,
        notional_usd totalNotionalSum units, product_type_code productTypeCode text,
        summary_type summaryTypeCode key, {DATES}""",
        ("trade_month", "tier", "symbol", "issue_name", "firm_crd_number"),
    ),
    "finra_ats_blocks": Dataset(
        MONTH_AND_SIZE + ATS + BLOCKS.replace("@", "ATS") + DATES,
        ("trade_month", "block_size", "mpid"),
    ),
    "finra_otc_blocks": Dataset(
        MONTH_AND_SIZE + OTC + BLOCKS.replace("@", "OTC") + DATES,
        ("trade_month", "block_size", "participant_name"),
    ),
    "fact_bond_trade_activity": Dataset(
        """week_ending weekEnding day, tier tierIdentifier key, cusip cusip cusip,
        volume_total totalVolume shares, trade_count tradeCount count""",
        ("week_ending", "tier", "cusip"),
    ),
}
