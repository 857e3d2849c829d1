"""The weekly contract: FINRA's strings into the rows of `finra_otc_weekly`, or rejects.

A delivery holds three sorts of rows. Firm rows (one for each symbol and firm) become table rows.
Symbol totals are sums of firm rows that FINRA made, and check ours. Other sums are not needed.
Blanks around a text, no-break ones too, are dropped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl

from orchestration_project.domains.finra.tables.weekly import NOTIONAL_SCALE
from orchestration_project.engine.contracts import field_formulas as formulas
from orchestration_project.engine.contracts.delimited import (
    PLACE,
    Parsed,
    add_records,
    find_columns,
    parse_parts,
)
from orchestration_project.engine.contracts.formulas import Formula, LineRules
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.rules import RowRule, apply_rules
from orchestration_project.engine.contracts.values import (
    build_length_rule,
    build_parse_rule,
    build_quantity_rules,
    is_blank,
    may_be_blank,
    parse_days,
    parse_quantities,
    parse_scaled,
    parse_whole_number,
    quote_text,
    replace_blank_texts,
    trim_texts,
)

RULE_VERSION = "5"
"""To be raised with every change of rule that could make other rows of the same bytes, also of the
tables that a load derives."""

API_FIELDS = (
    "weekStartDate",
    "tierIdentifier",
    "tierDescription",
    "issueSymbolIdentifier",
    "issueName",
    "firmCRDNumber",
    "MPID",
    "marketParticipantName",
    "summaryStartDate",
    "totalWeeklyTradeCount",
    "totalWeeklyShareQuantity",
    "totalNotionalSum",
    "productTypeCode",
    "initialPublishedDate",
    "lastUpdateDate",
    "lastReportedDate",
    "summaryTypeCode",  # last, as it may not be blank: a page that is cut anywhere is noticed
)
FILE_FIELDS = (
    "tierDescription",
    "issueSymbolIdentifier",
    "issueName",
    "marketParticipantName",
    "MPID",
    "totalWeeklyShareQuantity",
    "totalWeeklyTradeCount",
    "lastUpdateDate",
)

SELF_DESCRIBING = ("weekStartDate", "tierIdentifier", "summaryTypeCode")
"""Columns that a file may have, by which its rows name their week, tier and market."""

FIRM_ROWS = {"ATS_W_SMBL_FIRM": "ATS", "OTC_W_SMBL_FIRM": "NON_ATS"}
SYMBOL_TOTALS = {"ATS_W_SMBL": "ATS", "OTC_W_SMBL": "NON_ATS"}
OTHER_SUMS = ("ATS_W_FIRM", "OTC_W_FIRM", "ATS_W_VOL_STATS", "OTC_W_VOL_STATS")
SUMMARY_OF_MARKET = {market: code for code, market in FIRM_ROWS.items()}

SUMMARY = "summaryTypeCode"
SHARES, TRADES, SYMBOL = (
    "totalWeeklyShareQuantity",
    "totalWeeklyTradeCount",
    "issueSymbolIdentifier",
)
OPTIONAL_TEXTS = ("issueName", "MPID", "marketParticipantName", "productTypeCode")
TEXTS = (SYMBOL, *OPTIONAL_TEXTS)
DATES = ("initialPublishedDate", "lastUpdateDate", "lastReportedDate")

_KINDS = {
    **dict.fromkeys(("weekStartDate", "summaryStartDate", *DATES), "Date"),
    **dict.fromkeys(("firmCRDNumber", SHARES, TRADES, "totalNotionalSum"), "Number"),
}
KNOWN_FIELDS = {name: _KINDS.get(name, "String") for name in API_FIELDS}
"""Every field that a load requests, and its type in FINRA's words: a load needs all of them."""

TIER_OF_DESCRIPTION = {"NMS Tier 1": "T1", "NMS Tier 2": "T2", "OTC": "OTCE", "OTCE": "OTCE"}
"""Tier descriptions in files; other descriptions occur and are ignored."""

