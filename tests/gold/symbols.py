"""The symbol master: what each symbol was over time, computed symbol by symbol."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd

from tests.gold.arithmetic import DE_MINIMIS, Table, greatest, groups, moment, ratio, sums

COMMON = {
    *("a", "ads", "adr", "and", "b", "c", "cl", "class", "co", "common", "company", "corp"),
    *("corporation", "de", "etf", "fund", "group", "holding", "holdings", "inc", "incorporated"),
    *("international", "limited", "llc", "lp", "ltd", "new", "nv", "of", "ord", "ordinary", "plc"),
    *("sa", "share", "shares", "stock", "the", "trust", "unit", "units", "warrant", "warrants"),
}
"""Words that say nothing of a company."""


class Week(NamedTuple):
    """A symbol in a week and tier."""

    number: int
    week: date
    shares: int
    tier: str
    name: str | None
    top_venue: str | None
    known: datetime
    published: datetime | None

    @property
    def plain(self) -> str | None:
        """Letters and digits of the name."""
        return " ".join(re.findall(r"[^\W_]+", (self.name or "").lower())) or None

    @property
    def words(self) -> set[str]:
        return set((self.plain or "").split()) - COMMON


def weeks_by_symbol(weekly: pd.DataFrame) -> dict[str, list[Week]]:
    """Return the weeks of each symbol, in order; of two tiers that with more shares last."""
    numbers = {week: place for place, week in enumerate(sorted(set(weekly["week_start"])))}
    known = {key: max(rows["known_from"]) for key, rows in groups(weekly, "week_start", "tier")}
    found: dict[str, list[Week]] = {}
    for (symbol, week, tier), rows in groups(weekly, "symbol", "week_start", "tier"):
        venues = sums(rows, "share_quantity", "venue_id")
        named = [(-n, venue) for venue, n in venues.items() if venue != DE_MINIMIS]
        found.setdefault(symbol, []).append(
            Week(
                numbers[week],
                week,
                sum(venues.values()),
                tier,
                greatest(rows["issue_name"]),
                min(named)[1] if named else None,
                known[week, tier],
                moment(rows["last_update_date"]),
            )
        )
    return {symbol: sorted(value, key=lambda week: week[:4]) for symbol, value in found.items()}


def _times(weeks: Sequence[Week]) -> dict[str, Any]:
    """Return the latest times of weeks, and that nothing changed since."""
    return {
        "known_from": max(week.known for week in weeks),
        "published_at": max((week.published for week in weeks if week.published), default=None),
        "is_stale": False,
    }


def _main(weeks: Sequence[Week]) -> list[Week]:
    """Return one row a week: that of the tier with most shares."""
    return list({week.week: week for week in weeks}.values())


def _changes(weeks: Sequence[Week]) -> Iterator[tuple[Week, str, Week, str, str]]:
    """Yield the week, kind, week before, value before, and value."""
    for then, now in pairwise(_main(weeks)):
        if then.tier != now.tier:
            yield now, "tier_move", then, then.tier, now.tier
    for then, now in pairwise(stock for stock in _main(weeks) if stock.plain):
        if then.plain != now.plain:
            yield now, "issue_name_change", then, str(then.name), str(now.name)
            if now.number - then.number > 4 and not then.words & now.words:
                yield now, "reuse_candidate", then, str(then.name), str(now.name)
    for then, now in pairwise(weeks):
        if then.week == now.week:
            yield now, "two_tiers", now, then.tier, now.tier


def symbol_changes(weekly: pd.DataFrame) -> Table:
    return {
        (symbol, now.week, kind): {
            "previous_week": then.week,
            "previous_value": before,
            "value": value,
            "gap_weeks": 0 if kind == "two_tiers" else now.number - then.number - 1,
            **_times(weeks),
        }
        for symbol, weeks in weeks_by_symbol(weekly).items()
        for now, kind, then, before, value in _changes(weeks)
    }


def symbols(weekly: pd.DataFrame) -> Table:
    expected: Table = {}
    for symbol, weeks in weeks_by_symbol(weekly).items():
        main, kinds = _main(weeks), [kind for _, kind, *_ in _changes(weeks)]
        expected[(symbol,)] = {
            "tier": main[-1].tier,
            "issue_name": next((stock.name for stock in reversed(main) if stock.plain), None),
            "first_week": main[0].week,
            "last_week": main[-1].week,
            "week_count": len(main),
            "tier_move_count": kinds.count("tier_move"),
            "issue_name_count": len({stock.plain for stock in main if stock.plain}),
            "is_reuse_candidate": "reuse_candidate" in kinds,
            **_times(weeks),
        }
    return expected


def symbol_renames(weekly: pd.DataFrame) -> Table:
    by_symbol = weeks_by_symbol(weekly)
    of_tier: dict[str, list[int]] = {}
    for weeks in by_symbol.values():
        for week in weeks:
            of_tier.setdefault(week.tier, []).append(week.number)
    newest = {tier: max(numbers) for tier, numbers in of_tier.items()}
    oldest = {tier: min(numbers) for tier, numbers in of_tier.items()}
    ends = {symbol: _main(weeks)[-1] for symbol, weeks in by_symbol.items()}
    ends = {symbol: end for symbol, end in ends.items() if end.number < newest[end.tier]}
    begins = {symbol: _main(weeks)[0] for symbol, weeks in by_symbol.items()}
    begins = {
        symbol: begin for symbol, begin in begins.items() if begin.number > oldest[begin.tier]
    }
    expected: Table = {}
    for symbol, end in ends.items():
        for other, begin in begins.items():
            gap = begin.number - end.number - 1
            same_name = end.plain is not None and end.plain == begin.plain
            similar = _is_similar(end, begin) and gap == 0 and end.tier == begin.tier
            if 0 <= gap <= 4 and (same_name or similar):
                expected[symbol, other] = {
                    "last_week": end.week,
                    "first_week": begin.week,
                    "gap_weeks": gap,
                    "tier": end.tier,
                    "new_tier": begin.tier,
                    "issue_name": end.name,
                    "new_issue_name": begin.name,
                    "has_same_issue_name": same_name,
                    "has_similar_trading": similar,
                    "share_ratio": ratio(begin.shares, end.shares),
                    **_times([end, begin]),
                }
    return expected


def _is_similar(end: Week, begin: Week) -> bool:
    """Whether both have at least a million shares, within a factor of two, at one largest venue."""
    least, most = sorted((end.shares, begin.shares))
    return end.top_venue == begin.top_venue and least >= 10**6 and most <= 2 * least


def master(weekly: pd.DataFrame) -> Mapping[str, Table]:
    """Return the three tables of the symbol master."""
    return {
        "finra_symbols": symbols(weekly),
        "finra_symbol_changes": symbol_changes(weekly),
        "finra_symbol_renames": symbol_renames(weekly),
    }
