"""Gold tables, computed again from the loaded rows in pandas, column by column.

Nothing here is the domain's code but the landing itself: what is expected follows from the words
of the columns alone.
"""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from tests.resources.gold_desk import WEEKS, derive, land_week, read
from tests.resources.weeks import Desk

TIERS = ("T1", "T2", "OTCE")
VENUES = [
    # market, venue_id, mpid, firm_crd_number, participant_name
    ("ATS", "UBSA", "UBSA", 7654, "UBS ATS"),
    ("NON_ATS", "CRD:7654", None, 7654, "UBS SECURITIES"),
    ("ATS", "IATS", "IATS", 1010, "INTERACTIVE"),
    ("ATS", "JPBX", "JPBX", 2020, "JPB-X"),
    ("ATS", "JPMX", "JPMX", 2020, "JPM-X"),
    ("NON_ATS", "CRD:3030", None, 3030, "CITADEL"),
    ("NON_ATS", "NAME:OLD FIRM", None, None, "OLD FIRM"),
    ("NON_ATS", "CRD:0", None, 0, "De Minimis Firms"),
]
PRICED = {"T1", "T2"}
"""Tiers whose rows all have a traded value; of the others some lack it."""


def rows_of(chance: random.Random, tier: str, week: date) -> list[dict[str, Any]]:
    found = []
    is_last = week == WEEKS[-1]
    for symbol in [f"{tier}{letter}" for letter in "ABCDEF"]:
        for market, venue, mpid, crd, name in VENUES:
            if chance.random() < 0.35:
                continue
            shares = chance.choice([0, 1, chance.randrange(10**4), chance.randrange(10**10)])
            if symbol.endswith("F"):  # steady, and far more in the last week
                shares = (10**9 if is_last else 10**6) + chance.randrange(10**5)
            lacks_value = tier not in PRICED and chance.random() < 0.1
            found.append(
                {
                    "symbol": symbol,
                    "venue": venue,
                    "venue_id": venue,
                    "market": market,
                    "mpid": mpid,
                    "firm_crd_number": crd,
                    "participant_name": name,
                    "share_quantity": shares,
                    "trade_count": chance.randrange(shares + 1) if shares < 10 else 3,
                    "notional_usd": None if lacks_value else shares * chance.randrange(10**6),
                    "last_update_date": week + timedelta(days=chance.randrange(21, 60)),
                }
            )
    return found


def landed(desk: Desk, weeks: Sequence[date]) -> Desk:
    """Land and derive weeks of three tiers."""
    chance = random.Random(42)  # noqa: S311
    for week in weeks:
        for tier in TIERS:
            land_week(desk, tier, week, rows_of(chance, tier, week))
    derive(desk, weeks)
    return desk


def frame(columns: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns)


def series(values: list[Any], dtype: Any) -> Any:
    import pandas as pd

    return pd.Series(values, dtype=dtype)


def table(desk: Desk, name: str) -> Any:
    """Return all rows as Python's own values: what pandas guesses would lose digits."""
    rows = read(desk.warehouse, name)
    found = frame({key: series([r[key] for r in rows], dtype=object) for key in rows[0]})
    for column in ("week_start", "last_update_date", "first_week", "last_week"):
        if column in found:
            found[column] = _each(found[column], _day)
    for column in ("known_from", "published_at"):
        if column in found:
            found[column] = _each(found[column], _moment)
    return found


def _each(values: Any, parse: Any) -> Any:
    return series([None if each is None else parse(each) for each in values], dtype=object)


def _day(value: str | date) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _moment(value: str | datetime) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def published(days: Any) -> datetime:
    return datetime.combine(max(days), time(), UTC)


def ratio(part: Any, whole: Any) -> Any:
    """Return part / whole, or None where one is missing or the whole is 0."""
    return None if part is None or not whole else part / whole


def total(values: Any) -> int | None:
    """Return the exact sum, None where a value is missing."""
    return None if any(each is None for each in values) else sum(map(int, values))


def shares_of(rows: Any, *by: str) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for key, shares in zip(
        rows[list(by)].itertuples(index=False, name=None), rows["share_quantity"], strict=True
    ):
        found[key] = found.get(key, 0) + int(shares)
    return found


def hhi(parts: dict[Any, int], *, with_lump: bool) -> float | None:
    squares = sum(n * n for key, n in parts.items() if with_lump or key[-1] != "CRD:0")
    return ratio(squares, sum(parts.values()) ** 2)


