"""FINRA's daily and monthly datasets of equities, synthetic: short sales, lists, months, blocks.

They are of the symbols and venues of the demo's market. Short sales are written as the SIP writes
symbols, and their volumes have fractions of shares.
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration_demo.fields import (
    ATS_BLOCKS,
    OTC_BLOCKS,
    OTC_MONTHLY,
    REG_SHO,
    THRESHOLD_LIST,
)
from orchestration_demo.market import Market
from orchestration_demo.venues import ATS, OTC, venues_of

MONTHLY_TIERS = ("NMS", "OTCE")
_MARKET_TIERS = {"NMS": ("T1", "T2"), "OTCE": ("OTCE",)}
_FACILITIES = (("NQTRF", "Q", 0.62), ("NYTRF", "N", 0.29), ("NCTRF", "B", 0.09))
"""Code, letter and share of the volume of each reporting facility."""

WEEKS_PER_MONTH = 4
THRESHOLD_SYMBOLS = 30
_BLOCK_SIZES = {
    "2K": ("2K to 10K Shares", 0.060),
    "10K": ("10K+ Shares", 0.020),
    "100K": ("$100K to $200K", 0.030),
    "200K": ("$200K+", 0.015),
    "2K-100K": ("2K to 10K Shares AND $100K to $200K", 0.010),
    "10K-200K": ("10K+ Shares AND $200K+", 0.008),
}
"""Description of each size of blocks, and the usual share of trades that are such blocks."""

DAY = timedelta(days=1)


def month_is_out(day: date, today: date) -> bool:
    """Return whether ``day`` begins a month that is out: on a Monday after one month more."""
    due = _next_month(_next_month(day))
    return day.day == 1 and due + (7 - due.weekday()) % 7 * DAY <= today


def makers(market: Market) -> Mapping[str, Callable[..., pl.DataFrame]]:
    """Return what makes the rows of a partition of each dataset, of the symbols of ``market``."""
    return {
        REG_SHO.name: lambda rng, day: _short_sales(market, rng, day),
        OTC_MONTHLY.name: lambda _, month, tier: _months(market, month, tier),
        THRESHOLD_LIST.name: lambda _, day: _threshold_list(market, day),
        ATS_BLOCKS.name: lambda rng, month: _blocks(rng, ATS, month, _systems()),
        OTC_BLOCKS.name: lambda rng, month: _blocks(rng, OTC, month, _firms()),
    }


def sip_symbol(symbol: pl.Expr) -> pl.Expr:
    """Return FINRA's ``symbol`` as the SIP writes it: BRK/B, EPpC, PL/WS."""
    preferred = symbol.str.replace(r"\$", "p")
    return preferred.str.replace(r"\.W$", "/WS").str.replace(r"\.", "/")


def _next_month(day: date) -> date:
    return (day.replace(day=1) + 31 * DAY).replace(day=1)


def _short_sales(market: Market, rng: np.random.Generator, day: str) -> pl.DataFrame:
    universes = [(market.symbols(tier), market.usual_shares(tier)) for tier in ("T1", "T2")]
    symbols = pl.concat([each.frame.select("issueSymbolIdentifier") for each, _ in universes])
    daily = np.concatenate([shares for _, shares in universes]) / 5
    found = []
    for code, letter, share in _FACILITIES:
        total = (daily * share * rng.uniform(0.6, 1.4, len(daily))).round(4)
        short = (total * rng.uniform(0.3, 0.65, len(daily))).round(4)
        found.append(
            symbols.select(
                tradeReportDate=pl.lit(day),
                securitiesInformationProcessorSymbolIdentifier=sip_symbol(
                    pl.col("issueSymbolIdentifier")
                ),
                shortParQuantity=pl.Series(short),
                shortExemptParQuantity=pl.Series(np.floor(short * 0.004)),
                totalParQuantity=pl.Series(total),
                marketCode=pl.lit(letter),
                reportingFacilityCode=pl.lit(code),
            ).filter(pl.Series(rng.random(len(daily)) < 0.5 + share))
        )
    return pl.concat(found)


def _months(market: Market, month: str, tier: str) -> pl.DataFrame:
    """Return rows by symbol and firm, and those that add them up by symbol."""
    first = date.fromisoformat(month)
    monday = first + (7 - first.weekday()) % 7 * DAY
    traded = pl.concat([market.firm_rows(each, monday) for each in _MARKET_TIERS[tier]])
    firms = traded.filter(pl.col("market") == OTC).with_columns(
        pl.col("trades", "shares", "cents") * WEEKS_PER_MONTH
    )
    sums = firms.group_by("issueSymbolIdentifier", maintain_order=True).agg(
        pl.col("trades", "shares", "cents").sum(),
        pl.col("issueName", "productTypeCode").first(),
    )
    published = _next_month(_next_month(first))
    by_type = [("OTC_M_SMBL_FIRM", firms), ("OTC_M_SMBL", sums)]
    return pl.concat(
        [
            rows.select(
                monthStartDate=pl.lit(month),
                tierIdentifier=pl.lit(tier),
                issueSymbolIdentifier="issueSymbolIdentifier",
                issueName="issueName",
                firmCRDNumber="firmCRDNumber" if "firmCRDNumber" in rows.columns else pl.lit(None),
                marketParticipantName="marketParticipantName"
                if "marketParticipantName" in rows.columns
                else pl.lit(None, pl.String),
                summaryStartDate=pl.lit(month),
                totalMonthlyTradeCount="trades",
                totalMonthlyShareQuantity="shares",
                totalNotionalSum=(pl.col("cents") / 100).round(2),  # polars multiplies inexactly
                productTypeCode="productTypeCode",
                summaryTypeCode=pl.lit(code),
                lastUpdateDate=pl.lit(published.isoformat()),
                initialPublishedDate=pl.lit(published.isoformat()),
                lastReportedDate=pl.lit(_next_month(first).isoformat()),
            )
            for code, rows in by_type
        ],
        how="vertical_relaxed",
    )