KEY = ["market", "symbol", "venue_id"]
"""Key columns of the rows of one week and tier."""

DE_MINIMIS_NAME, DE_MINIMIS = "De Minimis Firms", "CRD:0"
"""The lump of small firms: its name, and its venue_id, also where a file has no CRD number."""


@dataclass(frozen=True)
class WeekRows:
    """A delivery sorted out, or a piece of it.

    Attributes:
        rows: `finra_otc_weekly` without capture_id and known_from, with ``part_number``.
        rejects: place, record, ``reason_code`` and ``reason``.
        totals: market, symbol, share_quantity, trade_count as FINRA summed them.
        firm_sums: the same, summed here over the firm rows with a symbol, rejected ones included.
        foreign_rows: place, week and tier of rows that belong to another partition, and of files
            their market.
        received_count: lines that came, headers aside.
        filtered: sums that FINRA made, which are not loaded, by their summary type.
        is_named: Whether all rows name their week.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    totals: pl.DataFrame
    firm_sums: pl.DataFrame
    foreign_rows: pl.DataFrame
    received_count: int
    filtered: Mapping[str, int]
    is_named: bool = True


def check_week(parts: Sequence[Part], *, week_start: date, tier: str) -> WeekRows:
    """Sort parts of a delivery of ``week_start`` and ``tier`` into rows, in key order, and rejects.

    A part with a market is a downloaded file of that market: it has fewer columns. Where it lacks
    those of `SELF_DESCRIBING`, its week is that of the delivery, and so is its tier if
    `tierDescription` does not name one. Where it has them, they must agree with the delivery.

    Raises:
        ContractError: A part's header is not that of the weekly data.
    """
    week = _read_week(parts, week_start, tier)
    return replace(week, rows=in_key_order(week.rows))  # by now the text is released


def _read_week(parts: Sequence[Part], week_start: date, tier: str) -> WeekRows:
    from_files = any(part.market for part in parts)
    parsed = _parse_files(parts) if from_files else parse_parts(parts, API_FIELDS)
    names = (*FILE_FIELDS, *SELF_DESCRIBING) if from_files else API_FIELDS
    source, is_named = trim_texts(parsed.rows, names), True
    if from_files:
        is_named = not source["weekStartDate"].has_nulls()
        source = _add_missing_columns(source, parts, week_start, tier)
    source = with_quantities(source)
    good, broken = apply_rules(source, RULES)
    rejects = pl.concat([parsed.rejects, broken.select(parsed.rejects.columns)])
    return WeekRows(
        rows=_build_rows(good, week_start, tier),
        rejects=add_records(rejects, parts),
        totals=_sum_by_symbol(source, SYMBOL_TOTALS),
        firm_sums=_sum_by_symbol(source, FIRM_ROWS),
        foreign_rows=_find_foreign_rows(source, week_start, tier),
        received_count=len(source) + len(parsed.rejects),
        filtered=_count_sums(good),
        is_named=is_named,
    )


def _parse_files(parts: Sequence[Part]) -> Parsed:
    """Parse files; columns of `SELF_DESCRIBING` that a file lacks are null."""
    by_columns: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        by_columns.setdefault(find_columns(part, SELF_DESCRIBING), []).append(part)
    parsed = [parse_parts(alike, (*FILE_FIELDS, *columns)) for columns, alike in by_columns.items()]
    lacking = pl.DataFrame(schema=dict.fromkeys(SELF_DESCRIBING, pl.String))
    return Parsed(
        pl.concat([lacking, *(each.rows for each in parsed)], how="diagonal").sort(*PLACE),
        pl.concat([each.rejects for each in parsed]),
    )


def _add_missing_columns(
    rows: pl.DataFrame, parts: Sequence[Part], week_start: date, tier: str
) -> pl.DataFrame:
    """Add the columns that files lack; all rows of a file are those of firms in its market."""
    summary_types = {part.part_number: SUMMARY_OF_MARKET[part.market or "ATS"] for part in parts}
    described = pl.col("tierDescription").replace_strict(
        TIER_OF_DESCRIPTION, default=tier, return_dtype=pl.String
    )
    named = pl.col("tierIdentifier")
    missing = ("firmCRDNumber", "totalNotionalSum", "productTypeCode")
    dates = ("initialPublishedDate", "lastReportedDate")
    return rows.rename({"summaryTypeCode": "named_summary"}).with_columns(
        pl.col("weekStartDate").fill_null(week_start.isoformat()),
        pl.col("part_number")
        .replace_strict(summary_types, return_dtype=pl.String)
        .alias("summaryTypeCode"),
        pl.when(named.is_null() | (named == tier))
        .then(described)
        .otherwise(named)
        .alias("tierIdentifier"),
        **{name: pl.lit("") for name in (*missing, *dates)},
    )


def with_quantities(rows: pl.DataFrame) -> pl.DataFrame:
    """Add the numbers and days of ``rows`` as typed columns; null where a text is not one."""
    return rows.with_columns(
        share_quantity=parse_quantities(rows[SHARES]),
        trade_count=parse_whole_number(TRADES),
        firm_crd_number=parse_whole_number("firmCRDNumber"),
        notional_usd=parse_scaled(rows["totalNotionalSum"], NOTIONAL_SCALE),
        **{f"{name}_day": parse_days(rows[name]) for name in DATES},
    )


def _has_summary(codes: Iterable[str]) -> pl.Expr:
    return pl.col("summaryTypeCode").is_in(list(codes))


def _limit_to_used(rule: RowRule) -> RowRule:
    """Apply a rule to the rows that we use; FINRA's other sums are only counted."""
    return replace(rule, breaks=_has_summary([*FIRM_ROWS, *SYMBOL_TOTALS]) & rule.breaks)


