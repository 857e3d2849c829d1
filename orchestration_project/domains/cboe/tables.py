"""Cboe's daily market volume: the fields of its files, and the tables."""

from typing import Any

from sqlalchemy import Column

from orchestration_project.domains.finra.tables.weekly import finra_symbol_week
from orchestration_project.tables.schema import (
    ASSET,
    USD_SCALE,
    Field,
    count,
    dataset_table,
    day,
    flag,
    moment,
    quantity,
    ratio,
    scaled,
    table,
    text,
)

TAPES = ("a", "b", "c")
CODE_FIELD = "Market Participant code"
"""Not a field of the file: the letters in parentheses at the end of the participant's name."""


def _declare_amounts() -> list[Field]:
    """Return the fields of shares, notional and trades: one for each tape, and the total."""
    scopes = [(f"Tape {tape.upper()}", f"tape_{tape}") for tape in TAPES] + [("Total", "total")]
    shown_names = {"total": "of all tapes"} | {
        f"tape_{tape}": f"of tape {tape.upper()}" for tape in TAPES
    }
    shares = [
        Field(
            f"{name} Shares", quantity(f"{column}_share_quantity", f"Shares {shown_names[column]}")
        )
        for name, column in scopes
    ]
    notional = [
        Field(
            f"{name} Notional",
            scaled(
                f"{column}_notional_usd", f"Traded value {shown_names[column]}, US dollars x 10^6"
            ),
            scale=USD_SCALE,
        )
        for name, column in scopes
    ]
    trades = [
        Field(
            f"{name} Trade Count", count(f"{column}_trade_count", f"Trades {shown_names[column]}")
        )
        for name, column in scopes
    ]
    return [*shares, *notional, *trades]


MARKET_VOLUME_FIELDS = (
    Field("Day", day("trade_date", "Day of trading", key=True)),
    Field(
        CODE_FIELD,
        text(
            "participant_code",
            "Letters of the exchange, e.g. N; D, or D and a letter: off exchange",
            key=True,
        ),
        pattern=r"^[A-Z]{1,2}$",
    ),
    Field(
        "Market Participant",
        text("participant_name", "Name as Cboe writes it on that day, e.g. NYSE (N)"),
    ),
    *_declare_amounts(),
)

market_volume_daily = dataset_table(
    "market_volume_daily",
    "One row per day and exchange or off-exchange facility: trading in US equities by tape.",
    *MARKET_VOLUME_FIELDS,
    asset="cboe/market_volume_daily",
)


def _declare_shares() -> list[Column[Any]]:
    """Return the columns of trading on and off exchange, and of the part off exchange."""
    return [
        quantity("exchange_share_quantity", "Shares traded on exchanges"),
        quantity("off_exchange_share_quantity", "Shares traded off exchange"),
        ratio(
            "off_exchange_share_ratio",
            "Shares off exchange / all, 0-1; NULL: no shares",
            optional=True,
        ),
        scaled("exchange_notional_usd", "Value traded on exchanges, US dollars x 10^6"),
        scaled("off_exchange_notional_usd", "Value traded off exchange, US dollars x 10^6"),
        ratio(
            "off_exchange_notional_ratio",
            "Value off exchange / all, 0-1; NULL: no value",
            optional=True,
        ),
        count("exchange_trade_count", "Trades on exchanges"),
        count("off_exchange_trade_count", "Trades off exchange"),
        ratio(
            "off_exchange_trade_ratio",
            "Trades off exchange / all, 0-1; NULL: no trades",
            optional=True,
        ),
    ]


off_exchange_share_daily = table(
    "off_exchange_share_daily",
    "One row per day and tape: trading on and off exchange, and the share off exchange.",
    day("trade_date", "Day of trading", key=True),
    text("tape", "Tape of the listing: A, B, C, or all", values=("A", "B", "C", "all"), key=True),
    *_declare_shares(),
    moment("known_from", "UTC time of the latest load of the inputs", optional=True),
)
off_exchange_share_daily.info[ASSET] = "cboe/off_exchange_share_daily"

