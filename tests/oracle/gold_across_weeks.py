"""Recomputes the tables that compare the weeks of a tier: rolling, concentration, movers."""

import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction

from tests.oracle.archive import Row
from tests.oracle.gold import Loads, group, latest_load, latest_publication, ratio
from tests.oracle.lines import MICROS, read_units, show_units

FIRST_MOVERS = 100
"""Symbols of each rank, by change and by ratio, that `finra_symbol_movers_week` has."""

WINDOW_WEEKS, MIN_WEEK_COUNT, Z_LIMIT = 5, 4, 4.0
"""Parameters of anomalies."""


def week_before(week: str, count: int = 1) -> str:
    """Return the Monday so many weeks before another."""
    return (date.fromisoformat(week) - timedelta(weeks=count)).isoformat()


def loaded_weeks(rows: Iterable[Row]) -> dict[str, set[str]]:
    """Return the loaded weeks of each tier."""
    tiers = group(rows, lambda row: row["tier"])
    return {tier: {row["week_start"] for row in rows} for tier, rows in tiers.items()}


def by_place(rows: Iterable[Row]) -> dict[tuple[str, str, str], Row]:
    """Return rows of symbols by tier, symbol and week."""
    return {(row["tier"], row["symbol"], row["week_start"]): row for row in rows}


def mean(values: Sequence[int]) -> Fraction:
    """Return the exact mean."""
    return Fraction(sum(values), len(values))


def total_shares(row: Row) -> int:
    """Return the shares of a symbol's week, x 10^6."""
    return read_units(row["total_share_quantity"]) or 0


def rolling(symbol_weeks: Sequence[Row], loads: Loads) -> list[Row]:
    """Return `finra_symbol_rolling_6w`."""
    weeks, places = loaded_weeks(symbol_weeks), by_place(symbol_weeks)
    derived = []
    for row in symbol_weeks:
        window = [week_before(row["week_start"], count) for count in range(6)]
        traded = {
            week: places[row["tier"], row["symbol"], week]
            for week in window
            if (row["tier"], row["symbol"], week) in places
        }
        shares = [total_shares(week) for week in traded.values()]
        trades = [week["total_trade_count"] for week in traded.values()]
        is_complete = weeks[row["tier"]] >= set(window)
        last = [total_shares(traded[week]) for week in window[:3] if week in traded]
        first = [total_shares(traded[week]) for week in window[3:] if week in traded]
        trend = mean(last) / mean(first) if is_complete and first and sum(first) else None
        derived.append(
            {
                **{name: row[name] for name in ("week_start", "tier", "symbol")},
                "weeks_in_window": len(traded),
                "is_complete": is_complete,
                "average_shares_per_week": float(mean(shares) / MICROS),
                "min_share_quantity": show_units(min(shares)),
                "max_share_quantity": show_units(max(shares)),
                "average_trades_per_week": float(mean(trades)),
                "min_trade_count": min(trades),
                "max_trade_count": max(trades),
                "trend_ratio": None if trend is None else float(trend),
                "trend_direction": trend_direction(trend),
                "published_at": latest_publication(traded.values()),
                "known_from": latest_load(loads, ((row["tier"], week) for week in window)),
                "is_stale": False,
            }
        )
    return derived


def trend_direction(trend: Fraction | None) -> str | None:
    """Return up over 1.1, down under 0.9, else flat."""
    if trend is None:
        return None
    return "up" if trend > Fraction(11, 10) else "down" if trend < Fraction(9, 10) else "flat"


def concentration_weeks(symbol_weeks: Sequence[Row], loads: Loads) -> list[Row]:
    """Return `finra_concentration_week`."""
    places = by_place(symbol_weeks)
    derived = []
    for row in symbol_weeks:
        previous = places.get((row["tier"], row["symbol"], week_before(row["week_start"])))
        change = {
            f"{name}_change": row[name] - previous[name]
            if previous and None not in (row[name], previous[name])
            else None
            for name in ("hhi_lower", "hhi_upper")
        }
        names = ["week_start", "tier", "symbol", "hhi_lower", "hhi_upper"]
        names += ["top_venue_share", "top_3_venue_share", "top_5_venue_share"]
        weeks = (row["week_start"], week_before(row["week_start"]))
        derived.append(
            {name: row[name] for name in names}
            | change
            | {
                "published_at": latest_publication([row, previous] if previous else [row]),
                "known_from": latest_load(loads, ((row["tier"], week) for week in weeks)),
                "is_stale": False,
            }
        )
    return derived