NO_VENUE = is_blank("MPID") & is_blank("firmCRDNumber") & is_blank("marketParticipantName")

RULES = [
    RowRule(
        "unknown_summary_type",
        ~_has_summary([*FIRM_ROWS, *SYMBOL_TOTALS, *OTHER_SUMS]),
        pl.format("summaryTypeCode is unknown: {}", quote_text("summaryTypeCode")),
    ),
    _limit_to_used(
        RowRule(
            "blank_symbol",
            is_blank(SYMBOL),
            pl.lit(f"{SYMBOL} is blank"),
            only_if=may_be_blank(SYMBOL),
        )
    ),
    RowRule(
        "missing_venue",
        _has_summary(FIRM_ROWS) & NO_VENUE,
        pl.lit("MPID, firmCRDNumber and marketParticipantName are all blank"),
        only_if=pl.col("firm_crd_number").is_null(),
    ),
    *map(
        _limit_to_used,
        [
            *(build_length_rule(name) for name in TEXTS),
            build_parse_rule("not_a_crd_number", "firmCRDNumber", "firm_crd_number", "no number"),
            *build_quantity_rules(SHARES, "share_quantity", is_whole=False),
            *build_quantity_rules(TRADES, "trade_count", is_whole=True),
            build_parse_rule(
                "not_an_amount",
                "totalNotionalSum",
                "notional_usd",
                "no amount that 64 bits keep exactly",
            ),
            *(
                build_parse_rule("impossible_date", name, f"{name}_day", "no date")
                for name in DATES
            ),
        ],
    ),
]


_SUMMARY = formulas.choose_text(["given", "market"], SUMMARY_OF_MARKET, SUMMARY)


def _is_summary(codes: Iterable[str]) -> Formula:
    """Return whether a line has one of these summary types."""
    return ["matches", _SUMMARY, f"^({'|'.join(codes)})$"]


