"""Data of the trading chart: totals by week, and the largest of the newest week.

docs/reference/tables.md defines them. Sums come from the database; ratios and ranks are
made here.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from orchestration_project.domains.finra.calendar import TIERS, WEEK
from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.domains.finra.gold import ratio_of

PICTURE_VERSION = "2"
"""Version of what is drawn and how; another one makes a picture out of date."""

WEEKS_SHOWN = 104
"""Two years back from the newest week: as many as fit into one readable chart."""

MAX_SHOWN_MOVERS = 10

INDEX_DIGITS = 6
"""Weighted means are sums of floats, whose last digits depend on the order of the rows."""


@dataclass(frozen=True)
class Activity:
    """Data of the chart.

    Attributes:
        made_of: What the figures are made of, as `version_of` names it.
        weeks: The Mondays from the first week shown to the last, also such as are not loaded.
        traded: By week, tier and market: share_quantity and trade_count.
        concentration: By week and tier: hhi_lower and hhi_upper, means weighted by shares.
        week_start: The week that the largest are of.
        tiers: The tiers that are loaded of it.
        tier_weeks: Its rows of `finra_tier_week`; none before that is derived.
        symbols: Its largest symbols: symbol, tier, name, share_quantity, trade_count, share, and
            where derived top_3_venue_share, hhi_upper, hhi_upper_change.
        venues: Its largest venues: venue_id, name, share_quantity, trade_count, share.
        de_minimis_share: The part of the week's shares that De Minimis Firms have, 0-1.
        symbol_count: Symbols traded in the week.
        venue_count: Venues known by name that traded in it.
        quarantined: Weeks shown of which the latest delivery of a tier is quarantined.
    """

    made_of: str
    weeks: Sequence[date]
    traded: pl.DataFrame
    concentration: pl.DataFrame
    week_start: date
    tiers: Sequence[str]
    tier_weeks: pl.DataFrame
    symbols: pl.DataFrame
    venues: pl.DataFrame
    de_minimis_share: float | None
    symbol_count: int
    venue_count: int
    quarantined: Collection[date] = ()

    def total(self, quantity: str) -> int:
        """Return the sum of ``quantity`` over the tiers and markets of the week."""
        return _sum_column(self.traded.filter(week_start=self.week_start), quantity)


def version_of(
    database: datetime | None, loaded: Mapping[str, int], *derived: Mapping[str, str]
) -> str:
    """Return the name of what a picture is made of: what is loaded, and what is derived of it.

    ``database`` is when its first partition loaded: another one may hold as many deliveries.
    """
    inputs = [f"picture {PICTURE_VERSION}", str(database)]
    inputs += [f"{key}#{loaded[key]}" for key in sorted(loaded)]
    inputs += [f"{key}: {versions[key]}" for versions in derived for key in sorted(versions)]
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]


def first_week_shown(newest: date) -> date:
    """Return the first week of a picture that ends with the week ``newest``."""
    return newest - (WEEKS_SHOWN - 1) * WEEK


def weeks_between(loaded: Collection[date]) -> list[date]:
    """Return each Monday from the first to the last of ``loaded``."""
    first, last = min(loaded), max(loaded)
    return [first + weeks * WEEK for weeks in range((last - first) // WEEK + 1)]


def newest_complete_week(traded: pl.DataFrame) -> tuple[date, list[str]]:
    """Return the newest week that has all tiers, and these; if none has, the newest with its own.

    ``traded`` has a row or more for each week and tier that is loaded.
    """
    tiers: dict[date, set[str]] = {}
    for week, tier in traded.select("week_start", "tier").iter_rows():
        tiers.setdefault(week, set()).add(tier)
    complete = [week for week, names in tiers.items() if names.issuperset(TIERS)]
    newest = max(complete or tiers)
    return newest, [tier for tier in TIERS if tier in tiers[newest]]


def over(weeks: Sequence[date], rows: pl.DataFrame, column: str) -> list[float | None]:
    """Return ``column`` of ``rows``, at most one for each week, as a series over ``weeks``.

    A week without a row is None: it is a gap, not zero.
    """
    values = dict(zip(rows["week_start"], rows[column], strict=True))
    return [values.get(week) for week in weeks]


def by_tier(activity: Activity, tier: str, column: str) -> list[float | None]:
    """Return ``column`` of a tier, both markets, over the weeks shown."""
    rows = activity.traded.filter(tier=tier).group_by("week_start").agg(pl.col(column).sum())
    return over(activity.weeks, rows, column)


def weighted_concentration(sums: pl.DataFrame) -> pl.DataFrame:
    """Return the mean index of each week and tier, weighted by shares.

    ``sums`` has by week and tier the sums of index times shares as ``hhi_lower`` and
    ``hhi_upper``, and ``total_share_quantity``. A week without shares has none.
    """
    whole = pl.col("total_share_quantity")
    return sums.select(
        "week_start",
        "tier",
        *(
            ratio_of(pl.col(name), whole).round(INDEX_DIGITS).alias(name)
            for name in ("hhi_lower", "hhi_upper")
        ),
    ).sort("week_start", "tier")


def largest_symbols(symbols: pl.DataFrame, names: pl.DataFrame, whole: int) -> pl.DataFrame:
    """Return symbols (symbol, tier, total_…) in order, with name, and share of ``whole`` shares.

    ``names`` has symbol and issue_name; a symbol that it lacks has no name.
    """
    totals = {"total_share_quantity": "share_quantity", "total_trade_count": "trade_count"}
    named = symbols.rename(totals).join(
        _choose_name(names, "symbol", "issue_name"), on="symbol", how="left"
    )
    return _sort_by_share(named, "symbol", "tier", whole=whole)


def all_venues(venue_weeks: pl.DataFrame) -> tuple[pl.DataFrame, float | None]:
    """Return each named venue of a week in order, with its share; and De Minimis Firms' share.

    A venue in several tiers or markets is one. De Minimis Firms are many, so they are none, but
    their shares are part of the whole.
    """
    whole = _sum_column(venue_weeks, "share_quantity")
    venues = venue_weeks.group_by("venue_id").agg(pl.col("share_quantity", "trade_count").sum())
    ranked = _sort_by_share(venues, "venue_id", whole=whole)
    lump = sum(ranked.filter(venue_id=DE_MINIMIS)["share"].to_list()) if whole else None
    return ranked.filter(pl.col("venue_id") != DE_MINIMIS), lump


def with_names(venues: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Return ``venues`` with the names of ``names`` (venue_id, participant_name), else their id."""
    one_name = _choose_name(names, "venue_id", "participant_name")
    return venues.join(one_name, on="venue_id", how="left", maintain_order="left").with_columns(
        name=pl.col("name").fill_null(pl.col("venue_id"))
    )


def _choose_name(names: pl.DataFrame, key: str, column: str) -> pl.DataFrame:
    """Return one name for each ``key``, the same whatever the order: the least."""
    return names.group_by(key).agg(name=pl.col(column).min())


def _sort_by_share(rows: pl.DataFrame, *key: str, whole: int) -> pl.DataFrame:
    return rows.with_columns(share=ratio_of(pl.col("share_quantity"), pl.lit(whole))).sort(
        "share_quantity", *key, descending=[True, *(False for _ in key)]
    )


def _sum_column(rows: pl.DataFrame, column: str) -> int:
    """Return the exact sum, which may not fit 64 bits."""
    return sum(rows[column].to_list())
