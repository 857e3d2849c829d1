"""Recomputes rows and rejects of `finra_otc_weekly` from captured lines."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction

from tests.oracle.archive import Delivery, Row
from tests.oracle.lines import (
    Line,
    RejectError,
    read_count,
    read_day,
    read_units,
    reject_row,
    show_units,
    split_lines,
)

MARKETS = {"ATS": "ATS", "OTC": "NON_ATS"}
FIRM, SYMBOL = "_W_SMBL_FIRM", "_W_SMBL"
SUMS = ("_W_SMBL", "_W_FIRM", "_W_VOL_STATS")
KEY = ("week_start", "tier", "market", "symbol", "venue_id")
METADATA = ("initial_published_date", "last_update_date", "last_reported_date")


@dataclass
class Parsed:
    """Rows of a delivery by key, its rejects, and FINRA's totals by market and symbol."""

    rows: dict[tuple, Row] = field(default_factory=dict)
    rejects: list[Row] = field(default_factory=list)
    totals: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    sums: dict[tuple[str, str], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0])
    )
    has_unique_keys: bool = True
    line_count: int = 0

    def is_quarantined(self, max_reject_ratio: Fraction) -> bool:
        """Return whether a blocking audit fails: unique keys, few rejects, or FINRA's totals."""
        has_few_rejects = len(self.rejects) <= max_reject_ratio * self.line_count
        return not (self.has_unique_keys and has_few_rejects and self.sums == self.totals)


def parse_delivery(delivery: Delivery) -> Parsed:
    """Return what the captures of a delivery contain."""
    parsed = Parsed()
    for capture in delivery.captures:
        for line in split_lines(capture.content, "|"):
            parsed.line_count += 1
            try:
                read_line(line, capture.capture_id, parsed)
            except RejectError as reject:
                parsed.rejects.append(reject_row(delivery, capture, line, reject))
    return parsed


def read_line(line: Line, capture_id: int, parsed: Parsed) -> None:
    """Add a line to the rows or the totals, or leave it out as another sum of FINRA's."""
    if line.reject:
        raise line.reject
    fields = line.fields
    symbol, summary = fields["issuesymbolidentifier"], fields["summarytypecode"]
    if not symbol and not summary.endswith(("_W_FIRM", "_W_VOL_STATS")):
        raise RejectError("blank_symbol", "issueSymbolIdentifier is blank")
    market = MARKETS.get(summary[:3])
    if market is None or not (summary[3:] == FIRM or summary[3:] in SUMS):
        raise RejectError("unknown_summary_type", f"summaryTypeCode is unknown: {summary}")
    if summary[3:] not in (FIRM, SYMBOL):
        return
    shares = read_units(fields["totalweeklysharequantity"])
    trades = read_count(fields["totalweeklytradecount"])
    if shares is None or trades is None:
        name = "totalWeeklyShareQuantity" if shares is None else "totalWeeklyTradeCount"
        raise RejectError("not_a_number", f"{name} is not a number: {fields[name.lower()]}")
    if summary[3:] == SYMBOL:
        parsed.totals[market, symbol] = [shares, trades]
        return
    total = parsed.sums[market, symbol]  # also of a row that another rule rejects
    total[:] = total[0] + shares, total[1] + trades
    row = read_firm_row(fields, market, shares, trades, capture_id)
    key = tuple(row[name] for name in KEY)
    parsed.has_unique_keys &= key not in parsed.rows
    parsed.rows[key] = row


def read_firm_row(
    fields: dict[str, str], market: str, shares: int, trades: int, capture_id: int
) -> Row:
    """Return the row of a line of a symbol and a firm."""
    mpid, name = fields["mpid"], fields["marketparticipantname"]
    crd_text = fields["firmcrdnumber"]
    if not (mpid or crd_text or name):
        reason = "MPID, firmCRDNumber and marketParticipantName are all blank"
        raise RejectError("missing_venue", reason)
    crd = read_count(crd_text) if crd_text else None
    monday = read_day(fields["weekstartdate"])
    if monday is None:
        raise RejectError("impossible_date", f"weekStartDate is no date: {fields['weekstartdate']}")
    days = {
        column: read_optional_day(source, fields)
        for column, source in (
            ("initial_published_date", "initialPublishedDate"),
            ("last_update_date", "lastUpdateDate"),
            ("last_reported_date", "lastReportedDate"),
        )
    }
    return {
        "week_start": monday.isoformat(),
        "tier": fields["tieridentifier"],
        "market": market,
        "symbol": fields["issuesymbolidentifier"],
        "venue_id": mpid or (f"CRD:{crd}" if crd is not None else f"NAME:{name}"),
        "week_end": (monday + timedelta(days=4)).isoformat(),
        "mpid": mpid or None,
        "firm_crd_number": crd,
        "participant_name": name or None,
        "issue_name": fields["issuename"] or None,
        "share_quantity": show_units(shares),
        "trade_count": trades,
        "notional_usd": read_notional(fields.get("totalnotionalsum", "")),
        "product_type": fields.get("producttypecode") or None,
        **days,
        "capture_id": capture_id,
    }


def read_optional_day(source: str, fields: dict[str, str]) -> str | None:
    """Return the day of a field, NULL if it is blank."""
    text = fields.get(source.lower(), "")
    if not text:
        return None
    day = read_day(text)
    if day is None:
        raise RejectError("impossible_date", f"{source} is no date: {text}")
    return day.isoformat()


def read_notional(text: str) -> int | None:
    """Return an amount in US dollars times 10^6, NULL if it is blank."""
    if not text:
        return None
    units = read_units(text)
    if units is None:
        reason = f"totalNotionalSum is no amount that 64 bits keep exactly: {text}"
        raise RejectError("not_an_amount", reason)
    return units
