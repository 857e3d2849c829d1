"""Shares of a symbol's 3 and 5 largest venues, of which concentration is made."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

TABLE = "finra_symbol_week"
LARGEST = {"top_3_venue_share": 3, "top_5_venue_share": 5}

SHARE = """(
    SELECT CAST(SUM(venue.shares) AS DOUBLE PRECISION)
        / CAST(finra_symbol_week.total_share_quantity AS DOUBLE PRECISION)
    FROM (
        SELECT SUM(share_quantity) AS shares
        FROM finra_otc_weekly
        WHERE finra_otc_weekly.week_start = finra_symbol_week.week_start
            AND finra_otc_weekly.tier = finra_symbol_week.tier
            AND finra_otc_weekly.market IN ('ATS', 'NON_ATS')
            AND finra_otc_weekly.symbol = finra_symbol_week.symbol
            AND finra_otc_weekly.venue_id <> 'CRD:0'
        GROUP BY finra_otc_weekly.venue_id
        ORDER BY shares DESC
        LIMIT {places}
    ) AS venue
)"""


def upgrade() -> None:
    """Add the columns, and fill them from the rows that the others were made of."""
    for name, places in LARGEST.items():
        comment = f"Share of the {places} largest named venues, 0-1"
        op.add_column(TABLE, sa.Column(name, sa.Double(), nullable=True, comment=comment))
    values = ", ".join(f"{name} = {SHARE.format(places=n)}" for name, n in LARGEST.items())
    op.execute(f"UPDATE {TABLE} SET {values} WHERE total_share_quantity > 0")  # noqa: S608 - frozen names


def downgrade() -> None:
    """Drop them."""
    for name in LARGEST:
        op.drop_column(TABLE, name)
