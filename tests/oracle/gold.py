"""Recomputes the tables that are derived from the weekly rows of one week and tier, or of all."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from fractions import Fraction
from typing import TypeVar

from tests.oracle.archive import Row
from tests.oracle.lines import MICROS, read_units, show_units

Key = TypeVar("Key", bound=Hashable)

Loads = dict[tuple[str, str], str]
"""Times of the latest load of each tier and week."""

TIERS = ("OTCE", "T1", "T2")


def group(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Return rows by a key."""
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def ratio(part: int | None, whole: int | None) -> float | None:
    """Return a quotient as the nearest double; NULL: a part is unknown or the whole is 0."""
    return float(Fraction(part, whole)) if part is not None and whole else None


def shares_of(row: Row) -> int:
    """Return the shares of a row, x 10^6."""
    return read_units(row["share_quantity"]) or 0


def sum_shares(rows: Iterable[Row]) -> int:
    """Return the shares of rows, x 10^6."""
    return sum(shares_of(row) for row in rows)


def sum_notional(rows: Sequence[Row]) -> int | None:
    """Return the traded value of rows; NULL: a row has none."""
    values = [row["notional_usd"] for row in rows]
    return None if None in values else sum(values)


def is_de_minimis(row: Row) -> bool:
    """Return whether a row is of De Minimis Firms, which have CRD number 0."""
    return row["firm_crd_number"] == 0


def publication(rows: Iterable[Row]) -> str | None:
    """Return the latest day of change of weekly rows, at 00:00."""
    days = [row["last_update_date"] for row in rows if row["last_update_date"]]
    return f"{max(days)}T00:00:00.000000Z" if days else None


def latest_publication(rows: Iterable[Row]) -> str | None:
    """Return the latest publication of derived rows."""
    return max((row["published_at"] for row in rows if row["published_at"]), default=None)


def latest_load(loads: Loads, places: Iterable[tuple[str, str]]) -> str:
    """Return the latest load of those tiers and weeks that are loaded."""
    return max(loads[place] for place in places if place in loads)


def concentration(named: Sequence[int], unnamed: int) -> tuple[float | None, float | None]:
    """Return the lower and upper index of shares of named venues beside De Minimis Firms."""
    total = sum(named) + unnamed
    squares = sum(shares**2 for shares in named)
    return ratio(squares, total**2), ratio(squares + unnamed**2, total**2)


def firm_of(row: Row) -> Hashable:
    """Return the firm of a venue: its CRD number, else the venue itself."""
    crd = row["firm_crd_number"]
    return crd if crd is not None else row["venue_id"]


def market_totals(rows: Sequence[Row]) -> Row:
    """Return trading by market, and the share of ATSs."""
    ats = [row for row in rows if row["market"] == "ATS"]
    shares, trades = sum_shares(rows), sum(row["trade_count"] for row in rows)
    ats_shares, ats_trades = sum_shares(ats), sum(row["trade_count"] for row in ats)
    notional = sum_notional(rows)
    return {
        "ats_share_quantity": show_units(ats_shares),
        "ats_trade_count": ats_trades,
        "notional_usd": notional,
        "vwap": ratio(notional, shares),
        "ats_share_of_shares": ratio(ats_shares, shares),
        "ats_share_of_trades": ratio(ats_trades, trades),
    }


def firm_totals(rows: Sequence[Row]) -> Row:
    """Return the number of named firms and their concentration."""
    firms = group((row for row in rows if not is_de_minimis(row)), firm_of)
    unnamed = sum_shares(row for row in rows if is_de_minimis(row))
    lower, upper = concentration([sum_shares(rows) for rows in firms.values()], unnamed)
    return {"firm_count": len(firms), "firm_hhi_lower": lower, "firm_hhi_upper": upper}


def symbol_weeks(weekly: Iterable[Row], loads: Loads) -> list[Row]:
    """Return `finra_symbol_week`."""
    tiers = group(weekly, lambda row: (row["week_start"], row["tier"]))
    derived = []
    for (week, tier), tier_rows in tiers.items():
        tier_notional = sum_notional(tier_rows)
        for symbol, rows in group(tier_rows, lambda row: row["symbol"]).items():
            place = {"week_start": week, "tier": tier, "symbol": symbol}
            derived.append(
                place | symbol_week(rows, tier_notional) | {"known_from": loads[tier, week]}
            )
    return derived