def with_firms(rows: Any) -> Any:
    firms = [
        f"CRD:{crd}" if crd else venue
        for crd, venue in zip(rows["firm_crd_number"], rows["venue_id"], strict=True)
    ]
    return rows.assign(firm=firms)


def firms_of(rows: Any) -> dict[str, Any]:
    firms = shares_of(with_firms(rows), "firm")
    return {
        "firm_count": len([key for key in firms if key != ("CRD:0",)]),
        "firm_hhi_lower": hhi(firms, with_lump=False),
        "firm_hhi_upper": hhi(firms, with_lump=True),
    }


def notional_of(rows: Any, whole: Any) -> dict[str, Any]:
    notional = total(rows["notional_usd"])
    shares = sum(map(int, rows["share_quantity"]))
    return {
        "notional_usd": notional,
        "vwap": ratio(notional, shares * 10**6),
        "notional_share": ratio(notional, total(whole["notional_usd"])),
    }


def ats_of(rows: Any) -> dict[str, Any]:
    ats = rows[rows["market"] == "ATS"]
    return {
        "ats_share_of_shares": ratio(sum(ats["share_quantity"]), sum(rows["share_quantity"])),
        "ats_share_of_trades": ratio(sum(ats["trade_count"]), sum(rows["trade_count"])),
    }


def same(found: Any, key: list[str], expected: dict[Any, dict[str, Any]]) -> None:
    """Compare the expected columns of each row by its key; there are no other rows."""
    rows = {tuple(row[name] for name in key): row for row in found.to_dict("records")}
    assert sorted(rows) == sorted(expected)
    for place, columns in expected.items():
        for name, value in columns.items():
            wanted = pytest.approx(value, rel=1e-14) if isinstance(value, float) else value
            assert rows[place][name] == wanted, (place, name)


def compare_symbols_by_week(gold: Desk) -> None:
    weekly = table(gold, "finra_otc_weekly")
    expected = {}
    for (week, tier), of_tier in weekly.groupby(["week_start", "tier"]):
        for symbol, rows in of_tier.groupby("symbol"):
            venues = shares_of(rows, "venue_id")
            expected[week, tier, symbol] = {
                "total_share_quantity": sum(rows["share_quantity"]),
                "hhi_lower": hhi(venues, with_lump=False),
                "hhi_upper": hhi(venues, with_lump=True),
                **notional_of(rows, of_tier),
                **ats_of(rows),
                **firms_of(rows),
                "published_at": published(rows["last_update_date"]),
                "known_from": max(of_tier["known_from"]),
            }
    found = table(gold, "finra_symbol_week")
    same(found, ["week_start", "tier", "symbol"], expected)
    assert (found["firm_count"] < found["venue_count"]).any()
    assert found["notional_usd"].isna().any()


def compare_venues_by_week(gold: Desk) -> None:
    weekly = table(gold, "finra_otc_weekly")
    expected = {}
    for (week, tier), of_tier in weekly.groupby(["week_start", "tier"]):
        named = shares_of(of_tier[of_tier["venue_id"] != "CRD:0"], "market", "venue_id")
        for (market, venue), rows in of_tier.groupby(["market", "venue_id"]):
            shares, in_market = sum(rows["share_quantity"]), of_tier[of_tier["market"] == market]
            ranks = [
                1 + sum(other > shares for other in others)
                for others in (
                    named.values(),
                    [other for (each, _), other in named.items() if each == market],
                )
            ]
            rank, rank_in_market = (None, None) if venue == "CRD:0" else ranks
            expected[week, tier, market, venue] = {
                "tier_share": ratio(shares, sum(of_tier["share_quantity"])),
                "share_in_market": ratio(shares, sum(in_market["share_quantity"])),
                "rank": rank,
                "rank_in_market": rank_in_market,
                **notional_of(rows, of_tier),
                "firm_crd_number": rows["firm_crd_number"].iloc[0],
                "participant_name": rows["participant_name"].iloc[0],
                "published_at": published(rows["last_update_date"]),
            }
    same(table(gold, "finra_venue_week"), ["week_start", "tier", "market", "venue_id"], expected)


def compare_tiers_by_week(gold: Desk) -> None:
    weekly = table(gold, "finra_otc_weekly")
    expected = {}
    for week, of_week in weekly.groupby("week_start"):
        for tier, rows in of_week.groupby("tier"):
            ats = rows[rows["market"] == "ATS"]
            expected[week, tier] = {
                "share_quantity": sum(rows["share_quantity"]),
                "market_share": ratio(sum(rows["share_quantity"]), sum(of_week["share_quantity"])),
                "ats_share_quantity": sum(ats["share_quantity"]),
                "ats_trade_count": sum(ats["trade_count"]),
                **notional_of(rows, of_week),
                **ats_of(rows),
                **firms_of(rows),
                "published_at": published(rows["last_update_date"]),
                "known_from": max(of_week["known_from"]),
                "is_stale": False,
            }
    same(table(gold, "finra_tier_week"), ["week_start", "tier"], expected)


