"""Recomputes Cboe's market volume, and the share off exchange of days and weeks."""

import csv
import io
from collections.abc import Sequence
from datetime import date, timedelta

from tests.oracle.archive import Delivery, Row
from tests.oracle.gold import Loads, group, latest_load, latest_publication, ratio
from tests.oracle.lines import read_count, read_units, show_units
from tests.oracle.trading_days import sessions

KEY = ("trade_date", "participant_code")
TAPES = {"A": "tape_a", "B": "tape_b", "C": "tape_c", "all": "total"}
TITLES = {"A": "Tape A", "B": "Tape B", "C": "Tape C", "all": "Total"}
EXCHANGES = ("exchange", "off_exchange")


def parse_delivery(delivery: Delivery) -> dict[tuple, Row]:
    """Return the rows of the delivery's day from a file of its year."""
    rows = {}
    for capture in delivery.captures:
        for line in csv.DictReader(io.StringIO(capture.content.decode())):
            if line["Day"] != delivery.partition_key:
                continue
            name = line["Market Participant"].strip()
            code = name.rpartition("(")[2].rstrip(")")
            row = {"trade_date": line["Day"], "participant_code": code, "participant_name": name}
            for tape, prefix in TAPES.items():
                title = TITLES[tape]
                row[f"{prefix}_share_quantity"] = show_units(read_units(line[f"{title} Shares"]))
                row[f"{prefix}_notional_usd"] = read_units(line[f"{title} Notional"])
                row[f"{prefix}_trade_count"] = read_count(line[f"{title} Trade Count"])
            rows[line["Day"], code] = row | {"capture_id": capture.capture_id}
    return rows


def daily_shares(volume: Sequence[Row], loads: dict[str, str]) -> list[Row]:
    """Return `off_exchange_share_daily`: codes that begin with D are off exchange."""
    derived = []
    for day, rows in group(volume, lambda row: row["trade_date"]).items():
        sides = {
            "exchange": [row for row in rows if not row["participant_code"].startswith("D")],
            "off_exchange": [row for row in rows if row["participant_code"].startswith("D")],
        }
        for tape, prefix in TAPES.items():
            row = {"trade_date": day, "tape": tape, "known_from": loads[day]}
            for side, members in sides.items():
                shares = [read_units(member[f"{prefix}_share_quantity"]) or 0 for member in members]
                row[f"{side}_share_quantity"] = show_units(sum(shares))
                for measure in ("notional_usd", "trade_count"):
                    values = [member[f"{prefix}_{measure}"] for member in members]
                    row[f"{side}_{measure}"] = sum(values)
            derived.append(row | off_exchange_ratios(row))
    return derived


def off_exchange_ratios(row: Row) -> Row:
    """Return the parts off exchange of shares, value and trades."""
    shares = [read_units(row[f"{side}_share_quantity"]) or 0 for side in EXCHANGES]
    values = [row[f"{side}_notional_usd"] for side in EXCHANGES]
    trades = [row[f"{side}_trade_count"] for side in EXCHANGES]
    return {
        "off_exchange_share_ratio": ratio(shares[1], sum(shares)),
        "off_exchange_notional_ratio": ratio(values[1], sum(values)),
        "off_exchange_trade_ratio": ratio(trades[1], sum(trades)),
    }


def weekly_shares(
    daily: Sequence[Row], loads: dict[str, str], symbol_weeks: Sequence[Row], finra_loads: Loads
) -> list[Row]:
    """Return `off_exchange_share_weekly` of the weeks that have a loaded day."""
    derived = []
    for (week, tape), rows in group(
        daily, lambda row: (monday_of(row["trade_date"]), row["tape"])
    ).items():
        monday = date.fromisoformat(week)
        week_sessions = sessions(monday, monday + timedelta(days=4))
        row = {
            "week_start": week,
            "tape": tape,
            "day_count": len(rows),
            "session_count": len(week_sessions),
        }
        for side in EXCHANGES:
            shares = [read_units(part[f"{side}_share_quantity"]) or 0 for part in rows]
            row[f"{side}_share_quantity"] = show_units(sum(shares))
            for measure in ("notional_usd", "trade_count"):
                row[f"{side}_{measure}"] = sum(part[f"{side}_{measure}"] for part in rows)
        is_whole = {part["trade_date"] for part in rows} >= {
            day.isoformat() for day in week_sessions
        }
        nms = [
            symbol
            for symbol in symbol_weeks
            if symbol["week_start"] == week and symbol["tier"] in ("T1", "T2")
        ]
        tiers = [(tier, week) for tier in ("T1", "T2")]
        times = [loads[part["trade_date"]] for part in rows]
        if any(place in finra_loads for place in tiers):
            times.append(latest_load(finra_loads, tiers))
        has_tiers = tape == "all" and all(place in finra_loads for place in tiers)
        derived.append(
            row
            | off_exchange_ratios(row)
            | finra_shares(row, nms if has_tiers else None, is_whole)
            | {"known_from": max(times), "is_stale": False, "published_at": latest_publication(nms)}
        )
    return derived


def finra_shares(row: Row, symbol_weeks: Sequence[Row] | None, is_whole: bool) -> Row:
    """Return FINRA's shares on ATSs and outside, and their parts of all shares."""
    total = sum(read_units(row[f"{side}_share_quantity"]) or 0 for side in EXCHANGES)
    result = {}
    for market in ("ats", "non_ats"):
        name = f"{market}_share_quantity"
        shares = (
            None
            if symbol_weeks is None
            else sum(read_units(symbol[name]) or 0 for symbol in symbol_weeks)
        )
        result[f"finra_{name}"] = show_units(shares)
        result[f"finra_{market}_share_ratio"] = ratio(shares, total) if is_whole else None
    return result


def monday_of(day: str) -> str:
    """Return the Monday of a day's week."""
    moment = date.fromisoformat(day)
    return (moment - timedelta(days=moment.weekday())).isoformat()