_CRD: Formula = formulas.read_whole_number("firmCRDNumber")
_READ_SHARES: Formula = ["quantity", formulas.read_plain_millionths(SHARES)]
_READ_TRADES: Formula = formulas.read_whole_number(TRADES)
_READ_NOTIONAL: Formula = ["scaled", "totalNotionalSum", NOTIONAL_SCALE]
_IS_FIRM_ROW: Formula = _is_summary(FIRM_ROWS)
_IS_USED: Formula = _is_summary([*FIRM_ROWS, *SYMBOL_TOTALS])
_HAS_NO_VENUE: Formula = [
    "and",
    *(formulas.is_empty(name) for name in ("MPID", "firmCRDNumber", "marketParticipantName")),
]

LINE_RULES = LineRules(
    rejects=[
        (
            "unknown_summary_type",
            ["not", _is_summary([*FIRM_ROWS, *SYMBOL_TOTALS, *OTHER_SUMS])],
        ),
        ("blank_symbol", ["and", _IS_USED, formulas.is_empty(SYMBOL)]),
        ("missing_venue", ["and", _IS_FIRM_ROW, _HAS_NO_VENUE]),
        *(
            (code, ["and", _IS_USED, condition])
            for code, condition in (
                *(formulas.reject_long(name) for name in TEXTS),
                formulas.reject_unreadable("not_a_crd_number", "firmCRDNumber", _CRD),
                *formulas.reject_quantity(SHARES, _READ_SHARES, is_whole=False),
                *formulas.reject_quantity(TRADES, _READ_TRADES, is_whole=True),
                formulas.reject_unreadable("not_an_amount", "totalNotionalSum", _READ_NOTIONAL),
                *(
                    formulas.reject_unreadable("impossible_date", name, ["day", name])
                    for name in DATES
                ),
            )
        ),
    ],
    filters={
        "symbol_totals": _is_summary(SYMBOL_TOTALS),
        "other_sums": _is_summary(OTHER_SUMS),
    },
)
"""The rules of `RULES` as formulas; FINRA's sums are filtered by name."""

_PARTICIPANT: Formula = formulas.read_text("marketParticipantName")

WEEKLY_FORMULAS: Mapping[str, Formula] = {
    "week_start": ["given", "week_start"],
    "tier": ["given", "tier"],
    "market": formulas.choose_text(_SUMMARY, FIRM_ROWS),
    "symbol": SYMBOL,
    "venue_id": formulas.choose_known(
        formulas.read_text("MPID"),
        ["format", "CRD:{}", _CRD],
        ["if", ["equal", _PARTICIPANT, ["text", DE_MINIMIS_NAME]], ["text", DE_MINIMIS]],
        ["format", "NAME:{}", _PARTICIPANT],
    ),
    "week_end": ["days_after", ["given", "week_start"], 4],
    "mpid": formulas.read_text("MPID"),
    "firm_crd_number": _CRD,
    "participant_name": _PARTICIPANT,
    "issue_name": formulas.read_text("issueName"),
    "share_quantity": _READ_SHARES,
    "trade_count": _READ_TRADES,
    "notional_usd": _READ_NOTIONAL,
    "product_type": formulas.read_text("productTypeCode"),
    "initial_published_date": ["day", "initialPublishedDate"],
    "last_update_date": ["day", "lastUpdateDate"],
    "last_reported_date": ["day", "lastReportedDate"],
    "capture_id": ["given", "capture_id"],
    "known_from": ["given", "loaded_at"],
}
"""Formulas of `finra_otc_weekly`, of the fields of a line; `_build_rows` computes the same."""


def _identify_venue(mpid: pl.Expr) -> pl.Expr:
    crd, name = pl.col("firm_crd_number"), pl.col("marketParticipantName")
    return pl.coalesce(
        mpid,
        pl.when(crd.is_not_null()).then(pl.format("CRD:{}", crd)),
        pl.when(name == DE_MINIMIS_NAME).then(pl.lit(DE_MINIMIS)),
        pl.format("NAME:{}", name),
    )


USED_COLUMNS = (
    *("summaryTypeCode", *TEXTS, "firm_crd_number", "share_quantity", "trade_count"),
    *("notional_usd", *(f"{name}_day" for name in DATES), "part_number"),
)
"""Columns of a table row: a filter copies every column, and the input has twice as many."""


