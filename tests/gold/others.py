"""Gold tables of prices, short sales, the symbol master and the market's volume."""

import math
import re
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pandas as pd

from tests.gold.arithmetic import (
    Row,
    Table,
    chosen,
    greatest,
    groups,
    moment,
    ratio,
    sums,
    total,
)

ONE = 10**6


def _week(rows: pd.DataFrame, column: str, week: date) -> pd.DataFrame:
    return chosen(rows, (week <= day < week + timedelta(days=7) for day in rows[column]))


def _nearest(number: Fraction) -> int:
    return math.floor(number + Fraction(1, 2))


def value_week(
    weekly: pd.DataFrame, prices: pd.DataFrame, week: date, sessions: Collection[date]
) -> Table:
    """Estimate a week's traded value; symbols that lack a price of a session are left out."""
    own = chosen(weekly, weekly["week_start"] == week)
    of_week = _week(prices, "trade_date", week)
    priced = {
        symbol: _price(rows, dict(_splits(prices, symbol, week)), sessions)
        for (symbol,), rows in groups(of_week, "symbol")
        if {*rows["trade_date"]} >= {*sessions}
    }
    known = greatest([*own["known_from"], *of_week["known_from"]])
    undone = {
        symbol: ", ".join(f"{day} {by}" for day, by in _splits(prices, symbol, week)) or "none"
        for symbol in priced
    }
    expected: Table = {}
    for (tier,), of_tier in groups(own, "tier"):
        shares = sums(of_tier, "share_quantity", "symbol")
        values = {share: shares[share] * priced[share][0] for share in shares if share in priced}
        for symbol, value in values.items():
            price, volume = priced[symbol]
            rows = of_tier[of_tier["symbol"] == symbol]
            expected[week, tier, symbol] = {
                "share_quantity": shares[symbol],
                "price": _nearest(price),
                "session_count": len(sessions),
                "undone_splits": undone[symbol],
                "price_reason": None,
                "estimated_notional_usd": float(
                    _nearest(value)
                ),  # of floats: the last digits differ
                "dollar_volume_share": _as_float(ratio(value, sum(values.values()))),
                "market_volume_share": _as_float(ratio(shares[symbol], volume)),
                "published_at": moment(rows["last_update_date"]),
                "known_from": known,
                "is_stale": False,
            }
    return expected


def _as_float(number: Any) -> float | None:
    return None if number is None else float(number)


def _price(
    rows: pd.DataFrame, splits: Mapping[date, Fraction], sessions: Collection[date]
) -> tuple[Fraction, Fraction]:
    """Return the mean close by volume, US dollars x 10^6, and the volume, both as of the days."""
    closes, volumes = [], []
    for day, close, volume in zip(rows["trade_date"], rows["close"], rows["volume"], strict=True):
        if day in sessions:
            factor = math.prod((by for on, by in splits.items() if on > day), start=Fraction(1))
            closes.append(int(close) * factor)
            volumes.append(int(volume) / factor)
    traded = sum(volumes, Fraction(0))
    if not traded:
        return sum(closes, Fraction(0)) / len(closes), traded
    return sum(a * b for a, b in zip(closes, volumes, strict=True)) / traded, traded


def _splits(prices: pd.DataFrame, symbol: str, week: date) -> list[tuple[date, Fraction]]:
    """Return the later splits which the source has written back into all closes before them."""
    rows = chosen(prices, prices["symbol"] == symbol).sort_values(by="trade_date")
    closes = list(rows["close"])
    found = []
    for before, close, day, split in zip(
        closes, closes[1:], [*rows["trade_date"]][1:], [*rows["split_ratio"]][1:], strict=False
    ):
        by = Fraction(int(split), ONE)
        step = math.log(before / close) if before and close else 0.0
        if by != 1 and day > week and abs(step) < abs(step - math.log(by)):
            found.append((day, by))
    return found


def as_sip_writes(symbol: str) -> str:
    """Return BRK.B as BRK/B, EP$C as EPpC and ABC.W as ABC/WS."""
    return re.sub(r"\.W$", "/WS", symbol.replace("$", "p", 1)).replace(".", "/", 1)