def _threshold_list(market: Market, day: str) -> pl.DataFrame:
    """Return a list that moves on by one symbol each day."""
    symbols = market.symbols("OTCE").frame
    start = date.fromisoformat(day).toordinal()
    chosen = symbols[
        [(start + n) % len(symbols) for n in range(min(THRESHOLD_SYMBOLS, len(symbols)))]
    ]
    is_reg_sho = pl.col("issueSymbolIdentifier").hash(7) % 3 == 0
    return chosen.select(
        tradeDate=pl.lit(day),
        issueSymbolIdentifier="issueSymbolIdentifier",
        issueName="issueName",
        marketClassCode=pl.lit("u"),
        thresholdListFlag=pl.when(is_reg_sho).then(pl.lit("R")).otherwise(pl.lit("NR")),
        marketCategoryDescription=pl.lit("Other OTC"),
        regShoThresholdFlag=pl.when(is_reg_sho).then(pl.lit("Y")).otherwise(pl.lit("N")),
        rule4320Flag=pl.when(is_reg_sho).then(pl.lit("N")).otherwise(pl.lit("Y")),
    )


def _systems() -> pl.DataFrame:
    frame = venues_of("T1").frame.filter(pl.col("market") == ATS)
    return frame.select("MPID", "marketParticipantName")


def _firms() -> pl.DataFrame:
    frame = venues_of("T1").frame.filter(pl.col("market") == OTC)
    return frame.select(crdFirmName="marketParticipantName")


def _blocks(
    rng: np.random.Generator, market: str, month: str, venues: pl.DataFrame
) -> pl.DataFrame:
    count = len(venues)
    trades = (2_000_000 * np.exp(-0.11 * np.arange(count)) * rng.uniform(0.8, 1.2, count)).astype(
        int
    )
    shares = (trades * rng.uniform(120, 260, count)).astype(int)
    published = _next_month(_next_month(date.fromisoformat(month))).isoformat()
    found = []
    for code, (description, usual) in _BLOCK_SIZES.items():
        blocks = (trades * usual * rng.uniform(0.2, 1.2, count)).astype(int)
        in_blocks = (shares * np.minimum(0.9, usual * 12) * rng.uniform(0.3, 1, count)).astype(int)
        numbers = {
            "totalTradeCount": trades,
            "totalShareQuantity": shares,
            "averageTradeSize": (shares / trades).round(0),
            f"{market}BlockCount": blocks,
            f"{market}BlockQuantity": in_blocks,
            "averageBlockSize": (in_blocks / np.maximum(blocks, 1)).round(0),
            f"{market}TradePercent": _percent(trades, trades.sum()),
            f"{market}SharePercent": _percent(shares, shares.sum()),
            f"{market}BlockTradePercent": _percent(blocks, blocks.sum()),
            f"{market}BlockSharePercent": _percent(in_blocks, in_blocks.sum()),
            f"{market}BlockBusinessTradePercent": _percent(blocks, trades),
            f"{market}BlockBusinessSharePercent": _percent(in_blocks, shares),
        }
        ranks = {
            f"{market}TradeRank": trades,
            f"{market}ShareRank": shares,
            "averageTradeSizeRank": numbers["averageTradeSize"],
            "averageBlockSizeRank": numbers["averageBlockSize"],
            f"{market}BlockTradeRank": blocks,
            f"{market}BlockShareRank": in_blocks,
            f"{market}BlockBusinessTradeRank": numbers[f"{market}BlockBusinessTradePercent"],
            f"{market}BlockBusinessShareRank": numbers[f"{market}BlockBusinessSharePercent"],
        }
        found.append(
            venues.with_columns(
                *(pl.Series(name, values) for name, values in numbers.items()),
                *(
                    pl.Series(name, values).rank("min", descending=True).cast(pl.Int64)
                    for name, values in ranks.items()
                ),
                monthStartDate=pl.lit(month),
                summaryStartDate=pl.lit(month),
                summaryTypeCode=pl.lit(code),
                summaryTypeDescription=pl.lit(description),
                lastUpdateDate=pl.lit(published),
                initialPublishedDate=pl.lit(published),
                lastReportedDate=pl.lit(_next_month(date.fromisoformat(month)).isoformat()),
                atsOtc=pl.lit(market),
            )
        )
    return pl.concat(found)


def _percent(part: np.ndarray, whole: np.ndarray | int) -> np.ndarray:
    return (part / whole * 100).round(2)
