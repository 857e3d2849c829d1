"""Gold tables of FINRA's weekly rows, each computed from these rows alone."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import pandas as pd

from tests.gold.arithmetic import (
    DE_MINIMIS,
    Row,
    Table,
    chosen,
    greatest,
    groups,
    hhi,
    moment,
    ranks,
    ratio,
    sums,
    total,
    whole_total,
)

TIERS = {"T1", "T2", "OTCE"}
WEEK = timedelta(weeks=1)


def notional_of(rows: pd.DataFrame, whole: pd.DataFrame) -> Row:
    notional = whole_total(rows["notional_usd"])
    return {
        "notional_usd": notional,
        "vwap": ratio(notional, total(rows["share_quantity"]) * 10**6),
        "notional_share": ratio(notional, whole_total(whole["notional_usd"])),
    }


def ats_of(rows: pd.DataFrame) -> Row:
    ats = rows[rows["market"] == "ATS"]
    return {
        f"ats_share_of_{name}": ratio(total(ats[column]), total(rows[column]))
        for name, column in (("shares", "share_quantity"), ("trades", "trade_count"))
    }


def firms_of(rows: pd.DataFrame) -> Row:
    """A firm is a CRD number; a venue without one is a firm of its own."""
    firm = [
        f"CRD:{crd}" if crd else venue
        for crd, venue in zip(rows["firm_crd_number"], rows["venue_id"], strict=True)
    ]
    shares = sums(rows.assign(firm=firm), "share_quantity", "firm")
    return {
        "firm_count": len(shares.keys() - {DE_MINIMIS}),
        "firm_hhi_lower": hhi(shares, with_lump=False),
        "firm_hhi_upper": hhi(shares, with_lump=True),
    }


def concentration_of(rows: pd.DataFrame) -> Row:
    venues = sums(rows, "share_quantity", "venue_id")
    named = sorted((n for venue, n in venues.items() if venue != DE_MINIMIS), reverse=True)
    tops = {
        f"top_{places}venue_share": ratio(sum(named[:count]), sum(venues.values()))
        if named
        else None
        for places, count in (("", 1), ("3_", 3), ("5_", 5))
    }
    bounds = {f"hhi_{name}": hhi(venues, with_lump=name == "upper") for name in ("lower", "upper")}
    return tops | bounds


def symbol_weeks(weekly: pd.DataFrame) -> Table:
    expected: Table = {}
    for place, of_tier in groups(weekly, "week_start", "tier"):
        for symbol, rows in groups(of_tier, "symbol"):
            venues = sums(rows, "share_quantity", "venue_id")
            largest = [(-n, venue) for venue, n in venues.items() if venue != DE_MINIMIS]
            shares, trades = total(rows["share_quantity"]), total(rows["trade_count"])
            of_market: Row = {"total_share_quantity": shares, "total_trade_count": trades}
            for market in ("ATS", "NON_ATS"):
                own = rows[rows["market"] == market]
                for column in ("share_quantity", "trade_count"):
                    of_market[f"{market.lower()}_{column}"] = total(own[column])
            expected[(*place, *symbol)] = {
                **of_market,
                "venue_count": len(largest),
                "average_trade_size": ratio(shares, trades),
                "top_venue_id": min(largest)[1] if largest else None,
                **concentration_of(rows),
                **notional_of(rows, of_tier),
                **ats_of(rows),
                **firms_of(rows),
                "published_at": moment(rows["last_update_date"]),
                "known_from": max(of_tier["known_from"]),
            }
    return expected


def _shares_and_ranks(rows: pd.DataFrame, whole: str) -> Mapping[tuple[Any, ...], Row]:
    """Return by market and venue its part of all shares and of its market's, and both ranks."""
    shares = sums(rows, "share_quantity", "market", "venue_id")
    named = {key: n for key, n in shares.items() if key[1] != DE_MINIMIS}
    overall = ranks(named)
    found: dict[tuple[Any, ...], Row] = {}
    for key, n in shares.items():
        in_market = {each: m for each, m in shares.items() if each[0] == key[0]}
        alike = ranks({each: m for each, m in named.items() if each[0] == key[0]})
        found[key] = {
            whole: ratio(n, sum(shares.values())),
            "share_in_market": ratio(n, sum(in_market.values())),
            "rank": overall.get(key),
            "rank_in_market": alike.get(key),
        }
    return found


def _venues(rows: pd.DataFrame, whole: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame, Row]]:
    places = _shares_and_ranks(rows, whole)
    for key, own in groups(rows, "market", "venue_id"):
        yield (
            key,
            own,
            {
                **places[key],
                "share_quantity": total(own["share_quantity"]),
                "trade_count": total(own["trade_count"]),
                "symbol_count": len(own),
                **notional_of(own, rows),
                "firm_crd_number": greatest(own["firm_crd_number"]),
                "participant_name": greatest(own["participant_name"]),
                "published_at": moment(own["last_update_date"]),
                "known_from": max(rows["known_from"]),
            },
        )


