"""FINRA's tables across tiers and weeks: venues of all tiers, firms, movers and anomalies."""

from typing import Any

from sqlalchemy import BigInteger, Column, case, func, or_, type_coerce

from orchestration_project.domains.finra.tables.weekly import (
    MARKETS,
    TIERS,
    finra_venue_week,
    notional,
    point_in_time,
)
from orchestration_project.tables.key_groups import look_up_in_groups
from orchestration_project.tables.schema import (
    BYTEWISE_TEXT,
    count,
    day,
    quantity,
    ratio,
    table,
    text,
)
from orchestration_project.tables.views import ViewColumn, as_it_is, view

finra_venue_week_all_tiers = table(
    "finra_venue_week_all_tiers",
    "One row per week, market and venue, once all tiers are loaded: trading in all tiers.",
    day("week_start", "Monday of the week", key=True),
    text("market", "Market: ATS or NON_ATS", values=MARKETS, key=True),
    text("venue_id", "As in finra_otc_weekly", key=True),
    count("firm_crd_number", "As in finra_otc_weekly", optional=True),
    text("participant_name", "Name of the venue or firm in the week", optional=True),
    quantity("share_quantity", "Shares traded in the week"),
    count("trade_count", "Trades in the week"),
    count("symbol_count", "Symbols traded"),
    count("tier_count", "Tiers in which it traded"),
    ratio("market_share", "Share of all tiers' shares in the week, both markets", optional=True),
    count("rank", "Rank by shares, from 1; NULL: De Minimis Firms", optional=True),
    ratio("share_in_market", "Share of its market's shares in all tiers, 0-1", optional=True),
    count(
        "rank_in_market",
        "Rank by shares in its market, from 1; NULL: De Minimis Firms",
        optional=True,
    ),
    *notional("venue", "week, all tiers"),
    *point_in_time(may_be_stale=True),
)

_venue = finra_venue_week.c
_name = func.coalesce(_venue.participant_name, _venue.venue_id)
_lacks_mpid = or_(
    func.substr(_venue.venue_id, 1, 4) == "CRD:", func.substr(_venue.venue_id, 1, 5) == "NAME:"
)

finra_firms = view(
    "finra_firms",
    "One row per firm (CRD number), venue and name: the weeks in which it traded under it.",
    as_it_is(_venue.market),
    as_it_is(_venue.venue_id),
    ViewColumn(
        "participant_name",
        type_coerce(_name, BYTEWISE_TEXT),
        "Name, else the venue_id",
        is_key=True,
    ),
    ViewColumn(
        "firm_crd_number", _venue.firm_crd_number, "CRD number in FINRA's registry", is_key=True
    ),
    ViewColumn(
        "mpid", case((_lacks_mpid, None), else_=_venue.venue_id), "MPID of the venue", optional=True
    ),
    ViewColumn("first_week", func.min(_venue.week_start), "Monday of the first week"),
    ViewColumn("last_week", func.max(_venue.week_start), "Monday of the last week"),
    ViewColumn(
        "week_count",
        type_coerce(func.count(_venue.week_start.distinct()), BigInteger()),
        "Weeks with trading",
    ),
    where=[_venue.firm_crd_number > 0],
    group_by=[_venue.market, _venue.venue_id, _name, _venue.firm_crd_number],
)


def _change(of_what: str) -> list[Column[Any]]:
    return [
        text(
            "movement",
            f"entered, left, or moved: {of_what} traded in one or both weeks",
            values=("entered", "left", "moved"),
        ),
        quantity("share_quantity", "Shares of the week; 0: left"),
        quantity("previous_share_quantity", "Shares of the previous week; 0: entered"),
        quantity("share_change", "share_quantity minus previous_share_quantity"),
        ratio(
            "change_ratio",
            "share_change / previous_share_quantity; NULL: previous_share_quantity is 0",
            optional=True,
        ),
        count("change_rank", "Rank by the absolute share_change in the tier, from 1"),
        count(
            "ratio_rank",
            "Rank by the absolute change_ratio in the tier, from 1; NULL: no change_ratio",
            optional=True,
        ),
        *point_in_time(may_be_stale=True),
    ]


finra_symbol_movers_week = table(
    "finra_symbol_movers_week",
    "One row per week, tier and symbol that entered, left, or is among the 100 largest changes.",
    day("week_start", "Monday of the week; the previous week is loaded, too", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("symbol", "FINRA's issue symbol", key=True),
    *_change("the symbol"),
)

finra_venue_movers_week = table(
    "finra_venue_movers_week",
    "One row per week, tier, market and venue: its change since the previous week.",
    day("week_start", "Monday of the week; the previous week is loaded, too", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("market", "Market: ATS or NON_ATS", values=MARKETS, key=True),
    text("venue_id", "As in finra_otc_weekly", key=True),
    *_change("the venue"),
)

finra_symbol_anomalies_week = table(
    "finra_symbol_anomalies_week",
    "One row per week, tier and symbol whose shares are far from those of the weeks before.",
    day("week_start", "Monday of the week", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("symbol", "FINRA's issue symbol", key=True),
    quantity("share_quantity", "Shares of the week"),
    ratio("trailing_mean", "Mean shares of the trailing weeks with trading"),
    ratio("trailing_deviation", "Sample standard deviation of these shares"),
    ratio("z_score", "(share_quantity - trailing_mean) / trailing_deviation"),
    count("trailing_week_count", "Trailing weeks with trading"),
    count("window_weeks", "Parameter: trailing weeks, by date, before the week"),
    count("min_week_count", "Parameter: least trailing_week_count"),
    ratio("z_limit", "Parameter: least absolute z_score"),
    *point_in_time(may_be_stale=True),
)

look_up_in_groups(2, finra_venue_week_all_tiers)
look_up_in_groups(2, finra_symbol_movers_week, finra_symbol_anomalies_week)
look_up_in_groups(3, finra_venue_movers_week)
