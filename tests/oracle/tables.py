"""Describes the tables that are loaded by partitions: how a delivery is read, and its key."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache, partial

from tests.oracle.archive import Row
from tests.oracle.delimited import Parsed, RejectError, read_columns
from tests.oracle.documented import Column, columns_of
from tests.oracle.vendors import parse_documents, read_chart, read_rates, read_volume

WEEKLY = "finra_otc_weekly"
DATASETS = (
    *("finra_treasury_weekly", "finra_treasury_daily", "finra_treasury_monthly"),
    *("finra_corporate_market_breadth", "finra_short_interest", "finra_reg_sho_daily"),
    *("finra_threshold_list", "finra_otc_monthly", "finra_ats_blocks", "finra_otc_blocks"),
    "fact_bond_trade_activity",
)
"""Further tables of FINRA, each a dataset."""

ADDED = ("capture_id", "known_from", "market", "venue_id", "week_end")
"""Columns of FINRA's weeks that no field has, or two."""

METADATA = ("initial_published_date", "last_update_date", "last_reported_date")
"""Columns whose change alone is one of metadata."""

MARKETS = {"ATS": "ATS", "OTC": "NON_ATS"}
FIRM, SYMBOL, SUMS = "_W_SMBL_FIRM", "_W_SMBL", ("_W_FIRM", "_W_VOL_STATS")
QUANTITIES = ("share_quantity", "trade_count")


def parse_dataset(delivery: Row) -> Parsed:
    """Return what a delivery of one of FINRA's further datasets contains."""
    columns = columns_without(delivery["table_name"], ("capture_id", "known_from"))
    parsed = Parsed(delivery)
    parsed.add_lines(lambda fields: read_columns(columns, fields))
    return parsed


@cache
def columns_without(table: str, names: tuple[str, ...]) -> list[Column]:
    """Return the columns of a table but those of these names."""
    return [column for column in columns_of(table) if column.name not in names]


@dataclass
class ParsedWeek(Parsed):
    """A week with FINRA's totals, and the sums of its lines, by market and symbol."""

    totals: dict[tuple, list] = field(default_factory=dict)
    sums: dict[tuple, list] = field(default_factory=lambda: defaultdict(lambda: [Decimal(), 0]))

    def is_quarantined(self, max_reject_ratio: Fraction) -> bool:
        """Return whether a blocking audit fails: unique keys, few rejects, or FINRA's totals."""
        has_few_rejects = len(self.rejects) <= max_reject_ratio * self.line_count
        return not (self.has_unique_keys and has_few_rejects and self.sums == self.totals)

    def read(self, fields: dict[str, str]) -> Row | None:
        """Return the row of a line of a firm; a line of a symbol is its total."""
        symbol, code = fields["issuesymbolidentifier"], fields["summarytypecode"]
        if not symbol and not code.endswith(SUMS):
            raise RejectError("blank_symbol", "issueSymbolIdentifier is blank")
        market = MARKETS.get(code[:3])
        if market is None or code[3:] not in (FIRM, SYMBOL, *SUMS):
            raise RejectError("unknown_summary_type", f"summaryTypeCode is unknown: {code}")
        if code[3:] in SUMS:
            return None
        columns = (column for column in columns_of(WEEKLY) if column.name in QUANTITIES)
        quantities = read_columns(columns, fields)
        if code[3:] == SYMBOL:
            self.totals[market, symbol] = list(quantities.values())
            return None
        total = self.sums[market, symbol]  # also of a row that another rule rejects
        total[:] = map(sum, zip(total, quantities.values(), strict=True))
        return {"market": market} | read_firm(fields) | quantities


def read_firm(fields: dict[str, str]) -> Row:
    """Return the columns of a line of a symbol and a firm, beside its quantities."""
    if not (fields["mpid"] or fields["firmcrdnumber"] or fields["marketparticipantname"]):
        reason = "MPID, firmCRDNumber and marketParticipantName are all blank"
        raise RejectError("missing_venue", reason)
    amount = "no amount that 64 bits keep exactly"
    row = read_columns(columns_without(WEEKLY, (*ADDED, *QUANTITIES)), fields, amount)
    crd, friday = row["firm_crd_number"], date.fromisoformat(row["week_start"]) + timedelta(days=4)
    unlisted = f"CRD:{crd}" if crd is not None else f"NAME:{row['participant_name']}"
    return row | {"venue_id": row["mpid"] or unlisted, "week_end": friday.isoformat()}


def parse_week(delivery: Row) -> ParsedWeek:
    """Return what a delivery of FINRA's weekly data contains."""
    week = ParsedWeek(delivery)
    week.add_lines(week.read)
    return week


PARSERS: dict[str, Callable[[Row], Parsed]] = {
    WEEKLY: parse_week,
    **dict.fromkeys(DATASETS, parse_dataset),
    "fx_rates_daily": partial(parse_documents, read_rates),
    "market_volume_daily": partial(parse_documents, read_volume),
    "prices_daily": partial(parse_documents, read_chart),
}
"""Readers of deliveries by table."""


def partition_of(row: Row, key: Sequence[str]) -> str:
    """Return a row's partition: day or symbol, or tier and day; of settlement, a half-month."""
    first = str(row[key[0]])
    if key[0] == "settlement_date":
        return first[:8] + ("01" if first[8:] <= "15" else "16")
    return f"{row['tier']}|{first}" if "tier" in row else first
