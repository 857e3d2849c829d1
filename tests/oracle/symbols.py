"""Recomputes the symbol master: weeks, tiers and names of each symbol, and their changes."""

import itertools
import re
from collections.abc import Sequence

from tests.oracle.archive import Row
from tests.oracle.gold import Loads, group, publication, sum_shares

REUSE_GAP_WEEKS = 4
FREQUENT_WORDS = {"common", "company", "corp", "corporation", "fund", "holdings", "inc", "ltd"}
FREQUENT_WORDS |= {"ordinary", "plc", "shares", "stock", "the", "trust"}


def symbol_weeks_of(weekly: Sequence[Row]) -> dict[str, dict[str, dict[str, list[Row]]]]:
    """Return the rows of each symbol, by week and tier."""
    return {
        symbol: {
            week: group(rows, lambda row: row["tier"])
            for week, rows in sorted(group(symbol_rows, lambda row: row["week_start"]).items())
        }
        for symbol, symbol_rows in group(weekly, lambda row: row["symbol"]).items()
    }


def tiers_by_shares(tiers: dict[str, list[Row]]) -> list[str]:
    """Return the tiers of a symbol's week, the one with most shares first."""
    return sorted(tiers, key=lambda tier: (-sum_shares(tiers[tier]), tier))


def name_of(tiers: dict[str, list[Row]]) -> str | None:
    """Return the issue name of a symbol's week, of the tier with most shares."""
    rows = tiers[tiers_by_shares(tiers)[0]]
    return max((row["issue_name"] for row in rows if row["issue_name"]), default=None)


def plain(name: str | None) -> str:
    """Return the letters and digits of a name, without regard to case."""
    return "".join(letter for letter in (name or "").casefold() if letter.isalnum())


def words(name: str) -> set[str]:
    """Return the words of a name without frequent ones and without regard to case."""
    return set(re.findall(r"[^\W_]+", name.casefold())) - FREQUENT_WORDS


def clocks(weeks: dict[str, dict[str, list[Row]]], loads: Loads) -> Row:
    """Return the latest load and day of change of a symbol's rows."""
    rows = [row for tiers in weeks.values() for rows in tiers.values() for row in rows]
    return {
        "known_from": max(loads[row["tier"], row["week_start"]] for row in rows),
        "published_at": publication(rows),
        "is_stale": False,
    }


def symbols(weekly: Sequence[Row], loads: Loads) -> list[Row]:
    """Return `finra_symbols`."""
    changes = group(symbol_changes(weekly, loads), lambda row: row["symbol"])
    derived = []
    for symbol, weeks in symbol_weeks_of(weekly).items():
        kinds = [change["kind"] for change in changes.get(symbol, [])]
        names = [name for name in map(name_of, weeks.values()) if name]
        derived.append(
            {
                "symbol": symbol,
                "tier": tiers_by_shares(weeks[max(weeks)])[0],
                "issue_name": names[-1] if names else None,
                "first_week": min(weeks),
                "last_week": max(weeks),
                "week_count": len(weeks),
                "tier_move_count": kinds.count("tier_move"),
                "issue_name_count": len({plain(name) for name in names}),
                "is_reuse_candidate": "reuse_candidate" in kinds,
                **clocks(weeks, loads),
            }
        )
    return derived


def symbol_changes(weekly: Sequence[Row], loads: Loads) -> list[Row]:
    """Return `finra_symbol_changes`."""
    loaded = sorted({week for _, week in loads})
    derived = []
    for symbol, weeks in symbol_weeks_of(weekly).items():
        times = clocks(weeks, loads)
        ordered = list(weeks)
        for week, tiers in weeks.items():
            if len(tiers) > 1:
                more, fewer = tiers_by_shares(tiers)[:2]
                change = ("two_tiers", week, fewer, more, 0)
                derived.append(change_row(symbol, week, change) | times)
        for before, week in itertools.pairwise(ordered):
            gap = sum(before < between < week for between in loaded)
            old_tier, tier = (tiers_by_shares(weeks[at])[0] for at in (before, week))
            old_name, name = (name_of(weeks[at]) for at in (before, week))
            if old_tier != tier:
                change = ("tier_move", before, old_tier, tier, gap)
                derived.append(change_row(symbol, week, change) | times)
            if old_name and name and plain(old_name) != plain(name):
                is_reuse = gap >= REUSE_GAP_WEEKS and not words(old_name) & words(name)
                kind = "reuse_candidate" if is_reuse else "issue_name_change"
                change = (kind, before, old_name, name, gap)
                derived.append(change_row(symbol, week, change) | times)
    return derived


def change_row(symbol: str, week: str, change: tuple) -> Row:
    """Return a row of `finra_symbol_changes`."""
    names = ("kind", "previous_week", "previous_value", "value", "gap_weeks")
    return {"symbol": symbol, "week_start": week} | dict(zip(names, change, strict=True))


def firms(venue_weeks: Sequence[Row], weekly: Sequence[Row]) -> list[Row]:
    """Return `finra_firms`: the weeks in which a firm traded as a venue under a name."""
    mpids = {(row["market"], row["venue_id"]): row["mpid"] for row in weekly}
    derived = []
    for (market, venue, name, crd), rows in group(
        (row for row in venue_weeks if row["firm_crd_number"]),
        lambda row: (
            row["market"],
            row["venue_id"],
            row["participant_name"] or row["venue_id"],
            row["firm_crd_number"],
        ),
    ).items():
        weeks = {row["week_start"] for row in rows}
        derived.append(
            {
                "market": market,
                "venue_id": venue,
                "participant_name": name,
                "firm_crd_number": crd,
                "mpid": mpids[market, venue],
                "first_week": min(weeks),
                "last_week": max(weeks),
                "week_count": len(weeks),
            }
        )
    return derived