def symbol_week(rows: Sequence[Row], tier_notional: int | None) -> Row:
    """Return the measures of one symbol."""
    venues = group((row for row in rows if not is_de_minimis(row)), lambda row: row["venue_id"])
    by_venue = {venue: sum_shares(rows) for venue, rows in venues.items()}
    ranked = sorted(by_venue, key=lambda venue: (-by_venue[venue], venue))
    total, trades = sum_shares(rows), sum(row["trade_count"] for row in rows)
    sizes = [by_venue[venue] for venue in ranked]
    lower, upper = concentration(sizes, total - sum(sizes))
    totals = market_totals(rows)
    ats_shares = read_units(totals["ats_share_quantity"]) or 0
    return {
        **totals,
        "non_ats_share_quantity": show_units(total - ats_shares),
        "total_share_quantity": show_units(total),
        "non_ats_trade_count": trades - totals["ats_trade_count"],
        "total_trade_count": trades,
        "venue_count": len(venues),
        "average_trade_size": ratio(total, trades * MICROS),
        "top_venue_id": ranked[0] if ranked else None,
        "top_venue_share": ratio(sizes[0], total) if ranked else None,
        "hhi_lower": lower,
        "hhi_upper": upper,
        "top_3_venue_share": ratio(sum(sizes[:3]), total) if ranked else None,
        "top_5_venue_share": ratio(sum(sizes[:5]), total) if ranked else None,
        "notional_share": ratio(totals["notional_usd"], tier_notional),
        **firm_totals(rows),
        "published_at": publication(rows),
    }


def venue_weeks(weekly: Iterable[Row], loads: Loads) -> list[Row]:
    """Return `finra_venue_week`."""
    derived = []
    for (week, tier), rows in group(weekly, lambda row: (row["week_start"], row["tier"])).items():
        place = {"week_start": week, "tier": tier, "known_from": loads[tier, week]}
        derived += [place | row for row in venues_of(rows, "tier_share")]
    return derived


def venue_weeks_all_tiers(weekly: Iterable[Row], loads: Loads) -> list[Row]:
    """Return `finra_venue_week_all_tiers`."""
    derived = []
    for week, rows in complete_weeks(weekly).items():
        known_from = latest_load(loads, ((tier, week) for tier in TIERS))
        tiers = group(rows, lambda row: (row["market"], row["venue_id"]))
        for row in venues_of(rows, "market_share"):
            of_venue = tiers[row["market"], row["venue_id"]]
            row["tier_count"] = len({member["tier"] for member in of_venue})
            derived.append({"week_start": week, "known_from": known_from, "is_stale": False, **row})
    return derived


def venues_of(all_rows: Sequence[Row], share_name: str) -> list[Row]:
    """Return the trading of each market and venue, with share and rank among all."""
    derived = []
    for (market, venue), rows in group(
        all_rows, lambda row: (row["market"], row["venue_id"])
    ).items():
        named = max(rows, key=lambda row: (row["tier"], row["symbol"]))
        notional = sum_notional(rows)
        derived.append(
            {
                "market": market,
                "venue_id": venue,
                "share_quantity": show_units(sum_shares(rows)),
                "trade_count": sum(row["trade_count"] for row in rows),
                "symbol_count": len({row["symbol"] for row in rows}),
                "notional_usd": notional,
                "vwap": ratio(notional, sum_shares(rows)),
                "notional_share": ratio(notional, sum_notional(all_rows)),
                "firm_crd_number": named["firm_crd_number"],
                "participant_name": named["participant_name"],
                "published_at": publication(rows),
            }
        )
    add_ranks(derived, share_name)
    return derived


def add_ranks(rows: Sequence[Row], share_name: str) -> None:
    """Add share and rank of each venue among all venues, and among those of its market."""
    markets = group(rows, lambda row: row["market"]).values()
    for scope, share, rank in [
        (rows, share_name, "rank"),
        *((market, "share_in_market", "rank_in_market") for market in markets),
    ]:
        total = sum_shares(scope)
        named = sorted((shares_of(row) for row in scope if not is_de_minimis(row)), reverse=True)
        for row in scope:
            row[share] = ratio(shares_of(row), total)
            row[rank] = None if is_de_minimis(row) else named.index(shares_of(row)) + 1


def complete_weeks(weekly: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each week of which all tiers are loaded."""
    weeks = group(weekly, lambda row: row["week_start"])
    return {
        week: rows
        for week, rows in sorted(weeks.items())
        if {row["tier"] for row in rows} >= set(TIERS)
    }


def tier_weeks(weekly: Iterable[Row], loads: Loads) -> list[Row]:
    """Return `finra_tier_week`."""
    derived = []
    for week, week_rows in complete_weeks(weekly).items():
        for tier, rows in group(week_rows, lambda row: row["tier"]).items():
            named = [row for row in rows if not is_de_minimis(row)]
            derived.append(
                {
                    "week_start": week,
                    "tier": tier,
                    "share_quantity": show_units(sum_shares(rows)),
                    "trade_count": sum(row["trade_count"] for row in rows),
                    "row_count": len(rows),
                    "symbol_count": len({row["symbol"] for row in rows}),
                    "venue_count": len({(row["market"], row["venue_id"]) for row in named}),
                    "market_share": ratio(sum_shares(rows), sum_shares(week_rows)),
                    **market_totals(rows),
                    "notional_share": ratio(sum_notional(rows), sum_notional(week_rows)),
                    **firm_totals(rows),
                    "published_at": publication(rows),
                    "known_from": latest_load(loads, ((tier, week) for tier in TIERS)),
                    "is_stale": False,
                }
            )
    return derived
