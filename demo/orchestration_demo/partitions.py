"""The rows of one partition as FINRA would hold them: market, corrections, bad rows and totals."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration_demo import faults
from orchestration_demo.aggregates import with_aggregates
from orchestration_demo.catalogue import Edition
from orchestration_demo.market import Market, Purpose
from orchestration_demo.prices.faults import FAULTS, SPLIT_RATIO, SPLIT_SESSIONS
from orchestration_demo.prices.sessions import position
from orchestration_demo.restatements import Restatement, ordinary_symbols, restated

_TIER_DESCRIPTIONS = {
    "T1": "NMS Tier 1",
    "T2": "NMS Tier 2",
    "OTCE": "OTCE",
    "NMS": "Not Applicable",
}
_IDENTITY = (
    "summaryTypeCode",
    "issueSymbolIdentifier",
    "MPID",
    "marketParticipantName",
    "firmCRDNumber",
)


def partition_rows(market: Market, anchor: date, edition: Edition) -> pl.DataFrame:
    """Return every row of ``edition`` with the fields of weeklySummary, in the source's own order.

    Dates are text (`yyyy-MM-dd`), counts Int64, totalNotionalSum dollars with two decimals. The
    order is always the same for an edition, and no field explains it.
    """
    firm_rows = _with_splits(market, anchor, edition)
    where = faults.place(anchor, edition.tier, edition.week)
    if where == faults.DECIMATED:
        firm_rows = faults.without_most(firm_rows)
    rows = _completed(firm_rows, where).with_columns(lastUpdateDate=_day(edition.published))
    if edition.restatement:
        rng = market.random(edition.tier, edition.week, Purpose.RESTATEMENT)
        rows = _corrected(firm_rows, rows, where, edition.restatement, rng)
    order = market.random(edition.tier, edition.week, Purpose.ORDER).permutation(rows.height)
    return _as_published(rows.sort(_IDENTITY)[order], edition)


def _with_splits(market: Market, anchor: date, edition: Edition) -> pl.DataFrame:
    """Return the week's trading, valued by the prices that the demo's vendors have of the week."""
    firm_rows = market.firm_rows(edition.tier, edition.week)
    symbols = market.symbols(edition.tier)
    split = [
        symbols.frame["issueSymbolIdentifier"][symbols.treacherous_count + place]
        for (tier, place), fault in FAULTS.items()
        if fault == "split" and tier == edition.tier
    ]
    first, end = position(edition.week), position(edition.week + timedelta(days=7))
    before = min(max(position(anchor) - SPLIT_SESSIONS - first, 0), end - first)
    if not (split and before):
        return firm_rows
    # With the volume, the mean price of a week in which it is split leans to the lower prices.
    after = end - first - before
    factor = SPLIT_RATIO * (before + after) / (before + SPLIT_RATIO * after)
    is_split = pl.col("issueSymbolIdentifier").is_in(split)
    cents = (pl.col("cents") * factor).round().cast(pl.Int64)
    return firm_rows.with_columns(cents=pl.when(is_split).then(cents).otherwise("cents"))


def _completed(firm_rows: pl.DataFrame, where: faults.Place) -> pl.DataFrame:
    """Return ``firm_rows`` with the bad rows of their place, and totals."""
    if where in faults.BAD_ROWS:
        firm_rows = faults.with_bad_rows(firm_rows)
    rows = with_aggregates(firm_rows)
    return faults.with_wrong_total(rows) if where == faults.UNRECONCILED else rows


def _corrected(
    firm_rows: pl.DataFrame,
    before: pl.DataFrame,
    where: faults.Place,
    correction: Restatement,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Return the restated rows; those that differ from ``before`` carry the restatement's date."""
    updated = _day(correction.day)
    if not correction.share_changed:
        is_touched = pl.col("issueSymbolIdentifier") == ordinary_symbols(firm_rows)[0]
        touched = pl.when(is_touched).then(updated).otherwise("lastUpdateDate")
        return before.with_columns(lastUpdateDate=touched)
    after = _completed(restated(firm_rows, rng, correction), where)
    facts = [*_IDENTITY, "trades", "shares"]
    known = before.select(*facts, "lastUpdateDate")
    joined = after.join(known, on=facts, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(pl.col("lastUpdateDate").fill_null(updated))


def _as_published(rows: pl.DataFrame, edition: Edition) -> pl.DataFrame:
    """Return ``rows`` under FINRA's names, with the fields that are the same in all of them."""
    return rows.select(
        weekStartDate=_day(edition.week),
        tierIdentifier=pl.lit(edition.tier),
        tierDescription=pl.lit(_TIER_DESCRIPTIONS[edition.tier]),
        issueSymbolIdentifier="issueSymbolIdentifier",
        issueName="issueName",
        firmCRDNumber="firmCRDNumber",
        MPID="MPID",
        marketParticipantName="marketParticipantName",
        summaryStartDate=_day(edition.week),
        totalWeeklyTradeCount="trades",
        totalWeeklyShareQuantity="shares",
        totalNotionalSum=(pl.col("cents") / 100).round(2),  # polars multiplies by 0.01, inexactly
        productTypeCode="productTypeCode",
        summaryTypeCode="summaryTypeCode",
        initialPublishedDate=_day(edition.published),
        lastUpdateDate="lastUpdateDate",
        lastReportedDate="lastReportedDate",
    )


def _day(day: date) -> pl.Expr:
    """Return ``day`` as FINRA writes it, for every row."""
    return pl.lit(day.isoformat())