off_exchange_share_weekly = table(
    "off_exchange_share_weekly",
    "One row per week and tape: the sums of its loaded days, beside FINRA's shares of the week.",
    day("week_start", "Monday of the week", key=True),
    text("tape", "Tape of the listing: A, B, C, or all", values=("A", "B", "C", "all"), key=True),
    count("day_count", "Loaded days of the week"),
    count("session_count", "Days of the week on which exchanges trade"),
    *_declare_shares(),
    quantity(
        "finra_ats_share_quantity",
        "FINRA's shares on ATSs, T1 and T2; NULL: a tape, or a tier is not loaded",
        optional=True,
    ),
    quantity(
        "finra_non_ats_share_quantity",
        "FINRA's shares off exchange outside ATSs, T1 and T2; NULL: as above",
        optional=True,
    ),
    ratio(
        "finra_ats_share_ratio",
        "finra_ats_share_quantity / shares on and off exchange; NULL: also if a day is missing",
        optional=True,
    ),
    ratio(
        "finra_non_ats_share_ratio",
        "finra_non_ats_share_quantity / shares on and off exchange; NULL: as above",
        optional=True,
    ),
    moment("known_from", "UTC time of the latest load of the inputs", optional=True),
    flag("is_stale", "Whether an input changed since; until it is derived again", optional=True),
    moment(
        "published_at",
        "Latest last_update_date of FINRA's rows, at 00:00; NULL: none, as Cboe does not date its",
        optional=True,
    ),
)
off_exchange_share_weekly.info[ASSET] = "cboe/off_exchange_share_weekly"

_AMOUNTS = {"share": "share_quantity", "notional": "notional_usd", "trade": "trade_count"}
_SCOPES = (*(f"tape_{tape}" for tape in TAPES), "total")
_rows, _days, _finra = market_volume_daily.c, off_exchange_share_daily.c, finra_symbol_week.c
_FINRA = ("ats_share_quantity", "non_ats_share_quantity")

Lineage = dict[str, tuple[Column[Any], ...]]


def _build_daily_lineage() -> Lineage:
    daily_lineage: Lineage = {
        "trade_date": (_rows.trade_date,),
        "tape": tuple(_rows[f"tape_{tape}_share_quantity"] for tape in TAPES),
        "known_from": (_rows.known_from,),
    }
    for name, amount in _AMOUNTS.items():
        sources = (_rows.participant_code, *(_rows[f"{scope}_{amount}"] for scope in _SCOPES))
        names = (f"exchange_{amount}", f"off_exchange_{amount}", f"off_exchange_{name}_ratio")
        daily_lineage |= dict.fromkeys(names, sources)
    return daily_lineage


def _build_weekly_lineage() -> Lineage:
    weekly_lineage: Lineage = {
        "week_start": (_days.trade_date, _finra.week_start),
        "day_count": (_days.trade_date,),
        "session_count": (_days.trade_date,),
        "tape": (_days.tape,),
        "known_from": (_days.known_from, _finra.known_from),
        "is_stale": (_days.known_from,),
        "published_at": (_finra.published_at,),
    }
    for name, amount in _AMOUNTS.items():
        sides = (_days[f"exchange_{amount}"], _days[f"off_exchange_{amount}"])
        weekly_lineage |= {str(side.key): (side,) for side in sides} | {
            f"off_exchange_{name}_ratio": sides
        }
    shares = (_days.exchange_share_quantity, _days.off_exchange_share_quantity)
    for word in _FINRA:
        weekly_lineage[f"finra_{word}"] = (_finra[word],)
        weekly_lineage[f"finra_{word.removesuffix('_quantity')}_ratio"] = (*shares, _finra[word])
    return weekly_lineage


MADE_OF: dict[str, Lineage] = {
    "off_exchange_share_daily": _build_daily_lineage(),
    "off_exchange_share_weekly": _build_weekly_lineage(),
}
"""Columns that each column of a derived table is made of."""
