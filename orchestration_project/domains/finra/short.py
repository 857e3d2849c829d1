"""Short sales, short interest and shares traded off exchanges, by symbol and week.

FINRA writes symbols in two ways: weekly data as BRK.B and EP$C, the SIP's as BRK/B and EPpC. A
symbol of short sales is that of the week if it is the same to the byte, else the one that the SIP
writes so.
"""

from datetime import date

import polars as pl

from orchestration_project.domains.finra.across import known_since
from orchestration_project.domains.finra.gold import ratio_of
from orchestration_project.domains.finra.tables.short import finra_symbol_week_short
from orchestration_project.engine.contracts.values import fit_to_table
from orchestration_project.tables.schema import USD_SCALE

ONE = 10**USD_SCALE
VOLUMES = ("short_quantity", "short_exempt_quantity", "total_quantity")


def sip_symbol(symbol: pl.Expr) -> pl.Expr:
    """Return FINRA's ``symbol`` as the SIP writes it: BRK.B is BRK/B, EP$C is EPpC."""
    preferred = symbol.str.replace(r"\$", "p")
    return preferred.str.replace(r"\.W$", "/WS").str.replace(r"\.", "/")


def symbol_week_short(
    symbol_weeks: pl.DataFrame,
    short_sales: pl.DataFrame,
    short_interest: pl.DataFrame,
    *,
    week_start: date,
) -> pl.DataFrame:
    """Return `finra_symbol_week_short` of a week.

    Args:
        symbol_weeks: Its rows of `finra_symbol_week`, of all tiers.
        short_sales: Its rows of `finra_reg_sho_daily`.
        short_interest: Rows of `finra_short_interest` of the latest settlement date by its Friday.
        week_start: Its Monday.
    """
    traded = symbol_weeks.group_by("symbol").agg(
        otc_share_quantity=pl.col("total_share_quantity").sum(),
        ats_share_quantity=pl.col("ats_share_quantity").sum(),
        published_at=pl.col("published_at").max(),
    )
    sold = (
        _match_symbols(traded, short_sales)
        .group_by("symbol")
        .agg(pl.col(VOLUMES).sum(), short_day_count=pl.col("trade_date").n_unique().cast(pl.Int64))
    )
    held_frame = (
        _match_symbols(traded, short_interest)
        .group_by("symbol")
        .agg(
            settlement_date=pl.col("settlement_date").max(),
            short_interest_quantity=pl.col("short_quantity").sum(),
        )
    )
    loaded_days = short_sales["trade_date"].n_unique()
    joined = traded.join(sold, on="symbol", how="full", coalesce=True).join(
        held_frame, on="symbol", how="left"
    )
    shares = pl.col("otc_share_quantity")
    return fit_to_table(
        joined.with_columns(
            known_since(symbol_weeks, short_sales, short_interest),
            week_start=pl.lit(week_start),
            loaded_day_count=pl.lit(loaded_days, pl.Int64),
            short_day_count=pl.col("short_day_count").fill_null(0),
            short_volume_ratio=ratio_of(pl.col("short_quantity"), pl.col("total_quantity")),
            short_interest_to_otc_ratio=ratio_of(pl.col("short_interest_quantity"), shares),
            is_stale=False,
        ),
        finra_symbol_week_short,
    )


def _match_symbols(traded: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with the symbols of ``traded``; other symbols stay as they are."""
    by_sip = (
        traded.select(week_symbol="symbol", symbol=sip_symbol(pl.col("symbol")))
        .sort("week_symbol")
        .unique("symbol", keep="first", maintain_order=True)
    )
    is_same = pl.col("symbol").is_in(traded["symbol"].to_list())
    return (
        rows.join(by_sip, on="symbol", how="left")
        .with_columns(
            symbol=pl.when(is_same).then("symbol").otherwise(pl.coalesce("week_symbol", "symbol"))
        )
        .drop("week_symbol")
    )
