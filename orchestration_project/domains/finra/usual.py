"""Warnings: whether a delivery is as large as the weeks before it, and has their large venues.

They hold nothing back: a market may halve, and a venue may close.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil, exp, floor, log
from statistics import median

import polars as pl

from orchestration_project.contracts import Audit, Outcome
from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.domains.finra.trading_weeks import trading_level

WARNINGS = {
    "is_of_usual_size": "Rows, shares, trades, symbols and venues are about those of the weeks "
    "before, holidays considered.",
    "has_all_large_venues": "No venue is missing that was large in each of the weeks before.",
}
"""Each audit that only warns, and what it claims."""

SIZE, LARGE_VENUES = WARNINGS

MEASURES = ("rows", "shares", "trades", "symbols", "venues")
BY_SESSIONS = ("shares", "trades")
"""What a holiday takes away. Nearly every pair of symbol and venue that meets in a week meets in a
shorter one too, so the other measures are compared as they are."""

SIGMA_OF_MAD = 1.4826
"""A normal distribution's standard deviation, in median absolute deviations."""

SHOWN_PLACES = 4


@dataclass(frozen=True)
class Limits:
    """When to warn; the settings FINRA_BAND_… and FINRA_LARGE_VENUE_… say why.

    Attributes:
        weeks: How many weeks before, by date, are looked at.
        min_weeks: With fewer of them landed, the size is not judged.
        width: Half of a band in standard deviations.
        floor: Factor up and down that every band has at least.
        cap: Factor up and down that no band exceeds.
        large_venue_share: Share of the tier's shares, 0-1, from which on a venue is large.
        large_venue_weeks: In how many of the latest weeks it has to be.
    """

    weeks: int
    min_weeks: int
    width: float
    floor: float
    cap: float
    large_venue_share: float
    large_venue_weeks: int


@dataclass(frozen=True)
class Earlier:
    """The weeks before a delivery's, of its tier and in its markets.

    Attributes:
        venues: Rows of `finra_venue_week`: week_start, market, venue_id, share_quantity,
            trade_count, symbol_count.
        symbols: week_start and symbol_count, the distinct symbols of a week.
        markets: The markets for which the delivery is complete.
    """

    venues: pl.DataFrame
    symbols: pl.DataFrame
    markets: Collection[str]

    def comparable(self) -> pl.DataFrame:
        """Return the rows of ``venues`` of weeks that have each of the markets."""
        landed = pl.col("market").n_unique().over("week_start")
        return self.venues.filter(landed == len(self.markets))

    def figures(self) -> Mapping[date, Mapping[str, int]]:
        """Return every measure of each comparable week."""
        weeks = self.comparable().group_by("week_start").agg(
            rows=pl.col("symbol_count").sum(),
            shares=pl.col("share_quantity").sum(),
            trades=pl.col("trade_count").sum(),
            venues=pl.col("venue_id").n_unique().cast(pl.Int64),
        )  # fmt: skip
        symbols = self.symbols.select("week_start", symbols="symbol_count")
        both = weeks.join(symbols, on="week_start").sort("week_start")
        return {week["week_start"]: week for week in both.to_dicts()}


@dataclass(frozen=True)
class Band:
    """What a measure may be without a warning, both ends included; ``usual`` is its middle."""

    measure: str
    least: int
    usual: int
    most: int

    @property
    def text(self) -> str:
        """The band in words."""
        return f"{self.measure} {self.least} to {self.most}"


def band(measure: str, history: Mapping[date, int], week_start: date, limits: Limits) -> Band:
    """Return the band of a measure: the median of its earlier logarithms, and a width around it.

    The logarithms are of levels for a whole week of sessions. Half the width is ``limits.width``
    standard deviations by the median absolute deviation, at least the floor, at most the cap.
    """
    levels = [log(max(value, 1) / _level(measure, week)) for week, value in history.items()]
    centre = median(levels)
    sigma = SIGMA_OF_MAD * median(abs(level - centre) for level in levels)
    factor = exp(min(max(limits.width * sigma, log(limits.floor)), log(limits.cap)))
    usual = exp(centre) * _level(measure, week_start)
    least, most = round(usual / factor, SHOWN_PLACES), round(usual * factor, SHOWN_PLACES)
    return Band(measure, ceil(least), round(usual), floor(most))


