"""Recomputes `finra_symbol_week_short` and `finra_symbol_week_value`."""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction

from tests.oracle.archive import Row
from tests.oracle.gold import TIERS, Loads, group, latest_publication, ratio
from tests.oracle.lines import MICROS, read_units, show_units
from tests.oracle.prices import read_splits
from tests.oracle.trading_days import sessions

SALES = ("short_quantity", "short_exempt_quantity", "total_quantity")


def week_days(week: str) -> list[str]:
    """Return the days of a week from Monday to Friday."""
    monday = date.fromisoformat(week)
    return [(monday + timedelta(days=count)).isoformat() for count in range(5)]


def finra_symbol(symbol: str, traded: Collection[str]) -> str:
    """Return a symbol of the SIP as FINRA spells it, if that traded in the week.

    BRK/B is BRK.B, EPpC is EP$C, PL/WS is PL.W or PL.WS.
    """
    dotted = symbol.replace("/", ".")
    preferred = re.sub("p([A-Z]?)$", r"$\1", dotted)
    spellings = (symbol, dotted, preferred, dotted.removesuffix("S"))
    return next((spelling for spelling in spellings if spelling in traded), symbol)


def add(rows: Iterable[Row], name: str) -> int:
    """Return the sum of a column with six decimals, x 10^6."""
    return sum(read_units(row[name]) or 0 for row in rows)


def short_weeks(
    symbol_weeks: Sequence[Row],
    loads: Loads,
    sales: Sequence[Row],
    sales_loads: dict[str, str],
    interest: Sequence[Row],
) -> list[Row]:
    """Return `finra_symbol_week_short` of the weeks of which all tiers are loaded."""
    weeks = group(symbol_weeks, lambda row: row["week_start"])
    settlements = group(interest, lambda row: row["settlement_date"])
    derived = []
    for week, week_rows in weeks.items():
        if any((tier, week) not in loads for tier in TIERS):
            continue
        days = week_days(week)
        traded = group(week_rows, lambda row: row["symbol"])
        week_sales = [row for row in sales if row["trade_date"] in days]
        sold = group(week_sales, lambda row, traded=traded: finra_symbol(row["symbol"], traded))
        loaded_days = {row["trade_date"] for row in week_sales}
        settlement = max((day for day in settlements if day <= days[-1]), default=None)
        held = {row["symbol"]: row for row in settlements.get(settlement, [])}
        times = [loads[tier, week] for tier in TIERS]
        times += [sales_loads[day] for day in loaded_days]
        if settlement:
            times.append(max(row["known_from"] for row in settlements[settlement]))
        for symbol in sorted(traded.keys() | sold.keys()):
            row = {"week_start": week, "symbol": symbol, "known_from": max(times)}
            row |= short_week(traded.get(symbol, []), sold.get(symbol, []), held.get(symbol))
            row |= {"loaded_day_count": len(loaded_days)}
            derived.append(row)
    return derived


def short_week(traded: Sequence[Row], sold: Sequence[Row], held: Row | None) -> Row:
    """Return the measures of a symbol: its trading, short sales and short interest."""
    otc = add(traded, "total_share_quantity") if traded else None
    sums = {name: add(sold, name) if sold else None for name in SALES}
    interest = read_units(held["short_quantity"]) if held else None
    return {
        "otc_share_quantity": show_units(otc),
        "ats_share_quantity": show_units(add(traded, "ats_share_quantity")) if traded else None,
        **{name: show_units(value) for name, value in sums.items()},
        "short_day_count": len({row["trade_date"] for row in sold}),
        "settlement_date": held and held["settlement_date"],
        "short_interest_quantity": show_units(interest),
        "short_volume_ratio": ratio(sums["short_quantity"], sums["total_quantity"]),
        "short_interest_to_otc_ratio": ratio(interest, otc),
        "published_at": latest_publication(traded),
        "is_stale": False,
    }


def value_weeks(symbol_weeks: Sequence[Row], prices: Sequence[Row]) -> list[Row]:
    """Return `finra_symbol_week_value` of symbols with prices of all sessions of a week."""
    by_day = {(row["symbol"], row["trade_date"]): row for row in prices}
    derived = []
    week_loads = group(symbol_weeks, lambda row: row["week_start"])
    for (week, _), tier_rows in group(
        symbol_weeks, lambda row: (row["week_start"], row["tier"])
    ).items():
        monday = date.fromisoformat(week)
        days = [day.isoformat() for day in sessions(monday, monday + timedelta(days=4))]
        inputs = [row for row in prices if week <= row["trade_date"] <= week_days(week)[-1]]
        known_from = max(row["known_from"] for row in (*week_loads[week], *inputs))
        values = []
        for symbol_week in tier_rows:
            symbol = symbol_week["symbol"]
            priced = [by_day[symbol, day] for day in days if (symbol, day) in by_day]
            if len(priced) == len(days):
                values.append(value_week(symbol_week, priced) | {"known_from": known_from})
        total = sum(row["estimated_notional_usd"] or 0 for row in values)
        for row in values:
            row["dollar_volume_share"] = ratio(row["estimated_notional_usd"], total)
        derived += values
    return derived


def value_week(symbol_week: Row, priced: Sequence[Row]) -> Row:
    """Return the estimated value of a symbol's week."""
    splits = {row["later_splits"] for row in priced}
    shares = read_units(symbol_week["total_share_quantity"]) or 0
    volume = add(priced, "volume")
    is_known = None not in splits and volume > 0
    factor = read_splits(priced[0]["later_splits"]) if is_known else 1
    closes = sum(row["close"] * (read_units(row["volume"]) or 0) for row in priced)
    price = Fraction(closes, volume) * factor if is_known else Fraction(0)
    return {
        **{name: symbol_week[name] for name in ("week_start", "tier", "symbol")},
        "share_quantity": symbol_week["total_share_quantity"],
        "price": round(price) if is_known else None,
        "undone_splits": priced[0]["later_splits"] if is_known else None,
        "price_reason": None,
        "session_count": len(priced),
        "estimated_notional_usd": round(price * shares / MICROS) if is_known else None,
        "market_volume_share": float(Fraction(shares, volume) * factor) if is_known else None,
        "published_at": symbol_week["published_at"],
        "is_stale": False,
    }
