"""Derivations of one week and tier: by symbol and by venue.

The Herfindahl index is the sum of squared shares, 0-1: (sum of q^2) / (sum of q)^2.
"De Minimis Firms" (CRD 0) lumps an unknown number of firms, so it is no venue: the index has a
lower bound (they are many and tiny: their squares vanish) and an upper one (they are one firm).
Its sums are exact integers of 128 bits, so that no order of rows or threads changes a digit.
"""

from collections.abc import Mapping

import polars as pl

from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.errors import ContractError
from orchestration_project.tables.finra import MARKETS, finra_symbol_week, finra_venue_week
from orchestration_project.tables.schema import in_table_order

LARGEST_TOTAL = (2**63 - 1) // 2
"""Limit of a delivery's sum: the two markets of a week may come separately, and their sum is a
BIGINT, too."""

TOP = {f"top_{places}_venue_share": places for places in (3, 5)}
"""How many of a symbol's largest named venues are taken together."""

PREFIXES = {"ATS": "ats", "NON_ATS": "non_ats"}
"""Prefixes of columns with a market's part."""


def quantities_of(rows: pl.DataFrame) -> Mapping[str, int]:
    """Return the exact sums of shares and trades, which may not fit 64 bits."""
    return {
        name: int(rows[name].cast(pl.Int128).sum()) for name in ("share_quantity", "trade_count")
    }


def refuse_overflow(sums: Mapping[str, int]) -> None:
    """Refuse a delivery with whose total that of its partition might not fit a BIGINT, and wrap.

    Raises:
        ContractError: One of the `quantities_of` the delivery is more than `LARGEST_TOTAL`.
    """
    for name, total in sums.items():
        if total > LARGEST_TOTAL:
            raise ContractError(
                f"the partition's {name} cannot be added up in 64 bits",
                expected=f"at most {LARGEST_TOTAL}",
                found=str(total),
                remedy="look for absurd quantities in the capture and report them to the source",
            )


def symbol_week(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_symbol_week` of ``rows``, all rows of one week and tier of the weekly table."""
    shares, named_shares = pl.col("share_quantity"), pl.col("named_shares")
    is_largest = named_shares == named_shares.max()
    per_symbol = (
        _by_venue(rows)
        .with_columns(
            named_shares=pl.when(pl.col("venue_id") != DE_MINIMIS).then(shares),
            square=shares.cast(pl.Int128) * shares.cast(pl.Int128),
        )
        .with_columns(named_square=pl.when(named_shares.is_not_null()).then("square"))
        .group_by("symbol")
        .agg(
            pl.col("week_start", "tier").first(),
            pl.col("^(ats|non_ats)_.*$").sum(),
            total_share_quantity=shares.sum(),
            total_trade_count=pl.col("trade_count").sum(),
            venue_count=named_shares.count().cast(pl.Int64),
            top_venue_id=pl.col("venue_id").filter(is_largest).min(),
            top_shares=named_shares.max(),
            largest=named_shares.sort(descending=True, nulls_last=True).head(max(TOP.values())),
            named_squares=pl.col("named_square").sum(),
            all_squares=pl.col("square").sum(),
        )
    )
    total = pl.col("total_share_quantity")
    whole = total.cast(pl.Int128) * total.cast(pl.Int128)
    ratios = per_symbol.with_columns(
        average_trade_size=ratio_of(total, pl.col("total_trade_count")),
        top_venue_share=ratio_of(pl.col("top_shares"), total),
        **{name: ratio_of(_sum_of_largest(places), total) for name, places in TOP.items()},
        hhi_lower=ratio_of(pl.col("named_squares"), whole),
        hhi_upper=ratio_of(pl.col("all_squares"), whole),
    )
    return in_table_order(ratios, finra_symbol_week)


def _sum_of_largest(places: int) -> pl.Expr:
    """Return the sum of the first ``largest``; NULL where there is none."""
    return pl.when(pl.col("venue_count") > 0).then(pl.col("largest").list.head(places).list.sum())


def _by_venue(rows: pl.DataFrame) -> pl.DataFrame:
    """Sum a symbol's rows by venue: one that trades in both markets is one venue, and is rare."""
    quantities = ("share_quantity", "trade_count")
    of_markets = {
        f"{prefix}_{name}": pl.when(pl.col("market") == market).then(name).otherwise(0)
        for name in quantities
        for market, prefix in PREFIXES.items()
    }
    by_market = rows.select(
        *("week_start", "tier", "symbol", "venue_id"), *quantities, **of_markets
    )
    venues = [set(rows.filter(market=market)["venue_id"].unique()) for market in MARKETS]
    if set.isdisjoint(*venues):
        return by_market
    return by_market.group_by("symbol", "venue_id").agg(
        pl.col("week_start", "tier").first(), pl.col(*quantities, *of_markets).sum()
    )


def venue_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what `venue_week` is made of, of rows that may be a part of a week and tier."""
    return rows.group_by("week_start", "tier", "market", "venue_id").agg(
        pl.col("share_quantity", "trade_count").sum(),
        symbol_count=pl.len().cast(pl.Int64),
    )


def venue_week(sums: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_venue_week` of the `venue_sums` of all rows of one week and tier.

    ``sums`` may have a venue several times, once of each part.
    """
    shares = pl.col("share_quantity")
    venues = sums.group_by("week_start", "tier", "market", "venue_id").agg(
        pl.col("share_quantity", "trade_count", "symbol_count").sum()
    )
    named_shares = pl.when(pl.col("venue_id") != DE_MINIMIS).then(shares)
    return in_table_order(
        venues.with_columns(
            tier_share=ratio_of(shares, shares.sum()),
            rank=named_shares.rank("min", descending=True).cast(pl.Int64),
        ),
        finra_venue_week,
    )


def ratio_of(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Return a part of a whole as a float, NULL where the whole is 0 or NULL."""
    return pl.when(whole > 0).then(part.cast(pl.Float64) / whole.cast(pl.Float64))