def venue_weeks(weekly: pd.DataFrame) -> Table:
    return {
        (*place, *key): row
        for place, rows in groups(weekly, "week_start", "tier")
        for key, _, row in _venues(rows, "tier_share")
    }


def complete_weeks(weekly: pd.DataFrame) -> Iterator[tuple[date, pd.DataFrame]]:
    """Yield the weeks with all tiers."""
    for (week,), rows in groups(weekly, "week_start"):
        if set(rows["tier"]) == TIERS:
            yield week, rows


def venue_weeks_of_all_tiers(weekly: pd.DataFrame) -> Table:
    return {
        (week, *key): row | {"tier_count": own["tier"].nunique(), "is_stale": False}
        for week, rows in complete_weeks(weekly)
        for key, own, row in _venues(rows, "market_share")
    }


def tier_weeks(weekly: pd.DataFrame) -> Table:
    expected: Table = {}
    for week, of_week in complete_weeks(weekly):
        for (tier,), rows in groups(of_week, "tier"):
            ats, shares = rows[rows["market"] == "ATS"], total(rows["share_quantity"])
            expected[week, tier] = {
                "share_quantity": shares,
                "trade_count": total(rows["trade_count"]),
                "row_count": len(rows),
                "symbol_count": rows["symbol"].nunique(),
                "venue_count": len(set(rows["venue_id"]) - {DE_MINIMIS}),
                "market_share": ratio(shares, total(of_week["share_quantity"])),
                "ats_share_quantity": total(ats["share_quantity"]),
                "ats_trade_count": total(ats["trade_count"]),
                **notional_of(rows, of_week),
                **ats_of(rows),
                **firms_of(rows),
                "published_at": moment(rows["last_update_date"]),
                "known_from": max(of_week["known_from"]),
                "is_stale": False,
            }
    return expected


def firms(weekly: pd.DataFrame) -> Table:
    weeks: dict[tuple[Any, ...], set[date]] = {}
    for (week, _, market, venue), rows in groups(
        weekly, "week_start", "tier", "market", "venue_id"
    ):
        crd, name = greatest(rows["firm_crd_number"]), greatest(rows["participant_name"])
        if crd:
            weeks.setdefault((market, venue, name or venue, crd), set()).add(week)
    return {
        key: {
            "mpid": None if key[1].startswith(("CRD:", "NAME:")) else key[1],
            "first_week": min(found),
            "last_week": max(found),
            "week_count": len(found),
        }
        for key, found in weeks.items()
    }


def windows(weekly: pd.DataFrame) -> Table:
    """Six weeks, with the trend of the last three against the first three."""
    expected: Table = {}
    for (tier,), of_tier in groups(weekly, "tier"):
        loaded = set(of_tier["week_start"])
        for last in loaded:
            weeks = {last - number * WEEK for number in range(6)}
            window = chosen(of_tier, of_tier["week_start"].isin(list(weeks)))
            is_complete = weeks <= loaded
            for (symbol,), rows in groups(window, "symbol"):
                shares = sums(rows, "share_quantity", "week_start")
                if last not in shares:
                    continue
                trades = sums(rows, "trade_count", "week_start")
                expected[last, tier, symbol] = {
                    "weeks_in_window": len(shares),
                    "is_complete": is_complete,
                    "average_shares_per_week": sum(shares.values()) / len(shares),
                    "min_share_quantity": min(shares.values()),
                    "max_share_quantity": max(shares.values()),
                    "average_trades_per_week": sum(trades.values()) / len(trades),
                    "min_trade_count": min(trades.values()),
                    "max_trade_count": max(trades.values()),
                    **(_trend(shares, last) if is_complete else _trend({}, last)),
                    "published_at": moment(rows["last_update_date"]),
                    "known_from": max(window["known_from"]),
                    "is_stale": False,
                }
    return expected


def _trend(shares: Mapping[date, int], last: date) -> Row:
    late = [n for week, n in shares.items() if week > last - 3 * WEEK]
    early = [n for week, n in shares.items() if week <= last - 3 * WEEK]
    if not sum(early):
        return {"trend_ratio": None, "trend_direction": None}
    now, then = sum(late) * len(early), sum(early) * len(late)
    direction = "up" if now * 100 > then * 110 else "down" if now * 100 < then * 90 else "flat"
    return {"trend_ratio": now / then, "trend_direction": direction}