def compare_windows_of_six_weeks(gold: Desk) -> None:
    weekly = table(gold, "finra_otc_weekly")
    expected = {}
    for (last, tier, symbol), _ in weekly.groupby(["week_start", "tier", "symbol"]):
        first = last - timedelta(weeks=5)
        is_in = (weekly["week_start"] >= first) & (weekly["week_start"] <= last)
        window = weekly[is_in & (weekly["tier"] == tier)]
        rows = window[window["symbol"] == symbol]
        by_week = {week: n for (week,), n in shares_of(rows, "week_start").items()}
        late = [n for week, n in by_week.items() if week > last - timedelta(weeks=3)]
        early = [n for week, n in by_week.items() if week <= last - timedelta(weeks=3)]
        is_complete = first >= WEEKS[0]
        trend = None
        if is_complete and sum(early):
            trend = (sum(late) / len(late)) / (sum(early) / len(early))
        expected[last, tier, symbol] = {
            "is_complete": is_complete,
            "weeks_in_window": len(by_week),
            "average_shares_per_week": sum(by_week.values()) / len(by_week),
            "trend_ratio": trend,
            "published_at": published(rows["last_update_date"]),
            "known_from": max(window["known_from"]),
            "is_stale": False,
        }
    same(table(gold, "finra_symbol_rolling_6w"), ["week_start", "tier", "symbol"], expected)


def compare_concentration(gold: Desk) -> None:
    weekly = table(gold, "finra_otc_weekly")
    expected = {}
    for (week, tier, symbol), rows in weekly.groupby(["week_start", "tier", "symbol"]):
        venues = shares_of(rows, "venue_id")
        named = [n for (venue,), n in venues.items() if venue != "CRD:0"]
        most = sorted(named, reverse=True)
        before = weekly[
            (weekly["week_start"] == week - timedelta(weeks=1))
            & (weekly["tier"] == tier)
            & (weekly["symbol"] == symbol)
        ]
        expected[week, tier, symbol] = {
            f"{top}venue_share": ratio(sum(most[:places]), sum(venues.values())) if named else None
            for top, places in (("top_", 1), ("top_3_", 3), ("top_5_", 5))
        } | {"published_at": published([*rows["last_update_date"], *before["last_update_date"]])}
    same(table(gold, "finra_concentration_week"), ["week_start", "tier", "symbol"], expected)


def compare_venues_of_all_tiers(gold: Desk) -> None:
    weekly = table(gold, "finra_otc_weekly")
    expected = {}
    for week, of_week in weekly.groupby("week_start"):
        named = shares_of(of_week[of_week["venue_id"] != "CRD:0"], "market", "venue_id")
        for (market, venue), rows in of_week.groupby(["market", "venue_id"]):
            shares, in_market = sum(rows["share_quantity"]), of_week[of_week["market"] == market]
            alike = [other for (each, _), other in named.items() if each == market]
            is_lump = venue == "CRD:0"
            expected[week, market, venue] = {
                "share_quantity": shares,
                "tier_count": len(set(rows["tier"])),
                "symbol_count": len(rows),
                "market_share": ratio(shares, sum(of_week["share_quantity"])),
                "share_in_market": ratio(shares, sum(in_market["share_quantity"])),
                "rank": None if is_lump else 1 + sum(n > shares for n in named.values()),
                "rank_in_market": None if is_lump else 1 + sum(n > shares for n in alike),
                **notional_of(rows, of_week),
                "known_from": max(of_week["known_from"]),
            }
    same(table(gold, "finra_venue_week_all_tiers"), ["week_start", "market", "venue_id"], expected)


def compare_firms(gold: Desk) -> None:
    weekly = table(gold, "finra_otc_weekly")
    weekly = weekly[[bool(crd) for crd in weekly["firm_crd_number"]]]
    key = ["market", "venue_id", "participant_name", "firm_crd_number"]
    expected = {
        place: {
            "mpid": rows["mpid"].iloc[0],
            "first_week": min(rows["week_start"]),
            "last_week": max(rows["week_start"]),
            "week_count": len(set(rows["week_start"])),
        }
        for place, rows in weekly.groupby(key)
    }
    same(table(gold, "finra_firms"), key, expected)