def movers(
    rows: Sequence[Row], loads: Loads, name: str, key: Sequence[str], first: int | None = None
) -> list[Row]:
    """Return the changes of each key since the week before, if that is loaded.

    `first`: only those that entered, left, or have one of the first ranks.
    """
    tiers = group(rows, lambda row: row["tier"])
    derived = []
    for tier, tier_rows in tiers.items():
        weeks = group(tier_rows, lambda row: row["week_start"])
        for week in weeks:
            if week_before(week) not in weeks:
                continue
            after = {tuple(row[part] for part in key): row for row in weeks[week]}
            before = {tuple(row[part] for part in key): row for row in weeks[week_before(week)]}
            changes = [
                mover(place, before.get(place), after.get(place), name, key)
                for place in sorted(before.keys() | after.keys())
            ]
            add_change_ranks(changes)
            known_from = latest_load(loads, ((tier, week), (tier, week_before(week))))
            derived += [
                {"week_start": week, "tier": tier, "known_from": known_from} | change
                for change in changes
                if first is None
                or change["movement"] != "moved"
                or change["change_rank"] <= first
                or (change["ratio_rank"] or first + 1) <= first
            ]
    return derived


def mover(
    place: tuple, before: Row | None, after: Row | None, name: str, key: Sequence[str]
) -> Row:
    """Return the change of a symbol or venue between two weeks."""
    old = read_units(before[name]) or 0 if before else 0
    new = read_units(after[name]) or 0 if after else 0
    return dict(zip(key, place, strict=True)) | {
        "movement": "moved" if before and after else "entered" if after else "left",
        "share_quantity": show_units(new),
        "previous_share_quantity": show_units(old),
        "share_change": show_units(new - old),
        "change_ratio": ratio(new - old, old),
        "published_at": latest_publication(row for row in (before, after) if row),
        "is_stale": False,
    }


def add_change_ranks(changes: Sequence[Row]) -> None:
    """Add the ranks by absolute change and by absolute ratio."""
    for name, rank in (("share_change", "change_rank"), ("change_ratio", "ratio_rank")):
        sizes = {
            index: abs((read_units(row[name]) or 0) if rank == "change_rank" else row[name])
            for index, row in enumerate(changes)
            if row[name] is not None
        }
        ordered = sorted(sizes.values(), reverse=True)
        for index, row in enumerate(changes):
            row[rank] = ordered.index(sizes[index]) + 1 if index in sizes else None


def anomalies(symbol_weeks: Sequence[Row], loads: Loads) -> list[Row]:
    """Return `finra_symbol_anomalies_week`."""
    places = by_place(symbol_weeks)
    derived = []
    for row in symbol_weeks:
        window = [week_before(row["week_start"], count + 1) for count in range(WINDOW_WEEKS)]
        trailing = [
            places[row["tier"], row["symbol"], week]
            for week in window
            if (row["tier"], row["symbol"], week) in places
        ]
        if len(trailing) < MIN_WEEK_COUNT:
            continue
        shares = [total_shares(week) for week in trailing]
        average = mean(shares)
        variance = sum((value - average) ** 2 for value in shares) / (len(shares) - 1)
        deviation = math.sqrt(variance / MICROS**2)
        score = float((total_shares(row) - average) / MICROS) / deviation if deviation else 0.0
        if abs(score) < Z_LIMIT:
            continue
        derived.append(
            {
                **{name: row[name] for name in ("week_start", "tier", "symbol")},
                "share_quantity": row["total_share_quantity"],
                "trailing_mean": float(average / MICROS),
                "trailing_deviation": deviation,
                "z_score": score,
                "trailing_week_count": len(trailing),
                "window_weeks": WINDOW_WEEKS,
                "min_week_count": MIN_WEEK_COUNT,
                "z_limit": Z_LIMIT,
                "published_at": latest_publication([row, *trailing]),
                "known_from": latest_load(
                    loads, ((row["tier"], week) for week in (*window, row["week_start"]))
                ),
                "is_stale": False,
            }
        )
    return derived
