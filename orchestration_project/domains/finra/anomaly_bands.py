"""Warnings: whether a delivery is as large as the weeks before it, and has their large venues.

They hold nothing back: a market may halve, and a venue may close.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import ceil, floor
from statistics import fmean
from typing import NamedTuple

import polars as pl

from orchestration_project.domains.finra.calendar import trading_level
from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.engine.contracts.audits import Audit, Outcome, compute_range

WARNINGS = {
    "is_of_usual_size": "Rows, shares, trades, symbols and venues are about those of the weeks "
    "before, holidays considered.",
    "has_all_large_venues": "No venue is missing that was large in each of the weeks before.",
}
"""Each audit that only warns, and what it claims."""

SIZE, LARGE_VENUES = WARNINGS

MEASURES = ("rows", "shares", "trades", "symbols", "venues")
BY_SESSIONS = ("shares", "trades")
"""Measures that a holiday reduces. Nearly every pair of symbol and venue that meets in a week meets
in a shorter one too, so the other measures are compared as they are."""

SHOWN_PLACES = 4


@dataclass(frozen=True)
class BandLimits:
    """When to warn: `finra_otc_weekly` in checks.yaml.

    Attributes:
        weeks: How many weeks before, by date, are looked at.
        min_weeks: With fewer of them loaded, the size is not judged.
        width: Half of a band in standard deviations.
        floor: Factor up and down that every band has at least.
        cap: Factor up and down that no band exceeds.
        large_venue_share: Share of the tier's shares, 0-1, from which on a venue is large.
        large_venue_weeks: In how many of the latest weeks it has to be.
        max_row_shares: Shares of a row above which it is implausible.
    """

    weeks: int
    min_weeks: int
    width: float
    floor: float
    cap: float
    large_venue_share: float
    large_venue_weeks: int
    max_row_shares: int


class VenueWeek(NamedTuple):
    """Loaded totals of a venue in a week and market: a row of `finra_venue_week`."""

    week_start: date
    market: str
    venue_id: str
    share_quantity: Decimal
    trade_count: int
    symbol_count: int


@dataclass(frozen=True)
class EarlierWeeks:
    """The weeks before a delivery's, of its tier and in its markets.

    They are few rows, so they are added up here: polars' threads are busy with the next week.

    Attributes:
        venues: Their venues.
        symbols: The number of distinct symbols of each week that has any.
        markets: The markets for which the delivery is complete.
    """

    venues: Sequence[VenueWeek]
    symbols: Mapping[date, int]
    markets: Collection[str]

    def comparable(self) -> Mapping[date, Sequence[VenueWeek]]:
        """Return the venues of each week that has each of the markets, in the weeks' order."""
        weeks: defaultdict[date, list[VenueWeek]] = defaultdict(list)
        for venue in self.venues:
            weeks[venue.week_start].append(venue)
        return {
            week: weeks[week]
            for week in sorted(weeks)
            if len({venue_week.market for venue_week in weeks[week]}) == len(self.markets)
        }

    def figures(self) -> Mapping[date, Mapping[str, int]]:
        """Return every measure of each comparable week."""
        return {
            week: {
                "rows": sum(venue.symbol_count for venue in venues),
                "shares": int(sum(venue.share_quantity for venue in venues)),
                "trades": sum(venue.trade_count for venue in venues),
                "symbols": self.symbols.get(week, 0),
                "venues": len({venue.venue_id for venue in venues}),
            }
            for week, venues in self.comparable().items()
        }


@dataclass(frozen=True)
class Band:
    """Tolerance band of a measure, both ends inclusive; ``usual`` is its middle."""

    measure: str
    least: int
    usual: int
    most: int

    @property
    def text(self) -> str:
        """The band in words."""
        return f"{self.measure} {self.least} to {self.most}"


def band(measure: str, history: Mapping[date, int], week_start: date, limits: BandLimits) -> Band:
    """Return the band of a measure: the median of its earlier logarithms, and a width around it.

    The logarithms are of levels for a whole week of sessions. Half the width is ``limits.width``
    standard deviations by the median absolute deviation, at least the floor, at most the cap.
    """
    centre, factor = compute_range(
        [max(value, 1) / _find_level(measure, week) for week, value in history.items()],
        sigma=limits.width,
        min_factor=limits.floor,
        max_factor=limits.cap,
    )
    usual = centre * _find_level(measure, week_start)
    least, number = round(usual / factor, SHOWN_PLACES), round(usual * factor, SHOWN_PLACES)
    return Band(measure, ceil(least), round(usual), floor(number))


