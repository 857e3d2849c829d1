"""Add measures of gold."""

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import (
    AddColumn,
    ChangeComment,
    CreateTable,
    CreateView,
    RebuildTable,
    RenameColumn,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Table, View

revision = "0051"
down_revision = "0050"

# fmt: off
CHANGES = [
    RenameColumn("finra_concentration_week", "top_1_venue_share", "top_venue_share"),
    RenameColumn("finra_symbol_week_value", "notional_dollars", "estimated_notional_usd"),
    RebuildTable(Table("finra_symbol_week_value", "One row per week, tier and symbol with prices of all sessions: estimated traded value.", [
        Column("week_start", "date", "Monday of the week", key=True),
        Column("tier", "text", "FINRA tier: T1, T2 or OTCE", key=True),
        Column("symbol", "text", "FINRA's issue symbol", key=True),
        Column("share_quantity", "bigint", "Shares traded OTC, both markets"),
        Column("price", "bigint", "Volume-weighted mean of unadjusted closes, US dollars x 10^6"),
        Column("session_count", "bigint", "Trading sessions of the week"),
        Column("estimated_notional_usd", "double", "Estimated traded value: share_quantity x price, US dollars"),
        Column("dollar_volume_share", "double", "Share of the tier's estimated traded value, 0-1", optional=True),
        Column("market_volume_share", "double", "Shares traded OTC / all shares traded, counted by the source of prices", optional=True),
    ]), Table("finra_symbol_week_value", "One row per week, tier and symbol with prices of all sessions: estimated traded value.", [
        Column("week_start", "date", "Monday of the week", key=True),
        Column("tier", "text", "FINRA tier: T1, T2 or OTCE", key=True),
        Column("symbol", "text", "FINRA's issue symbol", key=True),
        Column("share_quantity", "bigint", "Shares traded OTC, both markets"),
        Column("price", "bigint", "Volume-weighted mean of unadjusted closes, US dollars x 10^6"),
        Column("session_count", "bigint", "Trading sessions of the week"),
        Column("estimated_notional_usd", "bigint", "Estimated traded value: share_quantity x price, US dollars x 10^6", optional=True),
        Column("dollar_volume_share", "double", "Share of the tier's estimated traded value, 0-1", optional=True),
        Column("market_volume_share", "double", "Shares traded OTC / all shares traded, counted by the source of prices", optional=True),
    ])),
    CreateTable(Table("finra_venue_week_all_tiers", "One row per week, market and venue, once all tiers are loaded: trading in all tiers.", [
        Column("week_start", "date", "Monday of the week", key=True),
        Column("market", "text", "Market: ATS or NON_ATS", key=True),
        Column("venue_id", "text", "As in finra_otc_weekly", key=True),
        Column("firm_crd_number", "bigint", "As in finra_otc_weekly", optional=True),
        Column("participant_name", "text", "Name of the venue or firm in the week", optional=True),
        Column("share_quantity", "bigint", "Shares traded in the week"),
        Column("trade_count", "bigint", "Trades in the week"),
        Column("symbol_count", "bigint", "Symbols traded"),
        Column("tier_count", "bigint", "Tiers in which it traded"),
        Column("market_share", "double", "Share of all tiers' shares in the week, both markets", optional=True),
        Column("rank", "bigint", "Rank by shares, from 1; NULL: De Minimis Firms", optional=True),
        Column("share_in_market", "double", "Share of its market's shares in all tiers, 0-1", optional=True),
        Column("rank_in_market", "bigint", "Rank by shares in its market, from 1; NULL: De Minimis Firms", optional=True),
        Column("notional_usd", "bigint", "Traded value of the venue, US dollars x 10^6; NULL: FINRA lacks it for a row", optional=True),
        Column("vwap", "double", "notional_usd per share, US dollars; NULL: no notional_usd", optional=True),
        Column("notional_share", "double", "Share of the notional_usd of the week, all tiers, 0-1", optional=True),
        Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
        Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True),
    ])),
    CreateTable(Table("finra_symbol_movers_week", "One row per week, tier and symbol that entered, left, or is among the 100 largest changes.", [
        Column("week_start", "date", "Monday of the week; the previous week is loaded, too", key=True),
        Column("tier", "text", "FINRA tier: T1, T2 or OTCE", key=True),
        Column("symbol", "text", "FINRA's issue symbol", key=True),
        Column("movement", "text", "entered, left, or moved: the symbol traded in one or both weeks"),
        Column("share_quantity", "bigint", "Shares of the week; 0: left"),
        Column("previous_share_quantity", "bigint", "Shares of the previous week; 0: entered"),
        Column("share_change", "bigint", "share_quantity minus previous_share_quantity"),
        Column("change_ratio", "double", "share_change / previous_share_quantity; NULL: previous_share_quantity is 0", optional=True),
        Column("change_rank", "bigint", "Rank by the absolute share_change in the tier, from 1"),
        Column("ratio_rank", "bigint", "Rank by the absolute change_ratio in the tier, from 1; NULL: no change_ratio", optional=True),
        Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
        Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True),
    ])),
    CreateTable(Table("finra_venue_movers_week", "One row per week, tier, market and venue: its change since the previous week.", [
        Column("week_start", "date", "Monday of the week; the previous week is loaded, too", key=True),
        Column("tier", "text", "FINRA tier: T1, T2 or OTCE", key=True),
        Column("market", "text", "Market: ATS or NON_ATS", key=True),
        Column("venue_id", "text", "As in finra_otc_weekly", key=True),
        Column("movement", "text", "entered, left, or moved: the venue traded in one or both weeks"),
        Column("share_quantity", "bigint", "Shares of the week; 0: left"),
        Column("previous_share_quantity", "bigint", "Shares of the previous week; 0: entered"),
        Column("share_change", "bigint", "share_quantity minus previous_share_quantity"),
        Column("change_ratio", "double", "share_change / previous_share_quantity; NULL: previous_share_quantity is 0", optional=True),
        Column("change_rank", "bigint", "Rank by the absolute share_change in the tier, from 1"),
        Column("ratio_rank", "bigint", "Rank by the absolute change_ratio in the tier, from 1; NULL: no change_ratio", optional=True),
        Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
        Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True),
    ])),
    CreateTable(Table("finra_symbol_anomalies_week", "One row per week, tier and symbol whose shares are far from those of the weeks before.", [
        Column("week_start", "date", "Monday of the week", key=True),
        Column("tier", "text", "FINRA tier: T1, T2 or OTCE", key=True),
        Column("symbol", "text", "FINRA's issue symbol", key=True),
        Column("share_quantity", "bigint", "Shares of the week"),
        Column("trailing_mean", "double", "Mean shares of the trailing weeks with trading"),
        Column("trailing_deviation", "double", "Sample standard deviation of these shares"),
        Column("z_score", "double", "(share_quantity - trailing_mean) / trailing_deviation"),
        Column("trailing_week_count", "bigint", "Trailing weeks with trading"),
        Column("window_weeks", "bigint", "Parameter: trailing weeks, by date, before the week"),
        Column("min_week_count", "bigint", "Parameter: least trailing_week_count"),
        Column("z_limit", "double", "Parameter: least absolute z_score"),
        Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
        Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True),
    ])),
    AddColumn("finra_symbol_week", Column("notional_usd", "bigint", "Traded value of the symbol, US dollars x 10^6; NULL: FINRA lacks it for a row", optional=True)),
    AddColumn("finra_symbol_week", Column("vwap", "double", "notional_usd per share, US dollars; NULL: no notional_usd", optional=True)),
    AddColumn("finra_symbol_week", Column("notional_share", "double", "Share of the notional_usd of the tier, 0-1", optional=True)),
    AddColumn("finra_symbol_week", Column("ats_share_of_shares", "double", "Share of ATSs in the shares, 0-1", optional=True)),
    AddColumn("finra_symbol_week", Column("ats_share_of_trades", "double", "Share of ATSs in the trades, 0-1", optional=True)),
    AddColumn("finra_symbol_week", Column("firm_count", "bigint", "Named firms: venues of one CRD number are one", optional=True)),
    AddColumn("finra_symbol_week", Column("firm_hhi_lower", "double", "Herfindahl-Hirschman index (HHI) of firms by CRD, De Minimis Firms as many tiny firms, 0-1", optional=True)),
    AddColumn("finra_symbol_week", Column("firm_hhi_upper", "double", "Herfindahl-Hirschman index (HHI) of firms by CRD, De Minimis Firms as one firm, 0-1", optional=True)),
    AddColumn("finra_symbol_week", Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True)),
    AddColumn("finra_symbol_week", Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True)),
    AddColumn("finra_venue_week", Column("share_in_market", "double", "Share of its market's shares in the tier, 0-1", optional=True)),
    AddColumn("finra_venue_week", Column("rank_in_market", "bigint", "Rank by shares in its market and tier, from 1; NULL: De Minimis Firms", optional=True)),
    AddColumn("finra_venue_week", Column("notional_usd", "bigint", "Traded value of the venue, US dollars x 10^6; NULL: FINRA lacks it for a row", optional=True)),
    AddColumn("finra_venue_week", Column("vwap", "double", "notional_usd per share, US dollars; NULL: no notional_usd", optional=True)),
    AddColumn("finra_venue_week", Column("notional_share", "double", "Share of the notional_usd of the tier, 0-1", optional=True)),
    AddColumn("finra_venue_week", Column("firm_crd_number", "bigint", "As in finra_otc_weekly", optional=True)),
    AddColumn("finra_venue_week", Column("participant_name", "text", "Name of the venue or firm in the week", optional=True)),
    AddColumn("finra_venue_week", Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True)),
    AddColumn("finra_venue_week", Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True)),
    AddColumn("finra_symbol_rolling_6w", Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True)),
    AddColumn("finra_symbol_rolling_6w", Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True)),
    AddColumn("finra_symbol_rolling_6w", Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True)),
    ChangeComment("finra_symbol_rolling_6w", "trend_ratio", "Mean shares of the last 3 weeks / of the first 3; NULL: no trading in the first 3", "Mean shares of the last 3 weeks / of the first 3; NULL: first 3 had none, or incomplete"),
    AddColumn("finra_concentration_week", Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True)),
    AddColumn("finra_concentration_week", Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True)),
    AddColumn("finra_concentration_week", Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True)),
    AddColumn("finra_tier_week", Column("ats_share_quantity", "bigint", "Shares traded on ATSs", optional=True)),
    AddColumn("finra_tier_week", Column("ats_trade_count", "bigint", "Trades on ATSs", optional=True)),
    AddColumn("finra_tier_week", Column("notional_usd", "bigint", "Traded value of the tier, US dollars x 10^6; NULL: FINRA lacks it for a row", optional=True)),
    AddColumn("finra_tier_week", Column("vwap", "double", "notional_usd per share, US dollars; NULL: no notional_usd", optional=True)),
    AddColumn("finra_tier_week", Column("notional_share", "double", "Share of the notional_usd of the week, all tiers, 0-1", optional=True)),
    AddColumn("finra_tier_week", Column("ats_share_of_shares", "double", "Share of ATSs in the shares, 0-1", optional=True)),
    AddColumn("finra_tier_week", Column("ats_share_of_trades", "double", "Share of ATSs in the trades, 0-1", optional=True)),
    AddColumn("finra_tier_week", Column("firm_count", "bigint", "Named firms: venues of one CRD number are one", optional=True)),
    AddColumn("finra_tier_week", Column("firm_hhi_lower", "double", "Herfindahl-Hirschman index (HHI) of firms by CRD, De Minimis Firms as many tiny firms, 0-1", optional=True)),
    AddColumn("finra_tier_week", Column("firm_hhi_upper", "double", "Herfindahl-Hirschman index (HHI) of firms by CRD, De Minimis Firms as one firm, 0-1", optional=True)),
    AddColumn("finra_tier_week", Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True)),
    AddColumn("finra_tier_week", Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True)),
    AddColumn("finra_tier_week", Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True)),
    AddColumn("finra_symbol_week_value", Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True)),
    AddColumn("finra_symbol_week_value", Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True)),
    AddColumn("finra_symbol_week_value", Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True)),
    CreateView(View("finra_firms", "One row per firm (CRD number), venue and name: the weeks in which it traded under it.", {
        "market": "Market: ATS or NON_ATS",
        "venue_id": "As in finra_otc_weekly",
        "participant_name": "Name, else the venue_id",
        "firm_crd_number": "CRD number in FINRA's registry",
        "mpid": "MPID of the venue",
        "first_week": "Monday of the first week",
        "last_week": "Monday of the last week",
        "week_count": "Weeks with trading",
    }, """
SELECT finra_venue_week.market AS market,
finra_venue_week.venue_id AS venue_id,
coalesce(finra_venue_week.participant_name, finra_venue_week.venue_id) AS participant_name,
finra_venue_week.firm_crd_number AS firm_crd_number,
CASE WHEN (substr(finra_venue_week.venue_id, 1, 4) = 'CRD:' OR substr(finra_venue_week.venue_id, 1, 5) = 'NAME:') THEN NULL ELSE finra_venue_week.venue_id END AS mpid,
min(finra_venue_week.week_start) AS first_week,
max(finra_venue_week.week_start) AS last_week,
count(DISTINCT finra_venue_week.week_start) AS week_count
FROM finra_venue_week
WHERE finra_venue_week.firm_crd_number > 0
GROUP BY finra_venue_week.market,
finra_venue_week.venue_id,
coalesce(finra_venue_week.participant_name, finra_venue_week.venue_id),
finra_venue_week.firm_crd_number
""")),
]
# fmt: on

_values = sa.table("finra_symbol_week_value", sa.column("notional_dollars", sa.Double()))
_scaled = sa.table("finra_symbol_week_value", sa.column("estimated_notional_usd"))
LARGEST_DOLLARS = 9.2e12
"""What 64 bits hold of millionths; larger estimates are left to be derived again."""


def upgrade() -> None:
    """Make the changes; estimates in dollars become those in millionths of a dollar."""
    op.execute(sa.delete(_values).where(_values.c.notional_dollars > LARGEST_DOLLARS))
    rounded = sa.func.round(_values.c.notional_dollars * 1e6)
    op.execute(sa.update(_values).values(notional_dollars=rounded))
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    op.execute(sa.delete(_scaled).where(_scaled.c.estimated_notional_usd.is_(None)))
    downgrade_by(CHANGES)
    dollars = _values.c.notional_dollars / 1e6
    op.execute(sa.update(_values).values(notional_dollars=dollars))
