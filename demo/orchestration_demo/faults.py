"""Faults of the demo's data and protocol: each is on a known week.

Weeks are counted back from the anchor, tier by tier: 1 is the newest week that was published then,
8 the oldest that a first run loads by default. Bonds have tiers of their own: "bonds T1".
"""

from collections.abc import Mapping
from datetime import date

import polars as pl

from orchestration_demo.publication import WEEK, latest_published_week
from orchestration_demo.venues import ATS, DE_MINIMIS, OTC

Place = tuple[str, int]

THROTTLED: Mapping[Place, str] = {("T1", 1): "throttled", ("bonds T2", 1): "throttled_bonds"}
GATEWAY_TIMEOUT: Place = ("T2", 2)
SHORT_PAGES: tuple[Place, ...] = (("OTCE", 3), ("bonds T1", 1))
BAD_ROWS: tuple[Place, ...] = (("T1", 2), ("OTCE", 4))
UNRECONCILED: Place = ("T2", 9)
RESTATED: Place = ("T1", 5)
RELABELLED: Place = ("OTCE", 6)
UNDOCUMENTED_TIER: Place = ("T1", 10)
DECIMATED: Place = ("OTCE", 12)
NEW_FIELD = ("totalOddLotTradeCount", "Number")
NEW_FIELD_AFTER = 2 * WEEK  # from that long after the anchor on, /metadata lists it

PAGE_LIMIT = 100  # a query for fewer records is a probe, and no fault hits it
SHORT_PAGE_SHARE = 0.64
UNRECONCILED_SHARES = 1_000
IMPOSSIBLE_DATE = "2025-02-30"


def place(anchor: date, tier: str, week: date) -> Place:
    """Return where ``week`` lies: its tier, and its number counted back from ``anchor``."""
    return tier, (latest_published_week(anchor, tier) - week) // WEEK + 1


def week_at(anchor: date, place: Place) -> date:
    """Return the week that lies at ``place``."""
    tier, number = place
    return latest_published_week(anchor, tier) - (number - 1) * WEEK


def page_length(place: Place, offset: int, length: int) -> int:
    """Return how many of the ``length`` rows that a page should hold it will hold."""
    if place in SHORT_PAGES and offset == 0:
        return max(1, int(length * SHORT_PAGE_SHARE))
    return length


def with_bad_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Return firm ``rows`` (as the market gives them) with three that no reader can accept.

    One has neither symbol nor name (1 share, 1 trade), one was last reported on an impossible date,
    one names no venue. Their quantities can be read, and aggregates count them.
    """
    some_system = rows.filter(market=ATS).head(1)
    some_firm = rows.filter(pl.col("market") == OTC, pl.col("marketParticipantName") != DE_MINIMIS)
    blank = some_system.with_columns(
        issueSymbolIdentifier=pl.lit(""),
        issueName=pl.lit(""),
        trades=pl.lit(1, pl.Int64),
        shares=pl.lit(1, pl.Int64),
        cents=pl.col("cents") // pl.col("shares"),
    )
    nobody = some_firm.head(1).with_columns(
        marketParticipantName=pl.lit(None, pl.String), firmCRDNumber=pl.lit(None, pl.Int64)
    )
    impossible = pl.when(pl.int_range(pl.len()) == rows.height // 2).then(pl.lit(IMPOSSIBLE_DATE))
    dated = rows.with_columns(lastReportedDate=impossible.otherwise("lastReportedDate"))
    return pl.concat([dated, blank, nobody])


def without_most(rows: pl.DataFrame) -> pl.DataFrame:
    """Return 40 % of the firm ``rows``; totals computed from them do not reveal it."""
    return rows.filter(pl.int_range(pl.len()) % 5 < 2)


def fields_on(today: date, anchor: date, fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return what /metadata lists on a day of ``fields``: one day there is one more."""
    return {**fields, **dict([NEW_FIELD])} if today >= anchor + NEW_FIELD_AFTER else fields


def with_wrong_total(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` in which one symbol's non-ATS total says 1,000 shares more than its firms."""
    symbols = rows.filter(summaryTypeCode="OTC_W_SMBL")["issueSymbolIdentifier"]
    is_wrong = (pl.col("summaryTypeCode") == "OTC_W_SMBL") & (
        pl.col("issueSymbolIdentifier") == symbols.min()
    )
    return rows.with_columns(
        shares=pl.col("shares") + is_wrong.cast(pl.Int64) * UNRECONCILED_SHARES
    )