def compare_movers(gold: Desk, name: str, *by: str) -> None:
    weekly = table(gold, "finra_otc_weekly")
    expected = {}
    for (week, tier), now in weekly.groupby(["week_start", "tier"]):
        is_before = (weekly["week_start"] == week - timedelta(weeks=1)) & (weekly["tier"] == tier)
        shares, before = (shares_of(rows, *by) for rows in (now, weekly[is_before]))
        if not before:
            continue
        changes = {k: shares.get(k, 0) - before.get(k, 0) for k in {*shares, *before}}
        ratios = {k: changes[k] / before[k] for k in changes if before.get(k)}
        for place, change in changes.items():
            part = ratios.get(place)
            is_in_both = place in shares and place in before
            expected[week, tier, *place] = {
                "movement": "moved" if is_in_both else "entered" if place in shares else "left",
                "share_quantity": shares.get(place, 0),
                "previous_share_quantity": before.get(place, 0),
                "share_change": change,
                "change_ratio": part,
                "change_rank": 1 + sum(abs(n) > abs(change) for n in changes.values()),
                "ratio_rank": None
                if part is None
                else 1 + sum(abs(each) > abs(part) for each in ratios.values()),
            }
    same(table(gold, name), ["week_start", "tier", *by], expected)


def compare_anomalies(gold: Desk) -> None:
    weekly = table(gold, "finra_otc_weekly")
    expected = {}
    for (week, tier, symbol), rows in weekly.groupby(["week_start", "tier", "symbol"]):
        is_before = (
            (weekly["week_start"] < week)
            & (weekly["week_start"] >= week - timedelta(weeks=5))
            & (weekly["tier"] == tier)
            & (weekly["symbol"] == symbol)
        )
        before = series(list(shares_of(weekly[is_before], "week_start").values()), dtype=float)
        shares = sum(rows["share_quantity"])
        if len(before) < 4 or not before.std():
            continue
        z = (shares - before.mean()) / before.std()
        if abs(z) >= 4:
            expected[week, tier, symbol] = {
                "share_quantity": shares,
                "trailing_mean": before.mean(),
                "trailing_deviation": before.std(),
                "z_score": z,
                "trailing_week_count": len(before),
                "window_weeks": 5,
                "min_week_count": 4,
                "z_limit": 4.0,
            }
    assert expected
    same(table(gold, "finra_symbol_anomalies_week"), ["week_start", "tier", "symbol"], expected)


def stale(desk: Desk, name: str) -> set[Any]:
    rows = table(desk, name)
    return set(rows[rows["is_stale"].astype(bool)]["week_start"])


@pytest.mark.slow_on_postgresql
def test_every_column_of_gold_is_what_pandas_computes(desk):
    gold = landed(desk, WEEKS)
    compare_symbols_by_week(gold)
    compare_venues_by_week(gold)
    compare_tiers_by_week(gold)
    compare_windows_of_six_weeks(gold)
    compare_concentration(gold)
    compare_venues_of_all_tiers(gold)
    compare_firms(gold)
    compare_movers(gold, "finra_symbol_movers_week", "symbol")
    compare_movers(gold, "finra_venue_movers_week", "market", "venue_id")
    compare_anomalies(gold)


@pytest.mark.slow_on_postgresql
def test_a_restatement_marks_what_it_is_part_of_until_that_is_derived_again(desk):
    weeks, restated = WEEKS[:4], WEEKS[1]
    gold = landed(desk, weeks)
    rows = rows_of(random.Random(7), "T1", restated)  # noqa: S311
    land_week(gold, "T1", restated, rows)
    assert stale(gold, "finra_symbol_rolling_6w") == set(weeks[1:])
    assert stale(gold, "finra_concentration_week") == set(weeks[1:3])
    assert stale(gold, "finra_tier_week") == {restated}
    rolling = table(gold, "finra_symbol_rolling_6w")
    assert set(rolling[rolling["is_stale"].astype(bool)]["tier"]) == {"T1"}
    derive(gold, weeks)
    for name in ("finra_symbol_rolling_6w", "finra_concentration_week", "finra_tier_week"):
        assert stale(gold, name) == set()
    later = [{**each, "last_update_date": WEEKS[-1] + timedelta(days=200)} for each in rows]
    land_week(gold, "T1", restated, later)
    assert stale(gold, "finra_symbol_rolling_6w") == set()  # dates alone restate nothing
