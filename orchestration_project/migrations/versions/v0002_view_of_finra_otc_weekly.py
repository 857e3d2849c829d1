"""A view of FINRA's weekly table for people who read it."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQLITE_DOLLARS = """CASE WHEN finra_otc_weekly.notional_usd IS NOT NULL THEN printf('%s%d.%06d',
CASE WHEN finra_otc_weekly.notional_usd < 0 THEN '-' ELSE '' END,
abs(finra_otc_weekly.notional_usd / 1000000),
abs(finra_otc_weekly.notional_usd % 1000000)) END"""

DOLLARS = "CAST(finra_otc_weekly.notional_usd * 0.000001 AS NUMERIC(19, 6))"

VIEW = """
CREATE VIEW v_finra_otc_weekly AS
SELECT finra_otc_weekly.week_start AS week_start,
finra_otc_weekly.tier AS tier,
finra_otc_weekly.market AS market,
finra_otc_weekly.symbol AS symbol,
finra_otc_weekly.venue_id AS venue_id,
finra_otc_weekly.week_end AS week_end,
CASE finra_otc_weekly.tier WHEN 'T1' THEN 'NMS Tier 1' WHEN 'T2' THEN 'NMS Tier 2'
WHEN 'OTCE' THEN 'OTC Equity Securities' ELSE finra_otc_weekly.tier END AS tier_name,
CASE finra_otc_weekly.market WHEN 'ATS' THEN 'ATS' WHEN 'NON_ATS' THEN 'Non-ATS OTC'
ELSE finra_otc_weekly.market END AS market_name,
finra_otc_weekly.issue_name AS issue_name,
coalesce(finra_otc_weekly.participant_name, finra_otc_weekly.mpid,
finra_otc_weekly.venue_id) AS venue_name,
finra_otc_weekly.share_quantity AS share_quantity,
finra_otc_weekly.trade_count AS trade_count,
{dollars} AS notional_dollars,
finra_otc_weekly.last_update_date AS last_update_date,
finra_otc_weekly.capture_id AS capture_id,
finra_otc_weekly.known_from AS known_from
FROM finra_otc_weekly
"""

COMMENT = "One row per row of finra_otc_weekly, for reading: names, labels, and money in dollars."

COMMENTS = {
    "week_start": "Monday of the week",
    "tier": "T1, T2 or OTCE",
    "market": "ATS, or NON_ATS for other OTC trading",
    "symbol": "FINRA''s issue symbol, exact to the byte",
    "venue_id": "MPID; without one CRD:number; without both NAME:name",
    "week_end": "Friday of the week",
    "tier_name": "The tier in FINRA''s words",
    "market_name": "The market in words",
    "issue_name": "The security''s name",
    "venue_name": "The venue''s or firm''s name; without one its MPID, without both its venue_id",
    "share_quantity": "Shares traded in the week",
    "trade_count": "Trades in the week",
    "notional_dollars": "Traded value, US dollars with 6 decimals, text on SQLite; NULL: not given",
    "last_update_date": "When FINRA last changed the row",
    "capture_id": "The capture that the row was read from",
    "known_from": "UTC time from which we knew the row",
}


def upgrade() -> None:
    """Create the view; PostgreSQL also keeps what its columns hold."""
    backend = op.get_bind().dialect.name
    op.execute(VIEW.format(dollars=SQLITE_DOLLARS if backend == "sqlite" else DOLLARS))
    if backend == "postgresql":
        op.execute(f"COMMENT ON VIEW v_finra_otc_weekly IS '{COMMENT}'")
        for column, comment in COMMENTS.items():
            op.execute(f"COMMENT ON COLUMN v_finra_otc_weekly.{column} IS '{comment}'")


def downgrade() -> None:
    """Drop the view."""
    op.execute("DROP VIEW v_finra_otc_weekly")
