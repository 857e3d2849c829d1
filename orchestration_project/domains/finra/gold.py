"""What is derived of one week and tier: by symbol and by venue.

The Herfindahl index is the sum of squared shares, 0-1: (sum of q^2) / (sum of q)^2.
"De Minimis Firms" (CRD 0) lumps an unknown number of firms, so it is no venue: the index has a
lower bound (they are many and tiny: their squares vanish) and an upper one (they are one firm).
"""

import polars as pl
from sqlalchemy import Table

from orchestration_project.errors import ContractError
from orchestration_project.tables.finra import finra_symbol_week, finra_venue_week
from orchestration_project.tables.kinds import schema_of

DE_MINIMIS = "CRD:0"
LARGEST_BIGINT = 2**63 - 1


def refuse_overflow(rows: pl.DataFrame) -> None:
    """Refuse a partition whose total does not fit a BIGINT, so that no sum of it can wrap.

    Raises:
        ContractError: The shares or trades of ``rows`` add up to more than 2^63-1.
    """
    for name in ("share_quantity", "trade_count"):
        total = rows[name].cast(pl.Int128).sum()
        if total > LARGEST_BIGINT:
            raise ContractError(
                f"the partition's {name} cannot be added up in 64 bits",
                expected=f"at most {LARGEST_BIGINT}",
                found=str(total),
                remedy="look for absurd quantities in the capture and report them to the source",
            )


def symbol_week(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_symbol_week` of ``rows``, all rows of one week and tier of the weekly table."""
    shares, trades = pl.col("share_quantity"), pl.col("trade_count")
    named = pl.col("venue_id") != DE_MINIMIS
    venues = rows.group_by("week_start", "tier", "symbol", "venue_id").agg(
        *(
            quantity.filter(pl.col("market") == market).sum().alias(f"{prefix}_{name}")
            for name, quantity in (("share_quantity", shares), ("trade_count", trades))
            for market, prefix in (("ATS", "ats"), ("NON_ATS", "non_ats"))
        ),
        shares.sum(),
        trades.sum(),
    )
    ordered = venues.sort("share_quantity", "venue_id", descending=[True, False])
    squares = shares.cast(pl.Float64) ** 2
    total = shares.cast(pl.Float64).sum()
    per_symbol = ordered.group_by("week_start", "tier", "symbol").agg(
        pl.col(
            "ats_share_quantity", "non_ats_share_quantity", "ats_trade_count", "non_ats_trade_count"
        ).sum(),
        total_share_quantity=shares.sum(),
        total_trade_count=trades.sum(),
        venue_count=named.sum().cast(pl.Int64),
        top_venue_id=pl.col("venue_id").filter(named).first(),
        top_shares=shares.filter(named).first(),
        hhi_lower=squares.filter(named).sum() / total**2,
        hhi_upper=squares.sum() / total**2,
    )
    has_shares = pl.col("total_share_quantity") > 0
    return _in_table_order(
        per_symbol.with_columns(
            average_trade_size=pl.when(pl.col("total_trade_count") > 0).then(
                pl.col("total_share_quantity") / pl.col("total_trade_count")
            ),
            top_venue_share=pl.when(has_shares).then(
                pl.col("top_shares") / pl.col("total_share_quantity")
            ),
            hhi_lower=pl.when(has_shares).then(pl.col("hhi_lower")),
            hhi_upper=pl.when(has_shares).then(pl.col("hhi_upper")),
        ),
        finra_symbol_week,
    )


def venue_week(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_venue_week` of ``rows``, all rows of one week and tier of the weekly table."""
    venues = rows.group_by("week_start", "tier", "market", "venue_id").agg(
        pl.col("share_quantity").sum(),
        pl.col("trade_count").sum(),
        symbol_count=pl.len().cast(pl.Int64),
    )
    total = pl.col("share_quantity").sum()
    is_named = pl.col("venue_id") != DE_MINIMIS
    by_size = pl.when(is_named).then(pl.col("share_quantity"))
    return _in_table_order(
        venues.with_columns(
            tier_share=pl.when(total > 0).then(pl.col("share_quantity") / total),
            rank=by_size.rank("min", descending=True).cast(pl.Int64),
        ),
        finra_venue_week,
    )


def _in_table_order(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    schema = schema_of(table)
    return rows.select(list(schema)).cast(pl.Schema(schema)).sort(list(schema)[:4])