def _build_rows(good: pl.DataFrame, week_start: date, tier: str) -> pl.DataFrame:
    firm_rows = good.select(USED_COLUMNS).filter(_has_summary(FIRM_ROWS))
    text = replace_blank_texts(firm_rows, OPTIONAL_TEXTS)
    return firm_rows.select(
        pl.lit(week_start).alias("week_start"),
        pl.lit(tier).alias("tier"),
        _find_market(FIRM_ROWS),
        pl.col(SYMBOL).alias("symbol"),
        _identify_venue(text["MPID"]).alias("venue_id"),
        pl.lit(week_start + timedelta(days=4)).alias("week_end"),
        text["MPID"].alias("mpid"),
        "firm_crd_number",
        text["marketParticipantName"].alias("participant_name"),
        text["issueName"].alias("issue_name"),
        "share_quantity",
        "trade_count",
        "notional_usd",
        text["productTypeCode"].alias("product_type"),
        pl.col("initialPublishedDate_day").alias("initial_published_date"),
        pl.col("lastUpdateDate_day").alias("last_update_date"),
        pl.col("lastReportedDate_day").alias("last_reported_date"),
        "part_number",
    )


def _count_sums(good: pl.DataFrame) -> Mapping[str, int]:
    """Count the rows that are neither of firms nor rejected, by their summary type."""
    sums = good.select("summaryTypeCode").filter(_has_summary([*SYMBOL_TOTALS, *OTHER_SUMS]))
    return dict(sums.group_by("summaryTypeCode").len().sort("summaryTypeCode").rows())


def in_key_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` of one week and tier in the order of their key.

    By numbers that stand for the texts: they sort faster.
    """
    lit = pl.lit(0, pl.Int64)
    for name in KEY:
        values = rows[name].unique().sort()
        lit = lit * len(values) + pl.col(name).cast(pl.Enum(values)).to_physical()
    return rows[rows.select(lit.arg_sort()).to_series()]


def _sum_by_symbol(rows: pl.DataFrame, market_of: Mapping[str, str]) -> pl.DataFrame:
    """Sum the readable rows by symbol, in 128 bits, as those of quantities are anyway.

    A row without a symbol belongs to the sum of none.
    """
    chosen = rows.lazy().filter(_has_summary(market_of))
    sums = chosen.group_by("summaryTypeCode", pl.col(SYMBOL).alias("symbol")).agg(
        pl.col("share_quantity").sum(),
        pl.col("trade_count").cast(pl.Int128).sum(),
    )
    named = sums.filter(~is_blank("symbol"))
    return named.select(_find_market(market_of), pl.exclude("summaryTypeCode")).collect()


def _find_market(market_of: Mapping[str, str]) -> pl.Expr:
    """Return the market of rows whose summary types are all in ``market_of``."""
    summary_type = pl.col("summaryTypeCode")
    markets = (pl.when(summary_type == code).then(pl.lit(name)) for code, name in market_of.items())
    return pl.coalesce(markets).alias("market")


def added_up(sums: pl.DataFrame) -> pl.DataFrame:
    """Add up sums by market and symbol that were made of several pieces of a delivery."""
    return sums.group_by("market", "symbol").agg(pl.col("share_quantity", "trade_count").sum())


def _find_foreign_rows(rows: pl.DataFrame, week_start: date, tier: str) -> pl.DataFrame:
    """Return the rows that name another week or tier, or another market than that of their file."""
    expression = (pl.col("weekStartDate") == week_start.isoformat()) & (
        pl.col("tierIdentifier") == tier
    )
    columns = ["part_number", "line_number", "weekStartDate", "tierIdentifier"]
    if "named_summary" in rows.columns and rows["named_summary"].count():
        summary = pl.col("summaryTypeCode")
        expression &= pl.col("named_summary").fill_null(summary) == summary
        columns += ["summaryTypeCode", "named_summary"]
    return rows.filter(~expression).select(columns)