def _level(measure: str, week: date) -> float:
    return trading_level(week) if measure in BY_SESSIONS else 1.0


def warnings_about(
    pieces: Iterable[pl.DataFrame], earlier: Earlier, *, week_start: date, limits: Limits
) -> Sequence[Audit]:
    """Return the verdict of every audit in `WARNINGS` on a delivery's rows, in that order.

    They may come in several pieces, no two of which have a symbol in common.
    """
    figures: Counter[str] = Counter()
    venues: set[str] = set()
    for rows in pieces:
        figures["rows"] += len(rows)
        figures["shares"] += int(rows["share_quantity"].sum())
        figures["trades"] += int(rows["trade_count"].sum())
        figures["symbols"] += rows["symbol"].n_unique()
        venues.update(rows["venue_id"].unique())
    found = {**figures, "venues": len(venues)}
    return [
        _usual_size(found, earlier.figures(), week_start, limits),
        _large_venues(venues, earlier.comparable(), limits),
    ]


def _usual_size(
    found: Mapping[str, int],
    earlier: Mapping[date, Mapping[str, int]],
    week_start: date,
    limits: Limits,
) -> Audit:
    if len(earlier) < limits.min_weeks:
        expected = f"at least {limits.min_weeks} of the {limits.weeks} weeks before"
        return _warning(SIZE, "not_applicable", expected, f"{len(earlier)} weeks")
    bands = [
        band(each, {week: of[each] for week, of in earlier.items()}, week_start, limits)
        for each in MEASURES
    ]
    unusual = [each for each in bands if not each.least <= found[each.measure] <= each.most]
    return _warning(
        SIZE,
        "failed" if unusual else "passed",
        ", ".join(each.text for each in bands),
        ", ".join(f"{measure} {found[measure]}" for measure in MEASURES),
        [
            {
                "measure": each.measure,
                "found": found[each.measure],
                "usual": each.usual,
                "least": each.least,
                "most": each.most,
            }
            for each in unusual
        ],
    )


def _large_venues(venues: Collection[str], earlier: pl.DataFrame, limits: Limits) -> Audit:
    wanted, share = limits.large_venue_weeks, limits.large_venue_share
    weeks = earlier["week_start"].unique().sort().tail(wanted)
    if len(weeks) < wanted:
        expected = f"at least {wanted} of the {limits.weeks} weeks before"
        return _warning(LARGE_VENUES, "not_applicable", expected, f"{len(weeks)} weeks")
    latest = earlier.filter(pl.col("week_start").is_in(weeks.to_list()))
    large = _large(latest, share, wanted)
    missing = large.filter(~pl.col("venue_id").is_in(list(venues)))
    return _warning(
        LARGE_VENUES,
        "failed" if len(missing) else "passed",
        f"rows of all {len(large)} venues that had at least {share:.2%} of the shares in each of "
        f"the {wanted} weeks before",
        f"{len(missing)} missing",
        missing.to_dicts(),
    )


def _large(venues: pl.DataFrame, share: float, weeks: int) -> pl.DataFrame:
    """Return the venues that have ``share`` in each of ``weeks``, largest first.

    ``share_before`` is the mean of their shares, 0-1.
    """
    of_week = pl.col("share_quantity") / pl.col("share_quantity").sum().over("week_start")
    sums = venues.with_columns(share=of_week).group_by("week_start", "venue_id").agg(
        pl.col("share").sum()
    )  # fmt: skip
    return (
        sums.filter(pl.col("venue_id") != DE_MINIMIS, pl.col("share") >= share)
        .group_by("venue_id")
        .agg(week_count=pl.len(), share_before=pl.col("share").mean().round(SHOWN_PLACES))
        .filter(pl.col("week_count") == weeks)
        .select("venue_id", "share_before")
        .sort(["share_before", "venue_id"], descending=[True, False])
    )


def _warning(
    name: str,
    outcome: Outcome,
    expected: str,
    found: str,
    offenders: Sequence[dict[str, object]] = (),
) -> Audit:
    return Audit(name, outcome, expected, found, offenders, severity="warning")