def concentration_weeks(weekly: pd.DataFrame) -> Table:
    expected: Table = {}
    for (tier,), of_tier in groups(weekly, "tier"):
        of_weeks = {
            week: dict(groups(rows, "symbol")) for (week,), rows in groups(of_tier, "week_start")
        }
        of_rows = {
            (week, symbol): concentration_of(rows)
            for week, symbols in of_weeks.items()
            for symbol, rows in symbols.items()
        }
        known = sums_of_known(of_tier)
        for week, symbols in of_weeks.items():
            earlier = of_weeks.get(week - WEEK, {})
            for symbol, rows in symbols.items():
                now, then = of_rows[week, symbol], of_rows.get((week - WEEK, symbol))
                before = earlier.get(symbol)
                days = [*rows["last_update_date"]]
                days += [] if before is None else [*before["last_update_date"]]
                expected[week, tier, *symbol] = {
                    **now,
                    **{f"{name}_change": _change(now, then, name) for name in now if "hhi" in name},
                    "published_at": moment(days),
                    "known_from": greatest([known[week], known.get(week - WEEK)]),
                    "is_stale": False,
                }
    return expected


def _change(now: Row, then: Row | None, name: str) -> float | None:
    if then is None or now[name] is None or then[name] is None:
        return None
    return now[name] - then[name]


def sums_of_known(rows: pd.DataFrame) -> dict[date, Any]:
    """Return the latest load of each week."""
    return {week: max(own["known_from"]) for (week,), own in groups(rows, "week_start")}


def movers(weekly: pd.DataFrame, *by: str, most: int | None) -> Table:
    """Changes since the week before; with ``most``, only so many ranks of those that stayed."""
    expected: Table = {}
    for (tier,), of_tier in groups(weekly, "tier"):
        of_weeks = {week: rows for (week,), rows in groups(of_tier, "week_start")}
        known = sums_of_known(of_tier)
        for week, now in of_weeks.items():
            then = of_weeks.get(week - WEEK)
            if then is None:
                continue
            shares, before = (
                {key: total(rows["share_quantity"]) for key, rows in groups(each, *by)}
                for each in (now, then)
            )
            days: dict[Any, list[Any]] = {}
            for each in (now, then):
                for key, rows in groups(each, *by):
                    days.setdefault(key, []).extend(rows["last_update_date"])
            change = {k: shares.get(k, 0) - before.get(k, 0) for k in {*shares, *before}}
            ratios = {k: change[k] / before[k] for k in change if before.get(k)}
            places = ranks({k: abs(n) for k, n in change.items()})
            ratio_places = ranks({k: abs(part) for k, part in ratios.items()})
            for key, amount in change.items():
                is_both = key in shares and key in before
                best = min(places[key], ratio_places.get(key, places[key]))
                if most is not None and is_both and best > most:
                    continue
                expected[week, tier, *key] = {
                    "movement": "moved" if is_both else "entered" if key in shares else "left",
                    "share_quantity": shares.get(key, 0),
                    "previous_share_quantity": before.get(key, 0),
                    "share_change": amount,
                    "change_ratio": ratios.get(key),
                    "change_rank": places[key],
                    "ratio_rank": ratio_places.get(key),
                    "published_at": moment(days[key]),
                    "known_from": max(known[week], known[week - WEEK]),
                    "is_stale": False,
                }
    return expected


def anomalies(weekly: pd.DataFrame) -> Table:
    """Weeks of a symbol whose shares are at least four deviations from those of the five before."""
    expected: Table = {}
    for (tier,), of_tier in groups(weekly, "tier"):
        known = sums_of_known(of_tier)
        for (symbol,), rows in groups(of_tier, "symbol"):
            shares = sums(rows, "share_quantity", "week_start")
            for week, amount in shares.items():
                weeks = [week - number * WEEK for number in range(1, 6)]
                before: Any = pd.Series(
                    [shares[week] for week in weeks if week in shares], dtype=float
                )
                if len(before) < 4 or not before.std():
                    continue
                z_score = (amount - before.mean()) / before.std()
                if abs(z_score) < 4:
                    continue
                own = rows[rows["week_start"].isin([week, *weeks])]
                expected[week, tier, symbol] = {
                    "share_quantity": amount,
                    "trailing_mean": float(before.mean()),
                    "trailing_deviation": float(before.std()),
                    "z_score": float(z_score),
                    "trailing_week_count": len(before),
                    "window_weeks": 5,
                    "min_week_count": 4,
                    "z_limit": 4.0,
                    "published_at": moment(own["last_update_date"]),
                    "known_from": greatest(known.get(known_week) for known_week in (week, *weeks)),
                    "is_stale": False,
                }
    return expected


def of_weekly(weekly: pd.DataFrame) -> dict[str, Table]:
    """Return every table that follows from weekly rows alone, but the symbol master."""
    return {
        "finra_symbol_week": symbol_weeks(weekly),
        "finra_venue_week": venue_weeks(weekly),
        "finra_tier_week": tier_weeks(weekly),
        "finra_venue_week_all_tiers": venue_weeks_of_all_tiers(weekly),
        "finra_firms": firms(weekly),
        "finra_symbol_rolling_6w": windows(weekly),
        "finra_concentration_week": concentration_weeks(weekly),
        "finra_symbol_movers_week": movers(weekly, "symbol", most=100),
        "finra_venue_movers_week": movers(weekly, "market", "venue_id", most=None),
        "finra_symbol_anomalies_week": anomalies(weekly),
    }