def _find_level(measure: str, week: date) -> float:
    return trading_level(week) if measure in BY_SESSIONS else 1.0


@dataclass(frozen=True)
class Size:
    """How large a delivery is: a figure of each of the `MEASURES`, and which venues it has."""

    figures: Mapping[str, int]
    venues: Collection[str]


def size_of_rows(pieces: Iterable[pl.DataFrame]) -> Size:
    """Return the size of a delivery's rows.

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
    return Size({**figures, "venues": len(venues)}, venues)


def size_of_derived(symbols: pl.DataFrame, venues: pl.DataFrame) -> Size:
    """Return the same by what was derived of the rows: `finra_symbol_week`, `finra_venue_week`."""
    names = venues["venue_id"].unique().to_list()
    figures = {
        "rows": int(venues["symbol_count"].sum()),
        "shares": int(venues["share_quantity"].sum()),
        "trades": int(venues["trade_count"].sum()),
        "symbols": len(symbols),
        "venues": len(names),
    }
    return Size(figures, names)


def warnings_about(
    size: Size, earlier: EarlierWeeks, *, week_start: date, limits: BandLimits
) -> Sequence[Audit]:
    """Return the verdict of every audit in `WARNINGS` on a delivery, in that order."""
    return [
        _check_size(size.figures, earlier.figures(), week_start, limits),
        _check_large_venues(size.venues, earlier.comparable(), limits),
    ]


def _check_size(
    found: Mapping[str, int],
    earlier: Mapping[date, Mapping[str, int]],
    week_start: date,
    limits: BandLimits,
) -> Audit:
    if len(earlier) < limits.min_weeks:
        expected = f"at least {limits.min_weeks} of the {limits.weeks} weeks before"
        return _build_warning(SIZE, "not_applicable", expected, f"{len(earlier)} weeks")
    bands = [
        band(name, {week: measures[name] for week, measures in earlier.items()}, week_start, limits)
        for name in MEASURES
    ]
    unusual = [each for each in bands if not each.least <= found[each.measure] <= each.most]
    return _build_warning(
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


def _check_large_venues(
    venues: Collection[str], earlier: Mapping[date, Sequence[VenueWeek]], limits: BandLimits
) -> Audit:
    large_venue_weeks, share = limits.large_venue_weeks, limits.large_venue_share
    latest = list(earlier.values())[-large_venue_weeks:]
    if len(latest) < large_venue_weeks:
        expected = f"at least {large_venue_weeks} of the {limits.weeks} weeks before"
        return _build_warning(LARGE_VENUES, "not_applicable", expected, f"{len(latest)} weeks")
    large = _find_large(latest, share)
    missing = [
        {"venue_id": venue_id, "share_before": share_before}
        for venue_id, share_before in large
        if venue_id not in venues
    ]
    return _build_warning(
        LARGE_VENUES,
        "failed" if missing else "passed",
        f"rows of all {len(large)} venues that had at least {share:.2%} of the shares in each of "
        f"the {large_venue_weeks} weeks before",
        f"{len(missing)} missing",
        missing,
    )


def _find_large(weeks: Sequence[Sequence[VenueWeek]], share: float) -> Sequence[tuple[str, float]]:
    """Return the venues that have ``share`` in each of ``weeks``, largest first.

    With each comes the mean of its shares, 0-1.
    """
    of_weeks = [_compute_shares(venues) for venues in weeks]
    large = [
        (venue_id, round(fmean(of_week[venue_id] for of_week in of_weeks), SHOWN_PLACES))
        for venue_id in of_weeks[0]
        if venue_id != DE_MINIMIS
        and all(of_week.get(venue_id, -1) >= share for of_week in of_weeks)
    ]
    return sorted(large, key=lambda each: (-each[1], each[0]))


def _compute_shares(venues: Sequence[VenueWeek]) -> Mapping[str, float]:
    """Return the share of each venue in a week's shares; nothing where none were traded."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for venue in venues:
        sums[venue.venue_id] += venue.share_quantity
    whole = sum(sums.values())
    return {venue_id: float(number / whole) for venue_id, number in sums.items()} if whole else {}


def _build_warning(
    name: str,
    outcome: Outcome,
    expected: str,
    found: str,
    offenders: Sequence[dict[str, object]] = (),
) -> Audit:
    return Audit(name, outcome, expected, found, offenders, severity="warning")