def short_week(
    weekly: pd.DataFrame, sales: pd.DataFrame, interest: pd.DataFrame, week: date
) -> Table:
    own = chosen(weekly, weekly["week_start"] == week)
    sold = _week(sales, "trade_date", week)
    friday = week + timedelta(days=4)
    latest = greatest(day for day in interest["settlement_date"] if day <= friday)
    held = chosen(interest, (day == latest for day in interest["settlement_date"]))
    traded = dict(groups(own, "symbol"))
    by_sip: dict[str, str] = {}
    for (symbol,) in sorted(traded):
        by_sip.setdefault(as_sip_writes(symbol), symbol)

    def ours(symbol: str) -> str:
        return symbol if (symbol,) in traded else by_sip.get(symbol, symbol)

    sold = sold.assign(symbol=[ours(each) for each in sold["symbol"]])
    held = held.assign(symbol=[ours(each) for each in held["symbol"]])
    of_sales, of_interest = dict(groups(sold, "symbol")), dict(groups(held, "symbol"))
    known = greatest([*own["known_from"], *sold["known_from"], *held["known_from"]])
    expected: Table = {}
    for key in {*traded, *of_sales}:
        shares, sale, position = traded.get(key), of_sales.get(key), of_interest.get(key)
        all_shares = None if shares is None else total(shares["share_quantity"])
        quantities = {
            name: None if sale is None else total(sale[name])
            for name in ("short_quantity", "short_exempt_quantity", "total_quantity")
        }
        open_short = None if position is None else total(position["short_quantity"])
        expected[(week, *key)] = {
            "otc_share_quantity": all_shares,
            "ats_share_quantity": None
            if shares is None
            else total(chosen(shares, shares["market"] == "ATS")["share_quantity"]),
            **quantities,
            "short_day_count": 0 if sale is None else sale["trade_date"].nunique(),
            "loaded_day_count": sold["trade_date"].nunique(),
            "settlement_date": None if position is None else max(position["settlement_date"]),
            "short_interest_quantity": open_short,
            "short_volume_ratio": ratio(quantities["short_quantity"], quantities["total_quantity"]),
            "short_interest_to_otc_ratio": ratio(open_short, all_shares),
            "published_at": None if shares is None else moment(shares["last_update_date"]),
            "known_from": known,
            "is_stale": False,
        }
    return expected


def off_exchange_days(volume: pd.DataFrame) -> Table:
    """A participant is off exchange if its name is that of a facility of FINRA."""
    expected: Table = {}
    for (day,), rows in groups(volume, "trade_date"):
        is_off = [name.startswith("FINRA") for name in rows["participant_name"]]
        for tape, scope in (("A", "tape_a"), ("B", "tape_b"), ("C", "tape_c"), ("all", "total")):
            of_sides = {
                "exchange": chosen(rows, (not is_day_off for is_day_off in is_off)),
                "off_exchange": chosen(rows, is_off),
            }
            amounts = {
                f"{side}_{amount}": total(of_side[f"{scope}_{amount}"])
                for side, of_side in of_sides.items()
                for amount in ("share_quantity", "notional_usd", "trade_count")
            }
            expected[day, tape] = (
                amounts | _off_ratios(amounts) | {"known_from": max(rows["known_from"])}
            )
    return expected


def _off_ratios(amounts: Row) -> Row:
    return {
        f"off_exchange_{name}_ratio": ratio(
            amounts[f"off_exchange_{amount}"],
            amounts[f"exchange_{amount}"] + amounts[f"off_exchange_{amount}"],
        )
        for name, amount in (
            ("share", "share_quantity"),
            ("notional", "notional_usd"),
            ("trade", "trade_count"),
        )
    }


def off_exchange_week(
    volume: pd.DataFrame, weekly: pd.DataFrame, week: date, sessions: Collection[date]
) -> Table:
    of_days = off_exchange_days(_week(volume, "trade_date", week))
    of_week = chosen(weekly, weekly["week_start"] == week)
    own = chosen(of_week, of_week["tier"].isin(["T1", "T2"]))
    has_finra = len(set(own["tier"])) == 2
    expected: Table = {}
    for tape in ("A", "B", "C", "all"):
        days = [row for (_, each), row in of_days.items() if each == tape]
        amounts = {
            name: sum(row[name] for row in days)
            for name in days[0]
            if name.startswith(("exchange", "off")) and not name.endswith("ratio")
        }
        shares = amounts["exchange_share_quantity"] + amounts["off_exchange_share_quantity"]
        finra: Row = {}
        for market, name in (("ATS", "finra_ats_share"), ("NON_ATS", "finra_non_ats_share")):
            of_market = total(own[own["market"] == market]["share_quantity"])
            amount = of_market if has_finra and tape == "all" else None
            finra[f"{name}_quantity"] = amount
            finra[f"{name}_ratio"] = ratio(amount, shares) if len(days) == len(sessions) else None
        expected[week, tape] = {
            "day_count": len(days),
            "session_count": len(sessions),
            **amounts,
            **_off_ratios(amounts),
            **finra,
            "known_from": greatest([*(row["known_from"] for row in days), *own["known_from"]]),
            "published_at": moment(own["last_update_date"]),
            "is_stale": False,
        }
    return expected
